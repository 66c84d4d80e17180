//! Two calls of librdkafka that the client library does not offer.

use std::ptr;

use rdkafka::TopicPartitionList;
use rdkafka::bindings::{
    rd_kafka_commit_queue, rd_kafka_mem_free, rd_kafka_memberid, rd_kafka_queue_destroy,
    rd_kafka_queue_get_consumer,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::{IsError, KafkaError, KafkaResult};

use super::handle::Client;

/// Sends a commit. The answer comes as [`super::callbacks::Happening::Committed`] when the client is polled.
///
/// The client library's own asynchronous commit asks for no answer: its `commit_callback` hears of automatic commits
/// only, and its synchronous one waits without a limit and does not say which partitions failed.
pub(super) fn send_commit(client: &Client, offsets: &TopicPartitionList) -> KafkaResult<()> {
    let handle = client.client().native_ptr();
    // SAFETY: handle and list are valid while they are borrowed; the list is copied by the call. The queue is a new
    // reference to the one that the client polls, given back below; the request keeps one of its own. Without
    // a callback there is nothing that the opaque pointer could mean.
    let code = unsafe {
        let queue = rd_kafka_queue_get_consumer(handle);
        if queue.is_null() {
            return Err(KafkaError::ClientCreation("the client has no queue".to_owned()));
        }
        let code = rd_kafka_commit_queue(handle, offsets.ptr(), queue, None, ptr::null_mut());
        rd_kafka_queue_destroy(queue);
        code
    };
    if code.is_error() { Err(KafkaError::ConsumerCommit(code.into())) } else { Ok(()) }
}

/// Whether the client is a member of its group.
pub(super) fn is_member(client: &Client) -> bool {
    let handle = client.client().native_ptr();
    // SAFETY: the handle is valid while `client` is borrowed. The answer is a string of the C library, or null, that is
    // ours to free with the library's own function, and is not used after that.
    unsafe {
        let id = rd_kafka_memberid(handle);
        if id.is_null() {
            return false;
        }
        let member = *id != 0;
        rd_kafka_mem_free(handle, id.cast());
        member
    }
}
