//! Black-box tests of view files and `host.yaml`: what stands in the files is the test, its report stands beside it.
//!
//! `UPDATE_EXPECTED=1 cargo test -p spec` writes the reports anew; read the difference like code.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, in its helpers too")]

mod bad_files;
mod broken_parts;
mod contract;
mod diffs;
mod documentation;
mod good_files;
mod hostile;
mod kafka_files;
mod kinesis_files;
mod reading;
mod redis_files;
mod texts;
