//! Records out of librdkafka, many in one call: the only unsafe code of the source.
//!
//! A fetcher reads given partitions from given offsets. It is in no group, so that nothing but records and the errors
//! of partitions ever comes out of its own queue; all else that a client has to say (logs, broken connections) comes
//! out of the client's main queue, which [`Fetcher::serve`] empties. That is why records can be taken in batches here,
//! where rebalances would be lost for a consumer in a group.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use crate::kafka::Watch;

/// Records taken in one call: enough that the call itself does not count, few enough that those that found no room in
/// a batch hold little back.
const PULL: usize = 1024;

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At the first record that is there.
    Beginning,
    /// At this offset.
    Offset(u64),
}

/// A topic of a fetcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TopicId(*mut sys::rd_kafka_topic_t);

// SAFETY: only the fetcher uses what it points to; to others it is a name.
unsafe impl Send for TopicId {}

/// Reads partitions without a group. Owned by one thread at a time.
pub(super) struct Fetcher {
    /// Topic handles by name; each holds one reference.
    topics: BTreeMap<String, TopicId>,
    started: Vec<(TopicId, i32)>,
    /// Where the records of all partitions come out.
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Records that were taken and not given on: those from `at` on are alive.
    pulled: Vec<*mut sys::rd_kafka_message_t>,
    at: usize,
    /// Last, because everything above belongs to it.
    client: BaseConsumer<Watch>,
}

// SAFETY: librdkafka's handles may be used from any thread, and nothing here is shared while it is used.
unsafe impl Send for Fetcher {}

/// What came out of a fetcher's queue: a record, or the error of a partition.
pub(super) struct Record<'a> {
    message: &'a sys::rd_kafka_message_t,
}

impl Fetcher {
    /// A fetcher of nothing yet. The client must not have a `group.id`.
    pub(super) fn new(client: BaseConsumer<Watch>) -> Self {
        // SAFETY: the client's pointer is alive as long as the client, which this struct owns.
        let queue = unsafe { sys::rd_kafka_queue_new(client.client().native_ptr()) };
        let queue =
            NonNull::new(queue).expect("librdkafka ends the process where memory for a queue is missing");
        let (topics, started) = (BTreeMap::new(), Vec::new());
        Self { topics, started, queue, pulled: Vec::with_capacity(PULL), at: 0, client }
    }

    /// The client behind it, for questions.
    pub(super) fn client(&self) -> &BaseConsumer<Watch> {
        &self.client
    }

    /// The handle of a topic, which need not exist.
    pub(super) fn topic(&mut self, name: &str) -> KafkaResult<TopicId> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(*topic);
        }
        let text = CString::new(name)?;
        // SAFETY: the client is alive and the name ends with a NUL. Without settings of its own the topic takes those
        // that the client was made with.
        let topic = unsafe {
            sys::rd_kafka_topic_new(self.client.client().native_ptr(), text.as_ptr(), ptr::null_mut())
        };
        if topic.is_null() {
            return Err(KafkaError::MetadataFetch(last_error()));
        }
        self.topics.insert(name.to_owned(), TopicId(topic));
        Ok(TopicId(topic))
    }

    /// Begins to read a partition. One that was begun already goes on from there; what was waiting of it is gone.
    pub(super) fn start(
        &mut self,
        topic: TopicId,
        partition: i32,
        start: Start,
    ) -> Result<(), RDKafkaErrorCode> {
        if self.started.contains(&(topic, partition)) {
            // SAFETY: the topic handle is alive until this struct is dropped. The call waits for librdkafka's main
            // thread, never for a broker: no offsets are stored.
            unsafe { sys::rd_kafka_consume_stop(topic.0, partition) };
        }
        let offset = match start {
            Start::Beginning => i64::from(sys::RD_KAFKA_OFFSET_BEGINNING),
            Start::Offset(offset) => i64::try_from(offset).unwrap_or(i64::MAX),
        };
        // SAFETY: topic handle and queue are alive until this struct is dropped.
        let code =
            unsafe { sys::rd_kafka_consume_start_queue(topic.0, partition, offset, self.queue.as_ptr()) };
        if code != 0 {
            return Err(last_error());
        }
        if !self.started.contains(&(topic, partition)) {
            self.started.push((topic, partition));
        }
        Ok(())
    }

    /// Takes what is waiting, at most `max` of it, after all that was taken before has been given on. With a `wait`
    /// it returns as soon as there is one. Answers whether there is anything.
    pub(super) fn pull(&mut self, wait: Duration) -> bool {
        debug_assert!(self.at == self.pulled.len(), "nothing is taken before the last was given on");
        self.pulled.clear();
        self.at = 0;
        // A call waits until it has all it was asked for: who waits asks for one.
        let (count, milliseconds) = if wait.is_zero() {
            (PULL, 0)
        } else {
            // Rounded up, or the last millisecond would be spent in a busy loop.
            (1, c_int::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX))
        };
        // SAFETY: the queue is alive, and the vector has room for `count` pointers.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                milliseconds,
                self.pulled.as_mut_ptr(),
                count.min(self.pulled.capacity()),
            )
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        // SAFETY: the call wrote this many pointers, each to a message that is ours to destroy.
        unsafe { self.pulled.set_len(taken) };
        taken > 0
    }

    /// The first record that was taken and not given on.
    pub(super) fn peek(&self) -> Option<Record<'_>> {
        let message = *self.pulled.get(self.at)?;
        // SAFETY: messages from `at` on are alive, and the borrow of `self` keeps `advance` from destroying this one.
        Some(Record { message: unsafe { &*message } })
    }

    /// The first record was given on.
    pub(super) fn advance(&mut self) {
        if let Some(message) = self.pulled.get(self.at) {
            self.at += 1;
            // SAFETY: the message was alive, and `at` is behind it now.
            unsafe { sys::rd_kafka_message_destroy(*message) };
        }
    }

    /// Hears what the client has to say beside records, at most `count` things: its context is told.
    pub(super) fn serve(&self, count: usize) {
        for _ in 0..count {
            // Answers nothing both when there was nothing and when the context has taken it.
            let _told = self.client.poll(Duration::ZERO);
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        while self.at < self.pulled.len() {
            self.advance();
        }
        for (topic, partition) in self.started.drain(..) {
            // SAFETY: as in `start`.
            unsafe { sys::rd_kafka_consume_stop(topic.0, partition) };
        }
        for topic in std::mem::take(&mut self.topics).into_values() {
            // SAFETY: the reference that `topic` took, given back once.
            unsafe { sys::rd_kafka_topic_destroy(topic.0) };
        }
        // SAFETY: made in `new`, destroyed once; the client is destroyed after this.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl<'a> Record<'a> {
    /// Why this is no record, and the reason in librdkafka's words.
    pub(super) fn error(&self) -> Option<(RDKafkaErrorCode, String)> {
        if self.message.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: the message is alive; the text, if any, is a C string that lives as long as the message.
        let text = unsafe {
            let text = sys::rd_kafka_message_errstr(self.message);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Some((self.message.err.into(), text))
    }

    /// Whether this is a record and not an error.
    pub(super) fn is_record(&self) -> bool {
        self.message.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// Topic and partition.
    pub(super) fn place(&self) -> (TopicId, i32) {
        (TopicId(self.message.rkt), self.message.partition)
    }

    /// The offset; of an error the one that it is about.
    pub(super) fn offset(&self) -> u64 {
        u64::try_from(self.message.offset).unwrap_or(0)
    }

    /// The value; `None` = a tombstone.
    pub(super) fn payload(&self) -> Option<&'a [u8]> {
        bytes(self.message.payload, self.message.len)
    }

    /// The key, if there is one.
    pub(super) fn key(&self) -> Option<&'a [u8]> {
        bytes(self.message.key, self.message.key_len)
    }

    /// When it was made or appended, milliseconds since the epoch; `None` for records of the oldest format.
    pub(super) fn timestamp(&self) -> Option<i64> {
        // SAFETY: the message is alive; the kind of timestamp is not asked for.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.message, ptr::null_mut()) };
        (timestamp != -1).then_some(timestamp)
    }

    /// Its headers in order.
    pub(super) fn headers(&self) -> Headers<'a> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive. Its headers are parsed on the first call and belong to it from then on, which
        // is the only change, made by the only thread that knows the message.
        let code = unsafe { sys::rd_kafka_message_headers(self.message, &raw mut list) };
        let has = code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        Headers { list: if has { list } else { ptr::null_mut() }, next: 0, record: PhantomData }
    }
}

/// The headers of a record.
pub(super) struct Headers<'a> {
    /// Null = none.
    list: *mut sys::rd_kafka_headers_t,
    next: usize,
    record: PhantomData<&'a ()>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.list.is_null() {
            return None;
        }
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message, which is alive for `'a`; name and value point into it.
        unsafe {
            let code = sys::rd_kafka_header_get_all(
                self.list,
                self.next,
                &raw mut name,
                &raw mut value,
                &raw mut length,
            );
            self.next += 1;
            if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            Some((CStr::from_ptr(name).to_bytes(), bytes(value, length)))
        }
    }
}

/// The bytes behind a pointer of a message; `None` if it is null.
fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: callers pass a pointer and length out of one message that is alive for `'a`.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), length) })
}

fn last_error() -> RDKafkaErrorCode {
    // SAFETY: reads a variable of this thread.
    unsafe { sys::rd_kafka_last_error() }.into()
}
