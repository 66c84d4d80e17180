//! What sources, output streams and dead letters have in common: a topic, how to make it.

use super::names::topic;
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::CreateTopic;
use crate::raw::{RawCreateTopic, RawTopic, Spanned};

/// Partitions of a topic at most: more is a slip of the finger.
const MAX_PARTITIONS: u64 = 100_000;

/// Copies of a partition are counted with 16 bits and a sign.
const MAX_REPLICATION: u64 = i16::MAX as u64;

/// The one topic that stands where several could be meant.
pub(crate) fn one_topic(raw: &RawTopic, rule: &str, help: &str) -> Result<String, Box<Diagnostic>> {
    let several = || Box::new(Diagnostic::at(Code::OneTopic, &raw.0.spot, rule).help(help));
    match raw.0.value.0.as_slice() {
        [only] if only.value.contains(',') => Err(several()),
        [only] => topic(only),
        _ => Err(several()),
    }
}

/// How a missing topic is made, within what Kafka can count.
pub(crate) fn create_topic(raw: &RawCreateTopic, report: &mut dyn FnMut(Diagnostic)) -> CreateTopic {
    let mut number = |key: &str, raw: &Spanned<u64>, most: u64| {
        if !(1..=most).contains(&raw.value) {
            let message = format!("`create.{key}` must be between 1 and {most}");
            report(Diagnostic::at(Code::OutOfRange, &raw.spot, message));
        }
        raw.value.clamp(1, most)
    };
    let partitions = number("partitions", &raw.partitions, MAX_PARTITIONS);
    let replication = raw.replication.as_ref().map(|raw| number("replication", raw, MAX_REPLICATION));
    CreateTopic {
        partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
        replication: replication.map(|copies| u16::try_from(copies).unwrap_or(u16::MAX)),
    }
}
