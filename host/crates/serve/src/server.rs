//! Connections: listening, bounds, keep-alive, and an end that lets open requests finish.
//!
//! What a request means is the router's business.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::metrics::Metrics;
use crate::router;
use crate::state::{Inner, ServeState};

/// Bytes of one request's head at most; a larger one is answered with 431 by the HTTP library.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// After the system refused a connection for want of descriptors: time for others to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound address, not yet served.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why an address cannot be listened on; names the address and the option that changes it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It is no address.
    #[error(
        "failed to listen on `{address}`: {source}; give HOST:PORT with `--listen`, such as `--listen 127.0.0.1:6566`"
    )]
    Address {
        /// As it was given.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error(
        "failed to listen on `{address}`: the port is in use by another process; stop that process, or choose another \
         address with `--listen` (port 0 takes any free one)"
    )]
    InUse {
        /// As it was given.
        address: String,
    },
    /// The system says no.
    #[error("failed to listen on `{address}`: {source}; choose another address with `--listen`")]
    Refused {
        /// As it was given.
        address: String,
        /// Why not.
        source: io::Error,
    },
}

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The runtime could not take over the listening socket.
    #[error("failed to serve on `{address}`: {source}")]
    Listener {
        /// The bound address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

impl Server {
    /// Listens on an address (`127.0.0.1:6566`, `localhost:0`). Connections wait until [`Server::run`].
    pub fn bind(address: impl ToSocketAddrs + fmt::Display) -> Result<Self, BindError> {
        let text = address.to_string();
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address: text.clone() },
            _ => BindError::Refused { address: text.clone(), source },
        };
        // Resolved apart from binding, so that a misspelt host is not taken for a refusal.
        let resolved: Vec<SocketAddr> = address
            .to_socket_addrs()
            .map_err(|source| BindError::Address { address: text.clone(), source })?
            .collect();
        let listener = TcpListener::bind(resolved.as_slice()).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address that clients reach; the port is known even if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, then takes no further connection, lets open requests finish and returns,
    /// at the latest after [`crate::ServeSettings::drain_timeout`]. Must be called on a tokio runtime with IO and time.
    pub async fn run(self, state: ServeState, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let address = self.address;
        let listener = tokio::net::TcpListener::from_std(self.listener)
            .map_err(|source| ServeError::Listener { address, source })?;
        // Metrics of a registry whose holder panicked are still whole: it is only ever added to.
        let metrics = Metrics::register(&mut state.registry.write().unwrap_or_else(PoisonError::into_inner));
        let slots = Arc::new(Semaphore::new(state.settings.max_connections));
        let drain_timeout = state.settings.drain_timeout;
        let inner = Arc::new(Inner { state, metrics });
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        tracing::info!(%address, "listening");
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = accept(&listener, &slots) => accepted,
            };
            match accepted {
                Ok((stream, permit)) => {
                    let serving = connection(Arc::clone(&inner), stream, stopped.clone());
                    connections.spawn(async move {
                        let _permit = permit;
                        serving.await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        drop(stopped);
        // The receivers may all be gone already.
        let _ = stop.send(());
        let drained = async {
            while let Some(ended) = connections.join_next().await {
                report(ended)
            }
        };
        if tokio::time::timeout(drain_timeout, drained).await.is_err() {
            tracing::warn!(seconds = drain_timeout.as_secs_f32(), "gave up waiting for open requests");
        }
        Ok(())
    }
}

type Permit = tokio::sync::OwnedSemaphorePermit;

/// The next connection, once there is room for it. Cancel-safe: a permit without a connection is given back.
async fn accept(
    listener: &tokio::net::TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Permit)> {
    let permit = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// Serves one connection to its end.
async fn connection(inner: Arc<Inner>, stream: TcpStream, mut stopped: watch::Receiver<()>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    inner.metrics.connections.inc();
    let handler = Arc::clone(&inner);
    let service = service_fn(move |request| {
        let inner = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(router::answer(&inner, request).await) }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(inner.state.settings.header_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .pipeline_flush(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => ended,
        _ = stopped.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        // Clients break connections off all the time.
        tracing::debug!(%error, "a connection ended early");
    }
    inner.metrics.connections.dec();
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed; please report this");
    }
}
