//! What crossing the sandbox costs, over the same function called on the same columns without one.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::types::Float64Type;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, PrimitiveArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, cast::AsArray,
};
use model::schema::arrow_schema;
use model::transform::Limits;

use super::Bench;
use super::figure::{Figure, count};
use super::guests::{context, options};

const ROWS: u32 = 1000;

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let engine = wasm::Engine::new(wasm::EngineOptions::default())?;
    let component = engine.load_admitted("columns", &bench.guests.bytes("columns")?)?;
    let batch = batch(&component_input(&component))?;
    let schema = arrow_schema(&model::transform::Component::description(component.as_ref()).output);
    let context = context();
    let mut transform = model::transform::Component::transform(
        component.as_ref(),
        &options(Limits { batches_per_instance: u32::MAX, ..Limits::default() }),
    );
    let output = transform.process(&batch, &context)?.columns;
    anyhow::ensure!(output == native(&batch, &schema)?, "the guest and the native function disagree");
    let rounds = bench.scaled(30_000);
    // Alternating, so that a change of the machine's speed touches both.
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        inside.push(nanos_a_row(rounds / 10, || {
            transform.process(black_box(&batch), &context).map(drop).map_err(Into::into)
        })?);
        outside.push(nanos_a_row(rounds / 10, || native(black_box(&batch), &schema).map(drop))?);
    }
    let (inside, outside) = (median(inside), median(outside));
    let idle = component.sandbox(&options(Limits::default()));
    let rounds = bench.scaled(50_000);
    let started = Instant::now();
    for _ in 0..rounds {
        idle.instantiate_once()?;
    }
    let instance = started.elapsed().as_secs_f64() * 1e6 / count(rounds);
    Ok(vec![
        Figure::at_most("sandbox cost, 5 columns × 1,000 rows, over native", inside - outside, "ns/row", 5.0)
            .against(format!("native {outside:.2} ns/row"), outside),
        Figure::at_most("fresh pooled instance, without a call", instance, "µs", 5.0),
    ])
}

fn component_input(component: &Arc<wasm::Admitted>) -> Vec<model::schema::Field> {
    model::transform::Component::description(component.as_ref()).input.clone()
}

fn nanos_a_row(rounds: u64, mut call: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let rounds = rounds.max(1);
    let started = Instant::now();
    for _ in 0..rounds {
        call()?;
    }
    Ok(started.elapsed().as_secs_f64() * 1e9 / count(rounds) / f64::from(ROWS))
}

fn median(mut values: Vec<f64>) -> f64 {
    super::figure::percentile(&mut values, 0.5)
}

/// The guest's function: amount times quantity, and whether that is large.
fn native(batch: &RecordBatch, schema: &Arc<arrow_schema::Schema>) -> anyhow::Result<RecordBatch> {
    let amounts = batch.column(2).as_primitive::<Float64Type>();
    let quantities = batch.column(3).as_primitive::<arrow_array::types::Int64Type>();
    #[expect(clippy::cast_precision_loss, reason = "what the guest does")]
    let totals: PrimitiveArray<Float64Type> = amounts
        .values()
        .iter()
        .zip(quantities.values())
        .map(|(amount, quantity)| amount * *quantity as f64)
        .collect::<Vec<f64>>()
        .into();
    let large = BooleanArray::from_unary(&totals, |total| total > 100.0);
    let column = |index: usize| Arc::clone(batch.column(index));
    let columns: Vec<ArrayRef> = vec![column(0), column(1), Arc::new(totals), Arc::new(large), column(4)];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Rows as a stream has them: a key of 12 bytes, a time, an amount, a quantity, an item.
fn batch(input: &[model::schema::Field]) -> anyhow::Result<RecordBatch> {
    let users = StringArray::from_iter_values((0..ROWS).map(|row| format!("user-{row:07}")));
    let times = TimestampMicrosecondArray::from_iter_values(
        (0..ROWS).map(|row| 1_654_562_168_832_793 + i64::from(row)),
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(users),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| f64::from(row) * 0.25))),
        Arc::new(Int64Array::from_iter_values((0..ROWS).map(|row| i64::from(row % 7)))),
        Arc::new(Int64Array::from_iter_values((0..ROWS).map(|row| i64::from(row) * 31))),
    ];
    Ok(RecordBatch::try_new(arrow_schema(input), columns)?)
}
