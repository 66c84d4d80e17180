//! One value outside of columns: entity keys of a request, a stored row on its way to a reader.
//!
//! Never on the way from a source to a sink; there, data stays in columns.

/// A value of any [`crate::schema::DataType`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// `bool`.
    Bool(bool),
    /// Any signed integer type.
    Int(i64),
    /// Any unsigned integer type.
    UInt(u64),
    /// `float32`; kept apart from `float64` because its shortest text differs.
    Float32(f32),
    /// `float64`.
    Float64(f64),
    /// `string`.
    String(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// `timestamp`, microseconds since the epoch.
    Timestamp(i64),
    /// `date`, days since the epoch.
    Date(i32),
    /// `decimal`: the unscaled number and its scale.
    Decimal(i128, u8),
    /// `list`.
    List(Vec<Value>),
    /// `struct`: fields in declared order.
    Struct(Vec<(String, Value)>),
    /// `map`: entries in stored order.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}
