//! Rows as bytes in Redis: the layout of Feast, byte for byte, with a version of our own beside it.
//!
//! ```text
//! key    entity key (serialization 3) ‖ project          one hash for each entity, whatever the number of views
//! field  murmur3 of `view:feature`, 4 bytes              `Value` message; null is an empty text
//! field  `_ts:view`                                      event time, `Timestamp` message
//! field  `_mv:view`                                      what decided that this row is the newest; not Feast's
//! ```
//!
//! Stock Feast clients read the first three and do not mind the fourth. What they write, we read: a row without a version
//! counts as the oldest of its event time ([`version::held`]).
//!
//! | type | kind of `Value` |
//! |---|---|
//! | `bool` | `bool` |
//! | `int8`, `int16`, `int32`, `uint8`, `uint16` | `int32` |
//! | `int64`, `uint32` | `int64` |
//! | `uint64` | `int64`, beyond its range `decimal` |
//! | `float32`, `float64` | `float`, `double`; NaN is null |
//! | `string`, `bytes` | the same |
//! | `timestamp` | `unix_timestamp`: whole seconds, and the rest in a field that Feast does not know |
//! | `date` | `unix_timestamp` of its midnight |
//! | `decimal(p,s)` | `decimal` with `s` digits after the point |
//! | `list<T>` | list of that kind; `list` of `Value` if an item is null or nested |
//! | `list<struct<…>>`, `list<map<string, V>>` | `struct_list`, `map_list`, if no item is null |
//! | `struct<…>` | `struct`: fields by name |
//! | `map<string, V>` | `map` |
//! | `map<K, V>` | `scalar_map`; `list` of pairs if `K` is nested |
//!
//! All of them read back as what they were, except NaN outside of lists and maps, which Feast does not keep either.
//!
//! **Reading order.** `key`, `field`, `view`; `timestamp`, `version`; `protobuf`, `kind`, `column` and `nested` (columns → `Value`), `value`
//! (`Value` → our values). Nothing here talks to Redis.

mod key;
mod field;
mod view;
mod timestamp;
pub(super) mod version;
mod protobuf;
mod kind;
mod column;
mod nested;
mod value;

#[cfg(test)]
mod tests;

pub(super) use column::ValueColumn;
pub(super) use field::Fields;
pub(super) use key::{EntityKeys, KeyLayout};
pub(super) use protobuf::Malformed;
pub(super) use timestamp::append_timestamp;
pub(super) use value::decode;
pub(super) use view::{ViewLayout, ViewLayouts};
