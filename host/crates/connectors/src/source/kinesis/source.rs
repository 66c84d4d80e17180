//! The Kinesis source as the rest of the host sees it: readers of shards, and its part among the hosts that share them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{Assignee, Kept, Point, Positions, Reader, Source, ViewProgress};
use model::time::Clock;
use tokio::runtime::Handle;

use super::calls::{Calls, Kinesis};
use super::fetcher::{Core, PAUSES};
use super::lineage::Lineage;
use super::reader::KinesisReader;
use super::setback::MADE_ANEW;
use super::standing::Standing;
use super::turns::{GRANTED, Turns};
use crate::kinesis::lease::{LeaseOptions, LeasePlace, Leases, StreamShards};
use crate::kinesis::position::{self, ShardPosition};
use crate::kinesis::{Connection, Shared, Stream};
use crate::source::OutOfRange;

/// How long a shard has to be named as open whose end was reached before that is believed. Shorter, and old lists count;
/// longer, and a view of a stream that was made anew says so later.
const BELIEVE_OPEN: Duration = Duration::from_secs(10);

/// How a Kinesis source is set up.
#[derive(Clone)]
pub struct KinesisSourceOptions {
    /// Name of the source, for messages, metrics and leases.
    pub name: String,
    /// The project: hosts with the same project and source share the shards.
    pub project: String,
    /// The way to Kinesis.
    pub connection: Connection,
    /// The stream.
    pub stream: Stream,
    /// Where leases are kept.
    pub leases: LeasePlace,
    /// Names this host among those that share the stream.
    pub instance: String,
    /// What to do when a position is not there any more.
    pub out_of_range: OutOfRange,
    /// How long a lease holds that is not renewed.
    pub lease_duration: Duration,
    /// For `latest`, and for when records are too old.
    pub clock: Arc<dyn Clock>,
    /// Runtime, metrics and clients.
    pub shared: Shared,
}

/// Reads a stream, sharing its shards with other hosts.
pub struct KinesisSource {
    core: Arc<Core>,
    leases: Arc<Leases>,
    runtime: Handle,
}

impl KinesisSource {
    /// Opens the source; nothing is asked of Kinesis, and no part is taken yet. Fails if what is kept of leases is damaged.
    pub fn open(options: KinesisSourceOptions) -> Result<Arc<Self>, Failure> {
        let KinesisSourceOptions {
            name,
            project,
            connection,
            stream,
            leases,
            instance,
            out_of_range,
            lease_duration,
            clock,
            shared,
        } = options;
        let runtime = shared.runtime.clone();
        let metrics = shared.metrics().source(&name);
        let connection_name = connection.name.clone();
        let shards = StreamShards::new(shared.clone(), connection.clone(), stream.clone());
        let calls: Arc<dyn Calls> = Arc::new(Kinesis::new(connection, stream, shared.clone()));
        let lease_options = LeaseOptions {
            project,
            source: name.clone(),
            instance,
            place: leases,
            duration: lease_duration,
            shared,
        };
        let leases = Leases::open(lease_options, Arc::new(shards))?;
        let core = Core {
            name,
            connection: connection_name,
            out_of_range,
            calls,
            lineage: Arc::clone(&leases) as Arc<dyn Lineage>,
            standing: Arc::new(Standing::new(metrics.clone())),
            turns: Turns::new(GRANTED),
            pauses: PAUSES,
            metrics,
            clock,
        };
        Ok(Arc::new(Self { core: Arc::new(core), leases, runtime }))
    }

    /// This host's part among those that share the stream, for outputs whose progress it keeps.
    pub fn leases(&self) -> Arc<Leases> {
        Arc::clone(&self.leases)
    }

    /// How many shards the stream names, whoever reads them.
    pub fn count_partitions(&self) -> Result<usize, Failure> {
        self.leases.count()
    }

    fn stop(&self, doing: &str, partition: &Partition, why: &str) -> Failure {
        Failure::stop(format!("{doing} partition `{partition}` of source `{}`: {why}", self.core.name))
    }
}

impl Source for KinesisSource {
    fn partitions(&self) -> Result<Vec<Partition>, Failure> {
        let partitions = self.leases.partitions();
        match self.leases.trouble() {
            Some(trouble) if partitions.is_empty() => Err(trouble),
            _ => Ok(partitions),
        }
    }

    fn join(&self, assignee: Arc<dyn Assignee>) {
        self.leases.join(assignee);
    }

    fn leave(&self) {
        self.leases.leave();
    }

    fn kept(&self, view: &str, partition: &Partition) -> Result<Option<Kept>, Failure> {
        self.leases.kept(view, partition).map(Some)
    }

    fn find(&self, partition: &Partition, point: &Point) -> Result<Option<Position>, Failure> {
        match point {
            Point::Earliest => Ok(None),
            // Nobody can say which record is the last one, but from when on records count: also in a closed shard, whose
            // children know by that what a view takes of them.
            Point::Latest => Ok(Some(position::from_time(self.core.clock.now().0))),
            Point::Time(time) => Ok(Some(position::from_time(*time))),
            Point::Committed => match self.leases.kept("", partition)?.group {
                Some(position) => Ok(Some(position)),
                None => Err(self.stop(
                    "find where the hosts of this project are in",
                    partition,
                    "they have noted nothing there; set `start` of the source to `earliest`, `latest` or a time",
                )),
            },
            Point::Numbers(_) => Err(self.stop(
                "find the start in",
                partition,
                "records of a Kinesis stream have no offsets; start at `earliest`, `latest` or a time",
            )),
        }
    }

    fn knows_end(&self) -> bool {
        false
    }

    fn end(&self, partition: &Partition) -> Result<Option<Position>, Failure> {
        Err(self.stop("find the end of", partition, "Kinesis does not say which record is the last"))
    }

    fn check_position(&self, partition: &Partition, position: &Position) -> Result<(), Failure> {
        let doing = "go on in";
        match position::parse(position) {
            Some(ShardPosition::End) => match self.leases.has_no_end_since(partition) {
                None => Ok(()),
                // Lists come from several servers, which do not learn of a shard's end at the same moment.
                Some(time) if time < BELIEVE_OPEN => Err(Failure::retry(format!(
                    "{doing} partition `{partition}` of source `{}`: its end was reached, and the stream still names it as \
                     open",
                    self.core.name
                ))),
                Some(_) => {
                    let why =
                        format!("its end was reached, and the stream names it as open, so that {MADE_ANEW}");
                    Err(self.stop(doing, partition, &why))
                }
            },
            Some(ShardPosition::Record { sequence, .. }) => {
                let shard = self.leases.shard(partition);
                let first = shard.and_then(|shard| position::of_record(&shard.starting, 0));
                if first.is_some_and(|first| *position < first) {
                    let why = format!("it begins behind record {sequence}, so that {MADE_ANEW}");
                    return Err(self.stop(doing, partition, &why));
                }
                Ok(())
            }
            Some(ShardPosition::From(_)) | None => Ok(()),
        }
    }

    fn read(&self, partitions: &[Partition], after: &Positions) -> Result<Box<dyn Reader>, Failure> {
        Ok(Box::new(KinesisReader::new(Arc::clone(&self.core), &self.runtime, partitions, after)?))
    }

    fn release(
        &self,
        partition: &Partition,
        through: Option<&Position>,
        views: &BTreeMap<String, ViewProgress>,
    ) -> Result<(), Failure> {
        self.leases.release(partition, through, views);
        Ok(())
    }
}
