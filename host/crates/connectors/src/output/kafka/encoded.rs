//! A batch's records in one buffer, for streams that write from another thread than the caller's.

use model::error::Failure;
use model::output::Emission;
use model::position::Position;

use super::native::{IDENTITY, Record};
use crate::output::lane::Sending;
use crate::output::record::Identities;

/// Records of a batch.
#[derive(Default)]
pub(super) struct Encoded {
    bytes: Vec<u8>,
    /// Where key, value and identity of each record end.
    ends: Vec<[usize; 3]>,
}

impl Encoded {
    /// Encodes a batch without the rows through `skip`. A record above `max_record` bytes goes to `put_aside` instead,
    /// with the number of its row.
    pub(super) fn new(
        emission: &Emission,
        skip: Option<Position>,
        sending: &mut Sending,
        max_record: usize,
        mut put_aside: impl FnMut(usize, &[u8]) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let Emission { batch, applied, options, epoch } = emission;
        let identities = Identities::new(batch, *epoch);
        let encoder = sending.encoder.of(&batch.view, options);
        let mut encoded = Self { bytes: Vec::new(), ends: Vec::with_capacity(batch.len()) };
        let bytes = &mut encoded.bytes;
        for row in 0..batch.len() {
            if skip.is_some_and(|skip| batch.positions.bytes_at(row) <= skip.as_bytes()) {
                continue;
            }
            let start = bytes.len();
            let applied = applied.is_applied(row);
            encoder.key(batch, row, bytes);
            let key = bytes.len();
            encoder.encode(batch, row, applied, *epoch, bytes);
            let value = bytes.len();
            identities.write(batch, row, applied, bytes);
            if bytes.len() - start > max_record {
                put_aside(row, &bytes[key..value])?;
                bytes.truncate(start);
                continue;
            }
            encoded.ends.push([key, value, bytes.len()]);
        }
        Ok(encoded)
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all of them.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The records, in order.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|[_, _, end]| *end));
        starts.zip(&self.ends).map(|(start, [key, value, end])| Record {
            key: &self.bytes[start..*key],
            value: &self.bytes[*key..*value],
            header: (IDENTITY, &self.bytes[*value..*end]),
        })
    }
}
