//! Whether a cluster answers: suspected from what its clients report, decided by asking.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use model::error::Failure;
use prometheus_client::metrics::gauge::Gauge;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

use super::shared::{BrokerHook, BrokerState};
use crate::kafka::{Connection, KafkaMetrics, error};

/// How long one question may take. Shorter, and a broker that chooses a new leader is called away; longer, and
/// readiness says so later.
const ASK: Duration = Duration::from_secs(4);
/// Pause between questions while nobody answers.
const PAUSE: Duration = Duration::from_millis(500);
/// The least time between two lines in the log about brokers of one connection, while some of them answer.
const QUIET: Duration = Duration::from_secs(60);
/// How long a reason that a broker gave explains the silence that follows.
const REASON_HOLDS: Duration = Duration::from_secs(60);
/// Asked about because every cluster with groups has it; whether we may see it does not matter.
const ASKED_TOPIC: &str = "__consumer_offsets";

/// What all clients of one connection think of its cluster.
pub(super) struct Presence {
    connection: Connection,
    metrics: KafkaMetrics,
    away: Gauge,
    hook: BrokerHook,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether somebody is asking at the moment.
    asking: bool,
    /// Since when nobody answers.
    away: Option<Instant>,
    /// The last reason that was reported.
    reason: Option<Reason>,
    /// No further line before this.
    quiet_until: Option<Instant>,
    /// Reports since the last line.
    unsaid: u64,
}

#[derive(Clone)]
struct Reason {
    code: RDKafkaErrorCode,
    text: String,
    at: Instant,
}

impl Presence {
    pub(super) fn new(connection: Connection, metrics: &KafkaMetrics, hook: BrokerHook) -> Arc<Self> {
        let away = metrics.away(&connection.name);
        Arc::new(Self { connection, metrics: metrics.clone(), away, hook, state: Mutex::default() })
    }

    pub(super) fn name(&self) -> &str {
        &self.connection.name
    }

    /// Why nothing works now, if nobody answers.
    pub(super) fn trouble(&self) -> Option<Failure> {
        self.lock().away?;
        let doing = "reach any broker";
        Some(match self.cause() {
            Some((code, reason)) => error::code_failure(self.name(), doing, code, Some(&reason)),
            None => error::code_failure(self.name(), doing, RDKafkaErrorCode::AllBrokersDown, None),
        })
    }

    /// The last reason that a broker gave, while it still explains something.
    pub(super) fn cause(&self) -> Option<(RDKafkaErrorCode, String)> {
        let state = self.lock();
        let reason = state.reason.as_ref()?;
        (state.away.is_some() || reason.at.elapsed() < REASON_HOLDS)
            .then(|| (reason.code, reason.text.clone()))
    }

    /// A line of librdkafka's own log.
    pub(super) fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let connection = self.name();
        match level {
            // Failed connections are reported as errors as well: these lines are what makes a storm.
            _ if matches!(facility, "FAIL" | "ERROR") => tracing::debug!(connection, facility, "{message}"),
            // Said of a setting of ours, chosen in full knowledge of it.
            _ if facility == "CONFWARN" && message.contains("enable.gapless.guarantee") => {
                tracing::debug!(connection, facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::trace!(connection, facility, "{message}"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!(connection, facility, "{message}")
            }
            _ => {
                if let Some(unsaid) = self.may_speak() {
                    tracing::warn!(connection, facility, unsaid, "kafka client: {message}");
                }
            }
        }
    }

    /// An error that a client reports.
    pub(super) fn report(self: &Arc<Self>, error: &KafkaError, reason: &str) {
        let Some(code) = error::code(error) else { return };
        self.metrics.broker_error(self.name(), &error::name(code));
        tracing::debug!(connection = self.name(), code = error::name(code), "kafka client: {reason}");
        if !self.note(code, reason) {
            if let Some(unsaid) = self.may_speak() {
                tracing::warn!(connection = self.name(), unsaid, "kafka client: {reason}");
            }
            return;
        }
        let mut state = self.lock();
        if state.asking {
            return;
        }
        let presence = Arc::clone(self);
        let asking = thread::Builder::new().name("kafka-presence".to_owned()).spawn(move || presence.ask());
        // Without a thread the next report tries again.
        state.asking = asking.is_ok();
    }

    /// Remembers a reason. Whether it is one for which the cluster may be away.
    fn note(&self, code: RDKafkaErrorCode, text: &str) -> bool {
        let suspicious = error::is_silence(code) || error::is_refusal(code);
        if suspicious && code != RDKafkaErrorCode::AllBrokersDown {
            let mut state = self.lock();
            // A broken connection is often the consequence of a refusal, and says less.
            let explains_more = |reason: &Reason| {
                error::is_refusal(reason.code)
                    && !error::is_refusal(code)
                    && reason.at.elapsed() < REASON_HOLDS
            };
            if !state.reason.as_ref().is_some_and(explains_more) {
                state.reason = Some(Reason { code, text: text.to_owned(), at: Instant::now() });
            }
        }
        suspicious
    }

    /// Asks until somebody answers, or until nobody wants to know any more.
    fn ask(self: Arc<Self>) {
        let config = self.connection.config();
        let asker = BaseConsumer::from_config_and_context(&config, Asker { presence: Arc::clone(&self) });
        let asker: BaseConsumer<Asker> = match asker {
            Ok(asker) => asker,
            Err(error) => {
                let failure = error::failure(self.name(), "check whether brokers answer", &error);
                tracing::warn!(connection = self.name(), "failed to {failure}");
                self.lock().asking = false;
                return;
            }
        };
        loop {
            let asked = asker.fetch_metadata(Some(ASKED_TOPIC), ASK);
            if asked.is_ok() {
                self.answered();
                return;
            }
            self.silent();
            // One reference is ours, one our client's.
            if Arc::strong_count(&self) <= 2 {
                self.lock().asking = false;
                return;
            }
            // Also takes the client's log away, which would grow otherwise.
            asker.poll(PAUSE);
        }
    }

    fn answered(&self) {
        let since = {
            let mut state = self.lock();
            state.asking = false;
            let since = state.away.take();
            if since.is_some() {
                state.reason = None;
                state.quiet_until = None;
            }
            since
        };
        match since {
            Some(since) => {
                self.away.set(0);
                let seconds = since.elapsed().as_secs();
                tracing::info!(connection = self.name(), seconds, "kafka brokers are back");
                (self.hook)(self.name(), &BrokerState::Back);
            }
            None => {
                let reason = self.cause().map(|(_, reason)| reason).unwrap_or_default();
                if let Some(unsaid) = self.may_speak() {
                    tracing::warn!(connection = self.name(), unsaid, "a kafka broker has trouble: {reason}");
                }
            }
        }
    }

    fn silent(&self) {
        let reason = self.cause().map_or_else(|| "nobody answers".to_owned(), |(_, reason)| reason);
        {
            let mut state = self.lock();
            if state.away.is_some() {
                return;
            }
            state.away = Some(Instant::now());
        }
        self.away.set(1);
        let servers = &self.connection.bootstrap_servers;
        tracing::warn!(
            connection = self.name(),
            servers,
            "kafka brokers are away: {reason}; trying until they are back"
        );
        (self.hook)(self.name(), &BrokerState::Away(reason));
    }

    /// How many reports went unsaid, if a line may be written now. Not while the cluster is known to be away.
    fn may_speak(&self) -> Option<u64> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.away.is_some() || state.asking || state.quiet_until.is_some_and(|until| now < until) {
            state.unsaid += 1;
            return None;
        }
        state.quiet_until = Some(now + QUIET);
        Some(std::mem::take(&mut state.unsaid))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The context of the client that asks: it keeps reasons and says nothing.
struct Asker {
    presence: Arc<Presence>,
}

impl ClientContext for Asker {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error::code(&error) {
            self.presence.note(code, reason);
        }
    }

    fn stats(&self, _statistics: Statistics) {}
}

impl ConsumerContext for Asker {}
