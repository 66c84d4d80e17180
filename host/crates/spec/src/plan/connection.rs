//! Connections as `host.yaml` declares them, with every default filled in. Secrets are here, and shown nowhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// An endpoint, and what it takes to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionPlan {
    /// A Kafka cluster.
    Kafka(KafkaConnectionPlan),
    /// Kinesis, in a region.
    Kinesis(KinesisConnectionPlan),
    /// Redis: a server, a cluster, or what sentinels watch.
    Redis(RedisConnectionPlan),
}

impl ConnectionPlan {
    /// The key that selects its kind in `host.yaml`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kafka(_) => "kafka",
            Self::Kinesis(_) => "kinesis",
            Self::Redis(_) => "redis",
        }
    }

    /// Every file that it names.
    pub(crate) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let mut paths: Vec<&mut Option<PathBuf>> = Vec::new();
        match self {
            Self::Kafka(kafka) => {
                if let Some(tls) = &mut kafka.tls {
                    paths.extend([&mut tls.ca, &mut tls.certificate, &mut tls.key]);
                }
            }
            Self::Kinesis(kinesis) => paths.push(&mut kinesis.ca),
            Self::Redis(redis) => {
                if let Some(tls) = &mut redis.tls {
                    paths.extend([&mut tls.ca, &mut tls.certificate, &mut tls.key]);
                }
            }
        }
        paths.into_iter().flatten()
    }
}

/// A Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConnectionPlan {
    /// Addresses of some brokers, `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Encryption; `None` = plain text.
    pub tls: Option<TlsPlan>,
    /// Who we are; `None` = nobody, or the TLS certificate.
    pub sasl: Option<SaslPlan>,
    /// Further client settings, by librdkafka's names; none of them breaks a promise.
    pub options: BTreeMap<String, String>,
}

/// How to encrypt. The server's name is always checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsPlan {
    /// Authorities to trust, PEM; `None` = those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// The key's password.
    pub key_password: Option<Secret>,
}

/// A user and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaslPlan {
    /// How the password is proved.
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// `PLAIN`: sent as it is.
    Plain,
    /// `SCRAM-SHA-256`.
    ScramSha256,
    /// `SCRAM-SHA-512`.
    ScramSha512,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Kinesis, in a region. Credentials come from AWS's usual chain, never from a file of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KinesisConnectionPlan {
    /// The region; `None` = as the environment says.
    pub region: Option<String>,
    /// Another endpoint than AWS's own, `http(s)://host[:port]`.
    pub endpoint_url: Option<String>,
    /// A profile of AWS's shared configuration files.
    pub profile: Option<String>,
    /// A role to take on.
    pub role_arn: Option<String>,
    /// What some roles of other accounts ask for.
    pub external_id: Option<String>,
    /// Authorities to trust, PEM; `None` = those of the system.
    pub ca: Option<PathBuf>,
}

/// Redis: a server, a cluster, or what sentinels watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConnectionPlan {
    /// Addresses of some nodes, `host:port`; at least one.
    pub addresses: Vec<String>,
    /// How the nodes belong together.
    pub mode: RedisMode,
    /// Number of the database; 0 in a cluster.
    pub database: u32,
    /// The user; `None` = the default user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// Encryption; `None` = plain text.
    pub tls: Option<RedisTlsPlan>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
}

/// How nodes of Redis belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RedisMode {
    /// One master, perhaps with replicas.
    #[default]
    Single,
    /// A cluster.
    Cluster,
    /// The addresses are those of sentinels.
    Sentinel {
        /// The name under which they know the master.
        service: String,
    },
}

/// How to encrypt to Redis. The server's name is always checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedisTlsPlan {
    /// Authorities to trust, PEM; `None` = those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM, without a password.
    pub key: Option<PathBuf>,
}
