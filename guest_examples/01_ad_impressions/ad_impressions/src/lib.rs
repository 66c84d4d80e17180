//! Ad impressions become counts: one per event, to be summed or seen by whoever reads the feature.

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
    Count { user_id: event.user_uuid, impression: 1, timestamp: event.timestamp }
}
