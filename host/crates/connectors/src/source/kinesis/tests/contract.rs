//! What every source promises, as far as Kinesis lets us: it does not say where a shard ends, so that the fixture does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{BatchBudget, Positions, ReadEvent, Reader, Source, ViewProgress};
use testkit::contract::source::{self, SourceFixture};

use super::Rig;
use super::fake::at;

/// A stream of one shard whose end is known.
struct Known {
    rig: Rig,
    end: Mutex<Option<Position>>,
}

/// Passes over batches without events.
struct Eventful(Box<dyn Reader>);

impl Reader for Eventful {
    fn next(&mut self, budget: BatchBudget, wait: Duration) -> Result<ReadEvent, Failure> {
        match self.0.next(budget, wait)? {
            ReadEvent::Batch(batch) if batch.is_empty() => Ok(ReadEvent::Idle),
            event => Ok(event),
        }
    }
}

impl Source for Known {
    fn partitions(&self) -> Result<Vec<Partition>, Failure> {
        Ok(vec![Partition::new("s-0")])
    }

    fn end(&self, partition: &Partition) -> Result<Option<Position>, Failure> {
        let is_known = self.partitions()?.contains(partition);
        if is_known {
            Ok(*self.end.lock().unwrap())
        } else {
            Err(Failure::stop("end: there is no such shard"))
        }
    }

    fn read(&self, partitions: &[Partition], after: &Positions) -> Result<Box<dyn Reader>, Failure> {
        let (core, runtime) = (Arc::clone(&self.rig.core), self.rig.runtime.handle());
        let reader = super::KinesisReader::new(core, runtime, partitions, after)?;
        Ok(Box::new(Eventful(Box::new(reader))))
    }

    fn release(
        &self,
        _: &Partition,
        _: Option<&Position>,
        _: &BTreeMap<String, ViewProgress>,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

struct Fixture(Arc<Known>);

impl SourceFixture for Fixture {
    fn source(&self) -> Arc<dyn Source> {
        self.0.clone()
    }

    fn partition(&self) -> Partition {
        Partition::new("s-0")
    }

    fn append(&mut self, events: &[Vec<u8>]) {
        for event in events {
            let sequence = self.0.rig.fake.put("s-0", "k", event);
            *self.0.end.lock().unwrap() = Some(at(&sequence, 0));
        }
    }

    fn reopen(&mut self) {}
}

#[test]
fn shards_are_a_source() {
    source::holds(|| Box::new(Fixture(Arc::new(Known { rig: Rig::new(&["s-0"]), end: Mutex::default() }))));
}
