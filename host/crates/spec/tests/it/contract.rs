//! A component's description against its view.

use model::schema::{DataType, Field};
use model::transform::{Description, Parameter};
use spec::component::{check_component, compare_descriptions};
use spec::diagnostic::render_text;

use crate::texts::{BASE, VIEW, plan};

/// What fits `BASE` and `VIEW`.
fn fitting() -> Description {
    Description {
        name: "counter".into(),
        version: "1.0.0".into(),
        input: vec![Field::nullable("user_id", DataType::String), Field::required("ts", DataType::Timestamp)],
        output: vec![
            Field::nullable("user_id", DataType::String),
            Field::required("n", DataType::Int64),
            Field::required("ts", DataType::Timestamp),
        ],
        parameters: vec![
            parameter("factor", "integer", true),
            parameter("label", "string", false),
            parameter("odd", "of_the_future", false),
        ],
    }
}

fn parameter(name: &str, kind: &str, required: bool) -> Parameter {
    Parameter { name: name.into(), kind: kind.into(), required, doc: String::new() }
}

/// The problems of a changed component or view, one line each.
#[track_caller]
fn check(change: impl FnOnce(&mut Description), view: &str, expected: &[&str]) {
    let plan = plan(&format!("{BASE}{view}"));
    let mut description = fitting();
    change(&mut description);
    let problems = check_component(&plan.views["clicks_per_user"], &plan.sources["clicks"], &description);
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines, expected, "{}", render_text(&problems, false));
}

#[test]
fn a_fitting_component_has_no_problems() {
    check(|_| {}, VIEW, &[]);
}

#[test]
fn inputs_must_be_in_the_source() {
    check(
        |d| d.input.push(Field::nullable("adi", DataType::Int64)),
        VIEW,
        &[
            "views/view.yaml:13:27: error[MR0601]: component `counter` needs the column `adi: int64`, which source `clicks` does not have; did you mean `ad`?; add `adi: int64` to the source's schema, or change the component",
        ],
    );
    check(
        |d| d.input.push(Field::nullable("ad", DataType::Int32)),
        VIEW,
        &[
            "views/view.yaml:13:27: error[MR0602]: component `counter` takes column `ad` as `int32`, source `clicks` has it as `int64`; give both one type; nothing is converted on the way",
        ],
    );
    check(
        |d| d.input.push(Field::required("ad", DataType::Int64)),
        VIEW,
        &[
            "views/view.yaml:13:27: error[MR0603]: component `counter` needs a value in every row of column `ad`, source `clicks` allows it to be missing; declare `ad: { type: int64, nullable: false }` (events without it are dead-lettered), or make the input optional in the component",
        ],
    );
}

#[test]
fn columns_that_the_host_fills_need_no_declaration() {
    check(
        |d| {
            d.input.push(Field::required("_ingest_time", DataType::Timestamp));
            d.input.push(Field::required("_partition", DataType::String));
            d.input.push(Field::required("_position", DataType::Bytes));
            d.input.push(Field::nullable("_key", DataType::Bytes));
            d.input.push(Field::nullable("_offset", DataType::Int64));
            d.input.push(Field::nullable(
                "_headers",
                "list<struct<name: string, value: bytes>>".parse().unwrap(),
            ));
        },
        VIEW,
        &[],
    );
    check(
        |d| d.input.push(Field::required("_offset", DataType::Int64)),
        VIEW,
        &[
            "views/view.yaml:13:27: error[MR0603]: component `counter` needs a value in every row of column `_offset`, source `clicks` allows it to be missing; make the input optional in the component: not every source counts its events",
        ],
    );
    check(
        |d| d.input.push(Field::required("_headers", DataType::String)),
        VIEW,
        &[
            "views/view.yaml:13:27: error[MR0602]: component `counter` takes column `_headers` as `string`, source `clicks` has it as `list<struct<name: string, value: bytes>>`; give both one type; nothing is converted on the way",
        ],
    );
    check(
        |d| d.input.push(Field::required("_key", DataType::Bytes)),
        VIEW,
        &[
            "views/view.yaml:13:27: error[MR0603]: component `counter` needs a value in every row of column `_key`, source `clicks` allows it to be missing; make the input optional in the component: not every event has a key",
        ],
    );
}

#[test]
fn outputs_must_cover_keys_time_and_features() {
    check(
        |d| d.output.clear(),
        VIEW,
        &[
            "views/view.yaml:12:14: error[MR0604]: component `counter` does not produce join key `user_id` (`string`); it produces nothing",
            "views/view.yaml:10:9: error[MR0604]: component `counter` does not produce timestamp field `ts` (`timestamp`); it produces nothing",
            "views/view.yaml:14:15: error[MR0604]: component `counter` does not produce feature `n` (`int64`); it produces nothing",
        ],
    );
    check(
        |d| d.output[1].data_type = DataType::Int32,
        VIEW,
        &[
            "views/view.yaml:14:15: error[MR0605]: component `counter` produces feature `n` as `int32`, the view declares `int64`; give both one type; nothing is converted on the way",
        ],
    );
    check(
        |d| d.output.push(Field::nullable("extra", DataType::Bool)),
        VIEW,
        &[
            "views/view.yaml:13:27: warning[MR0606]: component `counter` produces `extra: bool`, which the view does not use; add `extra: bool` to `features`, or leave it: it is dropped",
        ],
    );
}

#[test]
fn parameters_must_be_known_given_and_of_their_kind() {
    let with = |params: &str| VIEW.replace("{ factor: 2 }", params);
    check(
        |_| {},
        &with("{ factr: 2 }"),
        &[
            "views/view.yaml:13:45: error[MR0607]: component `counter` has no parameter `factr`; did you mean `factor`?",
            "views/view.yaml:13:43: error[MR0608]: component `counter` needs the parameter `factor`; give `factor` as integer",
        ],
    );
    check(
        |_| {},
        &with("{ factor: 2.5, label: [x], odd: 3 }"),
        &[
            "views/view.yaml:13:45: error[MR0609]: parameter `factor` of component `counter` is of kind `integer`, found a number with a fraction; give `factor` as integer",
            "views/view.yaml:13:58: error[MR0609]: parameter `label` of component `counter` is of kind `string`, found a list; give `label` as string",
        ],
    );
    check(
        |d| d.parameters.clear(),
        VIEW,
        &[
            "views/view.yaml:13:45: error[MR0607]: component `counter` has no parameter `factor`; it takes none: remove it",
        ],
    );
}

#[test]
fn differences_of_two_components_are_told_in_words() {
    let old = fitting();
    assert!(compare_descriptions(&old, &old).is_empty());
    let mut new = fitting();
    new.version = "1.1.0".into();
    new.input[0].nullable = false;
    new.output[1] = Field::required("m", DataType::Int64);
    new.parameters[1].required = true;
    new.parameters.pop();
    let expected = [
        "version `1.0.0` became `1.1.0`",
        "input column `user_id: string` became `user_id: string not null`",
        "output column `n: int64 not null` is gone",
        "output column `m: int64 not null` is new",
        "parameter `label: string` became `label: string, required`",
        "parameter `odd: of_the_future` is gone",
    ];
    assert_eq!(compare_descriptions(&old, &new), expected);
}
