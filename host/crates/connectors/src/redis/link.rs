//! The line to one node: one connection, made when it is needed, shared by everybody who asks that node at the same time.
//!
//! Commands of all callers go out one behind the other and nobody waits for another's answer. A line that broke, or did
//! not answer for as long as answers may take, is dropped, and the next caller makes a new one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult, Value};
use tokio::runtime::Handle;

use super::access::{Access, As};
use super::error::{self, timeout};
use super::metrics::ConnectionMetrics;

/// Whoever waited while another could not connect does not try at once again.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// What all lines of a connection share.
pub(super) struct Lines {
    pub(super) access: Access,
    pub(super) runtime: Handle,
    pub(super) metrics: ConnectionMetrics,
    /// How often keys may have come to another server than before; see [`super::Nodes::changes`].
    pub(super) changes: AtomicU64,
}

impl Lines {
    /// Waits until the deadline at most; callable from any executor.
    pub(super) async fn until<T>(&self, deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
        let limited = {
            let _runtime = self.runtime.enter();
            tokio::time::timeout_at(deadline.into(), future)
        };
        limited.await.ok()
    }

    /// Waits for a while.
    pub(super) async fn pause(&self, pause: Duration) {
        let sleep = {
            let _runtime = self.runtime.enter();
            tokio::time::sleep(pause)
        };
        sleep.await;
    }
}

/// The line to one node.
pub(super) struct Link {
    pub(super) address: Arc<str>,
    who: As,
    state: Mutex<State>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    line: Option<Line>,
    /// How many lines there were.
    lines: u64,
    /// When connecting failed last, and how.
    failed: Option<(Instant, RedisError)>,
    /// Since when nothing was answered although somebody waited in vain.
    silent_since: Option<Instant>,
}

#[derive(Clone)]
struct Line {
    number: u64,
    connection: MultiplexedConnection,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Nothing was sent.
    Unsent(RedisError),
    /// It may have been done.
    Unknown(RedisError),
}

impl Unanswered {
    pub(super) fn into_error(self) -> RedisError {
        match self {
            Self::Unsent(error) | Self::Unknown(error) => error,
        }
    }
}

impl Link {
    pub(super) fn new(address: &str, who: As) -> Self {
        Self {
            address: address.into(),
            who,
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Sends commands and waits for all answers, which may be errors, until the deadline.
    pub(super) async fn send(
        self: &Arc<Self>,
        lines: &Arc<Lines>,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Value>, Unanswered> {
        let mut line = match lines.until(deadline, self.line(lines)).await {
            Some(line) => line.map_err(Unanswered::Unsent)?,
            None => return Err(Unanswered::Unsent(timeout())),
        };
        let sent = Instant::now();
        let answers =
            lines.until(deadline, line.connection.send_packed_commands(commands, 0, commands.len())).await;
        match answers {
            Some(Ok(answers)) if answers.len() == commands.len() => {
                self.lock().silent_since = None;
                Ok(answers)
            }
            Some(Ok(_)) => {
                self.drop_line(line.number);
                let error =
                    std::io::Error::new(std::io::ErrorKind::InvalidData, "not as many answers as commands");
                Err(Unanswered::Unknown(error.into()))
            }
            Some(Err(error)) => {
                if error::trouble(&error).is_of_connection() {
                    self.drop_line(line.number);
                }
                Err(Unanswered::Unknown(error))
            }
            None => {
                self.note_silence(line.number, sent, lines.access.connection.response_timeout);
                Err(Unanswered::Unknown(timeout()))
            }
        }
    }

    /// A line that is open, or a new one.
    async fn line(self: &Arc<Self>, lines: &Arc<Lines>) -> RedisResult<Line> {
        if let Some(line) = self.open_line() {
            return Ok(line);
        }
        // In the background, so that it goes on when the caller is gone, and its task outlives the caller's runtime.
        let (link, of) = (Arc::clone(self), Arc::clone(lines));
        let connected = lines.runtime.spawn(async move { link.connect(&of).await });
        connected.await.unwrap_or_else(|_| Err(std::io::Error::other("the host is ending").into()))
    }

    async fn connect(&self, lines: &Lines) -> RedisResult<Line> {
        let _one = self.connecting.lock().await;
        if let Some(line) = self.open_line() {
            return Ok(line);
        }
        if let Some((when, error)) = &self.lock().failed
            && when.elapsed() < CONNECT_PAUSE
        {
            return Err(error.clone());
        }
        let access = &lines.access;
        let connected = match access.client(&self.address, self.who) {
            Ok(client) => client.get_multiplexed_async_connection_with_config(&access.settings()).await,
            Err(error) => Err(error),
        };
        let mut state = self.lock();
        match connected {
            Ok(connection) => {
                if state.lines > 0 {
                    lines.metrics.reconnects.inc();
                    // Before anything is answered over the new line.
                    lines.changes.fetch_add(1, Ordering::AcqRel);
                }
                state.lines += 1;
                let line = Line { number: state.lines, connection };
                state.line = Some(line.clone());
                state.failed = None;
                state.silent_since = None;
                Ok(line)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn open_line(&self) -> Option<Line> {
        self.lock().line.clone()
    }

    /// Nobody gets this line any more; who waits on it goes on to wait.
    fn drop_line(&self, number: u64) {
        let mut state = self.lock();
        state.line.take_if(|line| line.number == number);
    }

    /// A caller with little patience says nothing about the node.
    fn note_silence(&self, number: u64, sent: Instant, limit: Duration) {
        let mut state = self.lock();
        let since = *state.silent_since.get_or_insert(sent);
        if since.elapsed() >= limit {
            state.line.take_if(|line| line.number == number);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
