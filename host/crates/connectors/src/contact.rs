//! Whether a dependency answers: told once when it goes away, and once when it is back.
//!
//! For Redis and Kinesis, whose clients ask and are answered or not. Kafka's clients ask on their own
//! ([`crate::kafka::Shared`]).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Called with the connection's name and why nobody answers (`Some`), or that somebody does again (`None`); from any
/// thread, and not twice in a row with the same. Must not block.
pub type ContactHook = Arc<dyn Fn(&str, Option<&str>) + Send + Sync>;

/// What a host thinks of one connection. Cheap to clone; all clients of the connection share one.
#[derive(Clone)]
pub struct Contact {
    inner: Arc<Inner>,
}

struct Inner {
    connection: String,
    product: &'static str,
    hook: ContactHook,
    /// Since when nobody answers, and what was said then.
    away: Mutex<Option<(Instant, String)>>,
}

impl Contact {
    /// Of a connection that is taken to answer until it does not. `product`: as logs name it, such as `redis`.
    pub fn new(connection: &str, product: &'static str, hook: ContactHook) -> Self {
        let inner = Inner { connection: connection.to_owned(), product, hook, away: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Nobody answers, for this reason.
    pub fn away(&self, reason: &str) {
        let inner = &self.inner;
        {
            let mut away = inner.away.lock().unwrap_or_else(PoisonError::into_inner);
            if away.is_some() {
                return;
            }
            *away = Some((Instant::now(), reason.to_owned()));
        }
        tracing::warn!(
            connection = inner.connection,
            "{} is away: {reason}; trying until it is back",
            inner.product
        );
        (inner.hook)(&inner.connection, Some(reason));
    }

    /// Somebody has answered.
    pub fn back(&self) {
        let inner = &self.inner;
        let Some((since, _)) = inner.away.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let seconds = since.elapsed().as_secs();
        tracing::info!(connection = inner.connection, seconds, "{} is back", inner.product);
        (inner.hook)(&inner.connection, None);
    }

    /// Why nobody answers, if that is known.
    pub fn trouble(&self) -> Option<String> {
        let away = self.inner.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.as_ref().map(|(_, reason)| reason.clone())
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact").field("connection", &self.inner.connection).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::clone(&told);
        let hook: ContactHook = Arc::new(move |_, away| {
            hearing.lock().unwrap().push(away.map(str::to_owned));
        });
        let contact = Contact::new("cache", "redis", hook);
        contact.back();
        contact.away("refused");
        contact.away("refused again");
        assert_eq!(contact.trouble().as_deref(), Some("refused"));
        contact.back();
        contact.back();
        assert_eq!(*told.lock().unwrap(), [Some("refused".to_owned()), None]);
        assert_eq!(contact.trouble(), None);
    }
}
