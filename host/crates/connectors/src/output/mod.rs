//! Output streams: one folder each, and the records that all of them carry.
//!
//! What Kafka and Kinesis have in common lies beside them: [`emitter`] is a stream as its callers see it, with a [`lane`] for
//! each source partition, a [`ticket`] for each batch, the [`order`] of a lane's batches, and [`keeper`]s of positions.

mod emitter;
pub mod file;
pub mod kafka;
mod keeper;
pub mod kinesis;
mod lane;
mod order;
pub mod record;
mod reply;
mod room;
#[cfg(test)]
mod testing;
mod ticket;
mod too_large;
