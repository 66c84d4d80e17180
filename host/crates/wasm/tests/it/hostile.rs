//! Guests that misbehave: each limit, and each check of what they return.

use std::time::Duration;

use model::transform::{FaultKind, Limits};

use crate::support::{batch, call, context, generous, told};

/// A call that must fail: of what kind, and which texts the message must hold.
#[track_caller]
fn check(action: &str, limits: Limits, kind: FaultKind, expected: &[&str]) {
    let mut transform = told(action, limits);
    let fault = transform.process(&batch(20), &context()).unwrap_err();
    assert_eq!(fault.kind, kind, "{fault}");
    for text in expected {
        assert!(fault.message.contains(text), "`{text}` is not in: {fault}");
    }
    // The next call gets a fresh instance and fails in the same way: nothing of the first is left.
    let again = transform.process(&batch(20), &context()).unwrap_err();
    assert_eq!(again.kind, kind, "{again}");
}

#[track_caller]
fn check_output(action: &str, expected: &str) {
    check(action, generous(), FaultKind::BadOutput, &["component `hostile.wasm` of view `clicks`", expected]);
}

#[test]
fn time_is_limited() {
    let limits = || Limits {
        time: Duration::from_millis(300),
        time_per_row: Duration::from_millis(10),
        ..Limits::default()
    };
    check(
        "spin",
        limits(),
        FaultKind::Timeout,
        &[
            "`process` of 20 rows",
            "took longer than 500ms",
            "`limits.time` 300ms",
            "`limits.time_per_row` 10ms",
            "\n  at hostile::",
        ],
    );
    check("open spin", limits(), FaultKind::Timeout, &["`open`", "took longer than 300ms (`limits.time`)"]);
}

#[test]
fn memory_is_limited() {
    let limits = || Limits { memory: 16 << 20, ..generous() };
    check(
        "bomb",
        limits(),
        FaultKind::Memory,
        &["ran out of memory (limit 16 MiB, `limits.memory`)", "\n  at "],
    );
    check("open bomb", limits(), FaultKind::Memory, &["`open`", "`limits.memory`"]);
    check("polite bomb", limits(), FaultKind::Memory, &["no more memory after 1", "`limits.memory`"]);
    let least = Limits { memory: 64 << 10, ..generous() };
    check("identity", least, FaultKind::Memory, &["start by component", "(limit 64 KiB, `limits.memory`)"]);
}

#[test]
fn a_panic_brings_its_message_and_place() {
    check(
        "panic",
        generous(),
        FaultKind::Trap,
        &[
            "a panic or an abort",
            "told to panic over batch 00000000000000ff",
            "hostile/src/lib.rs:",
            "\n  at ",
        ],
    );
    check("open panic", generous(), FaultKind::Trap, &["`open`", "cannot open"]);
}

#[test]
fn recursion_ends() {
    check("recurse", generous(), FaultKind::Trap, &["recursion", "\n  at hostile::recurse"]);
}

#[test]
fn errors_of_the_guest_are_quoted() {
    check(
        "error",
        generous(),
        FaultKind::GuestError,
        &["answered with an error: this batch is not to my liking"],
    );
    check(
        "open error",
        generous(),
        FaultKind::GuestError,
        &["`open`", "parameter `do` is not to my liking (compare the view's `transform.params`)"],
    );
}

#[test]
fn output_is_limited() {
    let limits = || Limits { output: 4 << 20, ..generous() };
    check("allocate", limits(), FaultKind::BadOutput, &["`limits.output`", "4 MiB"]);
    check(
        "exhaust",
        Limits { output: 8 << 20, memory: 256 << 20, ..generous() },
        FaultKind::BadOutput,
        &["more than 8 MiB (`limits.output`)"],
    );
    check(
        "exhaust log",
        Limits { output: 8 << 20, memory: 256 << 20, ..generous() },
        FaultKind::BadOutput,
        &["`limits.output`"],
    );
    check(
        "too many rows",
        generous(),
        FaultKind::BadOutput,
        &["4294967295 rows for 20, at most 1280", "`limits.rows_per_row`"],
    );
}

#[test]
fn numbers_are_checked() {
    check_output("short values", "output column `number`: values of 159 bytes, 20 rows of `int64` need 160");
    check_output("long values", "values of 161 bytes");
    check_output("short validity", "validity of 2 bytes, 20 rows need 3");
    check_output("offsets on numbers", "offsets, which `int64` does not have");
    check_output("children on numbers", "1 children, `int64` has 0");
    check_output("short bools", "output column `flag`: values of 2 bytes, 20 rows need 3");
    check_output("wrong row count", "21 rows for 20 without `input-rows`");
}

#[test]
fn texts_are_checked() {
    check_output("short offsets", "output column `text`: offsets of 4 bytes, 20 rows need 84");
    check_output("no offsets", "offsets of 0 bytes");
    check_output("descending offsets", "offsets that descend or are negative at row 1");
    check_output("negative offsets", "offsets that descend or are negative at row 0");
    check_output("far offsets", "offsets up to 2147483647, there are only");
    check_output("bad utf8", "bytes that are not UTF-8 in row 0");
    check_output("split character", "an offset within a character at row 1");
}

#[test]
fn lists_are_checked() {
    check_output("far list offsets", "output column `items`: child 4: values of 152 bytes, 2147483647 rows");
    check_output("values on lists", "values, which `list<int64>` does not have");
    check_output("no children", "0 children, `list<int64>` has 1");
    check_output("child out of range", "child 99 is not one of the columns behind it (4 to 4)");
    check_output("child before parent", "child 0 is not one of the columns behind it");
    check_output("child itself", "child 2 is not one of the columns behind it");
    check_output("short child", "child 4: values of 151 bytes");
}

#[test]
fn columns_are_counted() {
    check_output("too few columns", "2 columns, it describes 4");
    check_output("too many columns", "its column 5 belongs to no column that it describes");
}

#[test]
fn lineage_is_checked() {
    check_output("descending rows", "`input-rows` descends at output row 1");
    check_output("rows out of range", "`input-rows` names input row 20, there are 20");
    check_output("short rows", "`input-rows` of 3 bytes, 20 output rows need 80");
    check_output("rejected out of range", "it rejects input row 20, there are 20");
    check_output("rejected twice", "input row 0 is rejected twice");
    check_output("rejected and kept", "input row 0 is rejected and has output rows as well");
}

#[test]
fn nulls_are_welcome_where_they_are_described() {
    let output = call("all null", generous(), 9).unwrap();
    assert_eq!(output.columns.column(0).null_count(), 9);
    let output = call("drop all", generous(), 9).unwrap();
    assert_eq!(output.columns.num_rows(), 0);
}

#[test]
fn nulls_are_refused_where_they_are_not() {
    let mut bytes = crate::support::guest("hostile");
    crate::description::patch(&mut bytes, "notnull");
    let component = crate::support::ENGINE.load("strict.wasm", &bytes).unwrap();
    let mut transform = component.transform(&model::transform::TransformOptions {
        view: "clicks".into(),
        params: r#"{"do": "all null"}"#.to_owned(),
        limits: generous(),
    });
    let fault = transform.process(&batch(9), &context()).unwrap_err();
    assert!(fault.message.contains("row 0 is null, and it is described as never null"), "{fault}");
}
