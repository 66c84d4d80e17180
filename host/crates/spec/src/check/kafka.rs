//! Kafka sources and outputs, and the rules that bind them to each other.

use std::collections::HashMap;

use super::index::{Declared, Index};
use super::{Context, Outcome};
use crate::connection::reference;
use crate::diagnostic::{Code, Diagnostic};
use crate::kafka::{self, Place, create_topic, one_topic};
use crate::plan::{
    ConnectionPlan, DeadLetterPlan, GroupProtocol, KafkaOutputPlan, KafkaSourcePlan, OutOfRange, SourceKind,
    SourcePlan,
};
use crate::raw::{RawGroupProtocol, RawKafkaOutput, RawKafkaSource, RawOutOfRange, RawSource, Spanned};

/// The topics of a source, if they are right.
pub(super) fn source(
    context: &Context<'_>,
    source: &RawSource,
    raw: &RawKafkaSource,
    outcome: &mut Outcome,
) -> Option<KafkaSourcePlan> {
    let connection = outcome.note(reference(&raw.connection, "kafka", &context.host.connections));
    let topics = topics(context, raw, outcome);
    let default_group = || format!("millrace-{}-{}", context.host.project, source.name.value.0);
    let group = match &raw.group {
        Some(group) => outcome.note(kafka::group(group)),
        None => Some(default_group()),
    };
    let group_protocol = match raw.group_protocol {
        None | Some(RawGroupProtocol::Classic) => GroupProtocol::Classic,
        Some(RawGroupProtocol::Consumer) => GroupProtocol::Consumer,
    };
    let place = Place::Source { assigned_by_broker: group_protocol == GroupProtocol::Consumer };
    let options = kafka::options(raw.options.as_ref(), place, &mut |problem| outcome.report(problem));
    Some(KafkaSourcePlan {
        connection: connection?,
        topics: topics?,
        group: group?,
        out_of_range: match raw.out_of_range {
            None | Some(RawOutOfRange::Stop) => OutOfRange::Stop,
            Some(RawOutOfRange::Earliest) => OutOfRange::Earliest,
            Some(RawOutOfRange::Latest) => OutOfRange::Latest,
        },
        group_protocol,
        options,
    })
}

fn topics(context: &Context<'_>, raw: &RawKafkaSource, outcome: &mut Outcome) -> Option<Vec<String>> {
    let Spanned { value: given, spot } = &raw.topic;
    let mut topics: Vec<String> = Vec::new();
    for name in &given.0 {
        let Some(topic) = outcome.note(kafka::topic(name)) else { continue };
        if let Some(first) = topics.iter().position(|other| *other == topic) {
            outcome.report(
                Diagnostic::at(Code::NameClash, &name.spot, format!("topic `{topic}` stands twice"))
                    .related(&given.0[first].spot, "first here")
                    .help("remove one of them"),
            );
            continue;
        }
        if takes_dead_letters(context, &raw.connection.value.0, &topic) {
            let message = format!("topic `{topic}` is where dead letters go");
            outcome.report(
                Diagnostic::at(Code::OutputIsSource, &name.spot, message)
                    .help("an event that fails again would come back for ever: read another topic, or change `dead_letter` in host.yaml"),
            );
        }
        topics.push(topic);
    }
    if given.0.is_empty() {
        outcome.report_absent(
            Diagnostic::at(Code::Empty, spot, "a Kafka source needs at least one topic")
                .help("name it: `topic: clicks`, or several: `topic: [clicks, views]`"),
        );
    }
    (topics.len() == given.0.len() && !topics.is_empty()).then_some(topics)
}

/// The topic of an output stream, if it is right.
pub(super) fn output(
    context: &Context<'_>,
    source: Option<&SourcePlan>,
    raw: &RawKafkaOutput,
    outcome: &mut Outcome,
) -> Option<KafkaOutputPlan> {
    let connection = outcome.note(reference(&raw.connection, "kafka", &context.host.connections));
    let topic = outcome.note(one_topic(
        &raw.topic,
        "an output stream goes to one topic",
        "name one topic; declare a second view for a second topic",
    ));
    let create = raw.create.as_ref().map(|raw| create_topic(raw, &mut |problem| outcome.report(problem)));
    let options = kafka::options(raw.options.as_ref(), Place::Output, &mut |problem| outcome.report(problem));
    let plan = KafkaOutputPlan {
        connection: connection?,
        topic: topic?,
        exactly_once: raw.exactly_once.unwrap_or(false),
        create,
        options,
    };
    if let Some(source) = source
        && let SourceKind::Kafka(read) = &source.kind
        && read.topics.contains(&plan.topic)
        && is_one_cluster(context, &read.connection, &plan.connection)
    {
        let message = format!("topic `{}` is read by source `{}`", plan.topic, source.name);
        outcome.report(
            Diagnostic::at(Code::OutputIsSource, &raw.topic.0.spot, message)
                .related(&source.spot, "the source of this view")
                .help("a view that reads what it writes never ends: write to another topic"),
        );
    }
    if takes_dead_letters(context, &plan.connection, &plan.topic) {
        let message = format!("topic `{}` is where dead letters go", plan.topic);
        outcome.report(
            Diagnostic::at(Code::OutputIsSource, &raw.topic.0.spot, message)
                .help("write the output stream to another topic"),
        );
    }
    Some(plan)
}

fn takes_dead_letters(context: &Context<'_>, connection: &str, topic: &str) -> bool {
    matches!(
        &context.host.dead_letter,
        DeadLetterPlan::Kafka { connection: other, topic: letters, .. }
            if letters == topic && is_one_cluster(context, connection, other)
    )
}

/// Whether two connections lead to one cluster, as far as their addresses tell.
fn is_one_cluster(context: &Context<'_>, one: &str, other: &str) -> bool {
    let servers = |name: &str| match context.host.connections.get(name) {
        Some(ConnectionPlan::Kafka(kafka)) => Some(&kafka.bootstrap_servers),
        _ => None,
    };
    one == other || servers(one).is_some_and(|servers_of_one| servers(other) == Some(servers_of_one))
}

/// Two sources in one consumer group would take partitions from each other. Both are to blame: which of them was there
/// first is nothing that files can say.
pub(super) fn shared_groups(index: &Index, sources: &[&SourcePlan]) -> Vec<(String, Diagnostic)> {
    let mut first_of: HashMap<(&str, &str), &SourcePlan> = HashMap::new();
    let mut clashes = Vec::new();
    for source in sources {
        let SourceKind::Kafka(kafka) = &source.kind else { continue };
        let Some(first) = first_of.get(&(kafka.connection.as_str(), kafka.group.as_str())) else {
            first_of.insert((&kafka.connection, &kafka.group), source);
            continue;
        };
        let message = format!(
            "sources `{}` and `{}` are in one consumer group, `{}`",
            first.name, source.name, kafka.group
        );
        let spot = |source: &SourcePlan| {
            let group = raw(&index.sources, &source.name)
                .and_then(|raw| raw.kafka.as_ref()?.value.group.as_ref().map(|group| group.spot.clone()));
            group.unwrap_or_else(|| source.spot.clone())
        };
        let problem = Diagnostic::at(Code::GroupClash, &spot(source), message)
            .related(&spot(first), "the other one")
            .help("give one of them another `group`, or let one source read both topics");
        clashes.push((first.name.clone(), problem.clone()));
        clashes.push((source.name.clone(), problem));
    }
    clashes
}

fn raw<'a, Raw>(declared: &'a [Declared<Raw>], name: &str) -> Option<&'a Raw> {
    declared.iter().find(|declared| declared.name.as_deref() == Some(name))?.raw.as_ref()
}
