//! Everything that the files would have the host connect to, tried from here: for `host check --connect` and
//! `host doctor`. What is tried, and how, is the connectors' business; here it is gathered, and told where it belongs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::Context;
use connectors::finding::{self, Depth, Severity};
use connectors::kafka::probe::Expectation;
use connectors::kafka::{self, CreateTopic};
use connectors::{kinesis, redis};
use spec::diagnostic::{Code, Diagnostic, Spot};
use spec::plan::{
    DeadLetterPlan, HostPlan, KafkaSourcePlan, OutputSink, SourceKind, SourcePlan, Start, ViewPlan,
};
use tokio::runtime::Handle;

use crate::cmd::doctor::{Finding, Verdict};
use crate::project::Project;
use crate::running::{create_topic, kafka_connections, kinesis_connections, redis_connections, stream_of};

/// Things that are tried at the same time. Each waits for an answer most of the time.
const AT_ONCE: usize = 8;

/// Where progress is kept when the consumer group cannot be in a transaction.
const PROGRESS_TOPIC: &str = "millrace-progress";

/// Every connection of the settings, as its product's client takes it.
struct Connections {
    kafka: BTreeMap<String, kafka::Connection>,
    kinesis: BTreeMap<String, kinesis::Connection>,
    redis: BTreeMap<String, redis::Connection>,
}

/// One thing to try.
struct Trial<'a> {
    attempt: Attempt<'a>,
    /// Where it is declared; `None` = in host.yaml.
    spot: Option<Spot>,
}

/// A connection, and what is expected of the other side beyond letting us in.
enum Attempt<'a> {
    Kafka(&'a kafka::Connection, Option<Expectation>),
    Kinesis(&'a kinesis::Connection, Option<kinesis::probe::Expectation>),
    Redis(&'a redis::Connection),
}

impl Attempt<'_> {
    fn connection(&self) -> &str {
        match self {
            Self::Kafka(connection, _) => &connection.name,
            Self::Kinesis(connection, _) => &connection.name,
            Self::Redis(connection) => &connection.name,
        }
    }

    fn product(&self) -> &'static str {
        match self {
            Self::Kafka(..) => "kafka",
            Self::Kinesis(..) => "kinesis",
            Self::Redis(_) => "redis",
        }
    }

    fn make(&self, project: &str, runtime: &Handle, depth: Depth) -> Vec<finding::Finding> {
        match self {
            Self::Kafka(connection, expectation) => {
                kafka::probe::probe(connection, expectation.as_slice(), depth)
            }
            Self::Kinesis(connection, expectation) => {
                kinesis::probe::probe(connection, expectation.as_slice(), runtime, depth)
            }
            Self::Redis(connection) => redis::probe::probe(connection, project, runtime, depth),
        }
    }
}

/// What was found, and where its cause is declared.
struct Found {
    finding: finding::Finding,
    product: &'static str,
    connection: String,
    spot: Option<Spot>,
}

/// For `host check --connect`: what does not work, or not as expected. Leaves no trace.
pub(crate) fn problems(project: &Project) -> anyhow::Result<Vec<Diagnostic>> {
    let found = look(project, Depth::Check)?;
    let settings = project.settings_file();
    Ok(found.into_iter().filter_map(|found| diagnostic(found, settings)).collect())
}

/// For `host doctor`: all that was looked at.
pub(crate) fn deeply(project: &Project) -> anyhow::Result<Vec<Finding>> {
    let found = look(project, Depth::Doctor)?;
    let told = found
        .into_iter()
        .map(|Found { finding, product, connection, .. }| Finding {
            check: product,
            subject: match is_about(&finding, &connection) {
                true => finding.what,
                false => format!("{} on `{connection}`", finding.what),
            },
            verdict: match finding.severity {
                Severity::Note => Verdict::Good,
                Severity::Warning => Verdict::Warning,
                Severity::Problem => Verdict::Error,
            },
            message: finding.message,
            help: finding.help,
        })
        .collect();
    Ok(told)
}

fn diagnostic(found: Found, settings: &Path) -> Option<Diagnostic> {
    let Found { finding, connection, spot, .. } = found;
    let code = match finding.severity {
        Severity::Note => return None,
        Severity::Warning => Code::ConnectionDoubtful,
        Severity::Problem => Code::ConnectionFails,
    };
    let mut message = format!("{}: {}", finding.what, finding.message);
    if !is_about(&finding, &connection) {
        message = format!("connection `{connection}`: {message}");
    }
    let told = match &spot {
        Some(spot) => Diagnostic::at(code, spot, message),
        None => Diagnostic::in_file(code, settings, message),
    };
    Some(if finding.help.is_empty() { told } else { told.help(finding.help) })
}

/// Whether it is the connection itself that something was found of.
fn is_about(finding: &finding::Finding, connection: &str) -> bool {
    finding.what == format!("connection `{connection}`")
}

/// Tries all connections; then, through those that let us in, all that the files expect of them.
fn look(project: &Project, depth: Depth) -> anyhow::Result<Vec<Found>> {
    let plans = &project.settings.connections;
    let connections = Connections {
        kafka: kafka_connections(plans),
        kinesis: kinesis_connections(plans),
        redis: redis_connections(plans),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let try_all = |trials: &[Trial<'_>]| try_all(trials, &project.settings.project, runtime.handle(), depth);
    let kafka = connections.kafka.values().map(|connection| Attempt::Kafka(connection, None));
    let kinesis = connections.kinesis.values().map(|connection| Attempt::Kinesis(connection, None));
    let redis = connections.redis.values().map(Attempt::Redis);
    let contacts = kafka.chain(kinesis).chain(redis).map(|attempt| Trial { attempt, spot: None });
    let mut found = try_all(&contacts.collect::<Vec<_>>());
    let known: Vec<finding::Finding> = found.iter().map(|found| found.finding.clone()).collect();
    let is_open = |connection: &str| {
        !found
            .iter()
            .any(|found| found.connection == connection && found.finding.severity == Severity::Problem)
    };
    let mut trials = expectations(project, &connections);
    trials.retain(|trial| is_open(trial.attempt.connection()));
    let further = try_all(&trials);
    // What there is to say of a connection is said with each thing that goes through it.
    found.extend(further.into_iter().filter(|found| !known.contains(&found.finding)));
    Ok(found)
}

/// What the files expect of each connection.
fn expectations<'a>(project: &Project, connections: &'a Connections) -> Vec<Trial<'a>> {
    let mut trials = of_kafka(project, &connections.kafka);
    trials.extend(of_kinesis(project, &connections.kinesis));
    trials
}

fn of_kinesis<'a>(
    project: &Project,
    connections: &'a BTreeMap<String, kinesis::Connection>,
) -> Vec<Trial<'a>> {
    let plan = &project.report.plan;
    let mut trials = Vec::new();
    let mut expect = |connection: &str, expectation: kinesis::probe::Expectation, spot: Spot| {
        // A connection that is not there was reported with the files.
        if let Some(connection) = connections.get(connection) {
            trials.push(Trial { attempt: Attempt::Kinesis(connection, Some(expectation)), spot: Some(spot) });
        }
    };
    for source in plan.sources.values() {
        let SourceKind::Kinesis(kinesis) = &source.kind else { continue };
        let expectation = kinesis::probe::Expectation::Source { stream: stream_of(&kinesis.stream) };
        expect(
            &kinesis.connection,
            expectation,
            spot_of(&source.spot, "stream_", &kinesis.stream.to_string()),
        );
    }
    for view in plan.views.values() {
        let Some(OutputSink::Kinesis(kinesis)) = view.output.as_ref().map(|output| &output.sink) else {
            continue;
        };
        let (stream, ordered) = (stream_of(&kinesis.stream), kinesis.ordered);
        let spot = spot_of(&view.spots.name, "stream_", &kinesis.stream.to_string());
        expect(&kinesis.connection, kinesis::probe::Expectation::Output { stream, ordered }, spot);
    }
    trials
}

fn of_kafka<'a>(project: &Project, connections: &'a BTreeMap<String, kafka::Connection>) -> Vec<Trial<'a>> {
    let (plan, settings) = (&project.report.plan, &project.settings);
    let mut trials = Vec::new();
    let mut expect = |connection: &str, expectation: Expectation, spot: Option<Spot>| {
        // A connection that is not there was reported with the files.
        if let Some(connection) = connections.get(connection) {
            trials.push(Trial { attempt: Attempt::Kafka(connection, Some(expectation)), spot });
        }
    };
    for source in plan.sources.values() {
        let SourceKind::Kafka(kafka) = &source.kind else { continue };
        let spot = spot_of(&source.spot, "topic", &kafka.topics[0]);
        expect(&kafka.connection, reading(source, kafka, plan.views.values()), Some(spot));
    }
    for view in plan.views.values() {
        let Some(OutputSink::Kafka(kafka)) = view.output.as_ref().map(|output| &output.sink) else {
            continue;
        };
        let transactional_id = kafka.exactly_once.then(|| transactional_id(settings, view.name()));
        let spot = spot_of(&view.spots.name, "topic", &kafka.topic);
        let writing = |topic: &str, create: Option<CreateTopic>| Expectation::Output {
            topic: topic.to_owned(),
            create,
            record_bytes: None,
            transactional_id: transactional_id.clone(),
        };
        expect(&kafka.connection, writing(&kafka.topic, kafka.create.map(create_topic)), Some(spot.clone()));
        let source = plan.sources.get(&view.source).map(|source| &source.kind);
        let is_in_group =
            matches!(source, Some(SourceKind::Kafka(source)) if source.connection == kafka.connection);
        if kafka.exactly_once && !is_in_group {
            let create = CreateTopic { partitions: 1, replication: None };
            expect(&kafka.connection, writing(PROGRESS_TOPIC, Some(create)), Some(spot));
        }
    }
    if let DeadLetterPlan::Kafka { connection, topic, create } = &settings.dead_letter {
        let expectation = Expectation::Output {
            topic: topic.clone(),
            create: create.map(create_topic),
            record_bytes: None,
            transactional_id: None,
        };
        expect(connection, expectation, None);
    }
    trials
}

fn reading<'a>(
    source: &SourcePlan,
    kafka: &KafkaSourcePlan,
    mut views: impl Iterator<Item = &'a ViewPlan>,
) -> Expectation {
    let begins = |view: &ViewPlan| view.source == source.name && view.start == Start::Committed;
    Expectation::Source {
        topics: kafka.topics.clone(),
        group: kafka.group.clone(),
        is_from_committed: source.start == Start::Committed || views.any(begins),
    }
}

fn transactional_id(settings: &HostPlan, view: &str) -> String {
    format!("millrace-{}-{view}", settings.project)
}

/// Where a topic or stream is named within a declaration, below a key that begins so; the declaration's own place where it
/// cannot be told.
fn spot_of(declaration: &Spot, key: &str, topic: &str) -> Spot {
    let (file, begin) = (declaration.file(), declaration.range().start);
    let text = &file.text[begin..];
    // The next document is about something else.
    let text = text.split("\n---").next().unwrap_or(text);
    let is_word = |at: usize| {
        let beside = |neighbor: Option<char>| {
            neighbor.is_none_or(|c| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.'))
        };
        let (before, behind) = (text[..at].chars().next_back(), text[at + topic.len()..].chars().next());
        beside(before) && beside(behind)
    };
    let below = text.find(key).unwrap_or(text.len());
    match text.match_indices(topic).find(|(at, _)| below < *at && is_word(*at)) {
        Some((at, _)) => Spot::new(file, begin + at..begin + at + topic.len()),
        None => declaration.clone(),
    }
}

/// Tries several things at a time; what was found stands in their order.
fn try_all(trials: &[Trial<'_>], project: &str, runtime: &Handle, depth: Depth) -> Vec<Found> {
    let found: Mutex<Vec<(usize, Vec<finding::Finding>)>> = Mutex::default();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..trials.len().min(AT_ONCE) {
            scope.spawn(|| {
                while let Some((index, trial)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    trials.get(index).map(|trial| (index, trial))
                } {
                    let findings = trial.attempt.make(project, runtime, depth);
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((index, findings));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    let of = |(index, findings): (usize, Vec<finding::Finding>)| {
        let trial = &trials[index];
        let (connection, spot) = (trial.attempt.connection().to_owned(), trial.spot.clone());
        let product = trial.attempt.product();
        findings.into_iter().map(move |finding| Found {
            finding,
            product,
            connection: connection.clone(),
            spot: spot.clone(),
        })
    };
    found.into_iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use spec::diagnostic::SourceFile;

    use super::*;

    #[track_caller]
    fn check(text: &str, topic: &str, expected: (usize, usize)) {
        let file = SourceFile::new("ads.yaml", text);
        let begin = text.find("name").unwrap();
        let key = if text.contains("stream_") { "stream_" } else { "topic" };
        let spot = spot_of(&Spot::new(&file, begin..begin + 4), key, topic);
        assert_eq!(spot.line_and_column(), expected, "{}", spot.text());
    }

    #[test]
    fn a_topic_is_found_where_it_is_named() {
        check("source:\n  name: ads\n  kafka: { connection: main, topic: ads }\n", "ads", (3, 37));
        check("source:\n  name: x\n  kafka:\n    topic: [ads-2, ads]\n", "ads", (4, 20));
        check("source:\n  name: ads\n  kinesis: { connection: ads, stream_name: ads }\n", "ads", (3, 44));
        // Not there, or only in another document: the declaration itself.
        check("source:\n  name: x\n  kafka: { topic: \"a\\u0064s\" }\n---\ntopic: ads\n", "ads", (2, 3));
    }
}
