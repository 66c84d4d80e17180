//! How a member commits: one at a time, asynchronously, again when it fails.

use std::time::{Duration, Instant};

use model::error::Failure;
use model::position::Partition;
use rdkafka::TopicPartitionList;
use rdkafka::error::KafkaResult;

use super::{Member, ROUND_WAITING, committed};
use crate::kafka::error;
use crate::kafka::group::handle::list_of;
use crate::kafka::group::native::send_commit;
use crate::kafka::group::options::partition_name;
use crate::kafka::group::state::Slot;

/// Pause between urgent commits.
const URGENT_PAUSE: Duration = Duration::from_millis(50);
/// Pause after a commit that failed, and between those that only prove membership.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// How long a commit that is on its way is waited for before partitions are given up.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);
/// How long the last commit of such partitions may take.
const LAST_COMMIT_LIMIT: Duration = Duration::from_secs(5);

impl Member {
    /// Waits for the answer of the commit that is on its way: a transaction that finishes while the flow has this thread
    /// would wait for it in vain.
    pub(super) fn settle(&mut self) {
        let limit = Instant::now() + SETTLE_LIMIT;
        while matches!(self.inner.lock().slot, Slot::Sent(_))
            && self.broken.is_none()
            && Instant::now() < limit
        {
            self.poll(ROUND_WAITING);
        }
    }

    /// Commits what is left to say of partitions that leave.
    pub(super) fn commit_last(&mut self, partitions: &[Partition]) {
        let limit = Instant::now() + LAST_COMMIT_LIMIT;
        let among = |partition: &Partition| partitions.contains(partition);
        loop {
            let (dirty, _) = self.inner.lock().dirty(among);
            if !dirty {
                return;
            }
            if Instant::now() > limit || self.broken.is_some() {
                let source = &self.inner.options.source;
                tracing::warn!(
                    source,
                    "the last progress of partitions that are given up was not committed in time; \
                    the next host repeats what is missing"
                );
                return;
            }
            let pause = if self.failing { URGENT_PAUSE * 4 } else { Duration::ZERO };
            if self.last_commit.elapsed() >= pause {
                self.commit(false, among);
            }
            self.poll(ROUND_WAITING);
        }
    }

    pub(super) fn commit_if_due(&mut self) {
        let (due, proof) = {
            let state = self.inner.lock();
            let (dirty, urgent) = state.dirty(|_| true);
            let proof = self.wants_proof(state.lease);
            let pause = match () {
                () if self.failing => FAILED_PAUSE.min(self.inner.options.commit_interval),
                () if urgent => URGENT_PAUSE,
                () if proof => FAILED_PAUSE,
                () => self.inner.options.commit_interval,
            };
            ((dirty || proof) && self.last_commit.elapsed() >= pause, proof)
        };
        if due {
            self.commit(proof, |_| true);
        }
    }

    /// Sends a commit, unless one is on its way or a transaction has the right to.
    fn commit(&mut self, all: bool, among: impl Fn(&Partition) -> bool) {
        let mut state = self.inner.lock();
        if !matches!(state.slot, Slot::Free) {
            return;
        }
        self.last_commit = Instant::now();
        let (commits, sent, failures) = state.commits(all, among);
        if !commits.is_empty() {
            state.slot = Slot::Sent(sent);
        }
        drop(state);
        for failure in failures {
            self.commit_failed(&failure);
        }
        if commits.is_empty() {
            return;
        }
        if let Err(error) = send_commit(self.client(), &list_of(&commits)) {
            self.committed(Err(error), &TopicPartitionList::new());
        }
    }

    /// A commit was answered.
    pub(super) fn committed(&mut self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let mut state = self.inner.lock();
        let sent = match std::mem::replace(&mut state.slot, Slot::Free) {
            Slot::Sent(sent) => sent,
            // Of a client that is gone.
            other => {
                state.slot = other;
                return;
            }
        };
        let mut failed = result.err();
        for element in offsets.elements() {
            match element.error() {
                Ok(()) if failed.is_none() => {
                    let partition = partition_name(element.topic(), element.partition());
                    if let Some((offset, _)) = committed(&element) {
                        state.confirm(&sent, &partition, offset);
                    }
                }
                Ok(()) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let expelled = failed.as_ref().and_then(error::code).is_some_and(error::is_expelled);
        if failed.is_none() && self.unproven.is_none_or(|since| since <= sent.at) {
            self.unproven = None;
            state.lease = state.lease.max(Some(sent.at));
        }
        if expelled {
            state.lease = None;
            self.unproven = Some(Instant::now());
        }
        drop(state);
        self.inner.turn();
        match failed {
            None => {
                self.inner.metrics.commit_seconds.observe(sent.at.elapsed().as_secs_f64());
                if std::mem::take(&mut self.failing) {
                    tracing::info!(source = self.inner.options.source, "commits go through again");
                }
            }
            // That the partitions are lost is said when the client finds out, a moment later.
            Some(error) if expelled => {
                self.inner.metrics.commit_failures.inc();
                tracing::debug!(source = self.inner.options.source, "a commit came too late: {error}");
            }
            Some(error) => {
                let failure = self.inner.watch.failure(&self.inner.doing("commit the progress in"), &error);
                self.commit_failed(&failure);
            }
        }
    }

    /// One line for the first of a row of failures.
    fn commit_failed(&mut self, failure: &Failure) {
        self.inner.metrics.commit_failures.inc();
        let source = &self.inner.options.source;
        if std::mem::replace(&mut self.failing, true) {
            tracing::debug!(source, "failed to {failure}");
        } else {
            tracing::warn!(source, "failed to {failure}; trying until it goes through");
        }
    }
}
