//! The shared online store: newest rows in Redis, laid out as Feast lays them out, so that stock Feast clients read them.

mod layout;
mod options;
mod reader;
mod store;

pub use options::{Loss, RedisStoreOptions};
pub use store::{LossHook, RedisStore};
