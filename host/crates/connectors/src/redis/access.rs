//! How to get in: addresses, certificates, passwords and time limits as the client library takes them.

use std::path::Path;
use std::sync::Once;

use model::error::Failure;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    RedisResult, TlsCertificates,
};

use super::{Connection, Tls};

/// A connection's settings, with what its files say.
pub(super) struct Access {
    pub(super) connection: Connection,
    certificates: Option<TlsCertificates>,
}

/// Who we are to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// The connection's user, in its database.
    User,
    /// Nobody, in database 0: sentinels are often open where their servers are not.
    Nobody,
    /// The connection's user, in database 0: sentinels have no others.
    UserOfSentinel,
}

impl Access {
    /// Reads certificates. What is wrong with them, or with the addresses, is a stop.
    pub(super) fn read(connection: &Connection) -> Result<Self, Failure> {
        let certificates =
            connection.tls.as_ref().map(|tls| certificates(&connection.name, tls)).transpose()?;
        let access = Self { connection: connection.clone(), certificates };
        if connection.addresses.is_empty() {
            return Err(Failure::stop(format!(
                "connect to Redis at connection `{}`: it has no address",
                connection.name
            )));
        }
        for address in &connection.addresses {
            access.client(address, As::User).map_err(|error| {
                let name = &connection.name;
                Failure::stop(format!("connect to Redis at connection `{name}`, address `{address}`"))
                    .caused_by(error)
            })?;
        }
        Ok(access)
    }

    /// The client of one address. Nothing is connected.
    pub(super) fn client(&self, address: &str, who: As) -> RedisResult<Client> {
        let connection = &self.connection;
        let (host, port) = host_and_port(address)?;
        let address = match self.certificates {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        let mut login = RedisConnectionInfo::default().set_lib_name("millrace", env!("CARGO_PKG_VERSION"));
        if who != As::Nobody {
            if let Some(username) = &connection.username {
                login = login.set_username(username);
            }
            if let Some(password) = &connection.password {
                login = login.set_password(password);
            }
        }
        if who == As::User {
            login = login.set_db(connection.database);
        }
        // Small commands must not wait for the answer to earlier ones.
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = address.into_connection_info()?.set_redis_settings(login).set_tcp_settings(tcp);
        match &self.certificates {
            None => Client::open(info),
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        }
    }

    /// Answers are waited for by whoever asks, each with its own limit.
    pub(super) fn settings(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connection.connect_timeout))
            .set_response_timeout(None)
    }
}

/// `host:port`, with an IPv6 address in brackets.
fn host_and_port(address: &str) -> RedisResult<(String, u16)> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| {
        let host = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
        (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
    });
    parts.ok_or_else(|| {
        let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, "an address is `host:port`");
        error.into()
    })
}

fn certificates(connection: &str, tls: &Tls) -> Result<TlsCertificates, Failure> {
    install_provider();
    let read = |path: &Path| {
        let doing = || format!("connect to Redis at connection `{connection}`: read `{}`", path.display());
        let pem = std::fs::read(path).map_err(|error| Failure::stop(doing()).caused_by(error))?;
        if memchr::memmem::find(&pem, b"-----BEGIN ").is_none() {
            return Err(Failure::stop(format!("{}: it holds no PEM", doing())));
        }
        Ok(pem)
    };
    let root_cert = tls.ca.as_deref().map(read).transpose()?;
    let client_tls = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        }
        (None, None) => None,
        _ => {
            let message = "`certificate` and `key` belong together, and one is missing";
            return Err(Failure::stop(format!("connect to Redis at connection `{connection}`: {message}")));
        }
    };
    Ok(TlsCertificates { client_tls, root_cert })
}

/// The client library takes the process' provider of cryptography. Ours is the only one in this tree; another that was
/// installed before stays.
fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("another provider of cryptography is installed already");
        }
    });
}

#[cfg(test)]
mod tests;
