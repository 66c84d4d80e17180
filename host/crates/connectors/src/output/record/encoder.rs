//! From a row of columns to a record, with everything that is the same in all records prepared.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use model::batch::FeatureBatch;
use model::output::{OutputOptions, RecordVersion};
use model::schema::{DataType, Field};
use model::view::ViewShape;

use super::cell::{self, Form};
use super::identity::Identities;
use super::text::{self, Instants};

/// Writes the records of one view.
///
/// Not for more than one thread: it remembers the last day that it wrote. Cheap to make, by the standard of a batch.
#[derive(Debug, Clone)]
pub struct RecordEncoder {
    version: RecordVersion,
    include_features: bool,
    view: String,
    source: String,
    /// Everything up to and with `"feature_timestamp":"`.
    prefix: Vec<u8>,
    keys: Vec<Column>,
    features: Vec<Column>,
    /// The join keys sorted by name, each with the quote that opens its value: the record's key.
    entity: Vec<Column>,
    instants: Instants,
}

/// A join key or feature.
#[derive(Debug, Clone)]
struct Column {
    /// Index among the columns of a batch.
    index: usize,
    data_type: DataType,
    /// The name as JSON and a colon: `"user_id":`, for version 1 with the quote that opens the value.
    name: Vec<u8>,
}

impl RecordEncoder {
    /// An encoder for the rows of a view.
    pub fn new(view: &ViewShape, options: &OutputOptions) -> Self {
        let version: &[u8] = match options.version {
            RecordVersion::V1 => b"1",
            RecordVersion::V2 => b"2",
        };
        let mut prefix = b"{".to_vec();
        let constants: [(&str, &[u8]); 5] = [
            ("version", version),
            ("producer", options.producer.as_bytes()),
            ("job_type", b"stream"),
            ("feature_view_name", view.name.as_bytes()),
            ("feature_view_id", view.id.as_bytes()),
        ];
        for (name, value) in constants {
            prefix.extend_from_slice(&name_and_colon(name));
            prefix.push(b'"');
            text::escaped(&mut prefix, value);
            prefix.extend_from_slice(b"\",");
        }
        prefix.extend_from_slice(b"\"feature_timestamp\":\"");
        let column = |(index, field): (usize, &Field)| {
            let mut name = name_and_colon(&field.name);
            if options.version == RecordVersion::V1 {
                name.push(b'"');
            }
            Column { index, data_type: field.data_type.clone(), name }
        };
        let mut entity: Vec<(usize, &Field)> = view.keys.iter().enumerate().collect();
        entity.sort_by_key(|(_, field)| field.name.as_str());
        let entity = entity.into_iter().map(|(index, field)| {
            let mut name = name_and_colon(&field.name);
            name.push(b'"');
            Column { index, data_type: field.data_type.clone(), name }
        });
        let entity = entity.collect();
        let mut columns: Vec<Column> = view.columns().enumerate().map(column).collect();
        let features = columns.split_off(view.keys.len());
        Self {
            version: options.version,
            include_features: options.include_features,
            view: view.name.clone(),
            source: view.source.clone(),
            prefix,
            keys: columns,
            features,
            entity,
            instants: Instants::new(),
        }
    }

    /// Appends the record of one row, without a line feed.
    ///
    /// `applied`: whether the online store took the row. `epoch`: raised by a deliberate rewind. Panics if the batch has
    /// no such row or other columns than the view.
    pub fn encode(&mut self, batch: &FeatureBatch, row: usize, applied: bool, epoch: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        self.instants.write(out, batch.event_times[row]);
        match self.version {
            RecordVersion::V1 => {
                out.extend_from_slice(b"\",\"entity_keys\":{");
                texts(out, &self.keys, batch, row, &mut self.instants);
                if self.include_features {
                    out.extend_from_slice(b"},\"feature_values\":{");
                    texts(out, &self.features, batch, row, &mut self.instants);
                }
                out.extend_from_slice(b"}}");
            }
            RecordVersion::V2 => {
                out.extend_from_slice(b"\",\"entity_keys\":{");
                typed(out, &self.keys, batch, row, &mut self.instants);
                if self.include_features {
                    out.extend_from_slice(b"},\"feature_values\":{");
                    typed(out, &self.features, batch, row, &mut self.instants);
                }
                out.extend_from_slice(b"},");
                self.provenance(out, batch, row, applied, epoch);
                out.push(b'}');
            }
        }
    }

    /// Appends the key of one row: the entity, whatever the record's version. One join key: its text; several: a compact
    /// JSON object of texts, sorted by name.
    ///
    /// Panics if the batch has no such row or other columns than the view.
    #[inline]
    pub fn key(&mut self, batch: &FeatureBatch, row: usize, out: &mut Vec<u8>) {
        if let [column] = self.entity.as_slice() {
            let array = batch.rows.column(column.index);
            match column.data_type {
                // Outside of JSON nothing needs an escape.
                DataType::String => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
                _ => cell::write(out, array, row, &column.data_type, Form::Text, &mut self.instants),
            }
            return;
        }
        out.push(b'{');
        texts(out, &self.entity, batch, row, &mut self.instants);
        out.push(b'}');
    }

    /// What made a row, in one line; see [`Identities`], which is cheaper for many rows.
    pub fn identity(&self, batch: &FeatureBatch, row: usize, applied: bool, epoch: u32) -> String {
        let mut out = Vec::new();
        Identities::new(batch, epoch).write(batch, row, applied, &mut out);
        String::from_utf8(out).expect("names are text and all else is ASCII")
    }

    /// Where a row comes from: fields that version 2 has beyond version 1.
    fn provenance(&self, out: &mut Vec<u8>, batch: &FeatureBatch, row: usize, applied: bool, epoch: u32) {
        out.extend_from_slice(if applied { b"\"op\":\"upsert\"" } else { b"\"op\":\"late\"" });
        out.extend_from_slice(b",\"record_id\":\"");
        text::escaped(out, self.view.as_bytes());
        out.push(b'/');
        text::escaped(out, self.source.as_bytes());
        out.push(b'/');
        text::percent_encoded(out, batch.partition.as_str());
        out.push(b'/');
        text::hex(out, batch.positions.bytes_at(row));
        out.push(b'/');
        text::integer(out, batch.ordinal(row));
        out.extend_from_slice(b"\",\"token\":\"");
        // `RowVersion::token`, without its allocations; a test holds them equal.
        text::integer(out, batch.event_times[row]);
        out.push(b'.');
        text::escaped(out, batch.partition.as_str().as_bytes());
        out.push(b'.');
        text::hex(out, batch.positions.bytes_at(row));
        out.push(b'.');
        text::integer(out, batch.generation.number);
        out.push(b'.');
        text::integer(out, batch.ordinal(row));
        out.extend_from_slice(b"\",\"source\":{\"name\":\"");
        text::escaped(out, self.source.as_bytes());
        out.extend_from_slice(b"\",\"partition\":\"");
        text::escaped(out, batch.partition.as_str().as_bytes());
        out.extend_from_slice(b"\",\"position\":\"");
        text::hex(out, batch.positions.bytes_at(row));
        out.extend_from_slice(b"\",\"row\":");
        text::integer(out, batch.ordinal(row));
        out.extend_from_slice(b"},\"component\":\"");
        text::hex(out, &batch.generation.digest.0[..8]);
        out.extend_from_slice(b"\",\"generation\":");
        text::integer(out, batch.generation.number);
        out.extend_from_slice(b",\"epoch\":");
        text::integer(out, epoch);
        out.extend_from_slice(if applied {
            b",\"online_applied\":true"
        } else {
            b",\"online_applied\":false"
        });
    }
}

/// Appends `"name":"text",…`; what is null is left out.
#[inline]
fn texts(out: &mut Vec<u8>, columns: &[Column], batch: &FeatureBatch, row: usize, instants: &mut Instants) {
    let mut separator: &[u8] = b"";
    for column in columns {
        let array = batch.rows.column(column.index);
        if array.is_null(row) {
            continue;
        }
        out.extend_from_slice(separator);
        out.extend_from_slice(&column.name);
        cell::write(out, array, row, &column.data_type, Form::Text, instants);
        out.push(b'"');
        separator = b",";
    }
}

/// Appends `"name":value,…`.
fn typed(out: &mut Vec<u8>, columns: &[Column], batch: &FeatureBatch, row: usize, instants: &mut Instants) {
    let mut separator: &[u8] = b"";
    for column in columns {
        out.extend_from_slice(separator);
        out.extend_from_slice(&column.name);
        cell::write(out, batch.rows.column(column.index), row, &column.data_type, Form::Typed, instants);
        separator = b",";
    }
}

fn name_and_colon(name: &str) -> Vec<u8> {
    let mut out = vec![b'"'];
    text::escaped(&mut out, name.as_bytes());
    out.extend_from_slice(b"\":");
    out
}
