//! What made a row, in one line: what consumers drop repeats by.

use model::batch::FeatureBatch;

use super::text;

/// Writes the identities of a batch's rows: `1;epoch;source;partition;position;row;generation;digest;online_applied`,
/// the partition percent-encoded, the position and 16 digits of the digest in hex, the last one `true` or `false`.
///
/// What all rows of the batch have in common is written once.
#[derive(Debug, Clone)]
pub struct Identities {
    /// Through the semicolon before the position.
    start: Vec<u8>,
    /// Between the row and the last field, both semicolons included.
    end: Vec<u8>,
}

impl Identities {
    /// For the rows of this batch. `epoch`: raised by a deliberate rewind.
    pub fn new(batch: &FeatureBatch, epoch: u32) -> Self {
        let mut start = b"1;".to_vec();
        text::integer(&mut start, epoch);
        start.push(b';');
        start.extend_from_slice(batch.view.source.as_bytes());
        start.push(b';');
        text::percent_encoded(&mut start, batch.partition.as_str());
        start.push(b';');
        let mut end = b";".to_vec();
        text::integer(&mut end, batch.generation.number);
        end.push(b';');
        text::hex(&mut end, &batch.generation.digest.0[..8]);
        end.push(b';');
        Self { start, end }
    }

    /// The same with what JSON wants escaped within a text.
    #[must_use]
    pub(crate) fn escaped(&self) -> Self {
        let mut start = Vec::with_capacity(self.start.len());
        text::escaped(&mut start, &self.start);
        Self { start, end: self.end.clone() }
    }

    /// Appends the identity of one row. `applied`: whether the online store took it. Panics if there is no such row.
    #[inline]
    pub fn write(&self, batch: &FeatureBatch, row: usize, applied: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.start);
        text::hex(out, batch.positions.bytes_at(row));
        out.push(b';');
        text::integer(out, batch.ordinal(row));
        out.extend_from_slice(&self.end);
        out.extend_from_slice(if applied { b"true" } else { b"false" });
    }
}
