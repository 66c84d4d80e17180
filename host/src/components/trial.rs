//! The trial before a component may run: its parameters on an empty batch, then the view's sample events.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::Array;
use bytes::Bytes;
use model::batch::RawBatch;
use model::codec::Format;
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::Field;
use model::transform::{CallContext, Component, Transform, TransformOptions};

/// Bytes of a sample file that are used. It is a trial, not a load.
const MAX_SAMPLE_BYTES: usize = 1 << 20;

/// Calls the component as the flow would. Says in words what went wrong.
pub(super) fn run(
    component: &dyn Component,
    options: &TransformOptions,
    format: &dyn Format,
    samples: Option<&Path>,
) -> Result<(), String> {
    let mut transform = component.transform(options);
    let input = &component.description().input;
    let empty = raw(Vec::new())?;
    call(transform.as_mut(), options, input, format, empty)
        .map_err(|message| format!("on an empty batch: {message}"))?;
    let Some(path) = samples else { return Ok(()) };
    let text =
        fs::read(path).map_err(|error| format!("cannot read the samples {}: {error}", path.display()))?;
    let raw = raw(text)?;
    call(transform.as_mut(), options, input, format, raw)
        .map_err(|message| format!("on {}: {message}", path.display()))
}

fn call(
    transform: &mut dyn Transform,
    options: &TransformOptions,
    input: &[Field],
    format: &dyn Format,
    raw: RawBatch,
) -> Result<(), String> {
    let events = format.decoder().decode(raw);
    if let Some(rejected) = events.rejected.first() {
        return Err(format!("event {} cannot be decoded: {}", rejected.row + 1, rejected.message));
    }
    let batch = pipeline::input(input, format.columns(), &Arc::new(events))
        .map_err(|error| format!("failed to {error}"))?;
    for (field, column) in input.iter().zip(batch.columns()) {
        if !field.nullable && column.null_count() > 0 {
            let name = &field.name;
            return Err(format!("column `{name}` is null in a sample, but the component needs a value"));
        }
    }
    let context = CallContext {
        view: Arc::clone(&options.view),
        generation: 0,
        partition: "samples".into(),
        first_position: Position::from_u64(0).to_string(),
        attempt: 1,
    };
    transform.process(&batch, &context).map(|_| ()).map_err(|fault| fault.message)
}

/// One event a line.
fn raw(text: Vec<u8>) -> Result<RawBatch, String> {
    if text.len() > MAX_SAMPLE_BYTES {
        return Err(format!(
            "the samples have more than {} KiB; a few events are enough",
            MAX_SAMPLE_BYTES >> 10
        ));
    }
    let mut payloads = Vec::new();
    let mut start = 0_u32;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        // Within `MAX_SAMPLE_BYTES`, far below the range of u32.
        let end = start + u32::try_from(line.len()).unwrap_or(0);
        if !line.trim_ascii().is_empty() {
            payloads.push((start, end));
        }
        start = end;
    }
    let count = payloads.len();
    Ok(RawBatch {
        partition: Partition::new("samples"),
        data: Bytes::from(text),
        payloads,
        positions: PositionColumn::counting(0, count),
        ingest_times: Vec::new(),
        ingest_time: 0,
        covers: Covers {
            first: Position::from_u64(0),
            through: Position::from_u64(u64::try_from(count).unwrap_or(0)),
        },
        attributes: model::batch::Attributes::default(),
    })
}
