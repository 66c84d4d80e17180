//! JSON to columns, against `serde_json` into a typed struct that is pushed to the same columns.

use std::hint::black_box;
use std::time::Instant;

use connectors::codec::json::{JsonFormat, sample};
use model::codec::Format;

use super::Bench;
use super::figure::{Figure, count, percentile};

const ROWS: usize = 1000;

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let raw = sample::ad_batch(0, ROWS);
    let mut decoder = JsonFormat::new(sample::ad_columns()).decoder();
    anyhow::ensure!(
        decoder.decode(raw.clone()).columns == sample::decode_with_serde(&raw),
        "the decoder and serde_json disagree"
    );
    let rounds = bench.scaled(2000);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        ours.push(nanos_an_event(rounds, || drop(black_box(decoder.decode(black_box(raw.clone()))))));
        theirs.push(nanos_an_event(rounds, || drop(black_box(sample::decode_with_serde(black_box(&raw))))));
    }
    let (ours, theirs) = (percentile(&mut ours, 0.5), percentile(&mut theirs, 0.5));
    let mut figure = Figure::times_at_least(
        "JSON to columns, ad event of 139 bytes",
        ours,
        "ns/event",
        format!("serde_json {theirs:.0} ns/event"),
        1.0,
        3.0,
    );
    // How many times faster, not how many times the time.
    figure.ratio = Some(theirs / ours);
    figure.met = theirs / ours >= 3.0;
    Ok(vec![figure])
}

fn nanos_an_event(rounds: u64, mut decode: impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..rounds).for_each(|_| decode());
    started.elapsed().as_secs_f64() * 1e9 / count(rounds * ROWS as u64)
}
