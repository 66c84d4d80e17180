//! Input columns as typed values.
//!
//! [`FromValue`] is a type that a row's value can be read as; [`FromColumn`] is that or an `Option` of it. [`In`] is
//! a bound column: everything that can be checked once a batch has been checked, reading a row cannot fail.

use std::borrow::Cow;

use crate::batch::Field;
use crate::scalar::{Date, Decimal, Plain, Primitive, Timestamp};
use crate::source::{ColumnView, Offsets, Validity, bit};

/// Why a row cannot be read, in words that follow the column's name.
pub type Problem = &'static str;

/// A type that a value of an input column can be read as.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an input column",
    label = "no column type is read as this",
    note = "columns are read as bool, i8 … i64, u8 … u64, f32, f64, &str, String, &[u8], Vec<u8>, Timestamp, Date, \
            Decimal, as Vec or slice of these, as BTreeMap, as a struct that derives Input, or as Option of any"
)]
pub trait FromValue<'a>: Sized {
    /// The bound column.
    type Column;

    /// Writes the column type.
    fn data_type(text: &mut String);

    /// Checks buffers against the number of rows.
    fn bind(view: ColumnView<'a>) -> Result<Self::Column, String>;

    /// Whether some row could hold a missing value within its value.
    fn flawed(_column: &Self::Column) -> bool {
        false
    }

    /// What is missing within the value of a row.
    fn problem(_column: &Self::Column, _row: usize) -> Option<Problem> {
        None
    }

    /// Reads a row that has a value without a problem.
    fn read(column: &Self::Column, row: usize) -> Self;
}

/// A type that a row of an input column can be read as: a [`FromValue`] or an `Option` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an input column",
    label = "no column type is read as this",
    note = "columns are read as bool, i8 … i64, u8 … u64, f32, f64, &str, String, &[u8], Vec<u8>, Timestamp, Date, \
            Decimal, as Vec or slice of these, as BTreeMap, as a struct that derives Input, or as Option of any"
)]
pub trait FromColumn<'a>: Sized {
    /// The type of values that are there.
    type Value: FromValue<'a>;

    /// Whether values may be missing.
    const NULLABLE: bool;

    /// Reads a row.
    fn read(column: &In<'a, Self>, row: usize) -> Self;
}

impl<'a, T: FromValue<'a>> FromColumn<'a> for T {
    type Value = T;
    const NULLABLE: bool = false;

    #[inline(always)]
    fn read(column: &In<'a, Self>, row: usize) -> Self {
        T::read(&column.values, row)
    }
}

impl<'a, T: FromValue<'a>> FromColumn<'a> for Option<T> {
    type Value = T;
    const NULLABLE: bool = true;

    #[inline(always)]
    fn read(column: &In<'a, Self>, row: usize) -> Self {
        if column.validity.is_valid(row) { Some(T::read(&column.values, row)) } else { None }
    }
}

/// Name, type and nullability of a column that is read as `T`.
pub fn field<'a, T: FromColumn<'a>>(name: &str) -> Field {
    let mut data_type = String::new();
    T::Value::data_type(&mut data_type);
    Field { name: name.to_owned(), data_type, nullable: T::NULLABLE }
}

/// A bound input column.
pub struct In<'a, T: FromColumn<'a>> {
    pub(crate) values: <T::Value as FromValue<'a>>::Column,
    validity: Validity<'a>,
    len: usize,
}

impl<'a, T: FromColumn<'a>> In<'a, T> {
    /// Checks buffers against the number of rows.
    pub fn bind(view: ColumnView<'a>) -> Result<Self, String> {
        Ok(Self { values: T::Value::bind(view)?, validity: view.validity()?, len: view.len() })
    }

    /// Binds a column of a struct; errors name it.
    pub fn bind_field(views: &[ColumnView<'a>], index: usize, name: &str) -> Result<Self, String> {
        let view = views.get(index).copied().ok_or_else(|| ["column `", name, "` is missing"].concat())?;
        Self::bind(view).map_err(|error| ["column `", name, "`: ", &error].concat())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a row. Panics if there is no such row.
    #[inline(always)]
    pub fn get(&self, row: usize) -> T {
        T::read(self, row)
    }

    /// The values of all rows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + '_ {
        (0..self.len).map(|row| self.get(row))
    }

    /// Whether some row could lack a value that `T` cannot do without.
    pub fn flawed(&self) -> bool {
        (!T::NULLABLE && self.validity.has_nulls()) || T::Value::flawed(&self.values)
    }

    /// What a row lacks.
    pub fn problem(&self, row: usize) -> Option<Problem> {
        match self.validity.is_valid(row) {
            true => T::Value::problem(&self.values, row),
            false if T::NULLABLE => None,
            false => Some("is null"),
        }
    }
}

impl<'a, T: FromColumn<'a, Value = T> + Plain + FromValue<'a, Column = Fixed<'a, T>>> In<'a, T> {
    /// All values as one slice of the column's own memory.
    pub fn values(&self) -> &'a [T] {
        // Plain types are bound aligned.
        self.values.slice()
    }
}

/// A type whose values can be items of a list: every [`FromColumn`] but `u8`, whose lists are the type `bytes`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the item of a list column",
    note = "items are what columns are read as, but for `u8`: `Vec<u8>` and `&[u8]` are the column type `bytes`"
)]
pub trait ItemFrom<'a>: FromColumn<'a> {
    /// Reads the items of one list.
    fn collect(items: &In<'a, Self>, start: usize, end: usize) -> Vec<Self> {
        (start..end).map(|row| items.get(row)).collect()
    }
}

impl<'a, T: FromValue<'a>> ItemFrom<'a> for Option<T> {}

/// A column of fixed-width values.
pub struct Fixed<'a, T: Primitive> {
    bytes: &'a [T::Bytes],
}

impl<'a, T: Primitive> Fixed<'a, T> {
    fn slice(&self) -> &'a [T] {
        debug_assert!(self.bytes.as_ptr().cast::<T>().is_aligned());
        // SAFETY: bound through `ColumnView::slice`, so aligned; every bit pattern is a value.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.bytes.len()) }
    }
}

/// How a fixed-width type is bound.
macro_rules! fixed {
    ($([$($generics:tt)*] $rust:ty),* $(,)?) => {$(
        impl<'a, $($generics)*> FromValue<'a> for $rust {
            type Column = Fixed<'a, $rust>;

            fn data_type(text: &mut String) {
                <$rust as Primitive>::data_type(text);
            }

            fn bind(view: ColumnView<'a>) -> Result<Self::Column, String> {
                let values = view.slice::<$rust>()?;
                // SAFETY: `Bytes` is what the type looks like in memory.
                Ok(Fixed { bytes: unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) } })
            }

            #[inline(always)]
            fn read(column: &Self::Column, row: usize) -> Self {
                <$rust as Primitive>::from_bytes(column.bytes[row])
            }
        }
    )*};
}

fixed! { [] i8, [] i16, [] i32, [] i64, [] u8, [] u16, [] u32, [] u64, [] f32, [] f64, [] Timestamp, [] Date,
[const PRECISION: u8, const SCALE: u8] Decimal<PRECISION, SCALE> }

macro_rules! plain_items {
    ($([$($generics:tt)*] $rust:ty),* $(,)?) => {$(
        impl<'a, $($generics)*> ItemFrom<'a> for $rust {
            fn collect(items: &In<'a, Self>, start: usize, end: usize) -> Vec<Self> {
                items.values()[start..end].to_vec()
            }
        }
    )*};
}

plain_items! { [] i8, [] i16, [] i32, [] i64, [] u16, [] u32, [] u64, [] f32, [] f64, [] Timestamp, [] Date,
[const PRECISION: u8, const SCALE: u8] Decimal<PRECISION, SCALE> }

impl<'a> FromValue<'a> for bool {
    type Column = &'a [u8];

    fn data_type(text: &mut String) {
        text.push_str("bool");
    }

    fn bind(view: ColumnView<'a>) -> Result<Self::Column, String> {
        view.bits()
    }

    #[inline(always)]
    fn read(column: &Self::Column, row: usize) -> Self {
        bit(column, row)
    }
}

impl ItemFrom<'_> for bool {}

/// A column of texts or bytes.
pub struct Bytes<'a> {
    offsets: Offsets<'a>,
    values: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn bind(view: ColumnView<'a>) -> Result<Self, String> {
        Ok(Self { offsets: view.offsets()?, values: view.bytes() })
    }

    #[inline(always)]
    fn get(&self, row: usize) -> &'a [u8] {
        let (start, end) = self.offsets.range(row);
        &self.values[start..end]
    }
}

impl<'a> FromValue<'a> for &'a str {
    type Column = Bytes<'a>;

    fn data_type(text: &mut String) {
        text.push_str("string");
    }

    fn bind(view: ColumnView<'a>) -> Result<Self::Column, String> {
        let column = Bytes::bind(view)?;
        view.check_texts(&column.offsets)?;
        Ok(column)
    }

    #[inline(always)]
    fn read(column: &Self::Column, row: usize) -> Self {
        // SAFETY: `check_texts` has seen the row, or the source is trusted to hold UTF-8.
        unsafe { std::str::from_utf8_unchecked(column.get(row)) }
    }
}

impl<'a> FromValue<'a> for &'a [u8] {
    type Column = Bytes<'a>;

    fn data_type(text: &mut String) {
        text.push_str("bytes");
    }

    fn bind(view: ColumnView<'a>) -> Result<Self::Column, String> {
        Bytes::bind(view)
    }

    #[inline(always)]
    fn read(column: &Self::Column, row: usize) -> Self {
        column.get(row)
    }
}

/// Types that are read through a borrowed one.
macro_rules! through {
    ($($rust:ty, $borrowed:ty, $value:ident => $convert:expr;)*) => {$(
        impl<'a> FromValue<'a> for $rust {
            type Column = <$borrowed as FromValue<'a>>::Column;

            fn data_type(text: &mut String) {
                <$borrowed as FromValue<'a>>::data_type(text);
            }

            fn bind(view: ColumnView<'a>) -> Result<Self::Column, String> {
                <$borrowed as FromValue<'a>>::bind(view)
            }

            #[inline]
            fn read(column: &Self::Column, row: usize) -> Self {
                let $value = <$borrowed as FromValue<'a>>::read(column, row);
                $convert
            }
        }

        impl<'a> ItemFrom<'a> for $rust {}
    )*};
}

through! {
    String, &'a str, text => text.to_owned();
    Cow<'a, str>, &'a str, text => Cow::Borrowed(text);
    Vec<u8>, &'a [u8], bytes => bytes.to_vec();
}

impl<'a> ItemFrom<'a> for &'a str {}
impl<'a> ItemFrom<'a> for &'a [u8] {}
