//! What this user may do with topics and groups, as the brokers say it.
//!
//! Asks for the operations that are allowed instead of trying them: nothing is read, written or joined.

use std::ffi::{CString, c_char};
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::bindings::{rd_kafka_AclOperation_t as Operation, rd_kafka_admin_op_t as Question};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode as Code;

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rights(Vec<Operation>);

impl Rights {
    pub(super) fn can_read(&self) -> bool {
        self.has(Operation::RD_KAFKA_ACL_OPERATION_READ)
    }

    pub(super) fn can_write(&self) -> bool {
        self.has(Operation::RD_KAFKA_ACL_OPERATION_WRITE)
    }

    pub(super) fn can_describe_configs(&self) -> bool {
        self.has(Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS)
    }

    fn has(&self, operation: Operation) -> bool {
        self.0.contains(&operation)
    }
}

/// Whose rights are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose<'a> {
    Topic(&'a str),
    Group(&'a str),
}

/// What this user may do with a topic or group. A group need not exist.
pub(super) fn of<C: ClientContext>(
    client: &Client<C>,
    whose: Whose<'_>,
    patience: Duration,
) -> Result<Rights, Code> {
    let (name, question) = match whose {
        Whose::Topic(name) => (name, Question::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
        Whose::Group(name) => (name, Question::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS),
    };
    let name = CString::new(name).map_err(|_| Code::InvalidArgument)?;
    let mut names: [*const c_char; 1] = [name.as_ptr()];
    let milliseconds = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();
    // SAFETY: the client is alive throughout. Queue, options and topic list are made here and destroyed here, the names
    // outlive the call that copies them, and the event is destroyed after what it holds was copied.
    unsafe {
        let queue = sys::rd_kafka_queue_new(rk);
        let options = sys::rd_kafka_AdminOptions_new(rk, question);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, ptr::null_mut(), 0);
        let refused = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !refused.is_null() {
            sys::rd_kafka_error_destroy(refused);
        }
        match whose {
            Whose::Topic(_) => {
                let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
                sys::rd_kafka_DescribeTopics(rk, topics, options, queue);
                sys::rd_kafka_TopicCollection_destroy(topics);
            }
            Whose::Group(_) => {
                sys::rd_kafka_DescribeConsumerGroups(rk, names.as_mut_ptr(), names.len(), options, queue);
            }
        }
        // The request has its own limit; this one is for an answer that never comes.
        let event = NonNull::new(sys::rd_kafka_queue_poll(queue, milliseconds.saturating_add(1000)));
        let answer = event.map_or(Err(Code::OperationTimedOut), |event| read(event, whose));
        if let Some(event) = event {
            sys::rd_kafka_event_destroy(event.as_ptr());
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// Reads an answer.
///
/// # Safety
/// The event is alive.
unsafe fn read(event: NonNull<sys::rd_kafka_event_t>, whose: Whose<'_>) -> Result<Rights, Code> {
    // SAFETY: the event is alive, and all that is read belongs to it. Accessors of another kind of event answer null.
    unsafe {
        let code = sys::rd_kafka_event_error(event.as_ptr());
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(code.into());
        }
        let mut count = 0;
        let (error, operations, operation_count) = match whose {
            Whose::Topic(_) => {
                let result = sys::rd_kafka_event_DescribeTopics_result(event.as_ptr());
                if result.is_null() {
                    return Err(Code::BadMessage);
                }
                let found = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                if count == 0 {
                    return Err(Code::UnknownTopicOrPartition);
                }
                let mut operations = 0;
                let list = sys::rd_kafka_TopicDescription_authorized_operations(*found, &raw mut operations);
                (sys::rd_kafka_TopicDescription_error(*found), list, operations)
            }
            Whose::Group(_) => {
                let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.as_ptr());
                if result.is_null() {
                    return Err(Code::BadMessage);
                }
                let found = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
                if count == 0 {
                    return Err(Code::GroupIdNotFound);
                }
                let mut operations = 0;
                let list =
                    sys::rd_kafka_ConsumerGroupDescription_authorized_operations(*found, &raw mut operations);
                (sys::rd_kafka_ConsumerGroupDescription_error(*found), list, operations)
            }
        };
        if !error.is_null() {
            let code = sys::rd_kafka_error_code(error);
            if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(code.into());
            }
        }
        if operations.is_null() {
            return Ok(Rights(Vec::new()));
        }
        Ok(Rights(slice::from_raw_parts(operations, operation_count).to_vec()))
    }
}
