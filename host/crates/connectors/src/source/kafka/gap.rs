//! A position that is not there any more: retention has passed it, or the topic was cut or made anew.

use std::time::Duration;

use model::error::Failure;
use model::position::Partition;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::topic_set::Core;
use crate::kafka::Watch;
use crate::source::OutOfRange;

/// How long the broker may take to say which offsets it has.
const ASK: Duration = Duration::from_secs(10);

/// Where to go on in a partition whose offset `wanted` the broker refuses. Counts what is lost.
pub(super) fn mend(
    core: &Core,
    client: &BaseConsumer<Watch>,
    partition: &Partition,
    wanted: u64,
    said: &str,
) -> Result<u64, Failure> {
    let (topic, number) = core.place(partition)?;
    let doing = || format!("learn which offsets partition `{partition}` of source `{}` has", core.name);
    let range =
        client.fetch_watermarks(topic, number, ASK).map_err(|error| core.watch.failure(&doing(), &error))?;
    let (low, high) = (number_of(range.0), number_of(range.1));
    let to = decide(core.out_of_range, wanted, low, high).map_err(|why| {
        let source = &core.name;
        Failure::stop(format!("read partition `{partition}` of source `{source}` at offset {wanted}: {why}"))
    })?;
    if to == wanted {
        // A broker that was behind its leader, or the partition's new leader cut what the old one had not replicated.
        tracing::warn!(source = core.name, %partition, offset = wanted, "reading on at the same offset: {said}");
        return Ok(to);
    }
    if wanted == 0 {
        return Ok(to);
    }
    core.metrics.gap_records.inc_by(to - wanted);
    tracing::warn!(
        source = core.name,
        %partition,
        from = wanted,
        to,
        records = to - wanted,
        "records were gone before they were read: going on behind the gap"
    );
    Ok(to)
}

/// Where to go on, or why not.
fn decide(policy: OutOfRange, wanted: u64, low: u64, high: u64) -> Result<u64, String> {
    // Whoever wants the beginning takes it where it is.
    if wanted == 0 {
        return Ok(low);
    }
    if (low..=high).contains(&wanted) {
        return Ok(wanted);
    }
    if high < wanted {
        // Offsets that are used a second time cannot be told from those that were done before.
        return Err(format!(
            "the partition ends at {high}: the topic was made anew or cut; take its events from the beginning with \
             `host rewind VIEW --to earliest`, for each view of this source"
        ));
    }
    match policy {
        OutOfRange::Earliest => Ok(low),
        OutOfRange::Latest => Ok(high),
        OutOfRange::Stop => Err(format!(
            "the broker has {low} to {high} only, {} records are gone; set `out_of_range` of the source to `earliest` \
             or `latest` to go on without them, or choose a place with `host rewind`",
            low - wanted
        )),
    }
}

fn number_of(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(policy: OutOfRange, wanted: u64, (low, high): (u64, u64), expected: Result<u64, &str>) {
        match (decide(policy, wanted, low, high), expected) {
            (Ok(to), Ok(expected)) => assert_eq!(to, expected),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (decided, expected) => panic!("{decided:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_gap_is_mended_as_the_policy_says() {
        check(OutOfRange::Stop, 5, (10, 20), Err("10 to 20 only, 5 records are gone"));
        check(OutOfRange::Earliest, 5, (10, 20), Ok(10));
        check(OutOfRange::Latest, 5, (10, 20), Ok(20));
        check(OutOfRange::Stop, 0, (10, 20), Ok(10));
        check(OutOfRange::Stop, 10, (10, 20), Ok(10));
        check(OutOfRange::Stop, 20, (10, 20), Ok(20));
        for policy in [OutOfRange::Stop, OutOfRange::Earliest, OutOfRange::Latest] {
            check(policy, 21, (10, 20), Err("ends at 20: the topic was made anew or cut"));
        }
    }
}
