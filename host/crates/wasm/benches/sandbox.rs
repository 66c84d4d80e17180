//! What the sandbox costs: the same function natively and in a guest, in one run, and what instances and calls cost.
//!
//! The sandbox's price is `sandbox, one instance` (or `sandbox, fresh instance`) less `native`, per row.

#[path = "../../../../tests/guests/columns/src/arithmetic.rs"]
mod arithmetic;

/// The allocator of the host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::types::Float64Type;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, PrimitiveArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, ScalarBuffer};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::schema::arrow_schema;
use model::transform::{CallContext, Component, Limits, TransformOptions};
use wasm::{Admitted, Engine, EngineOptions};

/// Rows of a batch: what the goals are stated for.
const ROWS: u32 = 1_000;

fn sandbox(criterion: &mut Criterion) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../target/guests/columns.wasm");
    let bytes =
        std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}: run `cargo xtask guests`"));
    let engine = Engine::new(EngineOptions::default()).expect("the engine can be set up");
    let component = engine.load_admitted("columns.wasm", &bytes).expect("the guest is admitted");
    let batch = batch(&component, ROWS);
    let empty = batch.slice(0, 0);
    let context = CallContext {
        view: Arc::from("benchmark"),
        generation: 1,
        partition: Arc::from("0"),
        first_position: "0000000000000001".to_owned(),
        attempt: 1,
    };
    let transform = |batches_per_instance| {
        component.transform(&TransformOptions {
            view: Arc::from("benchmark"),
            params: "{}".to_owned(),
            limits: Limits { batches_per_instance, ..Limits::default() },
        })
    };
    let mut kept = transform(u32::MAX);
    let mut fresh = transform(1);
    let schema = arrow_schema(&component.description().output);
    let expected = native(&batch, &schema);
    let actual = kept.process(&batch, &context).expect("the guest answers").columns;
    assert_eq!(actual, expected, "both must compute the same");

    let mut group = criterion.benchmark_group("sandbox");
    group.throughput(Throughput::Elements(ROWS.into()));
    group.bench_function("native", |bencher| bencher.iter(|| native(black_box(&batch), &schema)));
    group.bench_function("sandbox, one instance", |bencher| {
        bencher.iter(|| kept.process(black_box(&batch), &context).expect("the guest answers"));
    });
    group.bench_function("sandbox, fresh instance", |bencher| {
        bencher.iter(|| fresh.process(black_box(&batch), &context).expect("the guest answers"));
    });
    group.finish();

    let mut group = criterion.benchmark_group("call");
    group.bench_function("no rows, one instance", |bencher| {
        bencher.iter(|| kept.process(black_box(&empty), &context).expect("the guest answers"));
    });
    group.bench_function("no rows, fresh instance", |bencher| {
        bencher.iter(|| fresh.process(black_box(&empty), &context).expect("the guest answers"));
    });
    let idle = component.sandbox(&TransformOptions {
        view: Arc::from("benchmark"),
        params: "{}".to_owned(),
        limits: Limits::default(),
    });
    group.bench_function("instantiate and drop", |bencher| {
        bencher.iter(|| idle.instantiate_once().expect("there is room"));
    });
    group.finish();
}

/// The guest's function on the host: computed columns are new, the others shared.
fn native(batch: &RecordBatch, schema: &Arc<arrow_schema::Schema>) -> RecordBatch {
    let values = |index: usize| batch.column(index).to_data().buffers()[0].clone();
    let totals = arithmetic::totals(&values(2), &values(3));
    let large = arithmetic::is_large(&totals, 100.0);
    let total: PrimitiveArray<Float64Type> =
        PrimitiveArray::new(ScalarBuffer::from(Buffer::from_vec(totals)), None);
    let large = BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(large), 0, batch.num_rows()), None);
    let column = |index: usize| Arc::clone(batch.column(index));
    let columns: Vec<ArrayRef> = vec![column(0), column(1), Arc::new(total), Arc::new(large), column(4)];
    RecordBatch::try_new(Arc::clone(schema), columns).expect("the columns are those of the schema")
}

/// Rows as an event stream has them: a key of 12 bytes, a time, an amount, a quantity, an item.
fn batch(component: &Admitted, rows: u32) -> RecordBatch {
    let users = StringArray::from_iter_values((0..rows).map(|row| format!("user-{row:07}")));
    let times = TimestampMicrosecondArray::from_iter_values(
        (0..rows).map(|row| 1_654_562_168_832_793 + i64::from(row)),
    );
    let quantities = Int64Array::from_iter_values((0..rows).map(|row| i64::from(row % 7)));
    let amounts = Float64Array::from_iter_values((0..rows).map(|row| f64::from(row) * 0.25));
    let items = Int64Array::from_iter_values((0..rows).map(|row| i64::from(row) * 31));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(users),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(amounts),
        Arc::new(quantities),
        Arc::new(items),
    ];
    RecordBatch::try_new(arrow_schema(&component.description().input), columns).expect("five columns")
}

criterion_group!(benches, sandbox);
criterion_main!(benches);
