//! One output record of version 1 from columns.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use connectors::output::record::RecordEncoder;
use model::batch::FeatureBatch;
use model::output::{OutputOptions, RecordVersion};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::view::{Digest, Generation, ViewShape};

use super::Bench;
use super::figure::{Figure, count, percentile};

const ROWS: usize = 1000;

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let batch = impressions(0)?;
    let options =
        OutputOptions { version: RecordVersion::V1, include_features: true, producer: "millrace".to_owned() };
    let mut encoder = RecordEncoder::new(&batch.view, &options);
    let mut out = Vec::new();
    let rounds = bench.scaled(3000);
    let mut times = Vec::new();
    for _ in 0..10 {
        let started = Instant::now();
        for _ in 0..rounds {
            out.clear();
            for row in 0..ROWS {
                encoder.encode(black_box(&batch), row, true, 0, &mut out);
                out.push(b'\n');
            }
            black_box(&out);
        }
        times.push(started.elapsed().as_secs_f64() * 1e9 / count(rounds * ROWS as u64));
    }
    let nanos = percentile(&mut times, 0.5);
    Ok(vec![Figure::at_most(
        format!("version-1 record of {} bytes from columns", out.len() / ROWS),
        nanos,
        "ns",
        150.0,
    )])
}

/// Rows as the ad-impression view makes them, at positions from `first` on.
pub(super) fn impressions(first: u64) -> anyhow::Result<FeatureBatch> {
    let keys = vec![Field::required("user_id", DataType::String)];
    let features = vec![Field::nullable("impression", DataType::Int64)];
    let columns: Vec<Field> = keys.iter().chain(&features).cloned().collect();
    let users = StringArray::from_iter_values(
        (first..)
            .take(ROWS)
            .map(|row| format!("{:08x}-0000-4000-a000-0123456789ab", row.wrapping_mul(7919) % 50_000)),
    );
    let rows = RecordBatch::try_new(
        arrow_schema(&columns),
        vec![Arc::new(users), Arc::new(Int64Array::from(vec![1; ROWS]))],
    )?;
    let time = i64::try_from(first)?;
    Ok(FeatureBatch {
        rows,
        view: Arc::new(ViewShape {
            project: "default".to_owned(),
            name: "user_impression_counts".to_owned(),
            source: "ad_impressions".to_owned(),
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            keys,
            features,
            ttl_micros: None,
            online: true,
        }),
        event_times: (time..).take(ROWS).map(|row| 1_654_562_168_832_793 + row * 40_007).collect(),
        partition: Partition::new("0"),
        positions: PositionColumn::counting(first, ROWS),
        ordinals: Vec::new(),
        generation: Generation { number: 1, digest: Digest([0xab; 32]) },
        covers: Covers {
            first: Position::from_u64(first),
            through: Position::from_u64(first + ROWS as u64 - 1),
        },
    })
}
