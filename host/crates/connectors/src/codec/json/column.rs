//! Columns under construction: typed values are appended from a cursor, and taken back when their row fails.

use std::sync::Arc;

use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use model::codec::TimestampUnit;
use model::schema::DataType;

use super::bits::{Bits, Nulls};
use super::cursor::Cursor;
use super::instant::Day;
use super::nested::{Items, Pairs, Record};
use super::problem::{Kind, Problem, json_form};
use super::scalar::{
    boolean, counted_instant, date, decimal, float32, float64, instant, narrow, signed, text_of, unsigned,
};
use super::texts::Texts;

/// Standard alphabet; producers differ on padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A column under construction.
pub(super) struct Column {
    values: Values,
    nulls: Nulls,
    nullable: bool,
    form: &'static str,
}

/// The values of a column, by type.
#[repr(u8)]
enum Values {
    Bool(Bits),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    String(Texts),
    Bytes(Texts, Vec<u8>),
    /// Written as text.
    Instant(Vec<i64>, Day),
    /// Written as a number.
    Counted(Vec<i64>, TimestampUnit),
    Date(Vec<i32>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    List(Items),
    Struct(Record),
    Map(Box<Pairs>),
}

impl Column {
    /// An empty column.
    pub(super) fn new(data_type: &DataType, nullable: bool, unit: TimestampUnit) -> Self {
        let values = match data_type {
            DataType::Bool => Values::Bool(Bits::default()),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::UInt8 => Values::UInt8(Vec::new()),
            DataType::UInt16 => Values::UInt16(Vec::new()),
            DataType::UInt32 => Values::UInt32(Vec::new()),
            DataType::UInt64 => Values::UInt64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::String => Values::String(Texts::new()),
            DataType::Bytes => Values::Bytes(Texts::new(), Vec::new()),
            DataType::Timestamp if unit == TimestampUnit::Text => Values::Instant(Vec::new(), Day::default()),
            DataType::Timestamp => Values::Counted(Vec::new(), unit),
            DataType::Date => Values::Date(Vec::new()),
            DataType::Decimal { precision, scale } => {
                Values::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            DataType::List(item) => Values::List(Items::new(item, unit)),
            DataType::Struct(fields) => Values::Struct(Record::new(fields, unit)),
            DataType::Map(key, value) => Values::Map(Box::new(Pairs::new(key, value, unit))),
        };
        Self { values, nulls: Nulls::default(), nullable, form: json_form(data_type) }
    }

    /// Number of values.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Whether this is a column of instants that are written as text.
    pub(super) fn is_text_instant(&self) -> bool {
        matches!(self.values, Values::Instant(..))
    }

    /// Makes room for so many more rows, of which the texts have `text_bytes` altogether.
    pub(super) fn reserve(&mut self, rows: usize, text_bytes: usize) {
        match &mut self.values {
            Values::Bool(values) => values.reserve(rows),
            Values::Int8(values) => values.reserve(rows),
            Values::Int16(values) => values.reserve(rows),
            Values::Int32(values) => values.reserve(rows),
            Values::Int64(values) => values.reserve(rows),
            Values::UInt8(values) => values.reserve(rows),
            Values::UInt16(values) => values.reserve(rows),
            Values::UInt32(values) => values.reserve(rows),
            Values::UInt64(values) => values.reserve(rows),
            Values::Float32(values) => values.reserve(rows),
            Values::Float64(values) => values.reserve(rows),
            Values::String(texts) | Values::Bytes(texts, _) => {
                texts.reserve(rows, text_bytes);
            }
            Values::Instant(values, _) | Values::Counted(values, _) => values.reserve(rows),
            Values::Date(values) => values.reserve(rows),
            Values::Decimal { values, .. } => values.reserve(rows),
            // How many items there will be is anybody's guess.
            Values::List(_) | Values::Struct(_) | Values::Map(_) => {}
        }
    }

    /// Bytes of text held, for the next batch's [`Column::reserve`].
    pub(super) fn text_bytes(&self) -> usize {
        match &self.values {
            Values::String(texts) | Values::Bytes(texts, _) => texts.data.len(),
            _ => 0,
        }
    }

    /// Appends the value here. After a problem the column has to be truncated.
    ///
    /// Common types in their usual form are read in line.
    #[inline(always)]
    pub(super) fn append(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Problem> {
        let start = cursor.at;
        let done = match &mut self.values {
            Values::Int64(values) => cursor.fast_integer().map(|value| values.push(value)),
            Values::String(texts) => texts.append_fast(cursor),
            Values::Instant(values, day) => cursor.fast_instant(day).map(|value| values.push(value)),
            Values::Float64(values) => cursor.fast_float().map(|value| values.push(value)),
            Values::Bool(values) => cursor.fast_boolean().map(|value| values.push(value)),
            Values::Int32(values) => cursor
                .fast_integer()
                .and_then(|value| i32::try_from(value).ok())
                .map(|value| values.push(value)),
            _ => None,
        };
        if done.is_some() {
            self.nulls.push_value();
            return Ok(());
        }
        cursor.at = start;
        cursor.aside(|cursor| self.append_any(cursor))
    }

    /// Appends the value here, whatever it is.
    #[inline(never)]
    fn append_any(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Problem> {
        if cursor.peek() == Some(b'n') {
            let at = cursor.at;
            cursor.literal("null")?;
            return self.append_null().map_err(|kind| Problem::new(at, kind));
        }
        match &mut self.values {
            Values::Int64(values) => values.push(signed(cursor)?),
            Values::String(texts) => {
                if cursor.peek() != Some(b'"') {
                    return Err(cursor.problem(Kind::Type("text")));
                }
                let at = cursor.at;
                cursor.text_into(&mut texts.data)?;
                texts.close(at)?;
            }
            Values::Instant(values, _) => values.push(instant(cursor)?),
            Values::Counted(values, unit) => values.push(counted_instant(cursor, *unit)?),
            Values::Float64(values) => values.push(float64(cursor, self.form)?),
            Values::Bool(values) => values.push(boolean(cursor)?),
            Values::Float32(values) => values.push(float32(cursor, self.form)?),
            Values::Int8(values) => values.push(narrow(cursor, signed::<i64>)?),
            Values::Int16(values) => values.push(narrow(cursor, signed::<i64>)?),
            Values::Int32(values) => values.push(narrow(cursor, signed::<i64>)?),
            Values::UInt8(values) => values.push(narrow(cursor, unsigned)?),
            Values::UInt16(values) => values.push(narrow(cursor, unsigned)?),
            Values::UInt32(values) => values.push(narrow(cursor, unsigned)?),
            Values::UInt64(values) => values.push(unsigned(cursor)?),
            Values::Bytes(texts, scratch) => {
                let at = text_of(cursor, scratch, self.form)?;
                BASE64.decode_vec(&*scratch, &mut texts.data).map_err(|_| Problem::new(at, Kind::Base64))?;
                texts.close(at)?;
            }
            Values::Date(values) => values.push(date(cursor, self.form)?),
            Values::Decimal { values, precision, scale } => {
                values.push(decimal(cursor, *precision, *scale, self.form)?);
            }
            Values::List(items) => items.append(cursor)?,
            Values::Struct(record) => record.append(cursor)?,
            Values::Map(pairs) => pairs.append(cursor)?,
        }
        self.nulls.push_value();
        Ok(())
    }

    /// Appends a missing value.
    pub(super) fn append_null(&mut self) -> Result<(), Kind> {
        if !self.nullable {
            return Err(Kind::Null);
        }
        match &mut self.values {
            Values::Bool(values) => values.push(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Instant(values, _) | Values::Counted(values, _) => values.push(0),
            Values::UInt8(values) => values.push(0),
            Values::UInt16(values) => values.push(0),
            Values::UInt32(values) => values.push(0),
            Values::UInt64(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::String(texts) | Values::Bytes(texts, _) => texts.repeat(),
            Values::Decimal { values, .. } => values.push(0),
            Values::List(items) => items.append_null(),
            Values::Struct(record) => record.append_null()?,
            Values::Map(pairs) => pairs.append_null(),
        }
        self.nulls.push_null();
        Ok(())
    }

    /// Appends an instant that is not in the payload. Does nothing in a column of another type.
    pub(super) fn append_instant(&mut self, micros: i64) {
        if let Values::Instant(values, _) | Values::Counted(values, _) = &mut self.values {
            values.push(micros);
            self.nulls.push_value();
        }
    }

    /// Takes back all but the first `rows` values, and what a failed append left behind.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        match &mut self.values {
            Values::Bool(values) => values.truncate(rows),
            Values::Int8(values) => values.truncate(rows),
            Values::Int16(values) => values.truncate(rows),
            Values::Int32(values) | Values::Date(values) => values.truncate(rows),
            Values::Int64(values) | Values::Instant(values, _) | Values::Counted(values, _) => {
                values.truncate(rows)
            }
            Values::UInt8(values) => values.truncate(rows),
            Values::UInt16(values) => values.truncate(rows),
            Values::UInt32(values) => values.truncate(rows),
            Values::UInt64(values) => values.truncate(rows),
            Values::Float32(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::String(texts) | Values::Bytes(texts, _) => texts.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::List(items) => items.truncate(rows),
            Values::Struct(record) => record.truncate(rows),
            Values::Map(pairs) => pairs.truncate(rows),
        }
    }

    /// The finished column; this one is empty afterwards.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let rows = self.nulls.len();
        let nulls = self.nulls.finish();
        match &mut self.values {
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int8(values) => primitive::<Int8Type>(values, nulls),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls),
            Values::UInt8(values) => primitive::<UInt8Type>(values, nulls),
            Values::UInt16(values) => primitive::<UInt16Type>(values, nulls),
            Values::UInt32(values) => primitive::<UInt32Type>(values, nulls),
            Values::UInt64(values) => primitive::<UInt64Type>(values, nulls),
            Values::Float32(values) => primitive::<Float32Type>(values, nulls),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls),
            Values::Date(values) => primitive::<Date32Type>(values, nulls),
            Values::Instant(values, _) | Values::Counted(values, _) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                Arc::new(PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls).with_timezone("UTC"))
            }
            Values::Decimal { values, precision, scale } => {
                let values = ScalarBuffer::from(std::mem::take(values));
                let data_type = DataType::Decimal { precision: *precision, scale: *scale }.to_arrow();
                Arc::new(PrimitiveArray::<Decimal128Type>::new(values, nulls).with_data_type(data_type))
            }
            Values::String(texts) => {
                let (offsets, data) = texts.finish();
                // SAFETY: each text was checked to be UTF-8 by itself when it was appended, and `offsets` are the ends
                // of whole texts: ascending, the last one the length of `data`.
                Arc::new(unsafe { StringArray::new_unchecked(offsets, data, nulls) })
            }
            Values::Bytes(texts, _) => {
                let (offsets, data) = texts.finish();
                Arc::new(BinaryArray::new(offsets, data, nulls))
            }
            Values::List(items) => items.finish(nulls),
            Values::Struct(record) => record.finish(rows, nulls),
            Values::Map(pairs) => pairs.finish(nulls),
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(std::mem::take(values)), nulls))
}
