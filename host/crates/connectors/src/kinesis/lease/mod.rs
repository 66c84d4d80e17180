//! Who reads which shard of a stream, and how far everybody is.
//!
//! All shards that the stream names are partitions, closed ones too: a view that is rewound, or begins later, reads what
//! is left of them. They belong to this host ([`LeasePlace::Alone`]), or are divided among hosts by leases in Redis.
//!
//! *One owner.* Everything that is known is in `state`, which decides and does no IO. Three work on it: the `round`
//! task reads the table each beat, renews, takes, asks for and frees leases and writes progress, as `plan` says; the
//! `listing` task asks the stream for its shards; the `member` thread tells the flow what comes and goes. So a slow flow
//! delays no renewal, and a table that does not answer delays no flow.
//!
//! *A lease* lasts for a time that each host measures by its own clock: for its owner from when the last write that
//! renewed it was sent, for all others from when they first saw that write. So the owner's time is over first, and what it
//! may emit ends by itself ([`Leases::holds`]), also on a host that was suspended and on one that nobody tells anything.
//! What was on its way when a process was stopped is recognized by its position. The clock goes on while the machine sleeps,
//! where the platform has such a one (`moment`). A virtual machine that is paused from outside may not be told of it: then
//! its host stops emitting with its first look at the table, a second later at the latest.
//!
//! *Evenness.* A host takes free leases up to its share, and asks the host with the most for half of what it has fewer
//! (`balance`). What is asked for is revoked from the flow, which finishes and makes durable what it has begun; then its
//! progress is written and the lease freed, in one step, for the host that asked.
//!
//! *Progress* is written each beat if there is any. A host that takes over begins with what was written; what the other
//! did since is done again.
//!
//! *A table that forgets*, as Redis may when it is restarted or a replica takes over, costs nothing while its hosts live:
//! each writes again what it has, from memory, and nobody takes what the table does not know before its owner had the time
//! to do so. That it may have forgotten is seen by its name, which is another one when it was emptied, loaded again or has
//! another server (`table`), also by who had not yet seen what is gone; and what was decided by an earlier table
//! is not done in a later one. A new host looks a few beats before it takes what has no row. What it cannot know is that a
//! row that it finds free was taken right before the table was set back, if it comes in the beat in which that happens: then
//! two may work with the shard until the first of them looks again. Rows are versioned, and records repeat.
//!
//! *Order.* A shard is finished when it is released through its end. Its children, whoever has them, may be read from then on
//! ([`Leases::may_read`]). The stream forgets shards, and so does the table, a while later. A view that began at a time and
//! not at a record takes of children, whoever reads them, what came from that time on.

mod balance;
mod handle;
mod listing;
mod member;
mod moment;
mod options;
mod plan;
mod progress;
mod round;
mod shards;
mod state;
mod stream;
mod table;
#[cfg(test)]
mod tests;

pub use handle::Leases;
pub use options::{LeaseOptions, LeasePlace};
pub use progress::Tip;
pub use shards::{Shard, ShardLister, ShardPage};
pub use stream::StreamShards;
