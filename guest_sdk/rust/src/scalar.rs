//! Values of fixed width: Rust's numbers, and the three that Rust has no type for.
//!
//! Conversions to calendars and texts are deliberately not here: they would be paid for by guests that only pass a
//! timestamp on.

/// An instant: microseconds since 1970-01-01T00:00:00Z. Column type `timestamp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Timestamp(pub i64);

/// A day: days since 1970-01-01. Column type `date`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Date(pub i32);

/// A decimal number of at most `PRECISION` digits, `SCALE` of them after the point, as its unscaled integer:
/// `Decimal::<10, 2>(1999)` is 19.99. Column type `decimal(10,2)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Decimal<const PRECISION: u8, const SCALE: u8>(pub i128);

/// A type whose values lie one after the other in a column's values buffer.
///
/// # Safety
///
/// The type is [`Copy`], has no padding, every bit pattern is a value of it, and its memory representation on a
/// little-endian machine is `Bytes`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no fixed-width column",
    note = "slices can be had of i8 … i64, u16 … u64, f32, f64, Timestamp, Date and Decimal"
)]
pub unsafe trait Primitive: Copy + Default + 'static {
    /// As many bytes as a value has.
    type Bytes: Copy + AsRef<[u8]> + 'static;

    /// Writes the column type.
    fn data_type(text: &mut String);

    /// A value from its little-endian bytes.
    fn from_bytes(bytes: Self::Bytes) -> Self;

    /// The little-endian bytes of a value.
    fn to_bytes(self) -> Self::Bytes;

    /// The bytes of many values, in place.
    fn flatten(values: Vec<Self::Bytes>) -> Vec<u8>;
}

/// A [`Primitive`] that makes lists: all but `u8`, whose lists are the column type `bytes`.
#[diagnostic::on_unimplemented(
    message = "`[{Self}]` is not the list of a column type",
    note = "slices can be had of i8 … i64, u16 … u64, f32, f64, Timestamp, Date and Decimal; `[u8]` is `bytes`"
)]
pub trait Plain: Primitive {}

macro_rules! primitive {
    ($($rust:ty, $name:literal, $width:literal;)*) => {$(
        // SAFETY: a number of Rust: no padding, every bit pattern is one.
        unsafe impl Primitive for $rust {
            type Bytes = [u8; $width];

            fn data_type(text: &mut String) {
                text.push_str($name);
            }

            #[inline(always)]
            fn from_bytes(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }

            #[inline(always)]
            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            fn flatten(values: Vec<Self::Bytes>) -> Vec<u8> {
                values.into_flattened()
            }
        }
    )*};
}

primitive! {
    i8, "int8", 1;
    i16, "int16", 2;
    i32, "int32", 4;
    i64, "int64", 8;
    u8, "uint8", 1;
    u16, "uint16", 2;
    u32, "uint32", 4;
    u64, "uint64", 8;
    f32, "float32", 4;
    f64, "float64", 8;
}

macro_rules! plain {
    ($($rust:ty)*) => {$( impl Plain for $rust {} )*};
}

plain! { i8 i16 i32 i64 u16 u32 u64 f32 f64 Timestamp Date }

impl<const PRECISION: u8, const SCALE: u8> Plain for Decimal<PRECISION, SCALE> {}

// SAFETY: transparent over i64.
unsafe impl Primitive for Timestamp {
    type Bytes = [u8; 8];

    fn data_type(text: &mut String) {
        text.push_str("timestamp");
    }

    #[inline(always)]
    fn from_bytes(bytes: Self::Bytes) -> Self {
        Self(i64::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn to_bytes(self) -> Self::Bytes {
        self.0.to_le_bytes()
    }

    fn flatten(values: Vec<Self::Bytes>) -> Vec<u8> {
        values.into_flattened()
    }
}

// SAFETY: transparent over i32.
unsafe impl Primitive for Date {
    type Bytes = [u8; 4];

    fn data_type(text: &mut String) {
        text.push_str("date");
    }

    #[inline(always)]
    fn from_bytes(bytes: Self::Bytes) -> Self {
        Self(i32::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn to_bytes(self) -> Self::Bytes {
        self.0.to_le_bytes()
    }

    fn flatten(values: Vec<Self::Bytes>) -> Vec<u8> {
        values.into_flattened()
    }
}

// SAFETY: transparent over i128.
unsafe impl<const PRECISION: u8, const SCALE: u8> Primitive for Decimal<PRECISION, SCALE> {
    type Bytes = [u8; 16];

    fn data_type(text: &mut String) {
        const { assert!(PRECISION >= 1 && PRECISION <= 38 && SCALE <= PRECISION, "a decimal has 1 to 38 digits") };
        text.push_str("decimal(");
        push_number(text, PRECISION);
        text.push(',');
        push_number(text, SCALE);
        text.push(')');
    }

    #[inline(always)]
    fn from_bytes(bytes: Self::Bytes) -> Self {
        Self(i128::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn to_bytes(self) -> Self::Bytes {
        self.0.to_le_bytes()
    }

    fn flatten(values: Vec<Self::Bytes>) -> Vec<u8> {
        values.into_flattened()
    }
}

/// Writes a number of at most two digits. Formatting machinery would be larger than most guests.
fn push_number(text: &mut String, number: u8) {
    if number >= 10 {
        text.push(char::from(b'0' + number / 10));
    }
    text.push(char::from(b'0' + number % 10));
}
