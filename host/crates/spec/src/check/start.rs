//! Where a view begins, and which sources can begin there.

use super::Outcome;
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::{SourceKind, Start};
use crate::raw::{RawSource, RawStart, Spanned};

/// What a start means to a source of this name and kind; whatever the source cannot do is reported.
pub(super) fn plan(raw: &Spanned<RawStart>, source: &str, kind: &SourceKind, outcome: &mut Outcome) -> Start {
    let start = match &raw.value {
        RawStart::Latest => Start::Latest,
        RawStart::Earliest | RawStart::TrimHorizon => Start::Earliest,
        RawStart::Committed => Start::Committed,
        RawStart::Time(time) | RawStart::AtTimestamp(time) => Start::Time(*time),
        RawStart::Offsets(offsets) => Start::Offsets(offsets.clone()),
    };
    if let Some(problem) = refusal(raw, source, kind) {
        outcome.report(problem);
    }
    start
}

fn refusal(raw: &Spanned<RawStart>, source: &str, kind: &SourceKind) -> Option<Diagnostic> {
    let problem =
        |message: String, help: &str| Some(Diagnostic::at(Code::BadStart, &raw.spot, message).help(help));
    let only = |kinds: &str, word: &str, help: &str| {
        let message = format!(
            "only {kinds} sources can start at {word}, source `{source}` is a `{}` source",
            kind.name()
        );
        problem(message, help)
    };
    match (&raw.value, kind) {
        (RawStart::Latest | RawStart::Earliest, _)
        | (RawStart::TrimHorizon | RawStart::AtTimestamp(_), SourceKind::Kinesis(_))
        | (RawStart::Committed | RawStart::Time(_), SourceKind::Kafka(_) | SourceKind::Kinesis(_)) => None,
        (RawStart::Offsets(_), SourceKind::Kafka(kafka)) if kafka.topics.len() > 1 => problem(
            format!("offsets are those of one topic, source `{source}` reads {}", kafka.topics.len()),
            "start at a time, or declare a source for each topic",
        ),
        (RawStart::Offsets(_), SourceKind::Kafka(_)) => None,
        (RawStart::Offsets(_), SourceKind::Kinesis(_)) => {
            only("Kafka", "offsets", "use `latest`, `trim_horizon`, `committed` or a time")
        }
        (RawStart::TrimHorizon, _) => {
            only("Kinesis", "`trim_horizon`", "use `earliest`, which means the same")
        }
        (RawStart::AtTimestamp(_), SourceKind::Kafka(_)) => {
            only("Kinesis", "`at_timestamp`", "write the time alone, which means the same")
        }
        (RawStart::Committed, _) => only("Kafka and Kinesis", "`committed`", "use `latest` or `earliest`"),
        (RawStart::Time(_) | RawStart::AtTimestamp(_), _) => {
            only("Kafka and Kinesis", "a time", "use `latest` or `earliest`")
        }
        (RawStart::Offsets(_), _) => only("Kafka", "offsets", "use `latest` or `earliest`"),
    }
}

/// `start` of the source, or of its `kafka` or `kinesis`, where it stands for their users.
pub(super) fn given<'a>(raw: &'a RawSource, outcome: &mut Outcome) -> Option<&'a Spanned<RawStart>> {
    let of_kafka = raw.kafka.as_ref().and_then(|kafka| Some(("kafka", kafka.value.start.as_ref()?)));
    let of_kinesis =
        raw.kinesis.as_ref().and_then(|kinesis| Some(("kinesis", kinesis.value.start.as_ref()?)));
    let inner = of_kafka.or(of_kinesis);
    if let (Some(outer), Some((kind, inner))) = (&raw.start, inner) {
        let message = format!("`start` stands in the source and in its `{kind}`");
        outcome.report(
            Diagnostic::at(Code::ChooseOne, &outer.spot, message)
                .related(&inner.spot, "the other one")
                .help("remove one of them"),
        );
    }
    inner.map(|(_, start)| start).or(raw.start.as_ref())
}
