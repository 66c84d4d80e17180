//! An output stream that is a file: one record a line.
//!
//! ```text
//! emit ─▶ [queue] ─▶ encode on the caller's thread ─▶ [slot filled] ─▶ writer thread ─▶ out.ndjson            write, sync
//!                                                                                  └▶ out.ndjson.positions  append, sync
//! ```
//!
//! A place in the queue is taken when [`FileOutput::emit`](model::output::OutputStream::emit) is called, so records stand
//! in the file in the order of the calls, whoever encodes first. The writer takes all that is ready, writes it in one
//! piece, syncs once, and appends one line to the side file: how long the data file is now, and through which position
//! it has each view's partitions. Only then do the futures resolve.
//!
//! The side file decides what counts. When the file is opened, it is cut to the length in the last whole line and goes
//! on from there: what was written but not recorded is written again, at the same place. A reader that was ahead of the
//! cut sees that tail again; the file itself has no gap, no torn line and no repeat.
//!
//! After a failed write both files are cut back, everything that waited fails, and each view's partition stays closed
//! until the earliest batch that failed is emitted again.

mod files;
mod positions;
mod queue;
mod stream;
mod writer;

#[cfg(test)]
mod tests;

pub use stream::FileOutput;
