//! The producer underneath: records go in with one call each, acknowledgements come out in the batches that the broker
//! answers with.
//!
//! The only unsafe code of the output stream. The client library's own call builds a C string, looks the topic up and
//! hands one callback a message; here the topic is looked up once, the opaque of a record is the pointer of its batch's
//! [`Ticket`], and a whole run of acknowledgements is one subtraction. Neither lanes nor positions are known here.

use std::ffi::{CStr, CString};
use std::os::raw::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::util::IntoOpaque;

use super::held;
use crate::kafka::{Watch, Watched};
use crate::output::ticket::Ticket;

/// The name of the one header of an output record.
pub(super) const IDENTITY: &CStr = c"millrace";

/// One record.
pub(super) struct Record<'a> {
    /// The entity; never absent.
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// The one header, its name and value.
    pub(super) header: (&'static CStr, &'a [u8]),
}

/// What [`Producer::poll`] found.
#[derive(Default)]
pub(super) struct Polled {
    /// Batches whose records are all accounted for.
    pub(super) complete: Vec<Arc<Ticket>>,
    /// Number of records that were heard of.
    pub(super) reported: u64,
    /// The first error that a record came back with, or that the whole client has.
    pub(super) failed: Option<Code>,
}

/// A producer of some topics. Dropping it gives up what it still holds.
pub(super) struct Producer {
    client: BaseProducer<Context>,
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// In the order in which they were given.
    topics: Vec<NonNull<sys::rd_kafka_topic_t>>,
}

// SAFETY: librdkafka's handles may be used from any thread, at the same time.
unsafe impl Send for Producer {}
// SAFETY: as above.
unsafe impl Sync for Producer {}

impl Producer {
    /// A producer of these topics.
    pub(super) fn open(config: &ClientConfig, topics: &[&str], watch: Watch) -> Result<Self, KafkaError> {
        let client =
            BaseProducer::from_config_and_context(config, Watched { watch, beside: LastDeliveries })?;
        let native = client.client().native_ptr();
        // SAFETY: `native` lives as long as `client`. The reference is given back in `drop`.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_get_main(native) });
        let queue = queue.expect("every client has a main queue");
        let mut producer = Self { client, queue, topics: Vec::new() };
        for topic in topics {
            let name = CString::new(*topic)?;
            // SAFETY: as above; a null configuration means the client's own.
            let topic =
                NonNull::new(unsafe { sys::rd_kafka_topic_new(native, name.as_ptr(), ptr::null_mut()) });
            producer.topics.push(topic.ok_or(KafkaError::MessageProduction(Code::InvalidTopic))?);
        }
        Ok(producer)
    }

    /// The client, for transactions.
    pub(super) fn client(&self) -> &BaseProducer<Context> {
        &self.client
    }

    /// Hands a record of the first topic over; its bytes are copied. The ticket is held and counts it already, and hears of it
    /// again exactly once unless this fails.
    #[inline]
    pub(super) fn produce(&self, record: &Record<'_>, ticket: &Arc<Ticket>) -> Result<(), Code> {
        // SAFETY: the ticket stays alive: it holds itself until every record that was handed over is accounted for, see
        // `held::hold`.
        unsafe { self.produce_raw(0, record, Arc::as_ptr(ticket).cast()) }
    }

    /// Hands a record of any topic over; nobody hears of its fate but [`Polled::failed`].
    pub(super) fn produce_unwatched(&self, topic: usize, record: &Record<'_>) -> Result<(), Code> {
        // SAFETY: a null ticket is left alone.
        unsafe { self.produce_raw(topic, record, ptr::null()) }
    }

    /// # Safety
    ///
    /// `ticket` is null, or lives until the record is accounted for.
    #[inline]
    unsafe fn produce_raw(
        &self,
        topic: usize,
        record: &Record<'_>,
        ticket: *const c_void,
    ) -> Result<(), Code> {
        let (name, header) = record.header;
        let name_len = name.to_bytes().len().cast_signed();
        // SAFETY: all pointers are valid for their lengths during the calls, and librdkafka copies what they point to.
        // The arguments are of the types that each tag asks for, and the list is ended. On success the message owns the
        // headers; on failure they are ours to destroy.
        unsafe {
            let headers = sys::rd_kafka_headers_new(1);
            let header_len = header.len().cast_signed();
            sys::rd_kafka_header_add(headers, name.as_ptr(), name_len, header.as_ptr().cast(), header_len);
            let error = sys::rd_kafka_producev(
                self.client.client().native_ptr(),
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
                self.topics[topic].as_ptr(),
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
                record.value.as_ptr(),
                record.value.len(),
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
                record.key.as_ptr(),
                record.key.len(),
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
                ticket,
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
                headers,
                sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
            );
            if error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Ok(());
            }
            sys::rd_kafka_headers_destroy(headers);
            Err(error.into())
        }
    }

    /// Takes what librdkafka has to say, waiting for the first of it.
    pub(super) fn poll(&self, wait: Duration) -> Polled {
        let mut polled = Polled::default();
        let mut wait = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // More may be waiting; but those who wait for these should not wait for all.
        for _ in 0..MAX_EVENTS {
            // SAFETY: the queue is ours; the event is destroyed below.
            let Some(event) = NonNull::new(unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), wait) })
            else {
                break;
            };
            wait = 0;
            // SAFETY: the event is alive.
            match unsafe { sys::rd_kafka_event_type(event.as_ptr()) } {
                sys::RD_KAFKA_EVENT_DR => reports(event, &mut polled),
                sys::RD_KAFKA_EVENT_ERROR => self.error(event, &mut polled),
                sys::RD_KAFKA_EVENT_LOG => self.log(event),
                _ => {}
            }
            // SAFETY: not used after this.
            unsafe { sys::rd_kafka_event_destroy(event.as_ptr()) };
        }
        polled
    }

    /// Ends a wait in [`Producer::poll`].
    pub(super) fn wake(&self) {
        // SAFETY: the queue is ours.
        unsafe { sys::rd_kafka_queue_yield(self.queue.as_ptr()) };
    }

    /// Has the client send what it holds now, whatever its linger. Takes this long, unless nothing is outstanding.
    pub(super) fn push(&self, wait: Duration) {
        let milliseconds = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client is alive. The call raises a flag that the broker threads look at when they are woken, and
        // lowers it when it returns; that records are outstanding by then is no error here.
        unsafe { sys::rd_kafka_flush(self.client.client().native_ptr(), milliseconds) };
    }

    /// Gives up all records; they come back as failed through [`Producer::poll`].
    pub(super) fn purge(&self) {
        self.client.purge(PurgeConfig::default().queue().inflight());
    }

    /// Records handed over whose acknowledgement has not been polled.
    pub(super) fn outstanding(&self) -> usize {
        usize::try_from(self.client.in_flight_count()).unwrap_or(0)
    }

    fn error(&self, event: NonNull<sys::rd_kafka_event_t>, polled: &mut Polled) {
        // SAFETY: the event is alive and an error, so its text is one that lives as long.
        let (code, reason) = unsafe {
            let reason = sys::rd_kafka_event_error_string(event.as_ptr());
            let code: Code = sys::rd_kafka_event_error(event.as_ptr()).into();
            (code, if reason.is_null() { "".into() } else { CStr::from_ptr(reason).to_string_lossy() })
        };
        if code == Code::Fatal {
            let code = self.client.client().fatal_error().map_or(code, |(code, _)| code);
            polled.failed.get_or_insert(code);
        }
        self.client.context().error(KafkaError::Global(code), reason.trim());
    }

    fn log(&self, event: NonNull<sys::rd_kafka_event_t>) {
        let (mut facility, mut message, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event is alive and a log line; the texts live as long as it does.
        let (facility, message) = unsafe {
            if sys::rd_kafka_event_log(event.as_ptr(), &raw mut facility, &raw mut message, &raw mut level)
                != 0
            {
                return;
            }
            (CStr::from_ptr(facility).to_string_lossy(), CStr::from_ptr(message).to_string_lossy())
        };
        let level = match level {
            ..=2 => RDKafkaLogLevel::Critical,
            3 => RDKafkaLogLevel::Error,
            4 => RDKafkaLogLevel::Warning,
            5 => RDKafkaLogLevel::Notice,
            6 => RDKafkaLogLevel::Info,
            _ => RDKafkaLogLevel::Debug,
        };
        self.client.context().log(level, &facility, &message);
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.purge();
        // What was purged comes back at once; what a broker thread still holds, within its current step.
        for _ in 0..DRAIN_ROUNDS {
            self.poll(DRAIN_WAIT);
            if self.outstanding() == 0 {
                break;
            }
        }
        // SAFETY: the references taken in `open`; the client outlives this.
        unsafe {
            self.topics.iter().for_each(|topic| sys::rd_kafka_topic_destroy(topic.as_ptr()));
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Events that one poll takes at most.
const MAX_EVENTS: usize = 64;
/// How often and how long a dropped producer waits for what it purged.
const DRAIN_ROUNDS: usize = 50;
const DRAIN_WAIT: Duration = Duration::from_millis(20);

/// Counts the acknowledgements of an event off their tickets, run by run.
fn reports(event: NonNull<sys::rd_kafka_event_t>, polled: &mut Polled) {
    let no_error = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    let mut run: (*const Ticket, usize) = (ptr::null(), 0);
    loop {
        // SAFETY: the event holds acknowledgements; each message lives as long as the event.
        let message = unsafe { sys::rd_kafka_event_message_next(event.as_ptr()).as_ref() };
        let ticket = message.map_or(ptr::null(), |message| message._private.cast::<Ticket>().cast_const());
        if let Some(message) = message.filter(|message| message.err != no_error) {
            let code: Code = message.err.into();
            // That it was purged is no reason, if there is another.
            if polled.failed.is_none_or(|known| is_purge(known) && !is_purge(code)) {
                polled.failed = Some(code);
            }
            // SAFETY: the ticket, if there is one, holds itself until this message is counted off.
            if let Some(ticket) = unsafe { ticket.as_ref() } {
                ticket.fail();
            }
        }
        if ticket == run.0 && !ticket.is_null() {
            run.1 += 1;
            continue;
        }
        if !run.0.is_null() {
            // SAFETY: `run.0` was given to `produce` with `run.1` records that are reported here for the first time.
            polled.complete.extend(unsafe { held::count_off(run.0, run.1) });
            polled.reported += run.1 as u64;
        }
        if message.is_none() {
            return;
        }
        run = (ticket, 1);
    }
}

/// Whether a record came back because it was purged.
fn is_purge(code: Code) -> bool {
    matches!(code, Code::PurgeQueue | Code::PurgeInflight)
}

/// The client's context. Deliveries do not come this way, but for the last ones.
pub(super) type Context = Watched<LastDeliveries>;

/// What the client library's own polling brings while it drops or flushes.
pub(super) struct LastDeliveries;

/// What a record carries, for the client library's own polling: while it drops or flushes.
pub(super) struct Opaque(*const Ticket);

// SAFETY: tickets are `Send` and `Sync`, and this only passes the pointer on.
unsafe impl Send for Opaque {}
// SAFETY: as above.
unsafe impl Sync for Opaque {}

impl IntoOpaque for Opaque {
    fn into_ptr(self) -> *mut c_void {
        self.0.cast_mut().cast()
    }

    unsafe fn from_ptr(pointer: *mut c_void) -> Self {
        Self(pointer.cast::<Ticket>().cast_const())
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Opaque;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Opaque) {
        if opaque.0.is_null() {
            return;
        }
        // SAFETY: as in `reports`. A batch that is completed here has failed already: its producer is being dropped.
        unsafe {
            if result.is_err() {
                (*opaque.0).fail();
            }
            held::count_off(opaque.0, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The partition of a key among 1,000, by the partitioner that every producer here is set to.
    fn partition(key: &[u8]) -> i32 {
        // SAFETY: the partitioner looks at the key only.
        unsafe {
            sys::rd_kafka_msg_partitioner_murmur2(
                ptr::null(),
                key.as_ptr().cast(),
                key.len(),
                1_000,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        }
    }

    /// Against what `org.apache.kafka.common.utils.Utils.murmur2` gives, as a signed number.
    #[track_caller]
    fn check(key: &[u8], java: i32) {
        assert_eq!(partition(key), (java & 0x7fff_ffff) % 1_000);
        // Where the key begins in memory makes no difference.
        let mut shifted = vec![0; key.len() + 1];
        shifted[1..].copy_from_slice(key);
        assert_eq!(partition(&shifted[1..]), (java & 0x7fff_ffff) % 1_000);
    }

    #[test]
    fn keys_go_where_java_puts_them() {
        check(b"21", -973_932_308);
        check(b"foobar", -790_332_482);
        check(b"a-little-bit-long-string", -985_981_536);
        check(b"a-little-bit-longer-string", -1_486_304_829);
        check(b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
        check(b"abc", 479_470_107);
    }
}
