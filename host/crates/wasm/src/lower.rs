//! From Arrow columns to what a guest is given: Arrow's own buffers, borrowed wherever they can be.
//!
//! Arrays may be slices. What a guest sees starts at row 0 all the same: offsets start at 0, bits at bit 0 of their
//! first byte, and bits behind the last row are 0. Only what a slice forces is copied.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer, OffsetBuffer, ToByteSlice};
use model::schema::{DataType, Field};

use crate::bindings::millrace::transform::types::ColumnParam;

/// A batch that cannot be given to the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LowerError {
    /// A value is missing where the component needs one.
    #[error(
        "input column `{column}` is null in row {row} of the batch, and the component takes no nulls there"
    )]
    Null {
        /// The column.
        column: String,
        /// The first such row.
        row: usize,
    },
    /// The caller's columns are not those of the description.
    #[error("its columns are not those that the component asked for, a defect of the host: {detail}")]
    Mismatch {
        /// What differs.
        detail: String,
    },
}

/// A batch in the contract's layout.
#[derive(Debug)]
pub(crate) struct Lowered<'a> {
    pub(crate) rows: u32,
    buffers: Vec<Buffers<'a>>,
}

/// One column in the contract's layout.
#[derive(Debug, Default)]
pub(crate) struct Buffers<'a> {
    pub(crate) validity: Cow<'a, [u8]>,
    pub(crate) offsets: Cow<'a, [u8]>,
    pub(crate) values: Cow<'a, [u8]>,
    pub(crate) children: Vec<u32>,
}

impl Lowered<'_> {
    /// What the generated call takes.
    pub(crate) fn columns(&self) -> Vec<ColumnParam<'_>> {
        let columns = self.buffers.iter().map(|column| ColumnParam {
            validity: &column.validity,
            offsets: &column.offsets,
            values: &column.values,
            children: &column.children,
        });
        columns.collect()
    }
}

/// Brings a batch with exactly these columns, in this order, into the contract's layout.
pub(crate) fn lower<'a>(fields: &[Field], batch: &'a RecordBatch) -> Result<Lowered<'a>, LowerError> {
    let mismatch = |detail: String| LowerError::Mismatch { detail };
    if fields.len() != batch.num_columns() {
        return Err(mismatch(format!("{} columns instead of {}", batch.num_columns(), fields.len())));
    }
    let rows = u32::try_from(batch.num_rows())
        .map_err(|_| mismatch(format!("{} rows are more than a batch can have", batch.num_rows())))?;
    let mut lowering = Lowering { buffers: Vec::with_capacity(fields.len()), failed: None };
    // Top-level columns come first: their places are taken before any child is appended.
    lowering.buffers.resize_with(fields.len(), Buffers::default);
    for (index, (field, array)) in fields.iter().zip(batch.columns()).enumerate() {
        if !field.nullable
            && let Some(row) = array.nulls().filter(|nulls| nulls.null_count() > 0).and_then(first_null)
        {
            return Err(LowerError::Null { column: field.name.clone(), row });
        }
        lowering.column(index, &field.data_type, array.as_ref(), 0, array.len());
        if let Some(detail) = lowering.failed.take() {
            return Err(mismatch(format!("column `{}` is {detail}", field.name)));
        }
    }
    Ok(Lowered { rows, buffers: lowering.buffers })
}

fn first_null(nulls: &NullBuffer) -> Option<usize> {
    (0..nulls.len()).find(|row| nulls.is_null(*row))
}

struct Lowering<'a> {
    buffers: Vec<Buffers<'a>>,
    /// Set when an array is not of the type that was promised.
    failed: Option<String>,
}

impl<'a> Lowering<'a> {
    /// Fills the place of one column from rows `start..start + rows` of an array, and appends its children.
    fn column(
        &mut self,
        index: usize,
        data_type: &DataType,
        array: &'a dyn Array,
        start: usize,
        rows: usize,
    ) {
        let values = match data_type {
            DataType::Bool => array.as_boolean_opt().map(|array| bits(array.values(), start, rows)),
            DataType::Int8 => fixed::<Int8Type>(array, start, rows),
            DataType::Int16 => fixed::<Int16Type>(array, start, rows),
            DataType::Int32 => fixed::<Int32Type>(array, start, rows),
            DataType::Int64 => fixed::<Int64Type>(array, start, rows),
            DataType::UInt8 => fixed::<UInt8Type>(array, start, rows),
            DataType::UInt16 => fixed::<UInt16Type>(array, start, rows),
            DataType::UInt32 => fixed::<UInt32Type>(array, start, rows),
            DataType::UInt64 => fixed::<UInt64Type>(array, start, rows),
            DataType::Float32 => fixed::<Float32Type>(array, start, rows),
            DataType::Float64 => fixed::<Float64Type>(array, start, rows),
            DataType::Timestamp => fixed::<TimestampMicrosecondType>(array, start, rows),
            DataType::Date => fixed::<Date32Type>(array, start, rows),
            DataType::Decimal { .. } => fixed::<Decimal128Type>(array, start, rows),
            DataType::String => array.as_string_opt::<i32>().map(|array| {
                let (offsets, first, last) = rebased(array.offsets(), start, rows);
                self.buffers[index].offsets = offsets;
                Cow::Borrowed(&array.value_data()[first..last])
            }),
            DataType::Bytes => array.as_binary_opt::<i32>().map(|array| {
                let (offsets, first, last) = rebased(array.offsets(), start, rows);
                self.buffers[index].offsets = offsets;
                Cow::Borrowed(&array.value_data()[first..last])
            }),
            DataType::List(item) => array.as_list_opt::<i32>().map(|array| {
                let (offsets, first, last) = rebased(array.offsets(), start, rows);
                self.buffers[index].offsets = offsets;
                self.child(index, item, array.values().as_ref(), first, last - first);
                Cow::default()
            }),
            DataType::Struct(fields) => {
                array.as_struct_opt().filter(|array| array.num_columns() == fields.len()).map(|array| {
                    for ((_, field), column) in fields.iter().zip(array.columns()) {
                        self.child(index, field, column.as_ref(), start, rows);
                    }
                    Cow::default()
                })
            }
            DataType::Map(key, value) => array.as_map_opt().map(|array| {
                let (offsets, first, last) = rebased(array.offsets(), start, rows);
                self.buffers[index].offsets = offsets;
                self.child(index, key, array.keys().as_ref(), first, last - first);
                self.child(index, value, array.values().as_ref(), first, last - first);
                Cow::default()
            }),
        };
        match values {
            Some(values) => {
                self.buffers[index].values = values;
                self.buffers[index].validity = validity(array, start, rows);
            }
            None => self.failed = Some(format!("of Arrow type {}, not `{data_type}`", array.data_type())),
        }
    }

    fn child(
        &mut self,
        parent: usize,
        data_type: &DataType,
        array: &'a dyn Array,
        start: usize,
        rows: usize,
    ) {
        let index = self.buffers.len();
        // Columns are bounded when a component is loaded: 4,000 at most.
        self.buffers[parent].children.push(u32::try_from(index).unwrap_or(u32::MAX));
        self.buffers.push(Buffers::default());
        self.column(index, data_type, array, start, rows);
    }
}

/// Values of a fixed width, as they lie in memory.
fn fixed<T: ArrowPrimitiveType>(array: &dyn Array, start: usize, rows: usize) -> Option<Cow<'_, [u8]>> {
    let array = array.as_primitive_opt::<T>()?;
    Some(Cow::Borrowed(bytes_of(&array.values()[start..start + rows])))
}

/// The bytes of plain numbers. The contract is little-endian, and so is every machine that we support.
fn bytes_of<T: ArrowNativeType>(values: &[T]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "the contract's layout is little-endian") };
    values.to_byte_slice()
}

/// Offsets that start at 0, and the part of the values that they refer to.
fn rebased(offsets: &OffsetBuffer<i32>, start: usize, rows: usize) -> (Cow<'_, [u8]>, usize, usize) {
    let window = &offsets[start..=start + rows];
    let (first, last) = (window[0], window[rows]);
    let bytes = if first == 0 {
        Cow::Borrowed(bytes_of(window))
    } else {
        Cow::Owned(window.iter().flat_map(|offset| (offset - first).to_le_bytes()).collect())
    };
    // Arrow's offsets are never negative.
    (bytes, usize::try_from(first).unwrap_or(0), usize::try_from(last).unwrap_or(0))
}

/// One bit a row; empty if every row has a value.
fn validity(array: &dyn Array, start: usize, rows: usize) -> Cow<'_, [u8]> {
    let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else { return Cow::default() };
    let whole = start == 0 && rows == nulls.len();
    if !whole && nulls.inner().slice(start, rows).count_set_bits() == rows {
        return Cow::default();
    }
    bits(nulls.inner(), start, rows)
}

/// Bits from bit 0 on, with zeros behind the last row.
fn bits(buffer: &BooleanBuffer, start: usize, rows: usize) -> Cow<'_, [u8]> {
    let offset = buffer.offset() + start;
    let length = rows.div_ceil(8);
    let spare = length * 8 - rows;
    // The bits of the last byte that belong to rows.
    let mask = 0xff_u8 >> spare;
    if offset.is_multiple_of(8) {
        let bytes = &buffer.values()[offset / 8..offset / 8 + length];
        match bytes.last() {
            Some(last) if last & !mask != 0 => {}
            _ => return Cow::Borrowed(bytes),
        }
    }
    let mut bytes = buffer.slice(start, rows).sliced().as_slice()[..length].to_vec();
    if let Some(last) = bytes.last_mut() {
        *last &= mask;
    }
    Cow::Owned(bytes)
}
