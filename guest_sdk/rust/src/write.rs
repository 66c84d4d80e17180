//! Output columns from typed values, in the layout in which they leave.
//!
//! [`IntoValue`] is a type that becomes a value; [`IntoColumn`] is that or an `Option` of it. [`Out`] is a column under
//! construction.

use std::borrow::Cow;

use crate::batch::{Batch, Column, Field};
use crate::scalar::{Date, Decimal, Plain, Primitive, Timestamp};

/// A finished column with its children, before all columns of a batch are laid in one list.
#[derive(Debug, Default)]
pub struct Built {
    /// As in [`Column`].
    pub validity: Vec<u8>,
    /// As in [`Column`].
    pub offsets: Vec<u8>,
    /// As in [`Column`].
    pub values: Vec<u8>,
    /// The child columns themselves.
    pub children: Vec<Built>,
}

/// Lays columns and their children in one list: level by level, so that a child stands behind its parent.
pub fn flatten(rows: usize, columns: Vec<Built>) -> Batch {
    let mut flat: Vec<Column> = Vec::with_capacity(columns.len());
    let mut waiting = columns;
    while !waiting.is_empty() {
        let mut next = Vec::new();
        let first_child = flat.len() + waiting.len();
        for built in waiting {
            let start = first_child + next.len();
            next.extend(built.children);
            let children = (start..first_child + next.len()).map(|index| index as u32).collect();
            flat.push(Column {
                validity: built.validity,
                offsets: built.offsets,
                values: built.values,
                children,
            });
        }
        waiting = next;
    }
    Batch { rows: rows as u32, columns: flat }
}

/// A column of values that are all there, under construction.
pub trait Build: Sized {
    /// With room for as many values.
    fn with_capacity(capacity: usize) -> Self;

    /// Number of values.
    fn count(&self) -> usize;

    /// Appends something in the place of a null.
    fn push_default(&mut self);

    /// The finished column.
    fn finish(self) -> Result<Built, String>;
}

/// A type that becomes a value of an output column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an output column",
    label = "no column type is made of this",
    note = "columns are made of bool, i8 … i64, u8 … u64, f32, f64, &str, String, &[u8], Vec<u8>, Timestamp, Date, \
            Decimal, of Vec, array or slice of these, of BTreeMap, of a struct that derives Output, or of Option of any"
)]
pub trait IntoValue: Sized {
    /// The column under construction.
    type Column: Build;

    /// Writes the column type.
    fn data_type(text: &mut String);

    /// Appends this value.
    fn write(self, column: &mut Self::Column);

    /// Appends many values.
    #[inline]
    fn write_all(values: impl Iterator<Item = Self>, column: &mut Self::Column) {
        for value in values {
            value.write(column);
        }
    }
}

/// A type that becomes a row of an output column: an [`IntoValue`] or an `Option` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an output column",
    label = "no column type is made of this",
    note = "columns are made of bool, i8 … i64, u8 … u64, f32, f64, &str, String, &[u8], Vec<u8>, Timestamp, Date, \
            Decimal, of Vec, array or slice of these, of BTreeMap, of a struct that derives Output, or of Option of any"
)]
pub trait IntoColumn: Sized {
    /// The type of values that are there.
    type Value: IntoValue;

    /// Whether values may be missing.
    const NULLABLE: bool;

    /// The value, if there is one.
    fn value(self) -> Option<Self::Value>;
}

impl<T: IntoValue> IntoColumn for T {
    type Value = T;
    const NULLABLE: bool = false;

    #[inline(always)]
    fn value(self) -> Option<T> {
        Some(self)
    }
}

impl<T: IntoValue> IntoColumn for Option<T> {
    type Value = T;
    const NULLABLE: bool = true;

    #[inline(always)]
    fn value(self) -> Option<T> {
        self
    }
}

/// Name, type and nullability of a column that is made of `T`.
pub fn field<T: IntoColumn>(name: &str) -> Field {
    let mut data_type = String::new();
    T::Value::data_type(&mut data_type);
    Field { name: name.to_owned(), data_type, nullable: T::NULLABLE }
}

/// An output column under construction.
pub struct Out<T: IntoColumn> {
    values: <T::Value as IntoValue>::Column,
    /// Stays empty until the first null.
    validity: Vec<u8>,
}

impl<T: IntoColumn> Out<T> {
    /// An empty column with room for as many rows.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { values: Build::with_capacity(capacity), validity: Vec::new() }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.count()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a row.
    #[inline(always)]
    pub fn push(&mut self, row: T) {
        match row.value() {
            Some(value) => {
                if T::NULLABLE && !self.validity.is_empty() {
                    push_bit(&mut self.validity, self.values.count(), true);
                }
                value.write(&mut self.values);
            }
            None => self.push_null(),
        }
    }

    fn push_null(&mut self) {
        let len = self.values.count();
        if self.validity.is_empty() {
            self.validity = vec![0xff; len / 8];
            if !len.is_multiple_of(8) {
                self.validity.push((1 << (len % 8)) - 1);
            }
        }
        push_bit(&mut self.validity, len, false);
        self.values.push_default();
    }

    /// Appends something where a struct around this column is null.
    pub fn push_default(&mut self) {
        if T::NULLABLE { self.push_null() } else { self.values.push_default() }
    }

    /// The finished column.
    pub fn finish(self) -> Result<Built, String> {
        let mut built = self.values.finish()?;
        built.validity = self.validity;
        Ok(built)
    }
}

impl<T: IntoColumn> Extend<T> for Out<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, rows: I) {
        for row in rows {
            self.push(row);
        }
    }
}

impl<T: Plain + IntoValue<Column = FixedBuilder<T>>> Out<T> {
    /// Appends rows that lie one after the other in memory.
    pub fn extend_from_slice(&mut self, rows: &[T]) {
        self.values.extend_from_slice(rows);
    }
}

/// A type whose values can be items of a list: every [`IntoColumn`] but `u8`, whose lists are the type `bytes`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the item of a list column",
    note = "items are what columns are made of, but for `u8`: `Vec<u8>` and `&[u8]` are the column type `bytes`"
)]
pub trait IntoItem: IntoColumn {}

impl<T: IntoValue> IntoItem for Option<T> {}

/// Fixed-width values under construction.
pub struct FixedBuilder<T: Primitive> {
    values: Vec<T::Bytes>,
}

impl<T: Primitive> FixedBuilder<T> {
    #[inline(always)]
    fn push(&mut self, value: T) {
        self.values.push(value.to_bytes());
    }

    pub(crate) fn extend_from_slice(&mut self, values: &[T]) {
        // SAFETY: on a little-endian machine, and others are refused in `lib.rs`, `Bytes` is what the type looks like
        // in memory.
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) };
        self.values.extend_from_slice(bytes);
    }
}

impl<T: Primitive> Build for FixedBuilder<T> {
    fn with_capacity(capacity: usize) -> Self {
        Self { values: Vec::with_capacity(capacity) }
    }

    #[inline(always)]
    fn count(&self) -> usize {
        self.values.len()
    }

    fn push_default(&mut self) {
        self.push(T::default());
    }

    fn finish(self) -> Result<Built, String> {
        Ok(Built { values: T::flatten(self.values), ..Built::default() })
    }
}

macro_rules! fixed {
    ($([$($generics:tt)*] $rust:ty),* $(,)?) => {$(
        impl<$($generics)*> IntoValue for $rust {
            type Column = FixedBuilder<$rust>;

            fn data_type(text: &mut String) {
                <$rust as Primitive>::data_type(text);
            }

            #[inline(always)]
            fn write(self, column: &mut Self::Column) {
                column.push(self);
            }

            #[inline]
            fn write_all(values: impl Iterator<Item = Self>, column: &mut Self::Column) {
                column.values.extend(values.map(Primitive::to_bytes));
            }
        }
    )*};
}

fixed! { [] i8, [] i16, [] i32, [] i64, [] u8, [] u16, [] u32, [] u64, [] f32, [] f64, [] Timestamp, [] Date,
[const PRECISION: u8, const SCALE: u8] Decimal<PRECISION, SCALE> }

macro_rules! items {
    ($([$($generics:tt)*] $rust:ty),* $(,)?) => {$(
        impl<$($generics)*> IntoItem for $rust {}
    )*};
}

items! { [] i8, [] i16, [] i32, [] i64, [] u16, [] u32, [] u64, [] f32, [] f64, [] Timestamp, [] Date, [] bool,
[const PRECISION: u8, const SCALE: u8] Decimal<PRECISION, SCALE>, ['a] &'a str, [] String, ['a] Cow<'a, str>,
['a] &'a [u8], [] Vec<u8> }

/// Bits under construction.
pub struct BitBuilder {
    bits: Vec<u8>,
    len: usize,
}

impl Build for BitBuilder {
    fn with_capacity(capacity: usize) -> Self {
        Self { bits: Vec::with_capacity(capacity.div_ceil(8)), len: 0 }
    }

    fn count(&self) -> usize {
        self.len
    }

    fn push_default(&mut self) {
        false.write(self);
    }

    fn finish(self) -> Result<Built, String> {
        Ok(Built { values: self.bits, ..Built::default() })
    }
}

impl IntoValue for bool {
    type Column = BitBuilder;

    fn data_type(text: &mut String) {
        text.push_str("bool");
    }

    #[inline]
    fn write(self, column: &mut BitBuilder) {
        push_bit(&mut column.bits, column.len, self);
        column.len += 1;
    }
}

/// Texts or bytes under construction.
pub struct BytesBuilder {
    offsets: Vec<u8>,
    values: Vec<u8>,
    /// How many rows are expected.
    rows: usize,
}

/// Room that is made ahead at most, in bytes: one long text among short ones must not exhaust the guest's memory.
const MAX_AHEAD: usize = 64 << 10;

impl BytesBuilder {
    #[inline(always)]
    fn push(&mut self, bytes: &[u8]) {
        if self.values.capacity() - self.values.len() < bytes.len() {
            self.grow(bytes.len());
        }
        append_short(&mut self.values, bytes);
        push_offset(&mut self.offsets, self.values.len());
    }

    /// Makes room for rows that are as long as those so far.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, needed: usize) {
        let rows = self.offsets.len() / 4;
        let average = (self.values.len() + needed).div_ceil(rows);
        let ahead = average * self.rows.saturating_sub(rows);
        self.values.reserve(needed + ahead.min(MAX_AHEAD.max(self.values.len())));
    }
}

/// Appends bytes that there is room for. In WebAssembly copying a few bytes by the general instruction costs more than
/// the bytes do, because it leaves compiled code.
#[inline(always)]
fn append_short(values: &mut Vec<u8>, bytes: &[u8]) {
    const WORD: usize = 8;
    if cfg!(target_arch = "wasm32") && (WORD..=64).contains(&bytes.len()) {
        let (len, mut at) = (bytes.len(), 0);
        // SAFETY: the caller has made room for `bytes`. Whole words are copied up to the last, which ends where the
        // bytes end and may overlap the one before; all lie within `bytes` and within the room.
        unsafe {
            let (from, to) = (bytes.as_ptr(), values.as_mut_ptr().add(values.len()));
            while at + WORD < len {
                to.add(at).cast::<u64>().write_unaligned(from.add(at).cast::<u64>().read_unaligned());
                at += WORD;
            }
            at = len - WORD;
            to.add(at).cast::<u64>().write_unaligned(from.add(at).cast::<u64>().read_unaligned());
            values.set_len(values.len() + len);
        }
    } else {
        values.extend_from_slice(bytes);
    }
}

impl Build for BytesBuilder {
    fn with_capacity(capacity: usize) -> Self {
        // Values grow as needed: nobody knows how long texts are.
        Self { offsets: offsets(capacity), values: Vec::new(), rows: capacity }
    }

    #[inline(always)]
    fn count(&self) -> usize {
        self.offsets.len() / 4 - 1
    }

    fn push_default(&mut self) {
        self.push(&[]);
    }

    fn finish(self) -> Result<Built, String> {
        check_end(self.values.len())?;
        Ok(Built { offsets: self.offsets, values: self.values, ..Built::default() })
    }
}

macro_rules! bytes {
    ($([$($generics:tt)*] $rust:ty, $name:literal;)*) => {$(
        impl<$($generics)*> IntoValue for $rust {
            type Column = BytesBuilder;

            fn data_type(text: &mut String) {
                text.push_str($name);
            }

            #[inline(always)]
            fn write(self, column: &mut BytesBuilder) {
                column.push(self.as_ref());
            }
        }
    )*};
}

impl IntoValue for Cow<'_, str> {
    type Column = BytesBuilder;

    fn data_type(text: &mut String) {
        text.push_str("string");
    }

    fn write(self, column: &mut BytesBuilder) {
        column.push(self.as_bytes());
    }
}

bytes! {
    ['a] &'a str, "string";
    [] String, "string";
    ['a] &'a [u8], "bytes";
    [] Vec<u8>, "bytes";
}

/// Offsets of no rows yet, with room for as many.
pub(crate) fn offsets(capacity: usize) -> Vec<u8> {
    let mut offsets = Vec::with_capacity((capacity + 1) * 4);
    push_offset(&mut offsets, 0);
    offsets
}

#[inline(always)]
pub(crate) fn push_offset(offsets: &mut Vec<u8>, offset: usize) {
    // Cut off beyond 4 GiB; `check_end` refuses what is larger than half of that.
    offsets.extend_from_slice(&(offset as u32).to_le_bytes());
}

/// Offsets are signed 32-bit integers.
pub(crate) fn check_end(end: usize) -> Result<(), String> {
    if end > i32::MAX as usize {
        return Err(format!(
            "an output column of {end} bytes or items is too large: offsets end at {}",
            i32::MAX
        ));
    }
    Ok(())
}

#[inline]
fn push_bit(bits: &mut Vec<u8>, len: usize, bit: bool) {
    if len.is_multiple_of(8) {
        bits.push(u8::from(bit));
    } else if let Some(last) = bits.last_mut() {
        *last |= u8::from(bit) << (len % 8);
    }
}
