//! Entities → keys of their hashes: entity key serialization 3 of Feast, and the project behind it.
//!
//! ```text
//! number of join keys    u32
//! each, sorted by name   u32 2, u32 length, name
//! each value             u32 kind, u32 length, value
//! project
//! ```
//!
//! All numbers are little-endian. A timestamp counts seconds, as Feast's do; one that is not a whole second has four bytes
//! more, its microseconds: no Feast client can name such an entity, and it must not meet its neighbors.

use std::ops::Range;

use arrow_array::ArrayRef;
use model::batch::FeatureBatch;
use model::error::Failure;
use model::schema::{DataType, Field};
use model::value::Value;
use model::view::ViewShape;

use super::timestamp::MICROS;
use crate::online::key_column::KeyColumn;

/// Kinds of values, numbered as Feast numbers them.
const BYTES: u32 = 1;
const STRING: u32 = 2;
const INT32: u32 = 3;
const INT64: u32 = 4;
const UNIX_TIMESTAMP: u32 = 8;

/// What Feast keys views without join keys by.
const NO_ENTITY: &str = "__dummy_id";

/// How the keys of a view's entities are written; made once for each view.
#[derive(Debug, Clone)]
pub(in crate::online::redis) struct KeyLayout {
    /// Join keys in declared order.
    fields: Vec<Field>,
    /// Indexes into `fields`, sorted by name.
    order: Vec<usize>,
    /// Number and names of join keys.
    head: Vec<u8>,
    project: String,
}

impl KeyLayout {
    /// The layout of a view.
    pub(in crate::online::redis) fn new(view: &ViewShape) -> Self {
        let mut order: Vec<usize> = (0..view.keys.len()).collect();
        order.sort_by(|left, right| view.keys[*left].name.cmp(&view.keys[*right].name));
        let mut names: Vec<&str> = order.iter().map(|index| view.keys[*index].name.as_str()).collect();
        if names.is_empty() {
            names.push(NO_ENTITY);
        }
        let mut head = length_bytes(names.len()).to_vec();
        for name in names {
            append_value(STRING, name.as_bytes(), &mut head);
        }
        if view.keys.is_empty() {
            append_value(STRING, b"", &mut head);
        }
        Self { fields: view.keys.clone(), order, head, project: view.project.clone() }
    }
}

/// Keys, one after the other.
#[derive(Debug, Default)]
pub(in crate::online::redis) struct EntityKeys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl EntityKeys {
    /// Number of keys.
    pub(in crate::online::redis) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A key. Panics if there is no such.
    #[inline]
    pub(in crate::online::redis) fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.range(index)]
    }

    /// Where a key lies among the bytes of all.
    #[inline]
    fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.ends[index]
    }

    /// Forgets all keys and keeps the memory.
    pub(in crate::online::redis) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Replaces the content by the keys of a batch, one for each row.
    pub(in crate::online::redis) fn encode(
        &mut self,
        layout: &KeyLayout,
        batch: &FeatureBatch,
    ) -> Result<(), Failure> {
        self.clear();
        let columns = &batch.rows.columns()[..layout.fields.len()];
        let parts = layout
            .order
            .iter()
            .map(|index| Part::of(&layout.fields[*index], &columns[*index]))
            .collect::<Result<Vec<_>, _>>()?;
        self.ends.reserve(batch.len());
        if parts.iter().all(|part| part.fixed_width().is_some()) {
            self.encode_fixed(layout, &parts, batch.len());
        } else {
            for row in 0..batch.len() {
                self.bytes.extend_from_slice(&layout.head);
                for part in &parts {
                    part.append(row, &mut self.bytes);
                }
                self.finish(layout);
            }
        }
        Ok(())
    }

    /// All keys have one length: one of them many times, and the values written over it.
    fn encode_fixed(&mut self, layout: &KeyLayout, parts: &[Part<'_>], rows: usize) {
        let mut template = layout.head.clone();
        let mut offsets = Vec::with_capacity(parts.len());
        for part in parts {
            let width = part.fixed_width().unwrap_or(0);
            append_value(part.kind, &[0; 8][..width], &mut template);
            offsets.push(template.len() - width);
        }
        template.extend_from_slice(layout.project.as_bytes());
        self.bytes.reserve(template.len() * rows);
        for _ in 0..rows {
            self.bytes.extend_from_slice(&template);
        }
        self.ends.extend((1..=rows).map(|row| row * template.len()));
        for (part, offset) in parts.iter().zip(offsets) {
            let keys = self.bytes.chunks_exact_mut(template.len());
            match &part.column {
                KeyColumn::Int32(values) => keys
                    .zip(*values)
                    .for_each(|(key, value)| key[offset..offset + 4].copy_from_slice(&value.to_le_bytes())),
                KeyColumn::Int64(values) => keys
                    .zip(*values)
                    .for_each(|(key, value)| key[offset..offset + 8].copy_from_slice(&value.to_le_bytes())),
                KeyColumn::Variable { .. } => {}
            }
        }
    }

    /// Appends the key of one entity: join-key values in declared order. `false`: no entity can have this key (a null, an
    /// `int32` out of range), and nothing was appended.
    pub(in crate::online::redis) fn push(
        &mut self,
        layout: &KeyLayout,
        values: &[Value],
    ) -> Result<bool, Failure> {
        if layout.fields.len() != values.len() {
            return Err(Failure::stop(format!(
                "look up an entity by {} join keys where the view has {}",
                values.len(),
                layout.fields.len()
            )));
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&layout.head);
        for index in &layout.order {
            let field = &layout.fields[*index];
            match append_one(field, &values[*index], &mut self.bytes) {
                Some(true) => {}
                Some(false) => {
                    self.bytes.truncate(start);
                    return Ok(false);
                }
                None => {
                    self.bytes.truncate(start);
                    return Err(Failure::stop(format!(
                        "look up an entity: join key `{}` is of type `{}`, not {:?}",
                        field.name, field.data_type, values[*index]
                    )));
                }
            }
        }
        self.finish(layout);
        Ok(true)
    }

    #[inline]
    fn finish(&mut self, layout: &KeyLayout) {
        self.bytes.extend_from_slice(layout.project.as_bytes());
        self.ends.push(self.bytes.len());
    }
}

/// `None`: the value is of another type. `Some(false)`: no entity has it.
fn append_one(field: &Field, value: &Value, out: &mut Vec<u8>) -> Option<bool> {
    match (&field.data_type, value) {
        (_, Value::Null) => return Some(false),
        (DataType::String, Value::String(text)) => append_value(STRING, text.as_bytes(), out),
        (DataType::Bytes, Value::Bytes(bytes)) => append_value(BYTES, bytes, out),
        (DataType::Int64, Value::Int(number)) => append_value(INT64, &number.to_le_bytes(), out),
        (DataType::Timestamp, Value::Timestamp(micros)) => append_timestamp(*micros, out),
        (DataType::Int32, Value::Int(number)) => match i32::try_from(*number) {
            Ok(number) => append_value(INT32, &number.to_le_bytes(), out),
            Err(_) => return Some(false),
        },
        _ => return None,
    }
    Some(true)
}

/// A join key's column, and what its values are to Feast.
struct Part<'a> {
    kind: u32,
    column: KeyColumn<'a>,
}

impl<'a> Part<'a> {
    fn of(field: &Field, column: &'a ArrayRef) -> Result<Self, Failure> {
        // The column knows which types may be join keys.
        let kind = match &field.data_type {
            DataType::Bytes => BYTES,
            DataType::String => STRING,
            DataType::Int32 => INT32,
            DataType::Timestamp => UNIX_TIMESTAMP,
            _ => INT64,
        };
        Ok(Self { kind, column: KeyColumn::of(field, column)? })
    }

    /// Bytes of each value; `None` if that differs.
    fn fixed_width(&self) -> Option<usize> {
        match (&self.column, self.kind) {
            (KeyColumn::Int32(_), _) => Some(4),
            (KeyColumn::Int64(_), INT64) => Some(8),
            _ => None,
        }
    }

    #[inline]
    fn append(&self, row: usize, out: &mut Vec<u8>) {
        match &self.column {
            KeyColumn::Variable { .. } => append_value(self.kind, self.column.bytes(row), out),
            KeyColumn::Int32(values) => append_value(self.kind, &values[row].to_le_bytes(), out),
            KeyColumn::Int64(values) if self.kind == UNIX_TIMESTAMP => append_timestamp(values[row], out),
            KeyColumn::Int64(values) => append_value(self.kind, &values[row].to_le_bytes(), out),
        }
    }
}

fn append_timestamp(micros: i64, out: &mut Vec<u8>) {
    let (seconds, rest) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
    if rest == 0 {
        return append_value(UNIX_TIMESTAMP, &seconds.to_le_bytes(), out);
    }
    let mut value = [0; 12];
    value[..8].copy_from_slice(&seconds.to_le_bytes());
    // Microseconds within a second take 20 bits.
    value[8..].copy_from_slice(&rest.to_le_bytes()[..4]);
    append_value(UNIX_TIMESTAMP, &value, out);
}

#[inline]
fn append_value(kind: u32, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&length_bytes(value.len()));
    out.extend_from_slice(value);
}

fn length_bytes(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("a join key's column has at most 2 GiB").to_le_bytes()
}
