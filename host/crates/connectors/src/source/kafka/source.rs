//! The Kafka source as the rest of the host sees it: its topics and its part in the group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{Assignee, Kept, Point, Positions, Reader, Source, ViewProgress};

use super::topic_set::{TopicSet, TopicSetOptions};
use crate::kafka::{Connection, Group, GroupOptions, GroupProtocol, Shared};
use crate::source::OutOfRange;

/// How a Kafka source is set up.
#[derive(Clone)]
pub struct KafkaSourceOptions {
    /// Name of the source, for messages and metrics.
    pub name: String,
    /// The cluster.
    pub connection: Connection,
    /// The topics to read.
    pub topics: Vec<String>,
    /// The consumer group: hosts with the same one share the partitions.
    pub group: String,
    /// How the group agrees.
    pub protocol: GroupProtocol,
    /// Names this host within the group, also after a restart.
    pub instance: String,
    /// What to do when a position is not there any more.
    pub out_of_range: OutOfRange,
    /// Whether events bring their headers, which costs a fifth of the reading even where there are none.
    pub with_headers: bool,
    /// Further consumer settings, by librdkafka's names. What a promise rests on wins.
    pub options: BTreeMap<String, String>,
    /// How often progress is committed.
    pub commit_interval: Duration,
    /// Metrics and what is known of clusters.
    pub shared: Shared,
}

/// Reads topics, sharing their partitions with other hosts.
pub struct KafkaSource {
    name: String,
    group_name: String,
    topics: TopicSet,
    group: Arc<Group>,
}

impl KafkaSource {
    /// Opens the source; nothing is read and no group is joined yet.
    pub fn open(options: KafkaSourceOptions) -> Result<Arc<Self>, Failure> {
        let KafkaSourceOptions {
            name,
            connection,
            topics,
            group,
            protocol,
            instance,
            out_of_range,
            with_headers,
            options,
            commit_interval,
            shared,
        } = options;
        let topic_set = TopicSet::new(TopicSetOptions {
            name: name.clone(),
            connection: connection.clone(),
            topics: topics.clone(),
            out_of_range,
            with_headers,
            options: options.clone(),
            shared: shared.clone(),
        });
        let joined = Group::open(GroupOptions {
            connection,
            source: name.clone(),
            group: group.clone(),
            topics,
            protocol,
            instance,
            options,
            commit_interval,
            shared,
        })?;
        Ok(Arc::new(Self { name, group_name: group, topics: topic_set, group: joined }))
    }

    /// From now on events bring their headers: somebody looks at them.
    pub fn bring_headers(&self) {
        self.topics.bring_headers();
    }

    /// How many partitions there are, whoever reads them. Asks a broker.
    pub fn count_partitions(&self) -> Result<usize, Failure> {
        self.topics.count()
    }

    /// This host's part in the group, for outputs whose progress it keeps.
    pub fn group(&self) -> Arc<Group> {
        Arc::clone(&self.group)
    }
}

impl Source for KafkaSource {
    fn partitions(&self) -> Result<Vec<Partition>, Failure> {
        let partitions = self.group.partitions();
        // None is what a host has that came after the others have shared all, or one that cannot join.
        match self.group.trouble() {
            Some(trouble) if partitions.is_empty() => Err(trouble),
            _ => Ok(partitions),
        }
    }

    fn join(&self, assignee: Arc<dyn Assignee>) {
        self.group.join(assignee);
    }

    fn leave(&self) {
        self.group.leave();
    }

    fn kept(&self, view: &str, partition: &Partition) -> Result<Option<Kept>, Failure> {
        self.group.room_for(view, partition)?;
        // Of a partition that has gone meanwhile the group knows nothing, which must not be taken for "no commit".
        let kept = self.group.known(view, partition).ok_or_else(|| {
            Failure::retry(format!(
                "ask group `{}` how far view `{view}` is in partition `{partition}`: it is not this host's at the moment",
                self.group_name
            ))
        })?;
        Ok(Some(kept))
    }

    fn find(&self, partition: &Partition, point: &Point) -> Result<Option<Position>, Failure> {
        if *point != Point::Committed {
            return self.topics.find(partition, point);
        }
        match self.group.kept("", partition).group {
            Some(position) => Ok(Some(position)),
            None => Err(Failure::stop(format!(
                "find where group `{}` is in partition `{partition}` of source `{}`: it has committed nothing there; \
                 set `start` of the source to `earliest`, `latest` or a time",
                self.group_name, self.name
            ))),
        }
    }

    fn end(&self, partition: &Partition) -> Result<Option<Position>, Failure> {
        self.topics.end(partition)
    }

    fn read(&self, partitions: &[Partition], after: &Positions) -> Result<Box<dyn Reader>, Failure> {
        self.topics.read(partitions, after)
    }

    fn release(
        &self,
        partition: &Partition,
        through: Option<&Position>,
        views: &BTreeMap<String, ViewProgress>,
    ) -> Result<(), Failure> {
        self.group.release(partition, through, views);
        Ok(())
    }
}
