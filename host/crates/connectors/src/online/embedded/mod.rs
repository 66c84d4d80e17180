//! The embedded online store: newest rows in memory, made durable by checkpoints, on a storage engine underneath.
//!
//! ```text
//! batch ─▶ encode ─▶ key, hash ─▶ shard of the table: newer wins ─▶ reads see it
//!                                        │ every 2 s, or at 256 MiB of changed rows
//!                                        ▼
//!                     checkpoint: changed rows, sorted, with positions ─▶ disk ─▶ sources may forget
//! ```
//!
//! **Why not write each row.** Sources can be replayed, so a row need not be durable when its event is done; it has to be
//! when the source's position is. A row that changes a hundred times between two checkpoints is then written once, in
//! one sorted commit, and deciding which row is newer costs no look-up on disk while its entity is in memory.
//!
//! **What is promised.** A write is visible to reads when it returns. Rows and the positions that cover them become
//! durable in one step ([`model::online::Ledger::durable`] says how far); after a crash the store is what some checkpoint
//! made, and replaying from its positions leads to where it was, as the total order of versions makes repeats harmless.
//! Memory stays within its bound whatever the number of entities: rows that are on disk are forgotten, the longest
//! unused first, and looked up once when they are needed again; rows that are not on disk yet make a checkpoint begin,
//! and then writers wait. A full disk stops nothing but checkpoints, until there is no more room for changed rows.
//!
//! **Reading order.** Bytes: `key`, `row`, `encode`, `version`, `record`. Memory: `index`, `slab`, `shard`,
//! `table`. What is known of
//! views: `meta`, `views`, `ledger`. Disk: `disk` (the only one that names the engine), `lock`. What happens: `writer`,
//! `reader`, `rows`, `checkpoint`, `sweep`, `control`. `store` is what others see.

pub mod bench;
mod checkpoint;
mod control;
mod core;
mod disk;
mod encode;
mod key;
mod ledger;
mod lock;
mod meta;
mod options;
mod reader;
mod record;
mod row;
mod rows;
mod index;
mod slab;
mod shard;
mod statistics;
mod store;
mod sweep;
mod table;
mod version;
mod views;
mod writer;

#[cfg(test)]
mod tests;

pub use options::EmbeddedOptions;
pub use rows::{EntityRow, Walked};
pub use statistics::Statistics;
pub use store::EmbeddedStore;
