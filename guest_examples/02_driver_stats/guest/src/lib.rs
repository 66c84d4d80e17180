//! Rates become percentages, a whole column at a time. `python/app.py` does the same, bit for bit.

use millrace::prelude::*;

#[derive(Input)]
struct Stats {
    driver_id: i64,
    event_timestamp: Timestamp,
    conv_rate: Option<f64>,
    acc_rate: Option<f64>,
}

#[derive(Output)]
struct Percentages {
    driver_id: i64,
    event_timestamp: Timestamp,
    conv_percentage: Option<f32>,
    acc_percentage: Option<f32>,
}

/// Computed in 64 bits and narrowed once: rounding twice would differ from other languages.
fn percentage(rate: Option<f64>) -> Option<f32> {
    rate.map(|rate| (rate * 100.0) as f32)
}

#[transform(columns)]
fn driver_hourly_stats(events: Columns<Stats>, out: &mut Builder<Percentages>) {
    out.driver_id.extend_from_slice(events.driver_id.values());
    out.event_timestamp.extend_from_slice(events.event_timestamp.values());
    out.conv_percentage.extend(events.conv_rate.iter().map(percentage));
    out.acc_percentage.extend(events.acc_rate.iter().map(percentage));
}
