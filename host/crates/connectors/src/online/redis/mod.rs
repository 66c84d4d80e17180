//! The shared online store: newest rows in Redis, laid out as Feast lays them out, so that stock Feast clients read them.

mod options;
mod random;
mod layout;
mod expiry;
mod scripts;
mod notes;
mod writer;
mod reader;
mod store;

pub use options::{Loss, RedisStoreOptions};
pub use store::{LossHook, RedisStore};

#[cfg(test)]
mod tests;
