//! Whether a Redis is there: away as long as anything about it is in trouble, such as one master of a cluster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::gauge::Gauge;

use crate::contact::{Contact, ContactHook};

/// What all clients of one connection think of it.
pub(super) struct Presence {
    contact: Contact,
    away: Gauge,
    /// What is in trouble, and why.
    troubles: Mutex<BTreeMap<String, String>>,
    /// Whether `troubles` holds anything: asked with each answer.
    any: AtomicBool,
}

impl Presence {
    pub(super) fn new(connection: &str, away: Gauge, hook: ContactHook) -> Self {
        let contact = Contact::new(connection, "redis", hook);
        Self { contact, away, troubles: Mutex::default(), any: AtomicBool::new(false) }
    }

    /// Notes trouble with `what`: the address of a node, or another name.
    pub(super) fn trouble(&self, what: &str, reason: &str) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.insert(what.to_owned(), reason.to_owned());
        self.any.store(true, Ordering::Release);
        self.away.set(1);
        // Under the lock, so that the last word is what is the case; the hook does not block.
        self.contact.away(reason);
    }

    /// `what` is well.
    pub(super) fn fine(&self, what: &str) {
        if self.any.load(Ordering::Acquire) {
            self.keep(|troubled| troubled != what);
        }
    }

    /// Forgets trouble with nodes that no longer matter.
    pub(super) fn keep(&self, matters: impl Fn(&str) -> bool) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.is_empty() {
            return;
        }
        troubles.retain(|what, _| matters(what));
        if troubles.is_empty() {
            self.any.store(false, Ordering::Release);
            self.away.set(0);
            self.contact.back();
        }
    }

    /// Why it is away, if it is.
    pub(super) fn reason(&self) -> Option<String> {
        self.contact.trouble()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_is_back_when_all_of_it_is() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::clone(&told);
        let hook: ContactHook =
            Arc::new(move |_, away| hearing.lock().unwrap().push(away.map(str::to_owned)));
        let away = Gauge::default();
        let presence = Presence::new("cache", away.clone(), hook);
        presence.fine("a");
        presence.trouble("a", "refused");
        presence.trouble("b", "slow");
        presence.fine("a");
        assert_eq!(away.get(), 1);
        presence.keep(|what| what == "c");
        presence.fine("b");
        assert_eq!(away.get(), 0);
        assert_eq!(*told.lock().unwrap(), [Some("refused".to_owned()), None]);
        assert_eq!(presence.reason(), None);
    }
}
