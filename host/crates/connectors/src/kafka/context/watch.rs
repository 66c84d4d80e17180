//! The context of a client: what it logs and reports goes to what all clients of the connection think.

use std::sync::Arc;

use model::error::Failure;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;

use super::presence::Presence;
use crate::kafka::error;

/// A client's context, for consumers as it is; contexts of other kinds are a [`Watched`]. Cheap to clone.
#[derive(Clone)]
pub struct Watch {
    presence: Arc<Presence>,
}

impl Watch {
    pub(super) fn new(presence: Arc<Presence>) -> Self {
        Self { presence }
    }

    /// Why nothing works now, if no broker answers.
    pub fn trouble(&self) -> Option<Failure> {
        self.presence.trouble()
    }

    /// What an error means for the caller. `doing` reads after "failed to" and names topic and partition, such as
    /// ``read topic `ads` ``. Where the error only says that nobody answered, the reason that brokers gave
    /// is used instead: a wrong password looks like silence to most calls.
    pub fn failure(&self, doing: &str, error: &KafkaError) -> Failure {
        let known =
            error::code(error).filter(|code| error::is_silence(*code)).and_then(|_| self.presence.cause());
        match known {
            Some((code, reason)) => error::code_failure(self.presence.name(), doing, code, Some(&reason)),
            None => error::failure(self.presence.name(), doing, error),
        }
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.presence.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.presence.report(&error, reason);
    }

    // Nobody asks for statistics; with `statistics.interval.ms` among the options they would fill the log.
    fn stats(&self, _statistics: Statistics) {}

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ConsumerContext for Watch {}

/// The context of a client of which something more is heard than logs and errors: those go to the [`Watch`], the rest is
/// for whoever implements the library's trait for `Watched<T>`.
pub(crate) struct Watched<T> {
    pub(crate) watch: Watch,
    pub(crate) beside: T,
}

impl<T: Send + Sync + 'static> ClientContext for Watched<T> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.watch.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}
