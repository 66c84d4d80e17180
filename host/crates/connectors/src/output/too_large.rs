//! A record that a stream would not take: put aside as a dead letter, so that its partition goes on.

use model::dead_letter::{DeadLetter, DeadLetters};
use model::error::Failure;
use model::output::Emission;

/// The code of such a dead letter.
pub(crate) const TOO_LARGE: &str = "record_too_large";

/// Puts a record aside: on disk or acknowledged on return.
pub(crate) fn put_aside(
    letters: &dyn DeadLetters,
    emission: &Emission,
    row: usize,
    value: &[u8],
    reason: &str,
) -> Result<(), Failure> {
    let batch = &emission.batch;
    letters.write(&[DeadLetter {
        view: &batch.view.name,
        source: &batch.view.source,
        partition: &batch.partition,
        position: batch.positions.at(row),
        code: TOO_LARGE,
        reason,
        ingest_time: batch.event_times[row],
        digest: batch.digest(),
        payload: value,
    }])
}
