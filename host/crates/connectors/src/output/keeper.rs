//! Who keeps through which position a stream has a view's partitions: what the source is decides.
//!
//! Shared by streams that cannot keep it themselves. Those that can, such as files and Kafka's transactions, do so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::error::Failure;
use model::online::Ledger;
use model::position::{Partition, Position};

use crate::kafka::Group;
use crate::kinesis::lease::Leases;

/// Keeps the positions of one view.
pub(crate) trait Keeper: Send + Sync {
    /// Whether this host may still emit for a partition.
    fn holds(&self, partition: &Partition) -> bool;

    /// Through where the stream has it.
    fn position(&self, partition: &Partition) -> Option<Position>;

    /// The stream has it through here.
    fn emitted(&self, partition: &Partition, through: Position);

    /// Sets it back, durably.
    fn rewind(&self, partition: &Partition, to: Option<Position>, epoch: u32) -> Result<(), Failure>;
}

/// The consumer group of the source keeps them, so that they move with the partition.
pub(crate) struct GroupKeeper {
    pub(crate) group: Arc<Group>,
    pub(crate) view: String,
}

impl Keeper for GroupKeeper {
    fn holds(&self, partition: &Partition) -> bool {
        self.group.holds(partition)
    }

    fn position(&self, partition: &Partition) -> Option<Position> {
        self.group.kept(&self.view, partition).view
    }

    fn emitted(&self, partition: &Partition, through: Position) {
        self.group.emitted(&self.view, partition, through);
    }

    fn rewind(&self, partition: &Partition, to: Option<Position>, epoch: u32) -> Result<(), Failure> {
        self.group.rewind(&self.view, partition, to, epoch)
    }
}

/// The leases of the source's shards keep them, so that they move with the shard.
pub(crate) struct LeaseKeeper {
    pub(crate) leases: Arc<Leases>,
    pub(crate) view: String,
}

impl Keeper for LeaseKeeper {
    fn holds(&self, partition: &Partition) -> bool {
        self.leases.holds(partition)
    }

    fn position(&self, partition: &Partition) -> Option<Position> {
        // What is not kept here is another host's: nothing is emitted for it, see `holds`.
        self.leases.kept(&self.view, partition).ok()?.view
    }

    fn emitted(&self, partition: &Partition, through: Position) {
        self.leases.emitted(&self.view, partition, through);
    }

    fn rewind(&self, partition: &Partition, to: Option<Position>, epoch: u32) -> Result<(), Failure> {
        self.leases.rewind(&self.view, partition, to, epoch)
    }
}

/// This host's ledger keeps them, beside those of the online store: for sources that only this host reads.
pub(crate) struct LedgerKeeper {
    ledger: Arc<dyn Ledger>,
    /// `<view>#emitted`, which no view can be called.
    name: String,
    known: Mutex<HashMap<Partition, Position>>,
}

impl LedgerKeeper {
    pub(crate) fn open(ledger: Arc<dyn Ledger>, view: &str) -> Result<Self, Failure> {
        let name = format!("{view}#emitted");
        let known = ledger.view(&name)?.online.into_iter().collect();
        Ok(Self { ledger, name, known: Mutex::new(known) })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Partition, Position>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for LedgerKeeper {
    fn holds(&self, _partition: &Partition) -> bool {
        true
    }

    fn position(&self, partition: &Partition) -> Option<Position> {
        self.known().get(partition).copied()
    }

    fn emitted(&self, partition: &Partition, through: Position) {
        self.ledger.advance(&self.name, partition, &through);
        self.known().insert(partition.clone(), through);
    }

    fn rewind(&self, partition: &Partition, to: Option<Position>, epoch: u32) -> Result<(), Failure> {
        self.ledger.note(&self.name, &[(partition.clone(), to)].into(), epoch)?;
        match to {
            Some(to) => self.known().insert(partition.clone(), to),
            None => self.known().remove(partition),
        };
        Ok(())
    }
}
