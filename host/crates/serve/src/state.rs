//! What the server is given: where to read, whom to ask, what exists, and its limits.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::online::OnlineReader;
use model::status::{Control, Overview};
use model::time::Clock;
use prometheus_client::registry::Registry;

use crate::directory::Directory;
use crate::health::Health;
use crate::metrics::Metrics;

/// Everything that requests are answered from.
pub struct ServeState {
    /// Where feature rows are read.
    pub reader: Arc<dyn OnlineReader>,
    /// What the flow says of its views.
    pub overview: Arc<dyn Overview>,
    /// What operators can ask of the flow.
    pub control: Arc<dyn Control>,
    /// Views, services and sources by name; the host stores a new one at each reload.
    pub directory: Arc<ArcSwap<Directory>>,
    /// Decides ages; never used to measure durations.
    pub clock: Arc<dyn Clock>,
    /// What `/metrics` shows. The server registers its own metrics in it when it begins to run.
    pub registry: Arc<RwLock<Registry>>,
    /// Whether the host as a whole can serve; the host sets it.
    pub health: Arc<Health>,
    /// Limits.
    pub settings: ServeSettings,
}

/// Limits of the server. Each bounds what one client can cost the others.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// Bytes of one request body. Larger bodies are answered with 413, which names [`ServeSettings::max_body_key`].
    pub max_body_bytes: usize,
    /// The key of the configuration that sets `max_body_bytes`, for messages.
    pub max_body_key: &'static str,
    /// Whether views are read before what a crash cost is made up for; answers are then marked.
    pub serve_while_recovering: bool,
    /// How long `/push` waits for the online write. Too short and callers are told to wait for what is nearly done,
    /// too long and a stuck view holds their connections.
    pub push_wait: Duration,
    /// How long a connection may take for the head of its next request, idle time included. Too short and clients
    /// reconnect all the time, too long and slow or forgotten connections fill [`ServeSettings::max_connections`].
    pub header_timeout: Duration,
    /// How long a request may take to send its body.
    pub body_timeout: Duration,
    /// How long open requests may take once the server is told to stop.
    pub drain_timeout: Duration,
    /// Connections at a time; further ones wait in the listener's backlog.
    pub max_connections: usize,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            max_body_key: "push.max_body_bytes",
            serve_while_recovering: false,
            push_wait: Duration::from_secs(5),
            header_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            max_connections: 4096,
        }
    }
}

/// The state as handlers share it, with the server's own metrics beside it.
pub(crate) struct Inner {
    pub(crate) state: ServeState,
    pub(crate) metrics: Metrics,
}

impl Inner {
    /// What exists at this moment; a request looks once and keeps what it saw.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.state.directory.load_full()
    }
}
