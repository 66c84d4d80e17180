//! `POST /get-online-features`: the hot path.
//!
//! The answer is one column for each join key, then one for each feature in requested order; columns of one view share
//! their statuses and times, which are written once and copied.

use std::collections::HashSet;
use std::sync::Arc;

use hyper::StatusCode;
use model::schema::DataType;
use model::value::Value;
use model::view::ViewShape;
use serde::Deserialize;

use crate::directory::{Directory, Selection};
use crate::json::{Dialect, separate, write_escaped, write_short_time, write_text, write_value};
use crate::keys;
use crate::lookup::{self, Keys, RowStatus, ViewRows};
use crate::problem::{Problem, Reply, reply};
use crate::request::{Members, Rows, Scalar, Text};
use crate::state::Inner;
use crate::suggest;

use super::parse::parse;

/// What Feast's clients send as the join key of views without entities.
const DUMMY_KEY: &str = "__dummy_id";

#[derive(Deserialize)]
struct ReadRequest<'a> {
    #[serde(borrow, default)]
    features: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    feature_service: Option<Text<'a>>,
    #[serde(borrow)]
    entities: Members<'a, Rows<Scalar<'a>>>,
    #[serde(default)]
    full_feature_names: bool,
    #[serde(default)]
    include_feature_view_version_metadata: bool,
}

/// One column of entities, converted to the type of its join key.
struct EntityColumn<'a> {
    name: &'a str,
    data_type: &'a DataType,
    values: Vec<Value>,
}

/// Answers a read.
pub(crate) async fn read(inner: &Inner, body: &[u8]) -> Result<Reply, Problem> {
    let request: ReadRequest<'_> = parse(body)?;
    let directory = inner.directory();
    let selection = select(&directory, &request)?;
    check_names(&selection, request.full_feature_names)?;
    let mut recovering = Vec::new();
    for read in &selection.reads {
        if lookup::admit(inner, &read.view)? {
            recovering.push(read.view.name.as_str());
        }
    }
    let rows = row_count(&request.entities, &selection)?;
    let entities = entity_columns(&directory, &request.entities)?;
    let keys = selection
        .reads
        .iter()
        .map(|read| keys_of(&read.view, &entities, &request.entities, rows))
        .collect::<Result<Vec<_>, _>>()?;
    let found = lookup::read_all(inner, &selection.reads, keys).await?;
    let answer = Answer { request: &request, selection: &selection, entities, found, rows, recovering };
    let mut reply = reply(StatusCode::OK, answer.write());
    lookup::mark_partial(&mut reply, &directory, selection.reads.iter().map(|read| &*read.view));
    Ok(reply)
}

fn select(directory: &Directory, request: &ReadRequest<'_>) -> Result<Arc<Selection>, Problem> {
    let missing = |missing| lookup::missing(directory, &missing);
    match (&request.feature_service, &request.features) {
        (Some(name), features) if features.as_ref().is_none_or(Vec::is_empty) => {
            let name = name.as_str();
            match directory.service(name) {
                Some(Ok(selection)) => Ok(Arc::clone(selection)),
                Some(Err(part)) => Err(missing(part.clone())),
                None => Err(Problem::new(
                    StatusCode::NOT_FOUND,
                    "unknown_service",
                    format!("unknown feature service `{name}`"),
                    suggest::hint(name, &directory.service_names()),
                )),
            }
        }
        (Some(_), _) => {
            Err(bad_request("give `features` or `feature_service`, not both", &["feature_service"]))
        }
        (None, Some(features)) if !features.is_empty() => {
            let mut pairs = Vec::with_capacity(features.len());
            for reference in features {
                pairs.push(split(reference.as_str())?);
            }
            directory.select(pairs.into_iter()).map(Arc::new).map_err(missing)
        }
        (None, _) => Err(bad_request("give `features` or `feature_service`", &["features"])),
    }
}

fn split(reference: &str) -> Result<(&str, &str), Problem> {
    reference.split_once(':').ok_or_else(|| {
        bad_request(format!("the feature `{reference}` is not of the form `view:feature`"), &["features"])
    })
}

fn bad_request(message: impl Into<String>, path: &[&str]) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad_request",
        message,
        "such as {\"features\":[\"view:feature\"],\"entities\":{\"user_id\":[\"u1\"]}}",
    )
    .at("value_error", path)
}

/// Feast's rule: names in the answer must tell features apart.
fn check_names(selection: &Selection, full_names: bool) -> Result<(), Problem> {
    let mut seen = HashSet::with_capacity(selection.columns.len());
    for column in &selection.columns {
        let (view, name) = (selection.view_name(*column), selection.name(*column));
        if !seen.insert((if full_names { view } else { "" }, name)) {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "feature_name_collision",
                format!("the name `{name}` would stand twice in the answer"),
                "ask for each feature once; `\"full_feature_names\": true` tells features of different views apart",
            )
            .at("value_error", &["features"]));
        }
    }
    Ok(())
}

/// How many entities: the length that all columns share.
fn row_count(entities: &Members<'_, Rows<Scalar<'_>>>, selection: &Selection) -> Result<usize, Problem> {
    let Some((first, Rows(values))) = entities.0.first() else {
        // Views without entities have one row.
        return Ok(usize::from(selection.reads.iter().all(|read| read.view.keys.is_empty())));
    };
    for (name, Rows(others)) in &entities.0[1..] {
        if others.len() != values.len() {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "entity_lengths",
                format!("`{first}` has {} values but `{name}` has {}", values.len(), others.len()),
                "give each join key one value for each entity",
            )
            .at("value_error", &["entities", name]));
        }
    }
    Ok(values.len())
}

/// Converts every column once, to the type that the name has in some view.
fn entity_columns<'a>(
    directory: &'a Directory,
    entities: &'a Members<'_, Rows<Scalar<'_>>>,
) -> Result<Vec<EntityColumn<'a>>, Problem> {
    const DUMMY_TYPE: DataType = DataType::String;
    let mut columns = Vec::with_capacity(entities.0.len());
    for (name, Rows(scalars)) in &entities.0 {
        let data_type = match directory.join_key(name) {
            Some(data_type) => data_type,
            None if name == DUMMY_KEY => &DUMMY_TYPE,
            None => {
                return Err(Problem::new(
                    StatusCode::NOT_FOUND,
                    "unknown_join_key",
                    format!("no view has a join key `{name}`"),
                    suggest::hint(name, &directory.join_key_names()),
                ));
            }
        };
        columns.push(EntityColumn { name, data_type, values: convert(name, scalars, data_type)? });
    }
    Ok(columns)
}

fn convert(name: &str, scalars: &[Scalar<'_>], data_type: &DataType) -> Result<Vec<Value>, Problem> {
    let mut values = Vec::with_capacity(scalars.len());
    for (row, scalar) in scalars.iter().enumerate() {
        values.push(keys::convert(scalar, data_type).map_err(|message| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad_join_key",
                format!("join key `{name}` of entity {row}: {message}"),
                format!("`{name}` has the type `{data_type}`"),
            )
            .at("value_error", &["entities", name])
        })?);
    }
    Ok(values)
}

/// The keys of one view, by its own join keys; others in the request are not its business.
fn keys_of(
    view: &ViewShape,
    columns: &[EntityColumn<'_>],
    entities: &Members<'_, Rows<Scalar<'_>>>,
    rows: usize,
) -> Result<Keys, Problem> {
    let mut keys: Keys = (0..rows).map(|_| Vec::with_capacity(view.keys.len())).collect();
    for field in &view.keys {
        let Some(column) = columns.iter().find(|column| column.name == field.name) else {
            let given: Vec<&str> = columns.iter().map(|column| column.name).collect();
            let given =
                if given.is_empty() { "none".to_owned() } else { format!("`{}`", given.join("`, `")) };
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "missing_join_key",
                format!("view `{}` needs the join key `{}`", view.name, field.name),
                format!("add it to `entities`; given: {given}"),
            )
            .at("missing", &["entities", &field.name]));
        };
        if *column.data_type == field.data_type {
            keys.iter_mut().zip(&column.values).for_each(|(key, value)| key.push(value.clone()));
        } else {
            // Another view declares this name with another type.
            let scalars =
                entities.get(&field.name).map(|Rows(scalars)| scalars.as_slice()).unwrap_or_default();
            let values = convert(&field.name, scalars, &field.data_type)?;
            keys.iter_mut().zip(values).for_each(|(key, value)| key.push(value));
        }
    }
    Ok(keys)
}

/// Everything that the answer says.
struct Answer<'a> {
    request: &'a ReadRequest<'a>,
    selection: &'a Selection,
    entities: Vec<EntityColumn<'a>>,
    found: Vec<ViewRows>,
    rows: usize,
    recovering: Vec<&'a str>,
}

impl Answer<'_> {
    fn write(&self) -> Vec<u8> {
        let columns = self.entities.len() + self.selection.columns.len();
        // A value, a status and a time take some fifty bytes; growing once or twice does not matter.
        let mut out = Vec::with_capacity(64 + columns * (96 + self.rows * 50));
        out.extend_from_slice(b"{\"results\":[");
        for (index, entity) in self.entities.iter().enumerate() {
            separate(&mut out, index);
            self.write_entity(&mut out, entity);
        }
        let tails: Vec<Vec<u8>> = self.found.iter().map(tail).collect();
        for (index, column) in self.selection.columns.iter().enumerate() {
            separate(&mut out, self.entities.len() + index);
            out.extend_from_slice(b"{\"values\":[");
            for (row, (status, stored)) in self.found[column.read].rows.iter().enumerate() {
                separate(&mut out, row);
                let value = match (status, stored) {
                    (RowStatus::Present, Some(stored)) => stored.values.get(column.slot),
                    _ => None,
                };
                write_value(&mut out, value.unwrap_or(&Value::Null), Dialect::Feast);
            }
            out.extend_from_slice(&tails[column.read]);
        }
        self.write_metadata(&mut out);
        out
    }

    fn write_entity(&self, out: &mut Vec<u8>, entity: &EntityColumn<'_>) {
        out.extend_from_slice(b"{\"values\":[");
        for (row, value) in entity.values.iter().enumerate() {
            separate(out, row);
            write_value(out, value, Dialect::Feast);
        }
        out.extend_from_slice(b"],\"statuses\":[");
        for row in 0..self.rows {
            separate(out, row);
            out.extend_from_slice(RowStatus::Present.quoted());
        }
        out.extend_from_slice(b"],\"event_timestamps\":[");
        for row in 0..self.rows {
            separate(out, row);
            out.extend_from_slice(b"\"1970-01-01T00:00:00Z\"");
        }
        out.extend_from_slice(b"]}");
    }

    fn write_metadata(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"],\"metadata\":{\"feature_names\":[");
        for (index, entity) in self.entities.iter().enumerate() {
            separate(out, index);
            write_text(out, entity.name);
        }
        for (index, column) in self.selection.columns.iter().enumerate() {
            separate(out, self.entities.len() + index);
            out.push(b'"');
            if self.request.full_feature_names {
                write_escaped(out, self.selection.view_name(*column));
                out.extend_from_slice(b"__");
            }
            write_escaped(out, self.selection.name(*column));
            out.push(b'"');
        }
        out.push(b']');
        if self.request.include_feature_view_version_metadata {
            // Views have no versions of Feast's kind; its server leaves out version 0.
            out.extend_from_slice(b",\"feature_view_metadata\":[");
            for (index, read) in self.selection.reads.iter().enumerate() {
                separate(out, index);
                out.extend_from_slice(b"{\"name\":");
                write_text(out, &read.view.name);
                out.push(b'}');
            }
            out.push(b']');
        }
        if !self.recovering.is_empty() {
            out.extend_from_slice(b",\"recovering\":[");
            for (index, view) in self.recovering.iter().enumerate() {
                separate(out, index);
                write_text(out, view);
            }
            out.push(b']');
        }
        out.extend_from_slice(b"}}");
    }
}

/// What stands behind the values in every column of one view.
fn tail(found: &ViewRows) -> Vec<u8> {
    let mut tail = Vec::with_capacity(48 + found.rows.len() * 48);
    tail.extend_from_slice(b"],\"statuses\":[");
    for (row, (status, _)) in found.rows.iter().enumerate() {
        separate(&mut tail, row);
        tail.extend_from_slice(status.quoted());
    }
    tail.extend_from_slice(b"],\"event_timestamps\":[");
    for (row, (_, stored)) in found.rows.iter().enumerate() {
        separate(&mut tail, row);
        write_short_time(&mut tail, stored.as_ref().map_or(0, |stored| stored.version.event_time));
    }
    tail.extend_from_slice(b"]}");
    tail
}
