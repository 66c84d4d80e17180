//! What sources with one partition refuse: others, and positions that are none of theirs.

use model::error::Failure;
use model::position::{Partition, Position};

/// The one partition.
pub(super) const PARTITION: &str = "0";

/// Refuses every partition of source `name` but the one.
pub(super) fn check(name: &str, partition: &Partition) -> Result<(), Failure> {
    if partition.as_str() == PARTITION {
        return Ok(());
    }
    Err(Failure::stop(format!(
        "use partition `{partition}` of source `{name}`: its only one is `{PARTITION}`"
    )))
}

/// The partition to read, of those that are asked for.
pub(super) fn only<'a>(name: &str, partitions: &'a [Partition]) -> Result<&'a Partition, Failure> {
    let [partition] = partitions else {
        let count = partitions.len();
        return Err(Failure::stop(format!("read {count} partitions of source `{name}`, which has one")));
    };
    check(name, partition)?;
    Ok(partition)
}

/// The number behind a position.
pub(super) fn number(name: &str, position: &Position) -> Result<u64, Failure> {
    position.as_u64().ok_or_else(|| {
        Failure::stop(format!("use position {position} of source `{name}`: its positions have 8 bytes"))
    })
}
