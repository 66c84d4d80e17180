//! Feature columns → rows as bytes, a column at a time. The layout is described in `row.rs`.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{ArrowNativeType, ToByteSlice};
use model::error::Failure;
use model::schema::DataType;

use super::row::{Layout, Place, SCHEMA_BYTES, stored_width};

/// The rows of a batch, one after the other.
#[derive(Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    /// Where each row starts, and the end of the last.
    starts: Vec<usize>,
}

impl Rows {
    pub(super) fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.starts[row]..self.starts[row + 1]]
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<usize>()
    }

    /// Replaces the content by the rows of these columns, which are the features of `layout` in declared order.
    pub(super) fn encode(
        &mut self,
        schema: u16,
        layout: &Layout,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<(), Failure> {
        self.clear();
        let variable = variable_columns(layout, columns)?;
        self.place(layout, &variable, rows)?;
        for row in 0..rows {
            let start = self.starts[row];
            self.bytes[start..start + SCHEMA_BYTES].copy_from_slice(&schema.to_le_bytes());
        }
        for (index, column) in columns.iter().enumerate() {
            if let Place::Fixed { offset, width } = layout.places[index] {
                self.write_fixed(layout, index, column, offset, width)?;
            }
            if column.null_count() > 0 {
                self.write_nulls(index, column);
            }
        }
        if !variable.is_empty() {
            self.write_variable(layout, &variable, rows);
        }
        Ok(())
    }

    /// Decides where each row starts and makes room, zeroed.
    fn place(&mut self, layout: &Layout, variable: &[Variable<'_>], rows: usize) -> Result<(), Failure> {
        let head = layout.head_bytes();
        self.starts.reserve(rows + 1);
        let mut start = 0;
        self.starts.push(0);
        if variable.is_empty() {
            self.starts.extend((1..=rows).map(|row| row * head));
            start = rows * head;
        } else {
            for row in 0..rows {
                let length: usize = variable.iter().map(|column| column.value(row).len()).sum();
                if u32::try_from(length).is_err() {
                    return Err(Failure::stop(format!(
                        "store a row of {length} bytes: a row may have at most 4 GiB"
                    )));
                }
                start += head + length;
                self.starts.push(start);
            }
        }
        self.bytes.resize(start, 0);
        Ok(())
    }

    fn write_fixed(
        &mut self,
        layout: &Layout,
        index: usize,
        column: &ArrayRef,
        offset: usize,
        width: usize,
    ) -> Result<(), Failure> {
        let feature = &layout.features[index];
        let values = fixed_bytes(column, &feature.data_type)
            .ok_or_else(|| type_mismatch(&feature.name, &feature.data_type, column))?;
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        match nulls {
            // A constant width lets the compiler turn each copy into one move.
            None => match width {
                8 => copy_fixed::<8>(&values, &self.starts, offset, &mut self.bytes),
                4 => copy_fixed::<4>(&values, &self.starts, offset, &mut self.bytes),
                1 => copy_fixed::<1>(&values, &self.starts, offset, &mut self.bytes),
                2 => copy_fixed::<2>(&values, &self.starts, offset, &mut self.bytes),
                _ => copy_fixed::<16>(&values, &self.starts, offset, &mut self.bytes),
            },
            Some(nulls) => {
                for (row, value) in values.chunks_exact(width).enumerate() {
                    if nulls.is_valid(row) {
                        let start = self.starts[row] + offset;
                        self.bytes[start..start + width].copy_from_slice(value);
                    }
                }
            }
        }
        Ok(())
    }

    fn write_nulls(&mut self, index: usize, column: &ArrayRef) {
        for row in 0..column.len() {
            if column.is_null(row) {
                self.bytes[self.starts[row] + SCHEMA_BYTES + index / 8] |= 1 << (index % 8);
            }
        }
    }

    fn write_variable(&mut self, layout: &Layout, variable: &[Variable<'_>], rows: usize) {
        for row in 0..rows {
            let bytes = &mut self.bytes[self.starts[row]..self.starts[row + 1]];
            let (head, data) = bytes.split_at_mut(layout.head_bytes());
            let mut end = 0;
            for (column, slot) in variable.iter().zip(head[layout.fixed_bytes..].chunks_exact_mut(4)) {
                let value = column.value(row);
                data[end..end + value.len()].copy_from_slice(value);
                end += value.len();
                slot.copy_from_slice(&length_bytes(end));
            }
        }
    }
}

fn copy_fixed<const WIDTH: usize>(values: &[u8], starts: &[usize], offset: usize, out: &mut [u8]) {
    let (values, _) = values.as_chunks::<WIDTH>();
    for (value, start) in values.iter().zip(starts) {
        out[start + offset..start + offset + WIDTH].copy_from_slice(value);
    }
}

/// A column of variable width, its values as bytes; null is empty.
struct Variable<'a> {
    array: Option<&'a ArrayRef>,
    offsets: Cow<'a, [i32]>,
    bytes: Cow<'a, [u8]>,
}

impl Variable<'_> {
    #[inline]
    fn value(&self, row: usize) -> &[u8] {
        // The array is kept only where it has nulls, whose place in `bytes` may hold anything.
        if self.array.is_some_and(|array| array.is_null(row)) {
            return &[];
        }
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

fn variable_columns<'a>(layout: &Layout, columns: &'a [ArrayRef]) -> Result<Vec<Variable<'a>>, Failure> {
    let mut variable = Vec::with_capacity(layout.variable);
    for (feature, column) in layout.features.iter().zip(columns) {
        if stored_width(&feature.data_type).is_none() {
            let mismatch = || type_mismatch(&feature.name, &feature.data_type, column);
            variable.push(variable_column(column, &feature.data_type).ok_or_else(mismatch)?);
        }
    }
    Ok(variable)
}

/// `None` if the column is not of this type, or its values are more than 2 GiB together.
fn variable_column<'a>(column: &'a ArrayRef, data_type: &DataType) -> Option<Variable<'a>> {
    let array = (column.null_count() > 0).then_some(column);
    Some(match data_type {
        DataType::String => {
            let text = column.as_string_opt::<i32>()?;
            Variable { array, offsets: Cow::Borrowed(text.value_offsets()), bytes: text.value_data().into() }
        }
        DataType::Bytes => {
            let binary = column.as_binary_opt::<i32>()?;
            Variable {
                array,
                offsets: Cow::Borrowed(binary.value_offsets()),
                bytes: binary.value_data().into(),
            }
        }
        _ => {
            let (mut bytes, mut offsets) = (Vec::new(), Vec::with_capacity(column.len() + 1));
            offsets.push(0);
            for row in 0..column.len() {
                if column.is_valid(row) {
                    append_variable(column, data_type, row, &mut bytes)?;
                }
                offsets.push(i32::try_from(bytes.len()).ok()?);
            }
            Variable { array: None, offsets: offsets.into(), bytes: bytes.into() }
        }
    })
}

/// Appends one value of variable width.
fn append_variable(column: &ArrayRef, data_type: &DataType, row: usize, out: &mut Vec<u8>) -> Option<()> {
    match data_type {
        DataType::String => out.extend_from_slice(column.as_string_opt::<i32>()?.value(row).as_bytes()),
        DataType::Bytes => out.extend_from_slice(column.as_binary_opt::<i32>()?.value(row)),
        DataType::List(item) => {
            let list = column.as_list_opt::<i32>()?;
            let offsets = list.value_offsets();
            append_sequence(list.values(), item, offsets[row] as usize, offsets[row + 1] as usize, out)?;
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct_opt()?.columns();
            if columns.len() != fields.len() {
                return None;
            }
            for ((_, field_type), column) in fields.iter().zip(columns) {
                append_sequence(column, field_type, row, row + 1, out)?;
            }
        }
        DataType::Map(key, value) => {
            let map = column.as_map_opt()?;
            let (start, end) = (map.value_offsets()[row] as usize, map.value_offsets()[row + 1] as usize);
            append_sequence(map.keys(), key, start, end, out)?;
            append_sequence(map.values(), value, start, end, out)?;
        }
        _ => return None,
    }
    Some(())
}

/// Appends the values from `start` to `end` of a child column.
fn append_sequence(
    column: &ArrayRef,
    item: &DataType,
    start: usize,
    end: usize,
    out: &mut Vec<u8>,
) -> Option<()> {
    let count = end - start;
    out.extend_from_slice(&u32::try_from(count).ok()?.to_le_bytes());
    let nulls_at = out.len();
    out.resize(nulls_at + count.div_ceil(8), 0);
    for index in 0..count {
        if column.is_null(start + index) {
            out[nulls_at + index / 8] |= 1 << (index % 8);
        }
    }
    if let Some(width) = stored_width(item) {
        let values = fixed_bytes(column, item)?;
        let body = out.len();
        out.extend_from_slice(values.get(start * width..end * width)?);
        for index in (0..count).filter(|index| column.is_null(start + index)) {
            out[body + index * width..body + (index + 1) * width].fill(0);
        }
    } else {
        let ends_at = out.len();
        out.resize(ends_at + 4 * count, 0);
        let body = out.len();
        for index in 0..count {
            if column.is_valid(start + index) {
                append_variable(column, item, start + index, out)?;
            }
            let end = length_bytes(out.len() - body);
            out[ends_at + 4 * index..ends_at + 4 * index + 4].copy_from_slice(&end);
        }
    }
    Some(())
}

/// The values of a column of fixed width as little-endian bytes.
fn fixed_bytes<'a>(column: &'a ArrayRef, data_type: &DataType) -> Option<Cow<'a, [u8]>> {
    match data_type {
        DataType::Bool => {
            let array = column.as_boolean_opt()?;
            Some((0..array.len()).map(|row| u8::from(array.value(row))).collect())
        }
        DataType::Int8 => primitive::<Int8Type>(column),
        DataType::Int16 => primitive::<Int16Type>(column),
        DataType::Int32 => primitive::<Int32Type>(column),
        DataType::Int64 => primitive::<Int64Type>(column),
        DataType::UInt8 => primitive::<UInt8Type>(column),
        DataType::UInt16 => primitive::<UInt16Type>(column),
        DataType::UInt32 => primitive::<UInt32Type>(column),
        DataType::UInt64 => primitive::<UInt64Type>(column),
        DataType::Float32 => primitive::<Float32Type>(column),
        DataType::Float64 => primitive::<Float64Type>(column),
        DataType::Timestamp => primitive::<TimestampMicrosecondType>(column),
        DataType::Date => primitive::<Date32Type>(column),
        DataType::Decimal { .. } => primitive::<Decimal128Type>(column),
        _ => None,
    }
}

/// Arrow keeps values in the machine's byte order, and only little-endian machines are supported.
fn primitive<T: ArrowPrimitiveType>(column: &ArrayRef) -> Option<Cow<'_, [u8]>>
where
    T::Native: ArrowNativeType,
{
    const { assert!(cfg!(target_endian = "little"), "rows are stored in the byte order of Arrow's buffers") };
    let values: &[T::Native] = column.as_primitive_opt::<T>()?.values();
    Some(Cow::Borrowed(values.to_byte_slice()))
}

fn length_bytes(length: usize) -> [u8; 4] {
    // `place` has refused rows of 4 GiB, and nested values are bounded by 2 GiB a column.
    u32::try_from(length).expect("a row has less than 4 GiB").to_le_bytes()
}

fn type_mismatch(name: &str, data_type: &DataType, column: &ArrayRef) -> Failure {
    Failure::stop(format!(
        "store feature `{name}`, declared as `{data_type}`: its column came as {} of {} rows",
        column.data_type(),
        column.len()
    ))
}
