//! `GET` and `POST /v1/features/{view}`: rows of one view, each with its status, times and version, and how the view is.

use hyper::StatusCode;
use model::value::Value;
use model::view::ViewShape;
use serde::Deserialize;

use crate::directory::{Missing, ViewRead};
use crate::json::{Dialect, separate, write_integer, write_text, write_time, write_value};
use crate::keys;
use crate::lookup::{self, Keys, RowStatus};
use crate::ops::write_positions;
use crate::problem::{Problem, Reply, reply};
use crate::query;
use crate::request::{Members, Rows, Scalar, Text};
use crate::state::Inner;
use crate::suggest;

/// The parameter of a query that is not a join key.
const FEATURES: &str = "features";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadBody<'a> {
    #[serde(borrow)]
    entities: Rows<Members<'a, Scalar<'a>>>,
    #[serde(borrow, default)]
    features: Option<Vec<Text<'a>>>,
}

/// One entity, named by the query.
pub(crate) async fn features_by_query(inner: &Inner, name: &str, query: &str) -> Result<Reply, Problem> {
    let view = view(inner, name)?;
    let pairs = query::pairs(query).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_query",
            "the query is not percent-encoded UTF-8",
            "such as `?user_id=u1&features=a,b`",
        )
    })?;
    let mut features = None;
    let mut given: Vec<(&str, &str)> = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        if key == FEATURES && !view.keys.iter().any(|field| field.name == FEATURES) {
            let names: Vec<&str> = value.split(',').filter(|feature| !feature.is_empty()).collect();
            features = (!names.is_empty()).then_some(names);
        } else if given.iter().any(|(known, _)| known == key) {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_query",
                format!("`{key}` stands twice"),
                "a query names one entity; `POST` takes many",
            ));
        } else {
            given.push((key, value));
        }
    }
    let key = entity_key(&view, 0, &given, keys::convert_text)?;
    answer(inner, view, features, vec![key]).await
}

/// Any number of entities, named by the body.
pub(crate) async fn features_by_body(inner: &Inner, name: &str, body: &[u8]) -> Result<Reply, Problem> {
    let view = view(inner, name)?;
    let request: ReadBody<'_> = serde_json::from_slice(body).map_err(|error| {
        let (code, message) = if body.trim_ascii().is_empty() {
            ("empty_body", "the body is empty".to_owned())
        } else {
            ("bad_body", format!("the body cannot be read: {error}"))
        };
        Problem::new(
            StatusCode::BAD_REQUEST,
            code,
            message,
            "such as {\"entities\":[{\"user_id\":\"u1\"}],\"features\":[\"impression\"]}",
        )
    })?;
    let mut keys = Vec::with_capacity(request.entities.0.len());
    for (row, Members(entity)) in request.entities.0.iter().enumerate() {
        let given: Vec<(&str, &Scalar<'_>)> = entity.iter().map(|(name, scalar)| (&**name, scalar)).collect();
        keys.push(entity_key(&view, row, &given, |scalar, data_type| keys::convert(scalar, data_type))?);
    }
    let features = request.features.as_ref().map(|features| features.iter().map(Text::as_str).collect());
    answer(inner, view, features, keys).await
}

fn view(inner: &Inner, name: &str) -> Result<model::view::ViewRef, Problem> {
    let directory = inner.directory();
    match directory.view(name) {
        Some(view) => Ok(view.clone()),
        None => Err(lookup::missing(&directory, &Missing::View { view: name.to_owned() })),
    }
}

/// The key of one entity in declared order; exactly the view's join keys must be given.
fn entity_key<T: Copy>(
    view: &ViewShape,
    row: usize,
    given: &[(&str, T)],
    convert: impl Fn(T, &model::schema::DataType) -> Result<Value, String>,
) -> Result<Vec<Value>, Problem> {
    let names: Vec<&str> = view.keys.iter().map(|field| field.name.as_str()).collect();
    if let Some((unknown, _)) = given.iter().find(|(name, _)| !names.contains(name)) {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "unknown_join_key",
            format!("view `{}` has no join key `{unknown}`", view.name),
            suggest::hint(unknown, &names),
        ));
    }
    let mut key = Vec::with_capacity(view.keys.len());
    for field in &view.keys {
        let Some((_, value)) = given.iter().find(|(name, _)| *name == field.name) else {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "missing_join_key",
                format!("entity {row} lacks the join key `{}` of view `{}`", field.name, view.name),
                format!("give `{}`", names.join("`, `")),
            ));
        };
        key.push(convert(*value, &field.data_type).map_err(|message| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_join_key",
                format!("join key `{}` of entity {row}: {message}", field.name),
                format!("`{}` has the type `{}`", field.name, field.data_type),
            )
        })?);
    }
    Ok(key)
}

async fn answer(
    inner: &Inner,
    view: model::view::ViewRef,
    features: Option<Vec<&str>>,
    keys: Keys,
) -> Result<Reply, Problem> {
    let features = match features {
        None => (0..view.features.len()).collect(),
        Some(names) => feature_indexes(inner, &view, &names)?,
    };
    let recovering = lookup::admit(inner, &view)?;
    let read = ViewRead { view, features };
    let found = lookup::read(inner, &read, keys.clone()).await?;

    let mut out = Vec::with_capacity(512 + found.rows.len() * (256 + 48 * read.features.len()));
    write_head(inner, &mut out, &read.view, recovering);
    out.extend_from_slice(b",\"rows\":[");
    for (index, (key, (status, stored))) in keys.iter().zip(&found.rows).enumerate() {
        separate(&mut out, index);
        out.extend_from_slice(b"{\"entity\":{");
        for (index, (field, value)) in read.view.keys.iter().zip(key).enumerate() {
            separate(&mut out, index);
            write_text(&mut out, &field.name);
            out.push(b':');
            write_value(&mut out, value, Dialect::Own);
        }
        out.extend_from_slice(b"},\"status\":");
        out.extend_from_slice(status.quoted());
        write_version(&mut out, stored.as_ref());
        out.extend_from_slice(b",\"features\":{");
        for (slot, feature) in read.features.iter().enumerate() {
            separate(&mut out, slot);
            write_text(&mut out, &read.view.features[*feature].name);
            out.push(b':');
            let value = match (status, stored) {
                (RowStatus::Present, Some(stored)) => stored.values.get(slot),
                _ => None,
            };
            write_value(&mut out, value.unwrap_or(&Value::Null), Dialect::Own);
        }
        out.extend_from_slice(b"}}");
    }
    out.extend_from_slice(b"]}");
    let mut reply = reply(StatusCode::OK, out);
    lookup::mark_partial(&mut reply, &inner.directory(), std::iter::once(&*read.view));
    Ok(reply)
}

fn feature_indexes(inner: &Inner, view: &ViewShape, names: &[&str]) -> Result<Vec<usize>, Problem> {
    let mut indexes = Vec::with_capacity(names.len());
    for name in names {
        let index = view.feature_index(name).ok_or_else(|| {
            let missing = Missing::Feature { view: view.name.clone(), feature: (*name).to_owned() };
            lookup::missing(&inner.directory(), &missing)
        })?;
        if indexes.contains(&index) {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "feature_name_collision",
                format!("feature `{name}` stands twice"),
                "ask for each feature once",
            ));
        }
        indexes.push(index);
    }
    Ok(indexes)
}

/// Appends what is said of the view as a whole.
fn write_head(inner: &Inner, out: &mut Vec<u8>, view: &ViewShape, recovering: bool) {
    out.extend_from_slice(b"{\"view\":");
    write_text(out, &view.name);
    let status = inner.state.overview.status(&view.name);
    if let Some(status) = &status {
        out.extend_from_slice(b",\"state\":");
        write_text(out, status.state.name());
        out.extend_from_slice(b",\"generation\":");
        write_integer(out, status.generation);
        out.extend_from_slice(b",\"positions\":");
        write_positions(out, status);
    }
    if recovering {
        out.extend_from_slice(b",\"recovering\":true");
    }
    if let Some((read, all)) = inner.directory().partial(view) {
        out.extend_from_slice(b",\"partial\":{\"partitions\":");
        write_integer(out, read);
        out.extend_from_slice(b",\"of\":");
        write_integer(out, all);
        out.push(b'}');
    }
}

/// Appends times and version of a row; null where there is no row. Rows hold no aggregates over time, so what was
/// folded in last is the row itself: effective time and feature timestamp are one.
fn write_version(out: &mut Vec<u8>, stored: Option<&model::online::StoredRow>) {
    let Some(stored) = stored else {
        out.extend_from_slice(
            b",\"feature_timestamp\":null,\"effective_time\":null,\"version\":null,\"generation\":null",
        );
        return;
    };
    out.extend_from_slice(b",\"feature_timestamp\":");
    write_time(out, stored.version.event_time);
    out.extend_from_slice(b",\"effective_time\":");
    write_time(out, stored.version.event_time);
    out.extend_from_slice(b",\"version\":");
    write_text(out, &stored.version.token());
    out.extend_from_slice(b",\"generation\":");
    write_integer(out, stored.version.generation);
}
