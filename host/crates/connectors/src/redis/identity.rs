//! Which process answers, and what matters about how it is configured.

use std::fmt;

use redis::{Cmd, RedisError, RedisResult, Value};

use super::error::{self, Trouble};
use super::layout::{self, Role};

/// Keeps everything until `maxmemory`, and then refuses writes.
const NO_EVICTION: &str = "noeviction";

/// The process behind an address. What the user may not ask (`INFO` is forbidden) is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `host:port`.
    pub address: String,
    /// Another one after each restart.
    pub run_id: Option<String>,
    /// Names the history of writes: another one after a failover or a restart.
    pub replication_id: Option<String>,
    /// The server's version.
    pub version: Option<Version>,
    /// The eviction policy, such as `noeviction`.
    pub maxmemory_policy: Option<String>,
    /// Bytes that it may use; 0 = no limit.
    pub maxmemory: Option<u64>,
}

/// A version of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

impl Identity {
    /// What is wrong with the eviction policy: rows may vanish.
    pub fn evicts(&self) -> Option<&str> {
        self.maxmemory_policy.as_deref().filter(|policy| *policy != NO_EVICTION)
    }

    pub(super) fn questions() -> [Cmd; 4] {
        let info = |section| {
            let mut command = redis::cmd("INFO");
            command.arg(section);
            command
        };
        [redis::cmd("ROLE"), info("server"), info("replication"), info("memory")]
    }

    /// Reads the answers. A replica is refused as it would refuse a write.
    pub(super) fn of(address: &str, answers: &[Value]) -> RedisResult<Self> {
        let [role, server, replication, memory] = answers else {
            let error =
                std::io::Error::new(std::io::ErrorKind::InvalidData, "not as many answers as commands");
            return Err(error.into());
        };
        let mut is_replica = matches!(layout::role(role), Some(Role::Replica { .. }));
        for answer in answers {
            if let Value::ServerError(refused) = answer {
                let refused = RedisError::from(refused.clone());
                if error::trouble(&refused) != Trouble::Rights {
                    return Err(refused);
                }
            }
        }
        is_replica |= layout::info(replication, "role") == Some("slave");
        if is_replica {
            return Err(error::read_only());
        }
        let text = |answer, name| layout::info(answer, name).map(str::to_owned);
        Ok(Self {
            address: address.to_owned(),
            run_id: text(server, "run_id"),
            replication_id: text(replication, "master_replid"),
            version: layout::info(server, "redis_version").and_then(Version::parse),
            maxmemory_policy: text(memory, "maxmemory_policy"),
            maxmemory: layout::info(memory, "maxmemory").and_then(|bytes| bytes.parse().ok()),
        })
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        Some(Self(parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn error(line: &str) -> Value {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
    }

    fn master() -> Value {
        Value::Array(vec![bulk("master"), Value::Int(7), Value::Array(Vec::new())])
    }

    #[test]
    fn a_master_tells_who_it_is() {
        let server = bulk("redis_version:7.0.15\r\nrun_id:abc\r\n");
        let replication = bulk("role:master\r\nmaster_replid:def\r\n");
        let memory = bulk("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n");
        let identity = Identity::of("a:1", &[master(), server, replication, memory]).unwrap();
        let expected = Identity {
            address: "a:1".into(),
            run_id: Some("abc".into()),
            replication_id: Some("def".into()),
            version: Some(Version(7, 0, 15)),
            maxmemory_policy: Some("allkeys-lru".into()),
            maxmemory: Some(0),
        };
        assert_eq!(identity, expected);
        assert_eq!(identity.evicts(), Some("allkeys-lru"));
    }

    #[test]
    fn what_may_not_be_asked_is_not_known() {
        let forbidden = error("NOPERM User a has no permissions to run the 'info' command");
        let identity =
            Identity::of("a:1", &[master(), forbidden.clone(), forbidden.clone(), forbidden]).unwrap();
        assert_eq!(identity, Identity { address: "a:1".into(), ..Identity::default() });
    }

    #[test]
    fn replicas_and_servers_that_load_are_refused() {
        let replica =
            Value::Array(vec![bulk("slave"), bulk("b"), Value::Int(1), bulk("connected"), Value::Int(0)]);
        let nothing = || bulk("");
        let refused = Identity::of("a:1", &[replica, nothing(), nothing(), nothing()]).unwrap_err();
        assert_eq!(error::trouble(&refused), Trouble::ReadOnly);
        let loading = error("LOADING Redis is loading the dataset in memory");
        let refused = Identity::of("a:1", &[loading, nothing(), nothing(), nothing()]).unwrap_err();
        assert_eq!(error::trouble(&refused), Trouble::Loading);
    }
}
