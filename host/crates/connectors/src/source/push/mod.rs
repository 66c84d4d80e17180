//! The push source: events that clients hand over, acknowledged once a log on the local disk is synced.
//!
//! The log *is* the source: what was acknowledged is read from it, in one partition named `0`, at positions that count
//! up and never go back, also across restarts and after everything was released.
//!
//! - **Taking.** Rows are checked on the client's task; the good ones wait in a bounded queue. One thread writes all that
//!   wait as one frame, syncs once, shows the rows to readers and answers the clients.
//! - **Reading.** Readers that keep up get rows from memory, woken as soon as they are durable; those behind read files.
//! - **Forgetting.** A file goes when the last of its rows is released. At the size limit pushes are refused.
//! - **Repeats.** A client that counts its pushes may send one again: it gets the first answer, and nothing is logged
//!   twice. The last push of the newest producers is remembered across restarts and released files.
//!
//! | what happens | what it leaves |
//! |---|---|
//! | crash before the sync | a torn or whole last frame that nobody was told of: cut off, or read like any other |
//! | crash after the sync, before the answer | the rows are there; a client that counts learns so when it repeats |
//! | the disk is full | the push fails and is cut off; the next one tries anew |
//! | a sync fails | the push fails; the next one begins another file |
//! | a damaged frame before whole ones | the source stops and says where |
//! | another format version | the source does not open, and says so |

mod batch;
mod core;
mod faults;
mod files;
mod frame;
mod log;
mod producers;
mod queue;
mod reader;
mod recovery;
mod segment;
mod tail;
#[cfg(test)]
mod tests;
mod validate;
mod writer;

pub use log::{MAX_PRODUCER_NAME_BYTES, PushLog, PushOptions};
