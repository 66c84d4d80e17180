//! The contract between a view and its component: what `describe` says, against what the files say.
//!
//! Types are compared, never converted: a component that produces `int32` does not fill an `int64` feature.

use std::fmt::Write;

use model::codec::metadata;
use model::schema::{DataType, Field};
use model::transform::{Description, Parameter};
use serde_json::Value;

use crate::diagnostic::{Code, Diagnostic, Spot};
use crate::plan::{SourcePlan, ViewPlan};

/// Everything in which a component does not fit its view. Empty, or warnings only = it may run.
pub fn check_component(view: &ViewPlan, source: &SourcePlan, description: &Description) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    inputs(view, source, description, &mut problems);
    outputs(view, description, &mut problems);
    parameters(view, description, &mut problems);
    problems
}

/// The columns that the host fills, whatever the source.
fn metadata_columns() -> [Field; 6] {
    let header = vec![("name".to_owned(), DataType::String), ("value".to_owned(), DataType::Bytes)];
    [
        Field::required(metadata::INGEST_TIME, DataType::Timestamp),
        Field::nullable(metadata::KEY, DataType::Bytes),
        Field::required(metadata::PARTITION, DataType::String),
        Field::required(metadata::POSITION, DataType::Bytes),
        Field::nullable(metadata::OFFSET, DataType::Int64),
        Field::required(metadata::HEADERS, DataType::List(Box::new(DataType::Struct(header)))),
    ]
}

fn inputs(view: &ViewPlan, source: &SourcePlan, description: &Description, problems: &mut Vec<Diagnostic>) {
    let host_columns = metadata_columns();
    for wanted in &description.input {
        let name = wanted.name.as_str();
        let available = source
            .columns
            .iter()
            .map(|column| &column.field)
            .chain(&host_columns)
            .find(|field| field.name == name);
        let Some(available) = available else {
            let message = format!(
                "component `{}` needs the column `{wanted}`, which source `{}` does not have",
                description.name, source.name
            );
            let known = source.columns.iter().map(|column| column.field.name.as_str());
            problems.push(
                Diagnostic::at(Code::InputMissing, &view.spots.component, message)
                    .related(&source.spot, "the source")
                    .suggest(name, known)
                    .help(format!(
                        "add `{name}: {}` to the source's schema, or change the component",
                        wanted.data_type
                    )),
            );
            continue;
        };
        // Columns that the host fills are declared nowhere.
        let related = source.column_spots.get(name).unwrap_or(&source.spot);
        if available.data_type != wanted.data_type {
            let message = format!(
                "component `{}` takes column `{name}` as `{}`, source `{}` has it as `{}`",
                description.name, wanted.data_type, source.name, available.data_type
            );
            problems.push(
                Diagnostic::at(Code::InputType, &view.spots.component, message)
                    .related(related, "the column")
                    .help("give both one type; nothing is converted on the way"),
            );
        } else if available.nullable && !wanted.nullable {
            let message = format!(
                "component `{}` needs a value in every row of column `{name}`, source `{}` allows it to be missing",
                description.name, source.name
            );
            let help = match name {
                metadata::KEY => {
                    "make the input optional in the component: not every event has a key".to_owned()
                }
                metadata::OFFSET => {
                    "make the input optional in the component: not every source counts its events".to_owned()
                }
                _ => format!(
                    "declare `{name}: {{ type: {}, nullable: false }}` (events without it are dead-lettered), or make the input optional in the component",
                    wanted.data_type
                ),
            };
            problems.push(
                Diagnostic::at(Code::InputNullable, &view.spots.component, message)
                    .related(related, "the column")
                    .help(help),
            );
        }
    }
}

fn outputs(view: &ViewPlan, description: &Description, problems: &mut Vec<Diagnostic>) {
    let timestamp = Field::required(&view.timestamp_column, DataType::Timestamp);
    let keys = view.shape.keys.iter().map(|field| ("join key", field, view.spots.keys.get(&field.name)));
    let features =
        view.shape.features.iter().map(|field| ("feature", field, view.spots.features.get(&field.name)));
    let wanted: Vec<(&str, &Field, &Spot)> = keys
        .chain([("timestamp field", &timestamp, Some(&view.spots.timestamp))])
        .chain(features)
        .map(|(what, field, spot)| (what, field, spot.unwrap_or(&view.spots.name)))
        .collect();
    for (what, field, spot) in &wanted {
        let name = field.name.as_str();
        match description.output.iter().find(|output| output.name == name) {
            None => {
                let message = format!(
                    "component `{}` does not produce {what} `{name}` (`{}`)",
                    description.name, field.data_type
                );
                let produced = description.output.iter().map(|output| output.name.as_str());
                let columns = description
                    .output
                    .iter()
                    .map(|output| format!("`{output}`"))
                    .collect::<Vec<_>>()
                    .join(", ");
                problems.push(
                    Diagnostic::at(Code::OutputMissing, spot, message)
                        .related(&view.spots.component, "the component")
                        .suggest(name, produced)
                        .help(format!(
                            "it produces {}",
                            if columns.is_empty() { "nothing" } else { &columns }
                        )),
                );
            }
            Some(output) if output.data_type != field.data_type => {
                let message = format!(
                    "component `{}` produces {what} `{name}` as `{}`, the view declares `{}`",
                    description.name, output.data_type, field.data_type
                );
                problems.push(
                    Diagnostic::at(Code::OutputType, spot, message)
                        .related(&view.spots.component, "the component")
                        .help("give both one type; nothing is converted on the way"),
                );
            }
            Some(_) => {}
        }
    }
    for output in &description.output {
        if !wanted.iter().any(|(_, field, _)| field.name == output.name) {
            let message =
                format!("component `{}` produces `{output}`, which the view does not use", description.name);
            problems.push(Diagnostic::at(Code::OutputUnused, &view.spots.component, message).help(format!(
                "add `{}: {}` to `features`, or leave it: it is dropped",
                output.name, output.data_type
            )));
        }
    }
}

fn parameters(view: &ViewPlan, description: &Description, problems: &mut Vec<Diagnostic>) {
    let given = match serde_json::from_str(&view.params_json) {
        Ok(Value::Object(given)) => given,
        // `params` is one JSON object by the making of the plan.
        _ => serde_json::Map::new(),
    };
    for (name, value) in &given {
        let spot = view.spots.param.get(name).unwrap_or(&view.spots.params);
        let Some(parameter) = description.parameters.iter().find(|parameter| parameter.name == *name) else {
            let message = format!("component `{}` has no parameter `{name}`", description.name);
            let known: Vec<&str> = description.parameters.iter().map(|known| known.name.as_str()).collect();
            let mut problem =
                Diagnostic::at(Code::UnknownParameter, spot, message).suggest(name, known.iter().copied());
            if problem.suggestion.is_none() {
                problem = problem.help(if known.is_empty() {
                    "it takes none: remove it".to_owned()
                } else {
                    format!("its parameters: {}", known.join(", "))
                });
            }
            problems.push(problem);
            continue;
        };
        if !is_kind(value, &parameter.kind) {
            let message = format!(
                "parameter `{name}` of component `{}` is of kind `{}`, found {}",
                description.name,
                parameter.kind,
                kind_of(value)
            );
            problems.push(with_doc(Diagnostic::at(Code::ParameterKind, spot, message), parameter));
        }
    }
    for parameter in &description.parameters {
        if parameter.required && !given.contains_key(&parameter.name) {
            let message =
                format!("component `{}` needs the parameter `{}`", description.name, parameter.name);
            let problem = Diagnostic::at(Code::MissingParameter, &view.spots.params, message)
                .label(format!("`params` has no `{}`", parameter.name));
            problems.push(with_doc(problem, parameter));
        }
    }
}

fn with_doc(problem: Diagnostic, parameter: &Parameter) -> Diagnostic {
    let doc = if parameter.doc.is_empty() { String::new() } else { format!(" ({})", parameter.doc) };
    problem.help(format!("give `{}` as {}{doc}", parameter.name, parameter.kind))
}

/// Kinds of a later contract are left to the component.
fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "bool" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "list" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a bool",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What differs between two components, in words, for the log of a swap. Empty if they describe themselves alike.
pub fn compare_descriptions(old: &Description, new: &Description) -> Vec<String> {
    let mut differences = Vec::new();
    if old.name != new.name {
        differences.push(format!("name `{}` became `{}`", old.name, new.name));
    }
    if old.version != new.version {
        differences.push(format!("version `{}` became `{}`", old.version, new.version));
    }
    compare_fields("input", &old.input, &new.input, &mut differences);
    compare_fields("output", &old.output, &new.output, &mut differences);
    let text = |parameter: &Parameter| {
        let mut text = format!("{}: {}", parameter.name, parameter.kind);
        if parameter.required {
            let _ = write!(text, ", required");
        }
        text
    };
    for parameter in &old.parameters {
        match new.parameters.iter().find(|other| other.name == parameter.name) {
            None => differences.push(format!("parameter `{}` is gone", text(parameter))),
            Some(other) if text(other) != text(parameter) => {
                differences.push(format!("parameter `{}` became `{}`", text(parameter), text(other)));
            }
            Some(_) => {}
        }
    }
    for parameter in &new.parameters {
        if !old.parameters.iter().any(|other| other.name == parameter.name) {
            differences.push(format!("parameter `{}` is new", text(parameter)));
        }
    }
    differences
}

fn compare_fields(what: &str, old: &[Field], new: &[Field], differences: &mut Vec<String>) {
    for field in old {
        match new.iter().find(|other| other.name == field.name) {
            None => differences.push(format!("{what} column `{field}` is gone")),
            Some(other) if other != field => {
                differences.push(format!("{what} column `{field}` became `{other}`"));
            }
            Some(_) => {}
        }
    }
    for field in new {
        if !old.iter().any(|other| other.name == field.name) {
            differences.push(format!("{what} column `{field}` is new"));
        }
    }
}
