//! Functions of every form, called natively on columns.

use millrace::batch::{Batch, Output as Made};
use millrace::native::{Runner, batch_of, rows_of, run};
use millrace::prelude::*;
use millrace::source::Arena;

/// What the source has; every transform here takes some of it.
#[derive(Output, Clone)]
struct Source<'a> {
    id: Option<&'a str>,
    amount: Option<i64>,
}

#[derive(Input)]
struct Event<'a> {
    id: &'a str,
    amount: Option<i64>,
}

#[derive(Input, Output, Debug, PartialEq)]
struct Row {
    id: String,
    amount: i64,
}

fn row(id: &str, amount: i64) -> Row {
    Row { id: id.to_owned(), amount }
}

#[transform]
fn one(event: Event) -> Row {
    row(event.id, event.amount.unwrap_or(-1))
}

#[transform]
fn some(event: Event<'_>) -> Option<Row> {
    event.amount.map(|amount| row(event.id, amount))
}

#[transform]
fn many<'a>(event: Event<'a>) -> impl Iterator<Item = Row> + use<'a> {
    (0..event.amount.unwrap_or(0)).map(move |amount| row(event.id, amount))
}

#[transform]
fn pair(event: Event<'_>) -> [Row; 2] {
    [row(event.id, 1), row(event.id, 2)]
}

#[transform]
fn checked(event: Event<'_>) -> Result<Row, Reject> {
    let Some(amount) = event.amount else { reject!("no amount for `{}`", event.id) };
    // Any error that can be displayed is a reason.
    let id: i64 = event.id.parse()?;
    Ok(row(event.id, amount + id))
}

#[derive(Params)]
struct Settings {
    /// What amounts are multiplied by.
    factor: i64,
    #[millrace(default = "x")]
    prefix: String,
    limit: Option<i64>,
}

#[transform(name = "scaled amounts", version = "7")]
fn scaled(event: Event<'_>, settings: &Settings, context: &Context) -> Result<Row, String> {
    let amount = event.amount.unwrap_or_default() * settings.factor;
    if settings.limit.is_some_and(|limit| amount > limit) {
        return Err(format!("{amount} is too much (attempt {})", context.attempt));
    }
    Ok(row(&[&settings.prefix, event.id].concat(), amount))
}

#[derive(Input)]
struct Amounts {
    amount: i64,
}

#[derive(Output)]
struct Doubled {
    doubled: i64,
}

#[transform(columns)]
fn doubled(events: Columns<Amounts>, out: &mut Builder<Doubled>) -> Result<(), Reject> {
    let skipped = events.amount.values().iter().position(|amount| *amount < 0);
    for (index, amount) in events.amount.iter().enumerate() {
        if Some(index) == skipped {
            out.reject(index, "negative");
        } else {
            out.doubled.push(amount * 2);
            out.from_input_row(index);
        }
    }
    Ok(())
}

#[derive(Output)]
struct Two {
    left: i64,
    right: i64,
}

#[transform(columns)]
fn uneven(events: Columns<Amounts>, out: &mut Builder<Two>) {
    out.left.extend_from_slice(events.amount.values());
}

fn source(rows: &[(Option<&str>, Option<i64>)]) -> Batch {
    batch_of(rows.iter().map(|(id, amount)| Source { id: *id, amount: *amount }))
        .expect("rows fit in columns")
}

fn rows(made: &Made) -> Vec<(String, i64)> {
    let arena = Arena::default();
    rows_of::<Row>(&made.batch, &arena)
        .expect("the columns hold these rows")
        .into_iter()
        .map(|row| (row.id, row.amount))
        .collect()
}

fn input_rows(made: &Made) -> Vec<u32> {
    made.input_rows.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}

#[track_caller]
fn check(made: &Result<Made, String>, expected: &[(&str, i64)], from: &[u32], rejected: &[(u32, &str)]) {
    let made = made.as_ref().expect("the transform answers");
    let expected: Vec<_> = expected.iter().map(|(id, amount)| ((*id).to_owned(), *amount)).collect();
    assert_eq!(rows(made), expected);
    assert_eq!(input_rows(made), from);
    let reasons: Vec<_> = made.rejected.iter().map(|rejection| (rejection.row, &*rejection.reason)).collect();
    assert_eq!(reasons, rejected);
}

const NULL_ID: &str = "column `id` is null, which this transform does not expect";

#[test]
fn one_row_for_each_needs_no_mapping() {
    check(&run::<one>(&source(&[(Some("a"), Some(5)), (Some("b"), None)])), &[("a", 5), ("b", -1)], &[], &[]);
    check(&run::<one>(&source(&[])), &[], &[], &[]);
}

#[test]
fn a_null_that_the_struct_does_not_expect_rejects_the_row() {
    let batch = source(&[(Some("a"), Some(5)), (None, None), (Some("c"), Some(6))]);
    check(&run::<one>(&batch), &[("a", 5), ("c", 6)], &[0, 2], &[(1, NULL_ID)]);
}

#[test]
fn none_one_or_many_rows_are_mapped_to_their_input_row() {
    let batch = source(&[(Some("a"), Some(1)), (Some("b"), None), (Some("c"), Some(2))]);
    check(&run::<some>(&batch), &[("a", 1), ("c", 2)], &[0, 2], &[]);
    check(&run::<many>(&batch), &[("a", 0), ("c", 0), ("c", 1)], &[0, 2, 2], &[]);
    let twice = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("c", 2)];
    check(&run::<pair>(&batch), &twice, &[0, 0, 1, 1, 2, 2], &[]);
}

#[test]
fn errors_are_reasons() {
    let batch =
        source(&[(Some("1"), Some(1)), (Some("2"), None), (Some("x"), Some(2)), (Some("4"), Some(4))]);
    let rejected = [(1, "no amount for `2`"), (2, "invalid digit found in string")];
    check(&run::<checked>(&batch), &[("1", 2), ("4", 8)], &[0, 3], &rejected);
}

#[test]
fn parameters_are_read_once_and_checked() {
    let open = |text: &str| Runner::<scaled>::open(text).map(|_| ());
    assert_eq!(open("{}"), Err("parameter `factor` is missing".to_owned()));
    assert_eq!(
        open(r#"{"factor": 1, "facter": 2}"#),
        Err("unknown parameter `facter`; this transform takes `factor`, `prefix`, `limit`".to_owned())
    );
    assert!(open(r#"{"factor": "2"}"#).unwrap_err().starts_with("parameter `factor`: invalid type"));
    assert!(open("[]").unwrap_err().starts_with("parameters are not a JSON object"));
    assert!(Runner::<one>::open(" { } ").is_ok());
    assert!(Runner::<one>::open(r#"{"a": 1}"#).is_err());

    let runner = Runner::<scaled>::open(r#"{"factor": 3, "limit": 10}"#).unwrap();
    let made = runner.run(&source(&[(Some("a"), Some(3)), (Some("b"), Some(4))]));
    check(&made, &[("xa", 9)], &[0], &[(1, "12 is too much (attempt 0)")]);

    let described = Runner::<scaled>::describe();
    let parameters: Vec<_> =
        described.parameters.iter().map(|p| (&*p.name, &*p.kind, p.required, &*p.doc)).collect();
    let expected = [
        ("factor", "integer", true, "What amounts are multiplied by."),
        ("prefix", "string", false, ""),
        ("limit", "integer", false, ""),
    ];
    assert_eq!(parameters, expected);
    assert_eq!((&*described.name, &*described.version), ("scaled amounts", "7"));
    assert_eq!(Runner::<one>::describe().name, env!("CARGO_PKG_NAME"));
}

#[test]
fn batch_functions_map_and_reject_by_themselves() {
    let batch = |amounts: &[Option<i64>]| {
        #[derive(Output)]
        struct Only {
            amount: Option<i64>,
        }
        batch_of(amounts.iter().map(|amount| Only { amount: *amount })).expect("rows fit in columns")
    };
    let made = run::<doubled>(&batch(&[Some(1), Some(-1), Some(3)])).unwrap();
    assert_eq!(input_rows(&made), [0, 2]);
    assert_eq!((made.rejected[0].row, &*made.rejected[0].reason), (1, "negative"));
    let values: Vec<u8> = [2i64, 6].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(made.batch.columns[0].values, values);

    let refused = run::<doubled>(&batch(&[Some(1), None])).unwrap_err();
    assert_eq!(refused, "column `amount` is null, which this transform does not expect");
    assert_eq!(
        run::<uneven>(&batch(&[Some(1)])).unwrap_err(),
        "output column `left` has 1 rows, `right` has 0"
    );
}

#[test]
fn checked_batches_give_the_same() {
    let runner = Runner::<one>::open("{}").unwrap();
    let batch = source(&[(Some("größe"), Some(5)), (None, None)]);
    let checked = runner.check(batch.clone()).unwrap();
    assert_eq!(runner.run_checked(&checked), runner.run(&batch));
    let mut broken = batch;
    broken.columns[0].values[3] = 0xff;
    assert!(runner.check(broken).is_err_and(|error| error.contains("row 0 is not UTF-8")));
}

#[test]
fn messages_below_the_level_are_not_even_formatted() {
    use millrace::log::{Level, enabled, set_level};
    struct Fatal;
    impl std::fmt::Display for Fatal {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("formatted")
        }
    }
    set_level(Level::Warn);
    assert!(enabled(Level::Error) && enabled(Level::Warn) && !enabled(Level::Info));
    info!("{}", Fatal);
    debug!("{}", Fatal);
}
