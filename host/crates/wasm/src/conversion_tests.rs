//! Columns out and back without a guest: what is lowered is what is lifted, and what is damaged on the way is either
//! refused or still valid Arrow.

use std::sync::Arc;

use arrow_array::builder::{BooleanBufferBuilder, BufferBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType as ArrowType;
use model::schema::{DataType, Field, arrow_schema};
use model::transform::{Limits, TransformOutput};
use proptest::prelude::*;

use crate::bindings::millrace::transform::types::{BatchResult, ColumnResult, Output};
use crate::lift::{LiftError, lift};
use crate::lower::lower;

/// Numbers that depend on nothing but their seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

fn data_types() -> impl Strategy<Value = DataType> {
    let simple = prop_oneof![
        Just(DataType::Bool),
        Just(DataType::Int8),
        Just(DataType::Int16),
        Just(DataType::Int32),
        Just(DataType::Int64),
        Just(DataType::UInt8),
        Just(DataType::UInt16),
        Just(DataType::UInt32),
        Just(DataType::UInt64),
        Just(DataType::Float32),
        Just(DataType::Float64),
        Just(DataType::String),
        Just(DataType::Bytes),
        Just(DataType::Timestamp),
        Just(DataType::Date),
        Just(DataType::Decimal { precision: 38, scale: 3 }),
    ];
    simple.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|item| DataType::List(Box::new(item))),
            (inner.clone(), inner.clone())
                .prop_map(|(key, value)| DataType::Map(Box::new(key), Box::new(value))),
            proptest::collection::vec(inner, 1..4).prop_map(|types| {
                DataType::Struct(
                    types.into_iter().enumerate().map(|(index, t)| (format!("f{index}"), t)).collect(),
                )
            }),
        ]
    })
}

/// An array of any type, with nulls now and then.
fn array(data_type: &DataType, rows: usize, nullable: bool, numbers: &mut Numbers) -> ArrayRef {
    let nulls = (nullable && numbers.below(3) > 0).then(|| {
        let mut bits = BooleanBufferBuilder::new(rows);
        (0..rows).for_each(|_| bits.append(numbers.below(4) > 0));
        NullBuffer::new(bits.finish())
    });
    let arrow = data_type.to_arrow();
    match data_type {
        DataType::Bool => {
            let mut bits = BooleanBufferBuilder::new(rows);
            (0..rows).for_each(|_| bits.append(numbers.below(2) > 0));
            Arc::new(BooleanArray::new(bits.finish(), nulls))
        }
        DataType::Int8 => primitive::<Int8Type>(rows, nulls, &arrow, || numbers.next() as i8),
        DataType::Int16 => primitive::<Int16Type>(rows, nulls, &arrow, || numbers.next() as i16),
        DataType::Int32 => primitive::<Int32Type>(rows, nulls, &arrow, || numbers.next() as i32),
        DataType::Int64 => primitive::<Int64Type>(rows, nulls, &arrow, || numbers.next() as i64),
        DataType::UInt8 => primitive::<UInt8Type>(rows, nulls, &arrow, || numbers.next() as u8),
        DataType::UInt16 => primitive::<UInt16Type>(rows, nulls, &arrow, || numbers.next() as u16),
        DataType::UInt32 => primitive::<UInt32Type>(rows, nulls, &arrow, || numbers.next() as u32),
        DataType::UInt64 => primitive::<UInt64Type>(rows, nulls, &arrow, || numbers.next()),
        DataType::Float32 => primitive::<Float32Type>(rows, nulls, &arrow, || numbers.next() as f32),
        DataType::Float64 => primitive::<Float64Type>(rows, nulls, &arrow, || numbers.next() as f64),
        DataType::Timestamp => {
            primitive::<TimestampMicrosecondType>(rows, nulls, &arrow, || numbers.next() as i64)
        }
        DataType::Date => primitive::<Date32Type>(rows, nulls, &arrow, || numbers.next() as i32),
        DataType::Decimal { .. } => {
            primitive::<Decimal128Type>(rows, nulls, &arrow, || i128::from(numbers.next()) << 62)
        }
        DataType::String => {
            let texts = (0..rows).map(|_| "aé€𝄞".chars().take(numbers.below(5)).collect::<String>());
            let array = StringArray::from_iter_values(texts.collect::<Vec<_>>());
            let (offsets, values, _) = array.into_parts();
            Arc::new(StringArray::new(offsets, values, nulls))
        }
        DataType::Bytes => {
            let texts: Vec<Vec<u8>> = (0..rows).map(|_| vec![0xff; numbers.below(4)]).collect();
            let (offsets, values, _) = BinaryArray::from_iter_values(texts).into_parts();
            Arc::new(BinaryArray::new(offsets, values, nulls))
        }
        DataType::List(item) => {
            let ArrowType::List(field) = arrow else { unreachable!("lists are lists in Arrow") };
            let offsets = offsets(rows, numbers);
            let items = array(item, end(&offsets), true, numbers);
            Arc::new(ListArray::new(field, offsets, items, nulls))
        }
        DataType::Struct(types) => {
            let ArrowType::Struct(fields) = arrow else { unreachable!("structs are structs in Arrow") };
            let columns = types.iter().map(|(_, t)| array(t, rows, true, numbers)).collect();
            Arc::new(StructArray::new(fields, columns, nulls))
        }
        DataType::Map(key, value) => {
            let ArrowType::Map(entries, _) = arrow else { unreachable!("maps are maps in Arrow") };
            let ArrowType::Struct(fields) = entries.data_type() else { unreachable!("entries are structs") };
            let offsets = offsets(rows, numbers);
            let keys = array(key, end(&offsets), false, numbers);
            let values = array(value, end(&offsets), true, numbers);
            let structs = StructArray::new(fields.clone(), vec![keys, values], None);
            Arc::new(MapArray::new(entries, offsets, structs, nulls, false))
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(
    rows: usize,
    nulls: Option<NullBuffer>,
    arrow: &ArrowType,
    mut value: impl FnMut() -> T::Native,
) -> ArrayRef {
    let mut values = BufferBuilder::<T::Native>::new(rows);
    (0..rows).for_each(|_| values.append(value()));
    Arc::new(PrimitiveArray::<T>::new(values.finish().into(), nulls).with_data_type(arrow.clone()))
}

fn offsets(rows: usize, numbers: &mut Numbers) -> OffsetBuffer<i32> {
    OffsetBuffer::from_lengths((0..rows).map(|_| numbers.below(4)))
}

fn end(offsets: &OffsetBuffer<i32>) -> usize {
    usize::try_from(*offsets.last().unwrap()).unwrap()
}

/// A batch of one column for each type; odd columns are never null.
fn batch(types: &[DataType], rows: usize, seed: u64) -> (Vec<Field>, RecordBatch) {
    let mut numbers = Numbers(seed);
    let fields: Vec<Field> = types
        .iter()
        .enumerate()
        .map(|(index, t)| Field { name: format!("c{index}"), data_type: t.clone(), nullable: index % 2 == 0 })
        .collect();
    let columns =
        fields.iter().map(|field| array(&field.data_type, rows, field.nullable, &mut numbers)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(arrow_schema(&fields), columns, &options).unwrap();
    (fields, batch)
}

/// What a guest would return that gives back what it got.
fn echo(fields: &[Field], batch: &RecordBatch) -> Output {
    let lowered = lower(fields, batch).unwrap();
    let columns = lowered.columns().into_iter().map(|column| ColumnResult {
        validity: column.validity.to_vec(),
        offsets: column.offsets.to_vec(),
        values: column.values.to_vec(),
        children: column.children.to_vec(),
    });
    let batch = BatchResult { rows: lowered.rows, columns: columns.collect() };
    Output { batch, input_rows: Vec::new(), rejected: Vec::new() }
}

fn lift_all(fields: &[Field], output: Output, input_rows: usize) -> Result<TransformOutput, LiftError> {
    lift(fields, &arrow_schema(fields), output, input_rows, &Limits::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_goes_out_comes_back(
        types in proptest::collection::vec(data_types(), 0..4),
        rows in 0_usize..40,
        cut in (0_usize..40, 0_usize..40),
        seed: u64,
    ) {
        let (fields, whole) = batch(&types, rows, seed);
        let start = cut.0.min(rows);
        let slice = whole.slice(start, cut.1.min(rows - start));
        let output = lift_all(&fields, echo(&fields, &slice), slice.num_rows()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(output.columns, slice);
    }

    #[test]
    fn what_is_lowered_starts_at_its_first_row(
        types in proptest::collection::vec(data_types(), 1..3),
        rows in 1_usize..40,
        cut in (0_usize..40, 0_usize..40),
        seed: u64,
    ) {
        let (fields, whole) = batch(&types, rows, seed);
        let start = cut.0.min(rows);
        let slice = whole.slice(start, cut.1.min(rows - start));
        let columns = echo(&fields, &slice).batch.columns;
        for column in &columns {
            prop_assert!(column.offsets.is_empty() || column.offsets[..4] == [0; 4]);
        }
        for (column, field) in columns.iter().zip(&fields) {
            let spare = slice.num_rows().div_ceil(8) * 8 - slice.num_rows();
            let bits = [&column.validity, if field.data_type == DataType::Bool { &column.values } else { &column.validity }];
            for last in bits.into_iter().filter_map(|bits| bits.last()) {
                prop_assert!(spare == 0 || last.leading_zeros() as usize >= spare);
            }
        }
    }

    #[test]
    fn damage_is_refused_or_harmless(
        types in proptest::collection::vec(data_types(), 1..3),
        rows in 1_usize..20,
        seed: u64,
        damage in proptest::collection::vec((any::<usize>(), 0_u8..4, 0_u8..5, any::<usize>(), any::<u8>()), 1..4),
    ) {
        let (fields, whole) = batch(&types, rows, seed);
        let mut output = echo(&fields, &whole);
        for (column, buffer, how, at, byte) in damage {
            let count = output.batch.columns.len();
            let column = &mut output.batch.columns[column % count];
            if buffer == 3 {
                match how {
                    0 => drop(column.children.pop()),
                    1 => column.children.push(u32::from(byte)),
                    _ => column.children.iter_mut().for_each(|child| *child = u32::from(byte % 8)),
                }
                continue;
            }
            let bytes = [&mut column.validity, &mut column.offsets, &mut column.values].into_iter().nth(buffer.into()).unwrap();
            match how {
                0 => drop(bytes.pop()),
                1 => bytes.push(byte),
                2 => bytes.clear(),
                3 => bytes.truncate(at % (bytes.len() + 1)),
                _ if bytes.is_empty() => {}
                _ => {
                    let at = at % bytes.len();
                    bytes[at] ^= byte;
                }
            }
        }
        if let Ok(output) = lift_all(&fields, output, rows) {
            for (column, field) in output.columns.columns().iter().zip(&fields) {
                column.to_data().validate_full().map_err(|error| TestCaseError::fail(format!("{field}: {error}")))?;
                prop_assert!(field.nullable || column.null_count() == 0);
            }
        }
    }
}

#[test]
fn numbers_beyond_a_decimals_digits_are_refused() {
    let fields = [Field::nullable("price", DataType::Decimal { precision: 3, scale: 1 })];
    let answer = |value: i128, validity: &[u8]| {
        let column = ColumnResult {
            validity: validity.to_vec(),
            offsets: Vec::new(),
            values: value.to_le_bytes().to_vec(),
            children: Vec::new(),
        };
        let batch = BatchResult { rows: 1, columns: vec![column] };
        lift_all(&fields, Output { batch, input_rows: Vec::new(), rejected: Vec::new() }, 1)
    };
    assert!(answer(999, &[]).is_ok());
    assert!(answer(-999, &[]).is_ok());
    assert_eq!(
        answer(1_000, &[]).unwrap_err().to_string(),
        "output column `price`: a number with more than 3 digits"
    );
    // What lies behind a null is nobody's business.
    assert!(answer(1_000, &[0]).is_ok());
}
