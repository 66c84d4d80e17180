//! What Redis' errors mean: whether a command goes elsewhere, is repeated, or is given up, and what an operator is told.

use std::fmt;
use std::sync::Arc;

use model::error::{Disposition, Failure};
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};

/// What is wrong. One for each way in which clients react.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// The slot belongs to another node.
    Moved,
    /// The key may be at another node already.
    Ask,
    /// Keys of one command are at two nodes at the moment.
    TryAgain,
    /// The cluster does not hold all its slots.
    ClusterDown,
    /// The server reads its data from disk.
    Loading,
    /// A replica has lost its master.
    MasterDown,
    /// A replica was to write.
    ReadOnly,
    /// The script is not known.
    NoScript,
    /// `maxmemory` is reached.
    OutOfMemory,
    /// The server cannot write to disk and refuses writes until it can, or has too few replicas.
    Refuses,
    /// A script runs for too long.
    Busy,
    /// User or password are not accepted.
    Login,
    /// The user lacks a right.
    Rights,
    /// A key holds something else than a hash, or whatever it should.
    WrongType,
    /// The server has all the clients that it takes.
    TooManyClients,
    /// No answer in time.
    Timeout,
    /// Nobody listens, or the connection was cut.
    Cut,
    /// The certificate, or another part of encryption, is not accepted.
    Tls,
    /// The answer is not what it should be.
    Protocol,
    /// Anything else that a server says.
    Other,
}

impl Trouble {
    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Ask => "ask",
            Self::TryAgain => "try_again",
            Self::ClusterDown => "cluster_down",
            Self::Loading => "loading",
            Self::MasterDown => "master_down",
            Self::ReadOnly => "read_only",
            Self::NoScript => "no_script",
            Self::OutOfMemory => "out_of_memory",
            Self::Refuses => "refuses",
            Self::Busy => "busy",
            Self::Login => "login",
            Self::Rights => "rights",
            Self::WrongType => "wrong_type",
            Self::TooManyClients => "too_many_clients",
            Self::Timeout => "timeout",
            Self::Cut => "cut",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Other => "other",
        }
    }

    /// Whether another node is to be asked.
    pub const fn is_redirect(self) -> bool {
        matches!(self, Self::Moved | Self::Ask)
    }

    /// Whether the same command may do in a moment, at this node or at the one that has taken over.
    pub const fn is_passing(self) -> bool {
        matches!(
            self,
            Self::TryAgain
                | Self::ClusterDown
                | Self::Loading
                | Self::MasterDown
                | Self::ReadOnly
                | Self::Busy
        )
    }

    /// Whether somebody else may have become master.
    pub const fn wants_look(self) -> bool {
        matches!(
            self,
            Self::Moved | Self::ClusterDown | Self::MasterDown | Self::ReadOnly | Self::Cut | Self::Timeout
        )
    }

    /// Whether the connection is of no more use.
    pub const fn is_of_connection(self) -> bool {
        matches!(self, Self::Timeout | Self::Cut | Self::Tls | Self::Protocol)
    }

    const fn disposition(self) -> Disposition {
        match self {
            Self::WrongType | Self::Other => Disposition::Stop,
            _ => Disposition::Retry,
        }
    }

    /// What it means, and what to do; reads after the connection's name and a colon.
    const fn advice(self) -> &'static str {
        match self {
            Self::Moved | Self::Ask => "the slot was moved again and again",
            Self::TryAgain => "the slot is being moved",
            Self::ClusterDown => "the cluster does not hold all its slots; see `CLUSTER INFO`",
            Self::Loading => "the server is reading its data from disk",
            Self::MasterDown => "the replica has lost its master",
            Self::ReadOnly => "the server is a replica, and no master was found",
            Self::NoScript => "the server forgets scripts at once",
            Self::OutOfMemory => {
                "the server has reached its `maxmemory`; raise it or make room, writes wait until then"
            }
            Self::Refuses => "the server refuses writes until its disk or its replicas are well",
            Self::Busy => "the server is busy with a script; see `SCRIPT KILL`",
            Self::Login => "the server does not let us in; check `username` and `password`",
            Self::Rights => "the user lacks a right; see `ACL SETUSER`",
            Self::WrongType => {
                "a key holds something else than what is kept there; remove it, or use another `database` or project"
            }
            Self::TooManyClients => "the server has all the clients that it takes; raise its `maxclients`",
            Self::Timeout => "no answer in time",
            Self::Cut => "nobody answers",
            Self::Tls => "the connection could not be encrypted; check `tls`",
            Self::Protocol => "the answer makes no sense; is this a Redis, and encrypted as configured?",
            Self::Other => "the server refused",
        }
    }
}

/// An error of Redis within a [`Failure`].
#[derive(Debug, Clone, thiserror::Error)]
pub struct RedisTrouble {
    /// What is wrong.
    pub trouble: Trouble,
    /// The node that it came from, if that matters.
    pub address: Option<Arc<str>>,
    error: RedisError,
}

impl fmt::Display for RedisTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = &self.address {
            write!(f, "{address}: ")?;
        }
        f.write_str(&words(&self.error))
    }
}

/// An error as its server says it; the client's own rendering shows the names of its enums.
pub fn words(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => {
            let code = error.code().unwrap_or("ERR");
            error.detail().map_or(code.to_owned(), |detail| format!("{code} {detail}"))
        }
        ErrorKind::AuthenticationFailed => "AUTH was refused".to_owned(),
        _ if error.is_timeout() => "it does not answer in time".to_owned(),
        // Of what is no Redis the client shows whole lines.
        _ => error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// What an error means.
pub fn trouble(error: &RedisError) -> Trouble {
    match error.kind() {
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::Moved => Trouble::Moved,
            ServerErrorKind::Ask => Trouble::Ask,
            ServerErrorKind::TryAgain => Trouble::TryAgain,
            ServerErrorKind::ClusterDown => Trouble::ClusterDown,
            ServerErrorKind::BusyLoading => Trouble::Loading,
            ServerErrorKind::MasterDown => Trouble::MasterDown,
            ServerErrorKind::ReadOnly => Trouble::ReadOnly,
            ServerErrorKind::NoScript => Trouble::NoScript,
            ServerErrorKind::NoPerm => Trouble::Rights,
            _ => of_text(error.detail().unwrap_or_default()),
        },
        ErrorKind::Extension => match error.code().unwrap_or_default() {
            "OOM" => Trouble::OutOfMemory,
            "MISCONF" | "NOREPLICAS" => Trouble::Refuses,
            "BUSY" | "UNKILLABLE" => Trouble::Busy,
            "NOAUTH" | "WRONGPASS" => Trouble::Login,
            "WRONGTYPE" => Trouble::WrongType,
            _ => of_text(error.detail().unwrap_or_default()),
        },
        ErrorKind::AuthenticationFailed => Trouble::Login,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType | ErrorKind::RESP3NotSupported => {
            Trouble::Protocol
        }
        ErrorKind::Io if error.is_timeout() => Trouble::Timeout,
        ErrorKind::Io if is_tls(error) => Trouble::Tls,
        _ => Trouble::Cut,
    }
}

/// What is wrong in a failure that came from here.
pub fn trouble_of(failure: &Failure) -> Option<Trouble> {
    failure.source.as_ref()?.downcast_ref::<RedisTrouble>().map(|told| told.trouble)
}

/// The failure that an error is. `doing` reads after "failed to", such as ``write rows of view `a` ``.
pub fn failure(doing: &str, connection: &str, error: RedisError) -> Failure {
    failure_at(doing, connection, None, error)
}

/// As [`failure`], with the node that the error came from.
pub fn failure_at(doing: &str, connection: &str, address: Option<&Arc<str>>, error: RedisError) -> Failure {
    let trouble = trouble(&error);
    let message = format!("{doing} in Redis at connection `{connection}`: {}", trouble.advice());
    Failure { disposition: trouble.disposition(), message, source: None }.caused_by(RedisTrouble {
        trouble,
        address: address.cloned(),
        error,
    })
}

/// The error that an answer may be.
pub fn told(answer: Value) -> RedisResult<Value> {
    match answer {
        Value::ServerError(refused) => Err(RedisError::from(refused)),
        value => Ok(value),
    }
}

/// No answer in time.
pub(super) fn timeout() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// As a replica refuses a write.
pub(super) fn read_only() -> RedisError {
    RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "the server is a replica"))
}

/// As a cluster tells that nobody holds a slot.
pub(super) fn cluster_down(slot: u16) -> RedisError {
    let kind = ErrorKind::Server(ServerErrorKind::ClusterDown);
    RedisError::from((kind, "a slot is not held", format!("no node holds slot {slot}")))
}

/// An error that a server wraps in another: within a transaction, or told by a script, which hides the code before Redis 7.
fn of_text(text: &str) -> Trouble {
    let has = |part| text.contains(part);
    if has("max number of clients") {
        Trouble::TooManyClients
    } else if has("OOM command not allowed") {
        Trouble::OutOfMemory
    } else if has("-READONLY") || has("read only replica") {
        Trouble::ReadOnly
    } else if has("-WRONGTYPE") {
        Trouble::WrongType
    } else if has("-NOPERM") || has("can't run this command") || has("can't access at least one of the keys")
    {
        Trouble::Rights
    } else if has("-MISCONF") || has("-NOREPLICAS") || has("discarded because of previous errors") {
        Trouble::Refuses
    } else {
        Trouble::Other
    }
}

fn is_tls(error: &RedisError) -> bool {
    let text = error.to_string();
    ["certificate", "TLS", "corrupt message", "AlertReceived", "received fatal alert"]
        .iter()
        .any(|part| text.contains(part))
}

#[cfg(test)]
mod tests;
