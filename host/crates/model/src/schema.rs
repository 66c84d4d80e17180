//! Types of columns: one closed set, shared by view files, the contract with guests and every store.
//!
//! A type has one spelling, used in YAML, in the WIT contract and in messages:
//! `bool`, `int8` … `int64`, `uint8` … `uint64`, `float32`, `float64`, `string`, `bytes`, `timestamp`, `date`,
//! `decimal(p,s)`, `list<T>`, `struct<name: T, …>`, `map<K, V>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{DataType as ArrowType, Field as ArrowField, Fields, Schema as ArrowSchema, TimeUnit};

/// The greatest depth of nested types. Bounds recursion over types that come from files and guests.
pub const MAX_TYPE_DEPTH: usize = 8;

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DataType {
    /// True or false, bit-packed.
    Bool,
    /// 8-bit signed integer.
    Int8,
    /// 16-bit signed integer.
    Int16,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// 8-bit unsigned integer.
    UInt8,
    /// 16-bit unsigned integer.
    UInt16,
    /// 32-bit unsigned integer.
    UInt32,
    /// 64-bit unsigned integer.
    UInt64,
    /// 32-bit IEEE float.
    Float32,
    /// 64-bit IEEE float.
    Float64,
    /// UTF-8 text.
    String,
    /// Bytes of any kind.
    Bytes,
    /// An instant: microseconds since 1970-01-01T00:00:00Z, as a 64-bit signed integer.
    Timestamp,
    /// A day: days since 1970-01-01, as a 32-bit signed integer.
    Date,
    /// A decimal number of 128 bits: at most 38 digits, `scale` of them after the point.
    Decimal {
        /// Number of digits, 1 to 38.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: u8,
    },
    /// Values of one type in order. An embedding is a `list<float32>`.
    List(Box<DataType>),
    /// Named values.
    Struct(Vec<(String, DataType)>),
    /// Values by key; keys are never null.
    Map(Box<DataType>, Box<DataType>),
}

impl DataType {
    /// Whether values of this type consist of other columns.
    pub fn is_nested(&self) -> bool {
        matches!(self, Self::List(_) | Self::Struct(_) | Self::Map(..))
    }

    /// Whether an entity may be keyed by this type: what Feast's entity-key format can carry.
    pub fn is_join_key(&self) -> bool {
        matches!(self, Self::String | Self::Bytes | Self::Int32 | Self::Int64 | Self::Timestamp)
    }

    /// Bytes of one value in the values buffer; `None` for types without a fixed width (bool is bit-packed).
    pub fn fixed_width(&self) -> Option<usize> {
        Some(match self {
            Self::Int8 | Self::UInt8 => 1,
            Self::Int16 | Self::UInt16 => 2,
            Self::Int32 | Self::UInt32 | Self::Float32 | Self::Date => 4,
            Self::Int64 | Self::UInt64 | Self::Float64 | Self::Timestamp => 8,
            Self::Decimal { .. } => 16,
            Self::Bool | Self::String | Self::Bytes | Self::List(_) | Self::Struct(_) | Self::Map(..) => {
                return None;
            }
        })
    }

    /// The child types, in the order in which child columns travel: list: item; struct: fields; map: keys, values.
    pub fn children(&self) -> Vec<&DataType> {
        match self {
            Self::List(item) => vec![item],
            Self::Struct(fields) => fields.iter().map(|(_, data_type)| data_type).collect(),
            Self::Map(key, value) => vec![key, value],
            _ => Vec::new(),
        }
    }

    /// The Arrow type that carries this type in memory.
    pub fn to_arrow(&self) -> ArrowType {
        match self {
            Self::Bool => ArrowType::Boolean,
            Self::Int8 => ArrowType::Int8,
            Self::Int16 => ArrowType::Int16,
            Self::Int32 => ArrowType::Int32,
            Self::Int64 => ArrowType::Int64,
            Self::UInt8 => ArrowType::UInt8,
            Self::UInt16 => ArrowType::UInt16,
            Self::UInt32 => ArrowType::UInt32,
            Self::UInt64 => ArrowType::UInt64,
            Self::Float32 => ArrowType::Float32,
            Self::Float64 => ArrowType::Float64,
            Self::String => ArrowType::Utf8,
            Self::Bytes => ArrowType::Binary,
            Self::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => ArrowType::Date32,
            Self::Decimal { precision, scale } => {
                // Scale is at most 38, far below the range of i8.
                ArrowType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
            }
            Self::List(item) => ArrowType::List(Arc::new(ArrowField::new("item", item.to_arrow(), true))),
            Self::Struct(fields) => ArrowType::Struct(
                fields
                    .iter()
                    .map(|(name, data_type)| ArrowField::new(name, data_type.to_arrow(), true))
                    .collect::<Fields>(),
            ),
            Self::Map(key, value) => {
                let entries = Fields::from(vec![
                    ArrowField::new("keys", key.to_arrow(), false),
                    ArrowField::new("values", value.to_arrow(), true),
                ]);
                ArrowType::Map(Arc::new(ArrowField::new("entries", ArrowType::Struct(entries), false)), false)
            }
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int8 => f.write_str("int8"),
            Self::Int16 => f.write_str("int16"),
            Self::Int32 => f.write_str("int32"),
            Self::Int64 => f.write_str("int64"),
            Self::UInt8 => f.write_str("uint8"),
            Self::UInt16 => f.write_str("uint16"),
            Self::UInt32 => f.write_str("uint32"),
            Self::UInt64 => f.write_str("uint64"),
            Self::Float32 => f.write_str("float32"),
            Self::Float64 => f.write_str("float64"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Date => f.write_str("date"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (index, (name, data_type)) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{name}: {data_type}")?;
                }
                f.write_str(">")
            }
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
        }
    }
}

/// A text that is not a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TypeError {
    /// What is wrong, naming the offending part.
    pub message: String,
}

/// The names of types that take no parameter, for messages and suggestions.
pub const SIMPLE_TYPE_NAMES: [&str; 15] = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "string",
    "bytes",
    "timestamp",
    "date",
];

impl FromStr for DataType {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let mut parser = TypeParser { rest: text.trim() };
        let data_type = parser.data_type(0)?;
        if parser.rest.trim().is_empty() {
            Ok(data_type)
        } else {
            Err(TypeError {
                message: format!("unexpected `{}` after the type `{data_type}`", parser.rest.trim()),
            })
        }
    }
}

/// Recursive descent over the grammar in the module documentation.
struct TypeParser<'a> {
    rest: &'a str,
}

impl<'a> TypeParser<'a> {
    fn data_type(&mut self, depth: usize) -> Result<DataType, TypeError> {
        if depth >= MAX_TYPE_DEPTH {
            return Err(TypeError { message: format!("types may be nested at most {MAX_TYPE_DEPTH} deep") });
        }
        let name = self.word();
        Ok(match name {
            "bool" => DataType::Bool,
            "int8" => DataType::Int8,
            "int16" => DataType::Int16,
            "int32" => DataType::Int32,
            "int64" => DataType::Int64,
            "uint8" => DataType::UInt8,
            "uint16" => DataType::UInt16,
            "uint32" => DataType::UInt32,
            "uint64" => DataType::UInt64,
            "float32" => DataType::Float32,
            "float64" => DataType::Float64,
            "string" | "utf8" => DataType::String,
            "bytes" | "binary" => DataType::Bytes,
            "timestamp" => DataType::Timestamp,
            "date" => DataType::Date,
            "decimal" | "decimal128" => {
                self.expect('(')?;
                let precision = self.number()?;
                self.expect(',')?;
                let scale = self.number()?;
                self.expect(')')?;
                if !(1..=38).contains(&precision) || scale > precision {
                    return Err(TypeError {
                        message: format!(
                            "`decimal({precision},{scale})` is out of range: 1 to 38 digits, of which at most that many after the point"
                        ),
                    });
                }
                DataType::Decimal { precision, scale }
            }
            "list" => {
                self.expect('<')?;
                let item = self.data_type(depth + 1)?;
                self.expect('>')?;
                DataType::List(Box::new(item))
            }
            "map" => {
                self.expect('<')?;
                let key = self.data_type(depth + 1)?;
                self.expect(',')?;
                let value = self.data_type(depth + 1)?;
                self.expect('>')?;
                DataType::Map(Box::new(key), Box::new(value))
            }
            "struct" => self.struct_fields(depth)?,
            "" => return Err(TypeError { message: format!("expected a type at `{}`", self.rest) }),
            other => return Err(TypeError { message: format!("unknown type `{other}`") }),
        })
    }

    fn struct_fields(&mut self, depth: usize) -> Result<DataType, TypeError> {
        self.expect('<')?;
        let mut fields: Vec<(String, DataType)> = Vec::new();
        loop {
            let name = self.word();
            if name.is_empty() {
                return Err(TypeError { message: format!("expected a field name at `{}`", self.rest) });
            }
            if fields.iter().any(|(known, _)| known == name) {
                return Err(TypeError { message: format!("field `{name}` stands twice in a struct") });
            }
            let name = name.to_owned();
            self.expect(':')?;
            let data_type = self.data_type(depth + 1)?;
            fields.push((name, data_type));
            if self.expect(',').is_err() {
                self.expect('>')?;
                return Ok(DataType::Struct(fields));
            }
        }
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<u8, TypeError> {
        let word = self.word();
        word.parse()
            .map_err(|_| TypeError { message: format!("expected a number of digits, found `{word}`") })
    }

    fn expect(&mut self, wanted: char) -> Result<(), TypeError> {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(TypeError { message: format!("expected `{wanted}` at `{rest}`") }),
        }
    }
}

/// A named column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name, as written in the view file.
    pub name: String,
    /// The type.
    pub data_type: DataType,
    /// Whether a value may be missing.
    pub nullable: bool,
}

impl Field {
    /// A column whose values may be missing.
    pub fn nullable(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: name.into(), data_type, nullable: true }
    }

    /// A column whose values are always there.
    pub fn required(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: name.into(), data_type, nullable: false }
    }

    /// The Arrow field that carries this column.
    pub fn to_arrow(&self) -> ArrowField {
        ArrowField::new(&self.name, self.data_type.to_arrow(), self.nullable)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.name, self.data_type, if self.nullable { "" } else { " not null" })
    }
}

/// The Arrow schema of these columns, in this order.
pub fn arrow_schema(fields: &[Field]) -> Arc<ArrowSchema> {
    Arc::new(ArrowSchema::new(fields.iter().map(Field::to_arrow).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let actual = text.parse::<DataType>().map(|t| t.to_string()).map_err(|e| e.message);
        assert_eq!(actual.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn types_have_one_spelling() {
        for name in SIMPLE_TYPE_NAMES {
            check(name, Ok(name));
        }
        check(" list< float32 > ", Ok("list<float32>"));
        check("utf8", Ok("string"));
        check("decimal(10,2)", Ok("decimal(10,2)"));
        check("struct<lat:float64,lon: float64>", Ok("struct<lat: float64, lon: float64>"));
        check("map<string,list<int64>>", Ok("map<string, list<int64>>"));
    }

    #[test]
    fn bad_types_name_the_offending_part() {
        check("int63", Err("unknown type `int63`"));
        check("", Err("expected a type at ``"));
        check("list<int64", Err("expected `>` at ``"));
        check("int64 not null", Err("unexpected `not null` after the type `int64`"));
        check(
            "decimal(40,2)",
            Err(
                "`decimal(40,2)` is out of range: 1 to 38 digits, of which at most that many after the point",
            ),
        );
        check("struct<a: int64, a: int64>", Err("field `a` stands twice in a struct"));
        check(&"list<".repeat(40), Err("types may be nested at most 8 deep"));
    }
}
