//! Where a Redis is, and what it takes to get in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long connecting takes at most, unless something else is said.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer takes at most, unless something else is said: longer than a busy server pauses, and short enough to
/// notice one that is gone.
pub const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A Redis as a host names it. Nothing is tried until something is asked of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its name in `host.yaml`.
    pub name: String,
    /// Addresses of some nodes, `host:port`; at least one.
    pub addresses: Vec<String>,
    /// How the nodes belong together.
    pub mode: Mode,
    /// Number of the database; 0 in a cluster.
    pub database: i64,
    /// The user; `None` = the default user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// Encryption; `None` = plain text.
    pub tls: Option<Tls>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer may take. What had no answer in time may or may not have been done.
    pub response_timeout: Duration,
}

impl Connection {
    /// One server in plain text, with the usual limits.
    pub fn new(name: &str, addresses: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            addresses,
            mode: Mode::Single,
            database: 0,
            username: None,
            password: None,
            tls: None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            response_timeout: DEFAULT_RESPONSE_TIMEOUT,
        }
    }
}

/// How the nodes of a Redis belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mode {
    /// One master; other addresses are its replicas, one of which may be promoted.
    #[default]
    Single,
    /// A cluster: each master holds some slots.
    Cluster,
    /// The addresses are sentinels, which know the master.
    Sentinel {
        /// The name under which they know it.
        service: String,
    },
}

/// How to encrypt. The server's name is always checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Authorities to trust, PEM; `None` = those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .field("mode", &self.mode)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .finish()
    }
}
