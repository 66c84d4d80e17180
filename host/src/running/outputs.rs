//! Output streams that are open: files, which views may share, and topics and Kinesis streams, one view each.
//!
//! Such a stream knows the consumer group or the leases of its view's source, so it is opened anew when the source is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use connectors::kafka::{CreateTopic, Group};
use connectors::kinesis::lease::Leases;
use connectors::output::file::FileOutput;
use connectors::output::kafka::{KafkaOutput, KafkaOutputOptions, Progress};
use connectors::output::kinesis::{KinesisOutput, KinesisOutputOptions, Progress as KinesisProgress};
use model::error::Failure;
use model::output::OutputStream;
use spec::plan::{
    self, KafkaOutputPlan, KafkaSourcePlan, KinesisOutputPlan, OutputSink, SourceKind, SourcePlan, ViewPlan,
};

use super::kinesis::stream;
use super::parts::Parts;
use super::sources::OpenSource;

/// Output streams that are open.
#[derive(Default)]
pub(super) struct Outputs {
    files: BTreeMap<PathBuf, Arc<FileOutput>>,
    /// By view.
    topics: BTreeMap<String, OpenTopic>,
    /// By view.
    streams: BTreeMap<String, OpenStream>,
}

/// A topic that a view writes.
struct OpenTopic {
    plan: KafkaOutputPlan,
    members: Members,
    stream: Arc<KafkaOutput>,
}

/// A Kinesis stream that a view writes.
struct OpenStream {
    plan: KinesisOutputPlan,
    members: Members,
    stream: Arc<KinesisOutput>,
}

/// This host's part among those that share the view's source: at most one of the two.
#[derive(Clone)]
struct Members {
    group: Option<Arc<Group>>,
    leases: Option<Arc<Leases>>,
}

impl Members {
    fn of(open: &OpenSource) -> Self {
        Self { group: open.group(), leases: open.leases() }
    }

    fn are(&self, others: &Self) -> bool {
        fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
            one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
        }
        same(self.group.as_ref(), others.group.as_ref()) && same(self.leases.as_ref(), others.leases.as_ref())
    }
}

/// Who keeps through where a topic has a view's partitions, before there is anything to keep it with.
#[derive(Debug, PartialEq, Eq)]
enum Keeper {
    Group,
    Leases,
    Ledger,
    Topic,
}

impl Outputs {
    /// The stream of a view, opened if it is not open yet. Waits for no broker.
    ///
    /// A topic that was opened for another declaration, or another opening of the source, is let go of first: two
    /// producers of one transactional id would end each other. So the view must have stopped if its output changes.
    pub(super) fn open(
        &mut self,
        parts: &Parts,
        view: &ViewPlan,
        source: &SourcePlan,
        open: &OpenSource,
    ) -> Result<Option<Arc<dyn OutputStream>>, Failure> {
        match view.output.as_ref().map(|output| &output.sink) {
            None => Ok(None),
            Some(OutputSink::File { path }) => {
                if let Some(open) = self.files.get(path) {
                    return Ok(Some(Arc::clone(open) as _));
                }
                let opened = FileOutput::open(path)?;
                self.files.insert(path.clone(), Arc::clone(&opened));
                Ok(Some(opened))
            }
            Some(OutputSink::Kafka(topic)) => {
                self.open_topic(parts, view.name(), topic, source, open).map(|stream| Some(stream as _))
            }
            Some(OutputSink::Kinesis(stream)) => {
                self.open_stream(parts, view.name(), stream, source, open).map(|stream| Some(stream as _))
            }
        }
    }

    /// The same, before the view has stopped: whether what can be known now speaks against it.
    pub(super) fn try_open(
        &mut self,
        parts: &Parts,
        view: &ViewPlan,
        source: &SourcePlan,
        open: &OpenSource,
    ) -> Result<(), Failure> {
        match view.output.as_ref().map(|output| &output.sink) {
            Some(OutputSink::Kafka(topic)) => parts.kafka.trouble(&topic.connection)?.map_or(Ok(()), Err),
            Some(OutputSink::Kinesis(stream)) => {
                parts.kinesis.trouble(&stream.connection)?.map_or(Ok(()), Err)
            }
            _ => self.open(parts, view, source, open).map(drop),
        }
    }

    fn open_topic(
        &mut self,
        parts: &Parts,
        view: &str,
        plan: &KafkaOutputPlan,
        source: &SourcePlan,
        open: &OpenSource,
    ) -> Result<Arc<KafkaOutput>, Failure> {
        let members = Members::of(open);
        if let Some(known) = self.topics.get(view)
            && known.plan == *plan
            && known.members.are(&members)
        {
            return Ok(Arc::clone(&known.stream));
        }
        self.topics.remove(view);
        // A transactional producer has to ask where it is before it starts; known to be away, nobody waits for that.
        if let Some(away) = parts.kafka.trouble(&plan.connection)?.filter(|_| plan.exactly_once) {
            return Err(away);
        }
        let progress = match (keeper(plan, &source.kind), &members) {
            (Keeper::Group, Members { group: Some(group), .. }) => Progress::Group(Arc::clone(group)),
            (Keeper::Leases, Members { leases: Some(leases), .. }) => Progress::Leases(Arc::clone(leases)),
            (Keeper::Topic, _) => Progress::Topic { group: members.group.clone() },
            (Keeper::Ledger | Keeper::Group | Keeper::Leases, _) => {
                Progress::Ledger(Arc::clone(&parts.store) as _)
            }
        };
        let stream = KafkaOutput::open(KafkaOutputOptions {
            project: parts.settings.project.clone(),
            view: view.to_owned(),
            source: source.name.clone(),
            connection: parts.kafka.connection(&plan.connection)?,
            topic: plan.topic.clone(),
            create: plan.create.map(create),
            max_message_bytes: None,
            exactly_once: plan.exactly_once,
            options: plan.options.clone(),
            instance: parts.instance.clone(),
            progress,
            dead_letters: Arc::clone(&parts.dead_letters),
            shared: parts.kafka.shared.clone(),
        })?;
        let opened = OpenTopic { plan: plan.clone(), members, stream: Arc::clone(&stream) };
        self.topics.insert(view.to_owned(), opened);
        Ok(stream)
    }

    fn open_stream(
        &mut self,
        parts: &Parts,
        view: &str,
        plan: &KinesisOutputPlan,
        source: &SourcePlan,
        open: &OpenSource,
    ) -> Result<Arc<KinesisOutput>, Failure> {
        let members = Members::of(open);
        if let Some(known) = self.streams.get(view)
            && known.plan == *plan
            && known.members.are(&members)
        {
            return Ok(Arc::clone(&known.stream));
        }
        self.streams.remove(view);
        let progress = match &members {
            Members { group: Some(group), .. } => KinesisProgress::Group(Arc::clone(group)),
            Members { leases: Some(leases), .. } => KinesisProgress::Leases(Arc::clone(leases)),
            Members { group: None, leases: None } => KinesisProgress::Ledger(Arc::clone(&parts.store) as _),
        };
        let stream = KinesisOutput::open(KinesisOutputOptions {
            project: parts.settings.project.clone(),
            view: view.to_owned(),
            source: source.name.clone(),
            connection: parts.kinesis.connection(&plan.connection)?,
            stream: stream(&plan.stream),
            ordered: plan.ordered,
            progress,
            dead_letters: Arc::clone(&parts.dead_letters),
            shared: parts.kinesis.shared.clone(),
        })?;
        let opened = OpenStream { plan: plan.clone(), members, stream: Arc::clone(&stream) };
        self.streams.insert(view.to_owned(), opened);
        Ok(stream)
    }

    /// Closes what no view writes any more. A view that did not stop in time still has its own file: that is found
    /// here when the view returns.
    pub(super) fn close_unused(&mut self, views: &BTreeMap<String, ViewPlan>) {
        let sinks = || views.values().filter_map(|view| Some((view.name(), &view.output.as_ref()?.sink)));
        let is_file = |path: &PathBuf| {
            sinks().any(|(_, sink)| matches!(sink, OutputSink::File { path: used } if used == path))
        };
        self.files.retain(|path, output| is_file(path) || Arc::strong_count(output) > 1);
        self.topics.retain(|view, _| {
            sinks().any(|(name, sink)| name == view && matches!(sink, OutputSink::Kafka(_)))
        });
        self.streams.retain(|view, _| {
            sinks().any(|(name, sink)| name == view && matches!(sink, OutputSink::Kinesis(_)))
        });
    }

    /// The connections that topics and streams are written through.
    pub(super) fn connections(&self) -> impl Iterator<Item = &str> {
        let topics = self.topics.values().map(|topic| topic.plan.connection.as_str());
        topics.chain(self.streams.values().map(|stream| stream.plan.connection.as_str()))
    }
}

/// The group or the leases keep positions where there are any, so that they move with a partition to another host; a
/// transaction can only hold a group of its own connection. What only this host reads is kept by its ledger.
fn keeper(output: &KafkaOutputPlan, source: &SourceKind) -> Keeper {
    match (source, output.exactly_once) {
        (SourceKind::Kafka(_), false) => Keeper::Group,
        (SourceKind::Kafka(KafkaSourcePlan { connection, .. }), true) if *connection == output.connection => {
            Keeper::Group
        }
        // They say who may emit; the transaction keeps its positions in a topic.
        (SourceKind::Kinesis(_), _) => Keeper::Leases,
        (SourceKind::Kafka(_) | SourceKind::Push | SourceKind::File { .. }, true) => Keeper::Topic,
        (SourceKind::Push | SourceKind::File { .. }, false) => Keeper::Ledger,
    }
}

/// How a missing topic is made.
pub(crate) fn create(plan: plan::CreateTopic) -> CreateTopic {
    CreateTopic { partitions: plan.partitions, replication: plan.replication }
}

#[cfg(test)]
mod tests {
    use spec::plan::{GroupProtocol, OutOfRange};

    use super::*;

    #[track_caller]
    fn check(source: Option<&str>, output: &str, exactly_once: bool, expected: &Keeper) {
        let source = source.map_or(SourceKind::Push, |connection| {
            SourceKind::Kafka(KafkaSourcePlan {
                connection: connection.to_owned(),
                topics: vec!["ads".to_owned()],
                group: "millrace-default-ads".to_owned(),
                out_of_range: OutOfRange::Stop,
                group_protocol: GroupProtocol::Classic,
                options: BTreeMap::new(),
            })
        });
        let output = KafkaOutputPlan {
            connection: output.to_owned(),
            topic: "features".to_owned(),
            exactly_once,
            create: None,
            options: BTreeMap::new(),
        };
        assert_eq!(keeper(&output, &source), *expected);
    }

    #[test]
    fn positions_are_kept_where_they_can_be_true() {
        check(Some("main"), "main", false, &Keeper::Group);
        check(Some("main"), "other", false, &Keeper::Group);
        check(Some("main"), "main", true, &Keeper::Group);
        check(Some("main"), "other", true, &Keeper::Topic);
        check(None, "main", false, &Keeper::Ledger);
        check(None, "main", true, &Keeper::Topic);
    }
}
