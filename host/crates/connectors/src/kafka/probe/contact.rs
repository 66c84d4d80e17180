//! The first contact with a cluster: a client that keeps every reason it hears.
//!
//! It sets librdkafka's own callbacks, because only they say what is wrong with a certificate.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaType;

use crate::kafka::{Connection, error};

/// How long one question takes at most before reasons are looked at.
const STEP: Duration = Duration::from_millis(500);

/// Reasons kept; a client that goes on for long repeats itself.
const KEPT: usize = 100;

/// Asked for, because every cluster with groups has it; whether we may see it does not matter.
const ASKED_TOPIC: &str = "__consumer_offsets";

/// What was heard.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    /// Errors, in librdkafka's words.
    pub(super) errors: Vec<(Code, String)>,
    /// What else was logged of failed connections: some failures are not reported as errors.
    pub(super) lines: Vec<String>,
    /// What OpenSSL has against the brokers' certificates: its error number, and the certificate's subject and issuer.
    pub(super) certificates: Vec<(i32, String)>,
}

/// What a cluster says when it lets us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cluster {
    /// Brokers that are alive.
    pub(super) brokers: usize,
}

/// Why there was no contact.
#[derive(Debug)]
pub(super) enum NoContact {
    /// No client could be made with these settings.
    Settings(KafkaError),
    /// Nobody let us in.
    Refused(Heard),
}

/// Tries to get in, until `patience` ends or a broker says why not.
pub(super) fn reach(connection: &Connection, patience: Duration) -> Result<Cluster, NoContact> {
    let mut config = connection.config();
    // The next attempt comes soon: there may be several brokers, and one of them up.
    config.set("reconnect.backoff.max.ms", "1000").set_log_level(RDKafkaLogLevel::Info);
    let native = config.create_native_config().map_err(NoContact::Settings)?;
    // SAFETY: the settings are ours until the client takes them; the callbacks take the opaque pointer that
    // `Client::new` sets, which is the context that the client keeps alive.
    unsafe {
        sys::rd_kafka_conf_set_error_cb(native.ptr(), Some(on_error));
        sys::rd_kafka_conf_set_log_cb(native.ptr(), Some(on_log));
        if connection.tls.is_some() {
            sys::rd_kafka_conf_set_ssl_cert_verify_cb(native.ptr(), Some(on_certificate));
        }
    }
    let client = Client::new(&config, native, RDKafkaType::RD_KAFKA_CONSUMER, Listener::default())
        .map_err(NoContact::Settings)?;
    let deadline = Instant::now() + patience;
    loop {
        let answer = client.fetch_metadata(Some(ASKED_TOPIC), STEP);
        // SAFETY: the client is alive. What is waiting is told to the callbacks above.
        while unsafe { sys::rd_kafka_poll(client.native_ptr(), 0) } > 0 {}
        if let Ok(metadata) = answer {
            return Ok(Cluster { brokers: metadata.brokers().len() });
        }
        let heard = client.context().heard();
        if heard.is_settled() || deadline < Instant::now() {
            return Err(NoContact::Refused(heard));
        }
    }
}

impl Heard {
    /// Whether somebody has said no: waiting would not change that.
    fn is_settled(&self) -> bool {
        let says_no =
            |(code, text): &(Code, String)| error::is_refusal(*code) || text.contains("SSL routines");
        !self.certificates.is_empty() || self.errors.iter().any(says_no)
    }
}

#[derive(Default)]
struct Listener {
    state: Mutex<(Heard, Option<i32>)>,
}

impl ClientContext for Listener {}

impl Listener {
    fn heard(&self) -> Heard {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

extern "C" fn on_error(
    _client: *mut sys::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka passes the opaque pointer of the client, a C string, and a number of the enumeration that is
    // compiled into it.
    let (listener, reason, code) = unsafe {
        (
            &*opaque.cast::<Listener>(),
            CStr::from_ptr(reason).to_string_lossy().into_owned(),
            std::mem::transmute::<c_int, sys::rd_kafka_resp_err_t>(code),
        )
    };
    let mut state = listener.state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.0.errors.len() < KEPT {
        state.0.errors.push((code.into(), reason));
    }
}

extern "C" fn on_log(
    client: *const sys::rd_kafka_t,
    _level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: the client is alive in its own callback, its opaque pointer is the context, the texts are C strings.
    let (listener, facility, line) = unsafe {
        (&*sys::rd_kafka_opaque(client).cast::<Listener>(), CStr::from_ptr(facility), CStr::from_ptr(line))
    };
    let mut state = listener.state.lock().unwrap_or_else(PoisonError::into_inner);
    if facility.to_bytes() == b"FAIL" && state.0.lines.len() < KEPT {
        let line = line.to_string_lossy();
        // The name of librdkafka's thread comes first.
        state
            .0
            .lines
            .push(line.split_once("]: ").map_or_else(|| line.to_string(), |(_, rest)| rest.to_owned()));
    } else if facility.to_bytes() == b"SSLCERTVRFY" {
        let Some(number) = state.1 else { return };
        if state.0.certificates.len() < KEPT {
            let line = line.to_string_lossy();
            // The line reads: Certificate (subject=…, issuer=…) verification callback failed.
            let named =
                line.split_once("Certificate (").and_then(|(_, rest)| rest.split_once(") verification"));
            state
                .0
                .certificates
                .push((number, named.map_or_else(String::new, |(names, _)| names.to_owned())));
        }
    }
}

extern "C" fn on_certificate(
    _client: *mut sys::rd_kafka_t,
    _broker: *const c_char,
    _id: i32,
    x509_error: *mut c_int,
    _depth: c_int,
    _certificate: *const c_char,
    _size: usize,
    _text: *mut c_char,
    _text_size: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka passes a valid number and the opaque pointer of the client.
    let (number, listener) = unsafe { (*x509_error, &*opaque.cast::<Listener>()) };
    if number == 0 {
        return 1;
    }
    // The verdict stays OpenSSL's; the line in the log that follows names the certificate.
    listener.state.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(number);
    0
}
