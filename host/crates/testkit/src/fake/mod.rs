//! Fakes of everything at the rim: in memory, without threads of their own, and as treacherous as a test wants them.
//!
//! They keep to the contracts in `model`, and add what tests need: failures on demand, gates, a crash. The events of
//! [`source::MemorySource`] are texts of the form `key,value,micros`; [`format::LineFormat`] decodes them,
//! [`component::FakeComponent`] transforms them row by row.

pub mod clock;
pub mod component;
pub mod dead_letters;
pub mod format;
pub mod group;
pub mod online;
pub mod output;
pub mod source;
pub mod trouble;
pub mod wait;
