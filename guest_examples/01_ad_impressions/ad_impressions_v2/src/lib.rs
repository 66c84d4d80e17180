//! The changed version: every impression counts ten. Copied over the first one while the host runs, it takes its
//! place between two batches.

use millrace::prelude::*;

/// The ad service names the user `user_uuid`.
#[derive(Input)]
struct Impression<'a> {
    user_uuid: &'a str,
    timestamp: Timestamp,
}

/// The feature store names the user `user_id`.
#[derive(Output)]
struct Count<'a> {
    user_id: &'a str,
    impression: i64,
    timestamp: Timestamp,
}

#[transform]
fn user_impression_counts<'a>(event: Impression<'a>) -> Count<'a> {
    Count { user_id: event.user_uuid, impression: 10, timestamp: event.timestamp }
}
