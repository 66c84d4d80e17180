//! A limit on payloads, for sources that pass on the beginning of what is too long: whatever the format makes of such a
//! payload, it is rejected, and the reason says why.

use std::sync::Arc;

use arrow_array::BooleanArray;
use arrow_select::filter::filter_record_batch;
use model::batch::{EventBatch, RawBatch, Rejected};
use model::codec::{Decoder, Format, SourceColumn};

#[cfg(test)]
mod tests;

/// A format that takes no payload of more than so many bytes.
pub struct BoundedFormat {
    inner: Arc<dyn Format>,
    most: usize,
}

impl BoundedFormat {
    /// `most`: bytes of a payload.
    pub fn new(inner: Arc<dyn Format>, most: usize) -> Self {
        Self { inner, most }
    }
}

impl Format for BoundedFormat {
    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(BoundedDecoder { inner: self.inner.decoder(), most: self.most })
    }

    fn columns(&self) -> &[SourceColumn] {
        self.inner.columns()
    }
}

struct BoundedDecoder {
    inner: Box<dyn Decoder>,
    most: usize,
}

impl Decoder for BoundedDecoder {
    fn decode(&mut self, raw: RawBatch) -> EventBatch {
        let is_long = |(start, end): &(u32, u32)| (end - start) as usize > self.most;
        if !raw.payloads.iter().any(is_long) {
            return self.inner.decode(raw);
        }
        let long: Vec<u32> =
            (0..).zip(&raw.payloads).filter(|(_, payload)| is_long(payload)).map(|(row, _)| row).collect();
        self.without(&long, raw)
    }
}

impl BoundedDecoder {
    /// Decodes, and puts these raw rows aside.
    fn without(&mut self, long: &[u32], raw: RawBatch) -> EventBatch {
        let mut events = self.inner.decode(raw);
        let raw_row = |row: usize| u32::try_from(events.raw_row(row)).unwrap_or(u32::MAX);
        let raw_rows: Vec<u32> = (0..events.columns.num_rows()).map(raw_row).collect();
        let keep: Vec<bool> = raw_rows.iter().map(|row| long.binary_search(row).is_err()).collect();
        events.raw_rows =
            raw_rows.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(row, _)| *row).collect();
        events.columns = filter_record_batch(&events.columns, &BooleanArray::from(keep))
            .expect("there is one flag for each row of the columns");
        events.rejected.retain(|rejected| long.binary_search(&rejected.row).is_err());
        events.rejected.extend(long.iter().map(|row| Rejected {
            row: *row,
            code: "decode",
            message: format!(
                "the event has more than the {} bytes of `max_row_bytes`: send less in one event, or raise it in the source",
                self.most
            ),
        }));
        events.rejected.sort_by_key(|rejected| rejected.row);
        events
    }
}
