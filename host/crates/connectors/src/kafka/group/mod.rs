//! A source's part in its consumer group: which partitions are this host's, and how far its views are.
//!
//! A [`Group`] is one consumer that is subscribed and never fetches: all it is assigned is paused at once. Reading is done
//! by consumers that are no members, so that a slow flow delays no heartbeat and a rebalance delays no reader.
//!
//! *One owner.* The member thread (`member`) polls, and everything that the broker says arrives there: `callbacks`
//! writes it down, the loop acts on it. It calls the assignee, and it sends every commit, asynchronously, one
//! at a time. Other threads change the `state` and, where they must know the outcome, wait until the loop has it
//! confirmed. A transaction takes the place of a commit: none is sent while a [`TransactionOffsets`] lives, and the loop
//! never waits for it, but looks again on its next round.
//!
//! *What is committed* for a partition is the offset that `release` allows, with the progress of all views in the
//! metadata (`kafka::commit`). Where all views of that text are exactly-once, the offset is the least of theirs. After a
//! transaction whose end is unknown nothing is committed for its partitions until [`Group::refresh`] has read the truth:
//! an older text would undo what the transaction may have done.
//!
//! *New partitions.* The text also says how many partitions the topic had when the group began with it. A partition beyond
//! that number without a commit came into being since, and all of it counts.
//!
//! *Membership is a lease.* It is renewed by each round of the loop, as librdkafka gives up by itself when heartbeats are not
//! answered for a session. After a gap of half a session (a stopped process, a machine that slept) a round proves nothing:
//! then a commit has to be accepted first, because that is checked against the group's generation. In the protocol in
//! which the broker assigns, a client that is cut off goes on unawares; there only accepted commits renew the lease, and
//! one is sent for that purpose when there is nothing else to commit.
//!
//! *Leaving.* [`Group::leave`] frees the partitions at once: it unsubscribes, upon which librdkafka tells the broker, also for
//! a static member (closing alone would not, by KIP-345). So a rolling restart moves partitions twice, for the moment that a
//! rebalance takes, and scaling down waits for nothing. The static id serves those who do not get to say goodbye: a
//! host that crashes and is back within the session gets its partitions without a rebalance. With the protocol in which the
//! broker assigns there is no static id; a crashed host's partitions wait for the session's end.

mod callbacks;
mod handle;
mod member;
mod native;
mod options;
mod state;
mod transaction;
#[cfg(test)]
mod tests;

pub use handle::Group;
pub use options::{GroupOptions, GroupProtocol, partition_name, topic_and_number};
pub use transaction::TransactionOffsets;
