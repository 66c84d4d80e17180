//! What a well-behaved call gives, and how long an instance lives.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use model::transform::{Component, FaultKind, Limits, Transform, TransformOptions};

use crate::support::{ENGINE, HOSTILE, batch, call, context, generous, load, told};

/// The numbers in the first column of an answer.
#[track_caller]
fn numbers(output: &model::transform::TransformOutput) -> Vec<i64> {
    output.columns.column(0).as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn columns_come_back_as_they_went() {
    for rows in [0, 1, 7, 8, 9, 1_000] {
        let output = call("identity", generous(), rows).unwrap();
        assert_eq!(output.columns, batch(rows));
        assert_eq!(output.input_rows, Vec::<u32>::new());
        assert_eq!(output.rejected, Vec::new());
    }
}

#[test]
fn slices_are_seen_from_their_first_row() {
    let whole = batch(100);
    let mut transform = told("identity", generous());
    for (start, rows) in [(1, 10), (8, 16), (13, 50), (99, 1), (100, 0)] {
        let slice = whole.slice(start, rows);
        assert_eq!(transform.process(&slice, &context()).unwrap().columns, slice);
    }
}

#[test]
fn rejected_rows_leave_the_others() {
    let output = call("reject odd", generous(), 6).unwrap();
    assert_eq!(numbers(&output), [0, 2, 4]);
    assert_eq!(output.input_rows, [0, 2, 4]);
    let expected: Vec<(u32, String)> = [1, 3, 5].map(|row| (row, format!("odd: row {row}"))).into();
    assert_eq!(output.rejected, expected);
}

#[test]
fn reasons_are_bounded_and_printable() {
    let output = call("reject all", generous(), 3).unwrap();
    assert_eq!(output.columns.num_rows(), 0);
    assert_eq!(output.rejected.len(), 3);
    let (_, reason) = &output.rejected[0];
    assert!(reason.starts_with("\\u{7}no\\u{1b}") && reason.len() < 8 << 10, "{reason}");
}

#[test]
fn each_batch_gets_a_fresh_instance_by_default() {
    let mut transform = told("count", generous());
    for _ in 0..3 {
        assert_eq!(numbers(&transform.process(&batch(2), &context()).unwrap()), [1, 1]);
    }
}

#[test]
fn an_instance_serves_as_many_batches_as_the_view_allows() {
    let mut transform = told("count", Limits { batches_per_instance: 3, ..generous() });
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.extend(numbers(&transform.process(&batch(1), &context()).unwrap()));
    }
    assert_eq!(seen, [1, 2, 3, 1, 2, 3, 1]);
    transform.rest();
    assert_eq!(numbers(&transform.process(&batch(1), &context()).unwrap()), [1]);
}

#[test]
fn an_instance_that_nears_its_memory_limit_is_replaced() {
    // Each batch leaks 8 MiB of 64: without recycling the eighth would fail.
    let limits = Limits { batches_per_instance: u32::MAX, ..generous() };
    let mut transform = HOSTILE.sandbox(&TransformOptions {
        view: "clicks".into(),
        params: r#"{"do": "leak"}"#.to_owned(),
        limits,
    });
    let mut replaced = 0;
    for _ in 0..30 {
        transform.process(&batch(1), &context()).unwrap();
        assert!(transform.memory() < 48 << 20, "{}", transform.memory());
        replaced += u32::from(transform.memory() == 0);
    }
    assert!((4..=6).contains(&replaced), "{replaced}");
}

#[test]
fn a_row_that_traps_is_found_by_bisection() {
    let mut transform = told("trap on 13", generous());
    let whole = batch(32);
    let (mut start, mut rows) = (0, 32);
    while rows > 1 {
        let half = whole.slice(start, rows / 2);
        match transform.process(&half, &context()) {
            Ok(_) => start += rows / 2,
            Err(fault) => assert_eq!(fault.kind, FaultKind::Trap),
        }
        rows /= 2;
    }
    assert_eq!(start, 13);
}

#[test]
fn a_null_where_the_component_takes_none_is_the_rows_fault() {
    let mut bytes = crate::support::guest("hostile");
    crate::description::patch(&mut bytes, "notnull");
    let component = ENGINE.load("strict.wasm", &bytes).unwrap();
    let mut transform = component.transform(&TransformOptions {
        view: "clicks".into(),
        params: r#"{"do": "identity"}"#.to_owned(),
        limits: generous(),
    });
    let whole = batch(4);
    assert_eq!(transform.process(&whole, &context()).unwrap().columns.num_rows(), 4);
    let mut columns = whole.columns().to_vec();
    columns[0] = std::sync::Arc::new(arrow_array::Int64Array::from(vec![Some(1), Some(2), None, Some(4)]));
    let with_null = arrow_array::RecordBatch::try_new(whole.schema(), columns).unwrap();
    let fault = transform.process(&with_null, &context()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::GuestError);
    assert!(fault.message.contains("input column `number` is null in row 2"), "{fault}");
}

#[test]
fn columns_that_nobody_asked_for_are_the_hosts_fault() {
    let narrow = batch(1).project(&[0, 1]).unwrap();
    let fault = told("identity", generous()).process(&narrow, &context()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Capacity);
    let swapped = batch(1).project(&[1, 0, 2, 3]).unwrap();
    let fault = told("identity", generous()).process(&swapped, &context()).unwrap_err();
    assert!(fault.message.contains("column `number` is of Arrow type Utf8, not `int64`"), "{fault}");
}

#[test]
fn a_full_engine_says_so_and_blames_nobody() {
    let options = wasm::EngineOptions { max_instances: 1, ..wasm::EngineOptions::default() };
    let engine = wasm::Engine::new(options).unwrap();
    assert!(engine.stats().pooled, "this machine gives no address space");
    let component = engine.load("columns.wasm", &crate::support::guest("hostile")).unwrap();
    let options = TransformOptions {
        view: "clicks".into(),
        params: r#"{"do": "identity"}"#.to_owned(),
        limits: Limits { batches_per_instance: 2, ..generous() },
    };
    let mut first = component.transform(&options);
    let mut second = component.transform(&options);
    first.process(&batch(1), &context()).unwrap();
    let fault = second.process(&batch(1), &context()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Capacity);
    assert!(fault.message.contains("found no room for an instance on this host"), "{fault}");
    first.rest();
    second.process(&batch(1), &context()).unwrap();
}

#[test]
fn instances_also_start_without_a_pool() {
    let options = wasm::EngineOptions { pooling: wasm::Pooling::Off, ..wasm::EngineOptions::default() };
    let engine = wasm::Engine::new(options).unwrap();
    assert!(!engine.stats().pooled);
    let component = engine.load_admitted("columns.wasm", &crate::support::guest("columns")).unwrap();
    let options = TransformOptions { view: "clicks".into(), params: "{}".to_owned(), limits: generous() };
    component.sandbox(&options).instantiate_once().unwrap();
}

#[test]
fn descriptions_name_columns_and_digest_the_file() {
    let component = load("columns");
    let description = component.description();
    assert_eq!(description.name, "columns");
    let output: Vec<String> = description.output.iter().map(ToString::to_string).collect();
    assert_eq!(
        output,
        [
            "user: string not null",
            "time: timestamp not null",
            "total: float64 not null",
            "large: bool not null",
            "item: int64 not null"
        ]
    );
    assert_eq!(component.digest(), wasm::digest(&crate::support::guest("columns")));
}
