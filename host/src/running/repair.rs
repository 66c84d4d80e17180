//! Rows that a store has lost: gathered from its threads, and made again by the flow, on a thread that may wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use connectors::online::redis::{Loss, RedisStore};
use model::error::Disposition;
use model::online::Starts;
use model::position::{Partition, Position};
use pipeline::{Flow, LostRows};

/// After a repair that could not be done yet, before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// After one that something speaks against which an operator has to mend.
const STOP_PAUSE: Duration = Duration::from_secs(10);

/// What is lost and not made again yet. Bounded by the number of views and partitions.
#[derive(Default)]
pub(super) struct Losses {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// By connection and view.
    lost: BTreeMap<(String, String), Lost>,
    stop: bool,
}

struct Lost {
    store: Weak<RedisStore>,
    to: Starts,
    /// When it is tried again; `None` = at once.
    from: Option<Instant>,
}

impl Losses {
    /// Takes in what a store has lost. Waits for nothing.
    pub(super) fn add(&self, connection: &str, store: &Weak<RedisStore>, losses: Vec<Loss>) {
        let mut waiting = self.lock();
        for Loss { view, partition, to } in losses {
            let lost = waiting.lost.entry((connection.to_owned(), view)).or_insert_with(|| Lost {
                store: Weak::clone(store),
                to: Starts::new(),
                from: None,
            });
            keep_smaller(&mut lost.to, partition, to);
        }
        self.wake.notify_all();
    }

    /// Ends the thread once it is done with what it has begun.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_all();
    }

    /// What is to be repaired next; `None` = stop. A view that has to wait does not hold up the others.
    fn next(&self) -> Option<((String, String), Lost)> {
        let mut waiting = self.lock();
        loop {
            if waiting.stop {
                return None;
            }
            let now = Instant::now();
            let first = waiting
                .lost
                .iter()
                .min_by_key(|(_, lost)| lost.from)
                .map(|(key, lost)| (key.clone(), lost.from));
            let pause = match first {
                Some((key, from)) => match from.map(|from| from.saturating_duration_since(now)) {
                    None | Some(Duration::ZERO) => return waiting.lost.remove_entry(&key),
                    Some(pause) => pause,
                },
                None => Duration::MAX,
            };
            waiting = self.wake.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Puts back what could not be repaired, for later.
    fn again(&self, key: (String, String), mut lost: Lost, pause: Duration) {
        let mut waiting = self.lock();
        if let Some(more) = waiting.lost.remove(&key) {
            more.to.into_iter().for_each(|(partition, to)| keep_smaller(&mut lost.to, partition, to));
        }
        lost.from = Instant::now().checked_add(pause);
        waiting.lost.insert(key, lost);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // What is noted is noted whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of two losses of one partition the greater counts.
fn keep_smaller(to: &mut Starts, partition: Partition, through: Option<Position>) {
    to.entry(partition).and_modify(|known| *known = (*known).min(through)).or_insert(through);
}

/// Starts the thread that has lost rows made again.
pub(super) fn spawn(losses: Arc<Losses>, flow: Weak<Flow>) -> anyhow::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("repair".to_owned())
        .spawn(move || {
            while let Some((key, lost)) = losses.next() {
                let (Some(flow), Some(store)) = (flow.upgrade(), lost.store.upgrade()) else { continue };
                repair(&losses, &flow, &store, key, lost);
            }
        })
        .context("cannot start the thread that repairs views")
}

fn repair(losses: &Losses, flow: &Flow, store: &RedisStore, key: (String, String), lost: Lost) {
    let (connection, view) = (&key.0, &key.1);
    let accepted: Vec<Loss> = lost
        .to
        .iter()
        .map(|(partition, to)| Loss { view: view.clone(), partition: partition.clone(), to: *to })
        .collect();
    tracing::warn!(
        view,
        connection,
        partitions = accepted.len(),
        "Redis has lost rows that it had acknowledged; they are made again from the source"
    );
    let rows = LostRows { view: view.clone(), to: lost.to.clone() };
    if let Err(failure) = flow.repair(&rows, || store.accept(&accepted)) {
        tracing::error!(view, connection, %failure, "cannot have the lost rows made again yet; trying again");
        let pause = match failure.disposition {
            Disposition::Retry => RETRY_PAUSE,
            Disposition::Stop => STOP_PAUSE,
        };
        losses.again(key, lost, pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(view: &str, partition: &str, to: Option<u64>) -> Loss {
        let to = to.map(Position::from_u64);
        Loss { view: view.to_owned(), partition: Partition::new(partition), to }
    }

    #[test]
    fn losses_of_a_view_are_made_good_together_and_the_greater_counts() {
        let losses = Losses::default();
        losses.add("cache", &Weak::new(), vec![loss("b", "0", Some(7)), loss("a", "0", Some(3))]);
        losses.add("cache", &Weak::new(), vec![loss("b", "1", Some(9)), loss("b", "0", Some(5))]);
        losses.add("cache", &Weak::new(), vec![loss("a", "0", None)]);
        let (key, lost) = losses.next().unwrap();
        assert_eq!(key, ("cache".to_owned(), "a".to_owned()));
        assert_eq!(lost.to, Starts::from([(Partition::new("0"), None)]));
        let (key, lost) = losses.next().unwrap();
        let through = |partition: &str, to| (Partition::new(partition), Some(Position::from_u64(to)));
        assert_eq!(lost.to, Starts::from([through("0", 5), through("1", 9)]));
        losses.stop();
        losses.again(key, lost, Duration::from_secs(3600));
        assert!(losses.next().is_none());
    }

    #[test]
    fn a_view_that_cannot_be_repaired_holds_up_no_other() {
        let losses = Losses::default();
        losses.add("cache", &Weak::new(), vec![loss("a", "0", Some(3)), loss("b", "0", Some(7))]);
        let (first, lost) = losses.next().unwrap();
        losses.again(first.clone(), lost, Duration::from_secs(3600));
        let (second, lost) = losses.next().unwrap();
        assert_eq!((first.1.as_str(), second.1.as_str()), ("a", "b"));
        losses.again(second, lost, Duration::from_millis(1));
        assert_eq!(losses.next().unwrap().0.1, "b");
        // What more is lost meanwhile waits with it, and is not forgotten.
        losses.add("cache", &Weak::new(), vec![loss("a", "1", None)]);
        let (key, lost) = {
            losses.lock().lost.get_mut(&first).unwrap().from = None;
            losses.next().unwrap()
        };
        assert_eq!((key, lost.to.len()), (first, 2));
    }
}
