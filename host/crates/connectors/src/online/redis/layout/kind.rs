//! Numbers of the fields of Feast's `Value` and of `MapKey`: what kind a value is.

pub(super) const BYTES: u32 = 1;
pub(super) const STRING: u32 = 2;
pub(super) const INT32: u32 = 3;
pub(super) const INT64: u32 = 4;
pub(super) const DOUBLE: u32 = 5;
pub(super) const FLOAT: u32 = 6;
pub(super) const BOOL: u32 = 7;
pub(super) const UNIX_TIMESTAMP: u32 = 8;
pub(super) const BYTES_LIST: u32 = 11;
pub(super) const STRING_LIST: u32 = 12;
pub(super) const INT32_LIST: u32 = 13;
pub(super) const INT64_LIST: u32 = 14;
pub(super) const DOUBLE_LIST: u32 = 15;
pub(super) const FLOAT_LIST: u32 = 16;
pub(super) const BOOL_LIST: u32 = 17;
pub(super) const UNIX_TIMESTAMP_LIST: u32 = 18;
pub(super) const NULL: u32 = 19;
pub(super) const MAP: u32 = 20;
pub(super) const MAP_LIST: u32 = 21;
pub(super) const BYTES_SET: u32 = 22;
pub(super) const STRING_SET: u32 = 23;
pub(super) const INT32_SET: u32 = 24;
pub(super) const INT64_SET: u32 = 25;
pub(super) const DOUBLE_SET: u32 = 26;
pub(super) const FLOAT_SET: u32 = 27;
pub(super) const BOOL_SET: u32 = 28;
pub(super) const UNIX_TIMESTAMP_SET: u32 = 29;
pub(super) const JSON: u32 = 32;
pub(super) const JSON_LIST: u32 = 33;
pub(super) const STRUCT: u32 = 34;
pub(super) const STRUCT_LIST: u32 = 35;
pub(super) const UUID: u32 = 36;
pub(super) const TIME_UUID: u32 = 37;
pub(super) const UUID_LIST: u32 = 38;
pub(super) const TIME_UUID_LIST: u32 = 39;
pub(super) const UUID_SET: u32 = 40;
pub(super) const TIME_UUID_SET: u32 = 41;
pub(super) const LIST: u32 = 42;
pub(super) const SET: u32 = 43;
pub(super) const DECIMAL: u32 = 44;
pub(super) const DECIMAL_LIST: u32 = 45;
pub(super) const DECIMAL_SET: u32 = 46;
pub(super) const SCALAR_MAP: u32 = 47;
pub(super) const ZONED_TIMESTAMP: u32 = 48;

/// Ours, and skipped by Feast: microseconds within the second of a `unix_timestamp`, packed for those of a list.
pub(super) const OUR_MICROS: u32 = 1000;

/// Kinds of `MapKey`; the field of [`OUR_MICROS`] stands there too.
pub(super) mod key {
    pub(in super::super) const INT32: u32 = 1;
    pub(in super::super) const INT64: u32 = 2;
    pub(in super::super) const FLOAT: u32 = 3;
    pub(in super::super) const DOUBLE: u32 = 4;
    pub(in super::super) const BOOL: u32 = 5;
    pub(in super::super) const UNIX_TIMESTAMP: u32 = 6;
    pub(in super::super) const BYTES: u32 = 7;
    pub(in super::super) const UUID: u32 = 8;
    pub(in super::super) const TIME_UUID: u32 = 9;
    pub(in super::super) const DECIMAL: u32 = 10;

    /// The kind of `Value` that holds the same.
    pub(in super::super) fn as_value(key: u32) -> Option<u32> {
        Some(match key {
            INT32 => super::INT32,
            INT64 => super::INT64,
            FLOAT => super::FLOAT,
            DOUBLE => super::DOUBLE,
            BOOL => super::BOOL,
            UNIX_TIMESTAMP => super::UNIX_TIMESTAMP,
            BYTES => super::BYTES,
            UUID => super::UUID,
            TIME_UUID => super::TIME_UUID,
            DECIMAL => super::DECIMAL,
            super::OUR_MICROS => super::OUR_MICROS,
            _ => return None,
        })
    }
}
