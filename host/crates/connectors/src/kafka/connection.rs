//! A Kafka cluster and what it takes to get in, in librdkafka's settings.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// A Kafka cluster.
#[derive(Clone)]
pub struct Connection {
    /// Its name in `host.yaml`, for messages.
    pub name: String,
    /// Addresses of some brokers, `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Encryption; `None` = plain text.
    pub tls: Option<Tls>,
    /// User and password; `None` = nobody, or the certificate.
    pub sasl: Option<Sasl>,
    /// Further client settings, by librdkafka's names. They are applied first: what a promise rests on wins.
    pub options: BTreeMap<String, String>,
}

/// How to encrypt. The broker's name is always checked.
#[derive(Clone, Default)]
pub struct Tls {
    /// Authorities to trust, PEM; `None` = those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// The key's password.
    pub key_password: Option<String>,
}

/// Who we are.
#[derive(Clone)]
pub struct Sasl {
    /// How the password is proved.
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: String,
    /// The password; never shown.
    pub password: String,
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// Sent as it is.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Connection {
    /// The settings that every client of this cluster begins with.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Brokers close idle connections, which is no news; and one that is back is found again soon.
        config.set("client.id", "millrace");
        config.set("log.connection.close", "false");
        config.set("reconnect.backoff.max.ms", "2000");
        // Lines wait within a client until it is polled: only those that matter, unless details are asked for.
        let level = if self.options.contains_key("debug") {
            RDKafkaLogLevel::Debug
        } else {
            RDKafkaLogLevel::Warning
        };
        config.set_log_level(level);
        for (key, value) in &self.options {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), None) => "ssl",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            let mut path = |key: &str, path: &Option<PathBuf>| {
                if let Some(path) = path {
                    config.set(key, path.display().to_string());
                }
            };
            path("ssl.ca.location", &tls.ca);
            path("ssl.certificate.location", &tls.certificate);
            path("ssl.key.location", &tls.key);
            if let Some(password) = &tls.key_password {
                config.set("ssl.key.password", password);
            }
            config.set("enable.ssl.certificate.verification", "true");
            config.set("ssl.endpoint.identification.algorithm", "https");
        }
        if let Some(sasl) = &self.sasl {
            config.set("sasl.mechanism", sasl.mechanism.name());
            config.set("sasl.username", &sasl.username);
            config.set("sasl.password", &sasl.password);
        }
        config
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither passwords nor options, which may hold some.
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("bootstrap_servers", &self.bootstrap_servers)
            .finish_non_exhaustive()
    }
}
