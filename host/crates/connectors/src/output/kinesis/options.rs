//! What an output stream is opened with.

use std::fmt;
use std::sync::Arc;

use model::dead_letter::DeadLetters;
use model::error::Failure;
use model::online::Ledger;

use crate::kafka::Group;
use crate::kinesis::lease::Leases;
use crate::kinesis::{Connection, Shared, Stream};
use crate::output::keeper::{GroupKeeper, Keeper, LeaseKeeper, LedgerKeeper};

/// What an output stream is opened with.
#[derive(Clone)]
pub struct KinesisOutputOptions {
    /// The host's project.
    pub project: String,
    /// The view. Each has requests of its own.
    pub view: String,
    /// The view's source, for dead letters.
    pub source: String,
    /// The way to Kinesis.
    pub connection: Connection,
    /// The stream, which has to be there.
    pub stream: Stream,
    /// Whether records of one entity keep their order. A stream that ignores partition keys is refused then.
    pub ordered: bool,
    /// Who keeps through where the stream has the view's partitions.
    pub progress: Progress,
    /// Where records go that the stream would not take.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Runtime, metrics, and what is known of the connection.
    pub shared: Shared,
}

/// Who keeps through where the stream has a view's partitions.
#[derive(Clone)]
pub enum Progress {
    /// The consumer group of the view's source, which is Kafka.
    Group(Arc<Group>),
    /// The leases of the view's source, which is Kinesis.
    Leases(Arc<Leases>),
    /// This host's ledger, for sources that only it reads.
    Ledger(Arc<dyn Ledger>),
}

impl KinesisOutputOptions {
    /// What an operation on the stream is called in messages.
    pub(super) fn doing(&self) -> String {
        format!("emit records of view `{}` to stream `{}`", self.view, self.stream)
    }

    /// Who keeps positions.
    pub(super) fn keeper(&self) -> Result<Box<dyn Keeper>, Failure> {
        let view = self.view.clone();
        Ok(match &self.progress {
            Progress::Group(group) => Box::new(GroupKeeper { group: Arc::clone(group), view }),
            Progress::Leases(leases) => Box::new(LeaseKeeper { leases: Arc::clone(leases), view }),
            Progress::Ledger(ledger) => Box::new(LedgerKeeper::open(Arc::clone(ledger), &view)?),
        })
    }
}

impl fmt::Debug for KinesisOutputOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisOutputOptions")
            .field("view", &self.view)
            .field("connection", &self.connection)
            .field("stream", &self.stream)
            .field("ordered", &self.ordered)
            .finish_non_exhaustive()
    }
}
