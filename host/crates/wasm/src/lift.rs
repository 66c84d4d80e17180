//! From what a guest returned to Arrow columns. All of it is hostile until this module has looked at it.
//!
//! Buffers are adopted, not copied, unless they lie at an address that their type cannot have. Arrow's own constructors
//! check the rest; where those are skipped, the check stands here, beside the reason.

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType as ArrowType, SchemaRef};
use model::schema::{DataType, Field};
use model::transform::{Limits, TransformOutput};

use crate::bindings::millrace::transform::types::{ColumnResult, Output};
use crate::fault::{quoted, size};
use crate::lineage;

use std::fmt;
use std::sync::Arc;

/// What is wrong with an answer, for the author of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiftError(String);

impl fmt::Display for LiftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LiftError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Validates an answer to a batch of `input_rows` rows and adopts its columns.
pub(crate) fn lift(
    fields: &[Field],
    schema: &SchemaRef,
    output: Output,
    input_rows: usize,
    limits: &Limits,
) -> Result<TransformOutput, LiftError> {
    let Output { batch, input_rows: row_bytes, rejected } = output;
    let rows = usize::try_from(batch.rows).unwrap_or(usize::MAX);
    let most = input_rows.saturating_mul(limits.rows_per_row);
    if rows > most {
        return Err(LiftError::new(format!(
            "{rows} rows for {input_rows}, at most {most} are allowed ({} for each, `limits.rows_per_row`)",
            limits.rows_per_row
        )));
    }
    let bytes = batch.columns.iter().map(weight).sum::<usize>();
    if bytes > limits.output {
        return Err(LiftError::new(format!(
            "{bytes} bytes, at most {} are allowed (`limits.output`)",
            size(limits.output)
        )));
    }
    let lineage = lineage::check(&row_bytes, rows, input_rows, rejected)?;
    if batch.columns.len() < fields.len() {
        return Err(LiftError::new(format!(
            "{} columns, it describes {}",
            batch.columns.len(),
            fields.len()
        )));
    }
    let mut lifting =
        Lifting { columns: batch.columns.into_iter().map(Some).collect(), top_level: fields.len() };
    let mut arrays = Vec::with_capacity(fields.len());
    for (index, (field, arrow)) in fields.iter().zip(schema.fields()).enumerate() {
        let array = lifting
            .column(index, &field.data_type, arrow.data_type(), rows)
            .and_then(|array| if field.nullable { Ok(array) } else { without_nulls(array) })
            .map_err(|LiftError(what)| LiftError(format!("output column `{}`: {what}", field.name)))?;
        arrays.push(array);
    }
    if let Some(index) = lifting.columns.iter().position(Option::is_some) {
        return Err(LiftError::new(format!("its column {index} belongs to no column that it describes")));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let columns = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|error| defect(&error))?;
    Ok(TransformOutput { columns, input_rows: lineage.input_rows, rejected: lineage.rejected })
}

/// Bytes of a column's buffers.
fn weight(column: &ColumnResult) -> usize {
    column.validity.len() + column.offsets.len() + column.values.len() + column.children.len() * 4
}

/// Columns that no array has taken yet.
struct Lifting {
    columns: Vec<Option<ColumnResult>>,
    top_level: usize,
}

impl Lifting {
    /// Makes an array of a column and, for nested types, of the columns that it refers to. Types bound the recursion.
    fn column(
        &mut self,
        index: usize,
        data_type: &DataType,
        arrow: &ArrowType,
        rows: usize,
    ) -> Result<ArrayRef, LiftError> {
        let column = self.columns.get_mut(index).and_then(Option::take);
        let ColumnResult { validity, offsets, values, children } =
            column.ok_or_else(|| LiftError::new(format!("column {index} is missing or used twice")))?;
        let expected = data_type.children().len();
        if children.len() != expected {
            return Err(LiftError::new(format!("{} children, `{data_type}` has {expected}", children.len())));
        }
        if !offsets.is_empty() && !has_offsets(data_type) {
            return Err(LiftError::new(format!("offsets, which `{data_type}` does not have")));
        }
        if !values.is_empty() && data_type.is_nested() {
            return Err(LiftError::new(format!("values, which `{data_type}` does not have")));
        }
        let nulls = nulls(validity, rows)?;
        Ok(match data_type {
            DataType::Bool => Arc::new(BooleanArray::new(bits("values", values, rows)?, nulls)),
            DataType::Int8 => fixed::<Int8Type>(values, rows, nulls, data_type)?,
            DataType::Int16 => fixed::<Int16Type>(values, rows, nulls, data_type)?,
            DataType::Int32 => fixed::<Int32Type>(values, rows, nulls, data_type)?,
            DataType::Int64 => fixed::<Int64Type>(values, rows, nulls, data_type)?,
            DataType::UInt8 => fixed::<UInt8Type>(values, rows, nulls, data_type)?,
            DataType::UInt16 => fixed::<UInt16Type>(values, rows, nulls, data_type)?,
            DataType::UInt32 => fixed::<UInt32Type>(values, rows, nulls, data_type)?,
            DataType::UInt64 => fixed::<UInt64Type>(values, rows, nulls, data_type)?,
            DataType::Float32 => fixed::<Float32Type>(values, rows, nulls, data_type)?,
            DataType::Float64 => fixed::<Float64Type>(values, rows, nulls, data_type)?,
            DataType::Date => fixed::<Date32Type>(values, rows, nulls, data_type)?,
            DataType::Timestamp => {
                let array = primitive::<TimestampMicrosecondType>(values, rows, nulls, data_type)?;
                Arc::new(array.with_data_type(arrow.clone()))
            }
            DataType::Decimal { precision, .. } => {
                let array = primitive::<Decimal128Type>(values, rows, nulls, data_type)?;
                let array = array.with_data_type(arrow.clone());
                array
                    .validate_decimal_precision(*precision)
                    .map_err(|_| LiftError::new(format!("a number with more than {precision} digits")))?;
                Arc::new(array)
            }
            DataType::String => {
                let offsets = offsets_of(offsets, rows, Some(values.len()))?;
                check_text(&values, &offsets)?;
                // SAFETY: the values are UTF-8 as a whole and every offset lies between two characters (`check_text`);
                // offsets ascend, number rows + 1 and stay within the values (`offsets_of`); nulls have `rows` bits.
                Arc::new(unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(values), nulls) })
            }
            DataType::Bytes => {
                let offsets = offsets_of(offsets, rows, Some(values.len()))?;
                // SAFETY: offsets ascend, number rows + 1 and stay within the values; nulls have `rows` bits.
                Arc::new(unsafe { BinaryArray::new_unchecked(offsets, Buffer::from_vec(values), nulls) })
            }
            DataType::List(item) => {
                let ArrowType::List(field) = arrow else { return Err(defect(&arrow)) };
                let offsets = offsets_of(offsets, rows, None)?;
                let child = self.child(index, children[0], item, field.data_type(), end(&offsets))?;
                let array = ListArray::try_new(Arc::clone(field), offsets, child, nulls);
                Arc::new(array.map_err(|error| defect(&error))?)
            }
            DataType::Struct(types) => {
                let ArrowType::Struct(fields) = arrow else { return Err(defect(&arrow)) };
                let mut arrays = Vec::with_capacity(types.len());
                for (((name, data_type), child), field) in types.iter().zip(children).zip(fields) {
                    let array = self.child(index, child, data_type, field.data_type(), rows);
                    arrays
                        .push(array.map_err(|LiftError(what)| LiftError(format!("field `{name}`: {what}")))?);
                }
                let array = StructArray::try_new_with_length(fields.clone(), arrays, nulls, rows);
                Arc::new(array.map_err(|error| defect(&error))?)
            }
            DataType::Map(key, value) => {
                let ArrowType::Map(entries_field, _) = arrow else { return Err(defect(&arrow)) };
                let ArrowType::Struct(fields) = entries_field.data_type() else { return Err(defect(&arrow)) };
                let offsets = offsets_of(offsets, rows, None)?;
                let length = end(&offsets);
                let keys = self.child(index, children[0], key, fields[0].data_type(), length)?;
                let keys =
                    without_nulls(keys).map_err(|LiftError(what)| LiftError(format!("keys: {what}")))?;
                let values = self.child(index, children[1], value, fields[1].data_type(), length)?;
                let entries =
                    StructArray::try_new_with_length(fields.clone(), vec![keys, values], None, length)
                        .map_err(|error| defect(&error))?;
                let array = MapArray::try_new(Arc::clone(entries_field), offsets, entries, nulls, false);
                Arc::new(array.map_err(|error| defect(&error))?)
            }
        })
    }

    /// A column that another refers to: it stands behind its parent and behind the top-level ones, and is used once.
    fn child(
        &mut self,
        parent: usize,
        child: u32,
        data_type: &DataType,
        arrow: &ArrowType,
        rows: usize,
    ) -> Result<ArrayRef, LiftError> {
        let index = usize::try_from(child).unwrap_or(usize::MAX);
        if index <= parent || index < self.top_level || index >= self.columns.len() {
            return Err(LiftError::new(format!(
                "child {child} is not one of the columns behind it ({} to {})",
                self.top_level.max(parent + 1),
                self.columns.len().saturating_sub(1)
            )));
        }
        self.column(index, data_type, arrow, rows)
            .map_err(|LiftError(what)| LiftError(format!("child {child}: {what}")))
    }
}

fn has_offsets(data_type: &DataType) -> bool {
    matches!(data_type, DataType::String | DataType::Bytes | DataType::List(_) | DataType::Map(..))
}

/// One bit a row. Bits behind the last row are ignored.
fn bits(what: &str, bytes: Vec<u8>, rows: usize) -> Result<BooleanBuffer, LiftError> {
    if bytes.len() != rows.div_ceil(8) {
        return Err(LiftError::new(format!(
            "{what} of {} bytes, {rows} rows need {} (one bit each)",
            bytes.len(),
            rows.div_ceil(8)
        )));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes), 0, rows))
}

/// Which rows have no value; `None` if all have one.
fn nulls(validity: Vec<u8>, rows: usize) -> Result<Option<NullBuffer>, LiftError> {
    if validity.is_empty() {
        return Ok(None);
    }
    let nulls = NullBuffer::new(bits("validity", validity, rows)?);
    Ok(Some(nulls).filter(|nulls| nulls.null_count() > 0))
}

fn without_nulls(array: ArrayRef) -> Result<ArrayRef, LiftError> {
    if array.null_count() == 0 {
        return Ok(array);
    }
    let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or(0);
    Err(LiftError::new(format!("row {row} is null, and it is described as never null")))
}

fn fixed<T: ArrowPrimitiveType>(
    values: Vec<u8>,
    rows: usize,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef, LiftError> {
    Ok(Arc::new(primitive::<T>(values, rows, nulls, data_type)?))
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<u8>,
    rows: usize,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<PrimitiveArray<T>, LiftError> {
    let width = size_of::<T::Native>();
    if Some(values.len()) != rows.checked_mul(width) {
        return Err(LiftError::new(format!(
            "values of {} bytes, {rows} rows of `{data_type}` need {}",
            values.len(),
            rows.saturating_mul(width)
        )));
    }
    PrimitiveArray::try_new(scalars(values), nulls).map_err(|error| defect(&error))
}

/// Numbers from their bytes, whose count is a multiple of the width; copied only if they are not aligned.
fn scalars<T: ArrowNativeType>(bytes: Vec<u8>) -> ScalarBuffer<T> {
    let buffer = if bytes.as_ptr().align_offset(align_of::<T>()) == 0 {
        Buffer::from_vec(bytes)
    } else {
        Buffer::from_slice_ref(&bytes)
    };
    ScalarBuffer::from(buffer)
}

/// Offsets that ascend from 0 or more; `most`: how far they may go. No rows need no offsets.
fn offsets_of(bytes: Vec<u8>, rows: usize, most: Option<usize>) -> Result<OffsetBuffer<i32>, LiftError> {
    if rows == 0 && bytes.is_empty() {
        return Ok(OffsetBuffer::new_empty());
    }
    if bytes.len() != (rows + 1).saturating_mul(4) {
        return Err(LiftError::new(format!(
            "offsets of {} bytes, {rows} rows need {} (rows + 1 of 4 bytes)",
            bytes.len(),
            (rows + 1).saturating_mul(4)
        )));
    }
    let offsets = scalars::<i32>(bytes);
    // Without an early exit, so that the compiler can use wide instructions.
    let ascending = offsets.windows(2).fold(true, |ascending, pair| ascending & (pair[0] <= pair[1]));
    if !ascending || offsets[0] < 0 {
        let row = offsets.windows(2).position(|pair| pair[0] > pair[1] || pair[0] < 0).unwrap_or(0);
        return Err(LiftError::new(format!("offsets that descend or are negative at row {row}")));
    }
    let last = usize::try_from(offsets[rows]).unwrap_or(usize::MAX);
    if let Some(most) = most.filter(|most| last > *most) {
        return Err(LiftError::new(format!("offsets up to {last}, there are only {most} bytes of values")));
    }
    // SAFETY: there is at least one offset, the first is not negative, and none is less than the one before it.
    Ok(unsafe { OffsetBuffer::new_unchecked(offsets) })
}

/// Rows of the child that a list's offsets refer to.
fn end(offsets: &OffsetBuffer<i32>) -> usize {
    usize::try_from(offsets[offsets.len() - 1]).unwrap_or(0)
}

/// Whether the values are UTF-8 and no offset lies within a character.
fn check_text(values: &[u8], offsets: &OffsetBuffer<i32>) -> Result<(), LiftError> {
    // Most text is ASCII, and for ASCII both questions are answered at once.
    if values.is_ascii() {
        return Ok(());
    }
    let text = std::str::from_utf8(values).map_err(|error| {
        let row =
            offsets[1..].partition_point(|end| usize::try_from(*end).unwrap_or(0) <= error.valid_up_to());
        LiftError::new(format!(
            "bytes that are not UTF-8 in row {row} (at byte {} of the values)",
            error.valid_up_to()
        ))
    })?;
    match offsets
        .iter()
        .position(|offset| !text.is_char_boundary(usize::try_from(*offset).unwrap_or(usize::MAX)))
    {
        None => Ok(()),
        Some(row) => Err(LiftError::new(format!("an offset within a character at row {row}"))),
    }
}

/// What only a defect of this module can cause; said rather than panicked.
fn defect(error: &dyn fmt::Debug) -> LiftError {
    LiftError::new(format!(
        "Arrow refuses it, a defect of the host's checks: {}",
        quoted(&format!("{error:?}"))
    ))
}
