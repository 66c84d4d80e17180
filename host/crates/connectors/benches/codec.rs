//! JSON to columns: the ad event, against `serde_json` into a typed struct that is pushed to the same columns.
//!
//! `cargo bench -p connectors --bench codec` prints both and, last, their ratio from one run.

#![expect(clippy::print_stdout, reason = "a benchmark says what it found")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use connectors::codec::json::JsonFormat;
use connectors::codec::json::sample::{ad_batch, ad_columns, ad_event, decode_with_serde, raw_batch};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use model::batch::RawBatch;
use model::codec::Format;

/// The allocator of the host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events in a batch.
const EVENTS: usize = 1_000;
/// Rounds of the ratio, of which the fastest counts.
const ROUNDS: usize = 400;

fn codec(criterion: &mut Criterion) {
    let raw = ad_batch(0, EVENTS);
    let mut decoder = JsonFormat::new(ad_columns()).decoder();
    assert_eq!(decoder.decode(raw.clone()).columns, decode_with_serde(&raw));

    let mut group = criterion.benchmark_group("json");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("columns", |bencher| {
        bencher.iter_batched(|| raw.clone(), |raw| decoder.decode(raw), BatchSize::SmallInput);
    });
    group.bench_function("serde_json", |bencher| bencher.iter(|| decode_with_serde(black_box(&raw))));

    let mixed = mixed_batch();
    group.bench_function("columns, keys in changing order", |bencher| {
        bencher.iter_batched(|| mixed.clone(), |raw| decoder.decode(raw), BatchSize::SmallInput);
    });
    group.bench_function("serde_json, keys in changing order", |bencher| {
        bencher.iter(|| decode_with_serde(black_box(&mixed)));
    });
    group.finish();

    for (name, raw) in [("the ad event", &raw), ("keys in changing order", &mixed)] {
        // In turn, so that a noisy neighbor hits both.
        let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            let batch = raw.clone();
            let start = Instant::now();
            let events = black_box(decoder.decode(batch));
            ours = ours.min(start.elapsed());
            drop(events);
            let start = Instant::now();
            let columns = black_box(decode_with_serde(black_box(raw)));
            theirs = theirs.min(start.elapsed());
            drop(columns);
        }
        let per_event = |time: Duration| time.as_nanos() as f64 / EVENTS as f64;
        println!(
            "ratio, {name}: {:.1} ns against {:.1} ns of serde_json = {:.2} x",
            per_event(ours),
            per_event(theirs),
            theirs.as_secs_f64() / ours.as_secs_f64()
        );
    }
}

/// Ad events of which every other has its first key last.
fn mixed_batch() -> RawBatch {
    let turn = |number: u64| {
        let event = ad_event(number);
        if number.is_multiple_of(2) {
            return event;
        }
        let text = String::from_utf8(event).expect("the sample is text");
        let (first, rest) =
            text[1..text.len() - 1].split_once(',').expect("the sample has more than one key");
        format!("{{{rest},{first}}}").into_bytes()
    };
    let events: Vec<Vec<u8>> = (0..EVENTS as u64).map(turn).collect();
    raw_batch(0, &events)
}

criterion_group!(benches, codec);
criterion_main!(benches);
