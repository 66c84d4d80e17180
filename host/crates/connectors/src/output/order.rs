//! The order of one source partition's batches in a stream: what is under way, and what has to come again first.
//!
//! Knows nothing of records. Batches are done in the order in which they came; after one that failed nothing is taken until
//! it comes again.

use std::collections::VecDeque;
use std::sync::Arc;

use model::batch::FeatureBatch;
use model::error::Failure;
use model::position::{Covers, Partition, Position};

use super::keeper::Keeper;

/// A batch on its way.
pub(crate) trait UnderWay {
    /// What it covers.
    fn covers(&self) -> Covers;

    /// Whether all its records are in the stream.
    fn is_acknowledged(&self) -> bool;
}

/// The batches of one partition.
pub(crate) struct Order<T> {
    /// Batches that wait for acknowledgement, in order.
    in_flight: VecDeque<Arc<T>>,
    /// Through the last of them.
    queued: Option<Position>,
    /// Where the earliest batch that failed begins: nothing behind it goes out before it.
    failed_from: Option<Position>,
}

/// What became of a batch that came.
pub(crate) enum Admission<T> {
    /// There is nothing to do for it.
    Done,
    /// It has its place in the order; rows through this position are to be skipped.
    Taken(Arc<T>, Option<Position>),
    /// It has to wait until the batch that failed is repeated.
    Refused(Failure),
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { in_flight: VecDeque::new(), queued: None, failed_from: None }
    }
}

impl<T: UnderWay> Order<T> {
    /// Gives a batch its place; `open` makes what stands for it, given the number of records that it may have.
    pub(crate) fn admit(
        &mut self,
        partition: &Partition,
        batch: &FeatureBatch,
        keeper: &dyn Keeper,
        open: impl FnOnce(usize) -> Arc<T>,
    ) -> Admission<T> {
        let Covers { first, through } = batch.covers;
        let skip = match self.in_flight.is_empty() {
            true => keeper.position(partition),
            false => self.queued,
        };
        // What failed here may have been emitted by another host since.
        if self.failed_from.is_some_and(|failed| first > failed && skip < Some(failed)) {
            return Admission::Refused(Failure::retry(format!(
                "emit records of view `{}`, partition `{partition}`: an earlier batch failed and has to be emitted again first",
                batch.view.name
            )));
        }
        self.failed_from = None;
        let nothing_new = batch.is_empty() || skip.is_some_and(|skip| through <= skip);
        if nothing_new && self.in_flight.is_empty() {
            if skip < Some(through) {
                keeper.emitted(partition, through);
            }
            return Admission::Done;
        }
        let ticket = open(if nothing_new { 0 } else { batch.len() });
        self.queued = skip.max(Some(through));
        self.in_flight.push_back(Arc::clone(&ticket));
        Admission::Taken(ticket, skip)
    }

    /// A batch cannot be taken now: it has to come again before those behind it.
    pub(crate) fn refuse(&mut self, batch: &FeatureBatch) {
        self.fail_from(batch.covers.first);
    }

    /// The batch that came last cannot be taken after all: it has to come again before those behind it. `before`: the rows
    /// that were to be skipped when it was taken.
    pub(crate) fn withdraw(&mut self, before: Option<Position>) {
        if let Some(last) = self.in_flight.pop_back() {
            self.queued = before;
            self.fail_from(last.covers().first);
        }
    }

    /// Those that are acknowledged and have nothing before them are done: the partition's position is told. They are
    /// returned, in order.
    pub(crate) fn advance(&mut self, partition: &Partition, keeper: &dyn Keeper) -> Vec<Arc<T>> {
        let mut done = Vec::new();
        while let Some(front) = self.in_flight.pop_front_if(|front| front.is_acknowledged()) {
            done.push(front);
        }
        // A batch that was emitted again may end before the one ahead of it.
        if let Some(through) = done.iter().map(|done| done.covers().through).max()
            // One that was skipped is no news.
            && keeper.position(partition) < Some(through)
        {
            keeper.emitted(partition, through);
        }
        done
    }

    /// Everything that is not done has failed; nothing goes out until the earliest of it comes again. They are returned,
    /// in order.
    pub(crate) fn fail(&mut self) -> Vec<Arc<T>> {
        let failed: Vec<Arc<T>> = self.in_flight.drain(..).collect();
        if let Some(first) = failed.first() {
            self.fail_from(first.covers().first);
        }
        failed
    }

    /// The partition begins anew, from wherever its position is: it was rewound, or had been another host's.
    pub(crate) fn forget(&mut self) {
        if self.in_flight.is_empty() {
            self.failed_from = None;
        }
    }

    /// Whether anything is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.in_flight.is_empty()
    }

    fn fail_from(&mut self, position: Position) {
        self.failed_from = Some(self.failed_from.map_or(position, |known| known.min(position)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::output::testing::{Kept, Memory, emission};

    struct Batch {
        covers: Covers,
        acknowledged: AtomicBool,
    }

    impl UnderWay for Batch {
        fn covers(&self) -> Covers {
            self.covers
        }

        fn is_acknowledged(&self) -> bool {
            self.acknowledged.load(Ordering::SeqCst)
        }
    }

    struct Rig {
        order: Order<Batch>,
        keeper: Kept,
        partition: Partition,
    }

    impl Rig {
        fn new() -> Self {
            let keeper = Kept(Arc::<Memory>::default());
            Self { order: Order::default(), keeper, partition: Partition::new("p") }
        }

        fn admit(&mut self, first: u64, through: u64) -> Admission<Batch> {
            let rows: Vec<u64> = (first..=through).collect();
            let batch = emission("p", first..=through, &rows, 1, |row| row.to_string()).batch;
            let open = |_| Arc::new(Batch { covers: batch.covers, acknowledged: AtomicBool::new(false) });
            self.order.admit(&self.partition, &batch, &self.keeper, open)
        }

        #[track_caller]
        fn taken(&mut self, first: u64, through: u64) -> (Arc<Batch>, Option<Position>) {
            match self.admit(first, through) {
                Admission::Taken(batch, skip) => (batch, skip),
                Admission::Done => panic!("there is nothing to do for it"),
                Admission::Refused(failure) => panic!("{failure}"),
            }
        }

        /// A batch is acknowledged: how many are done with it.
        fn acknowledge(&mut self, batch: &Batch) -> usize {
            batch.acknowledged.store(true, Ordering::SeqCst);
            self.order.advance(&self.partition, &self.keeper).len()
        }

        fn position(&self) -> Option<u64> {
            self.keeper.position(&self.partition)?.as_u64()
        }
    }

    #[test]
    fn a_repeat_behind_a_longer_batch_does_not_hold_the_position_back() {
        let mut rig = Rig::new();
        let (long, _) = rig.taken(0, 9);
        let (repeat, skip) = rig.taken(0, 4);
        assert_eq!(skip, Some(Position::from_u64(9)));
        assert_eq!(rig.acknowledge(&repeat), 0);
        assert_eq!(rig.acknowledge(&long), 2);
        assert_eq!(rig.position(), Some(9));
    }

    #[test]
    fn what_is_withdrawn_comes_before_what_is_behind_it() {
        let mut rig = Rig::new();
        let (first, _) = rig.taken(0, 4);
        let (_, skip) = rig.taken(5, 9);
        rig.order.withdraw(skip);
        assert!(matches!(rig.admit(10, 14), Admission::Refused(_)));
        assert_eq!(rig.acknowledge(&first), 1);
        assert_eq!(rig.position(), Some(4));
        assert!(matches!(rig.admit(10, 14), Admission::Refused(_)));
        let (again, _) = rig.taken(5, 9);
        assert_eq!(rig.acknowledge(&again), 1);
        assert_eq!(rig.position(), Some(9));
    }
}
