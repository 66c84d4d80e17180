//! The shared online store: newest rows in Redis, laid out as Feast lays them out, so that stock Feast clients read them.
//!
//! ```text
//! batch ─▶ queue of the view's writer ─▶ keys, collapse ─▶ requests ─▶ Redis ─▶ notes: mark, position ─▶ ledger
//!                                             │   ▲                              │
//!                                             ▼   │                              ▼
//!                             what is known of entities under the claim     redis-NAME.json
//! ```
//!
//! Several hosts write the same entities, and so may stock Feast clients. Of each entity the row with the greatest version
//! stays; that is decided inside Redis, in one step, by one of two ways.
//!
//! **Compared.** A script takes many rows, reads the version that is held of each, compares, and writes what is newer.
//! Redis runs scripts one after the other and nothing in between, so reading and writing are one step. This is right
//! whoever else writes; it costs Redis twice as much as writing alone. Nearly all rows are later than what is held by seconds;
//! then the field of event times, Feast's, is all that is read. That is not enough where rows were deleted, as their times
//! stand in their versions only, and hashes have to be made permanent again where the view once had a TTL; the key
//! `millrace:<project>:history:<view>` says from the first such row on that there were any (on clusters too, as rows may be
//! moved to a single server). What is held and is no version stops the view, with words that say where it is.
//!
//! **Claimed.** A host that alone writes a view need not look: it knows what it has written. The key
//! `millrace:<project>:claim:<view>` holds the *token* of one tenure of one writer, and these rules are kept:
//!
//! 1. Whoever compares rows without being the one whose token stands there deletes the claim, in the same script, before
//!    it writes (`batch.lua`).
//! 2. Whoever writes without looking does so in a transaction that watches the claim, having seen its own token there after
//!    `WATCH`. If the claim was touched since, `EXEC` does nothing.
//! 3. Tokens are never used twice; each tenure, each connection begins with a new one, and knows nothing of any entity.
//! 4. What a tenure knows of an entity is what a script has told while the token stood, or what it has written since.
//!
//! *Invariant: while token T stands in Redis, what T's writer knows of an entity is what Redis holds of it, once its
//! requests so far are done.* By 3 it holds when T is set, as nothing is known. A write by somebody else ends T, by 1 if it
//! compares, and by 2 if it does not, as it would have to see another token than T. A write of T's own is on one connection,
//! in order, and is known when it is sent; an entity that is being compared counts as unknown until the last answer about
//! it. So a row that is newer than what is known is newer than what is held, and may be written blindly; one that is older is
//! late, and need not even be sent. A host that sleeps for an hour between any two steps wakes up to a `GET` that shows
//! another token, or to an `EXEC` that does nothing. Time decides nothing but who may *ask* for a claim: not before all
//! other hosts have been quiet for a while (`millrace:<project>:writers:<view>`), or claims would change hands with each
//! batch. Replication keeps the order of writes, so what a replica has when it takes over is what the master once was,
//! claim and rows together; the connection is another then, and 3 begins anew.
//!
//! *Feast keeps none of these rules.* What it has written is compared with by its event time, but an entity that this host
//! has written under its claim, and Feast since, is replaced by this host's next row even if that is older. Views that
//! Feast writes at the same time as a host should not share entities with it.
//!
//! **On a cluster** no claim lies in the slots of all rows: each row is compared by a call of its own.
//!
//! **Losses.** Redis acknowledges before replicas and disk have a write. Behind each request the writer sets a mark, a number
//! that rises, and is told which one stood there before. A lower one than was acknowledged says which batches are gone;
//! writes of these views and partitions are refused until their sources have gone back ([`RedisStore::on_loss`],
//! [`RedisStore::accept`]), see [`notes`]. Batches that were given up meanwhile move no position, whatever becomes of them.
//! A store that was emptied, or is another (`millrace:<project>:store`), stops everything, as nothing can tell what it lacks.
//!
//! **What is promised.** A write is visible to reads when it returns, and its rows are in the master's memory. A position in
//! the ledger is one that Redis has acknowledged; if Redis loses what was acknowledged, that is found and read again. Memory
//! is bounded: queues by [`writer`], what is known of entities by [`RedisStoreOptions::memory_bytes`], marks by [`notes`].
//! Nothing is dropped when Redis is full or away: callers wait and repeat.
//!
//! **Reading order.** `options`, `layout` (bytes), `expiry`, `scripts`, `notes`, `writer`, `reader`; `store` is what others
//! see.

pub mod bench;
mod expiry;
mod layout;
mod notes;
mod options;
mod random;
mod reader;
mod scripts;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use options::{Loss, RedisStoreOptions};
pub use store::{LossHook, RedisStore};
