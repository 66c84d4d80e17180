//! Reading rows, for both families of endpoints: who may be read now, which rows are too old, what a failure means.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use model::error::{Disposition, Failure};
use model::online::{Lookup, StoredRow};
use model::status::ViewState;
use model::value::Value;
use model::view::ViewShape;

use crate::directory::{Directory, Missing, ViewRead};
use crate::problem::{Problem, Reply};
use crate::state::Inner;
use crate::suggest;

/// The header that says of which views this host holds a part only.
const PARTIAL: &str = "millrace-partial";

/// What became of one entity of one view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowStatus {
    Present,
    NotFound,
    OutsideMaxAge,
}

impl RowStatus {
    /// Feast's word for it, in quotes.
    pub(crate) fn quoted(self) -> &'static [u8] {
        match self {
            Self::Present => b"\"PRESENT\"",
            Self::NotFound => b"\"NOT_FOUND\"",
            Self::OutsideMaxAge => b"\"OUTSIDE_MAX_AGE\"",
        }
    }
}

/// The rows of one view, one for each entity, each with its status.
pub(crate) struct ViewRows {
    pub(crate) rows: Vec<(RowStatus, Option<StoredRow>)>,
}

/// Join-key values of each entity, in the view's declared order.
pub(crate) type Keys = Vec<Vec<Value>>;

/// Refuses reads of a view whose rows may be older than what was emitted. `Ok(true)`: may be read, but say so.
pub(crate) fn admit(inner: &Inner, view: &ViewShape) -> Result<bool, Problem> {
    if !view.online {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "not_online",
            format!("view `{}` keeps no rows in the online store", view.name),
            "set `online: true` in its view file",
        ));
    }
    let (code, what) = match inner.state.overview.state(&view.name) {
        Some(ViewState::Recovering) => ("recovering", "is taking in again what a crash cost"),
        Some(ViewState::Starting) => ("starting", "is being set up"),
        _ => return Ok(false),
    };
    if inner.state.settings.serve_while_recovering {
        return Ok(true);
    }
    Err(Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        code,
        format!("view `{}` {what}: its rows may be older than what it has emitted", view.name),
        "repeat the request; `serve_while_recovering: true` in host.yaml answers, and marks, such reads",
    )
    .retry())
}

/// Says in a header of which views this host holds a part only: `view=3/12, other=3/12`. A header, because stock Feast
/// clients refuse members that they do not know.
pub(crate) fn mark_partial<'a>(
    reply: &mut Reply,
    directory: &Directory,
    views: impl Iterator<Item = &'a ViewShape>,
) {
    let mut text = String::new();
    for view in views {
        let Some((read, all)) = directory.partial(view) else { continue };
        let comma = if text.is_empty() { "" } else { ", " };
        text.push_str(&format!("{comma}{}={read}/{all}", view.name));
    }
    if text.is_empty() {
        return;
    }
    // Names of views are ASCII, so this is a header's value whatever they are called.
    if let Ok(value) = HeaderValue::from_str(&text) {
        reply.headers_mut().insert(PARTIAL, value);
    }
}

/// Reads several views in one call of the store; `keys` stand in the order of `reads`.
pub(crate) async fn read_all(
    inner: &Inner,
    reads: &[ViewRead],
    mut keys: Vec<Keys>,
) -> Result<Vec<ViewRows>, Problem> {
    // Most requests are for one view: no bookkeeping for others.
    if let [only] = reads {
        return Ok(vec![read(inner, only, keys.pop().unwrap_or_default()).await?]);
    }
    let asked: Vec<Asked> = keys.iter_mut().map(Asked::new).collect();
    let lookups = reads.iter().zip(keys).map(|(read, keys)| Lookup {
        view: Arc::clone(&read.view),
        keys,
        features: read.features.clone(),
    });
    let found = inner.state.reader.get_all(lookups.collect()).await;
    let found = found.map_err(|failure| unreadable(reads, &failure))?;
    let parts = reads.iter().zip(asked).zip(found);
    Ok(parts.map(|((read, asked), found)| asked.judge(inner, read, found)).collect())
}

/// Reads one view.
pub(crate) async fn read(inner: &Inner, read: &ViewRead, mut keys: Keys) -> Result<ViewRows, Problem> {
    let asked = Asked::new(&mut keys);
    let found = inner
        .state
        .reader
        .get(&read.view, keys, read.features.clone())
        .await
        .map_err(|failure| unreadable(std::slice::from_ref(read), &failure))?;
    Ok(asked.judge(inner, read, found))
}

/// Which entities of a request the store is asked for.
struct Asked {
    wanted: usize,
    /// Of each entity whether it is none; `None` = all are some.
    nulls: Option<Vec<bool>>,
}

impl Asked {
    /// Takes out the keys that are not asked for: a null join key names no entity.
    fn new(keys: &mut Keys) -> Self {
        let wanted = keys.len();
        let is_null = |key: &Vec<Value>| key.iter().any(Value::is_null);
        let nulls = keys.iter().any(is_null).then(|| keys.iter().map(is_null).collect());
        if nulls.is_some() {
            keys.retain(|key| !is_null(key));
        }
        Self { wanted, nulls }
    }

    /// Puts what was found in the place of what was wanted.
    fn judge(self, inner: &Inner, read: &ViewRead, found: Vec<Option<StoredRow>>) -> ViewRows {
        let now = inner.state.clock.now().0;
        let mut found = found.into_iter();
        let mut rows = Vec::with_capacity(self.wanted);
        for index in 0..self.wanted {
            let skipped = self.nulls.as_ref().is_some_and(|nulls| nulls[index]);
            let row = if skipped { None } else { found.next().flatten() };
            rows.push((judge(row.as_ref(), read.view.ttl_micros, now), row));
        }
        inner.metrics.count_reads(rows.iter().map(|(status, _)| *status));
        ViewRows { rows }
    }
}

/// A row is served while `now - ttl ≤ event time`, both in microseconds. Times ahead of the clock are let in by the
/// flow within its bounds, and served.
fn judge(row: Option<&StoredRow>, ttl_micros: Option<i64>, now: i64) -> RowStatus {
    match (row, ttl_micros) {
        (None, _) => RowStatus::NotFound,
        (Some(row), Some(ttl)) if row.version.event_time < now.saturating_sub(ttl) => {
            RowStatus::OutsideMaxAge
        }
        (Some(_), _) => RowStatus::Present,
    }
}

fn unreadable(reads: &[ViewRead], failure: &Failure) -> Problem {
    let names: Vec<String> = reads.iter().map(|read| format!("`{}`", read.view.name)).collect();
    let (views, names) = (if names.len() == 1 { "view" } else { "views" }, names.join(", "));
    // Who reads goes on to read while a store is away, which is told once and stands in /readyz.
    match failure.disposition {
        Disposition::Retry => {
            tracing::debug!(views = names, %failure, "failed to read from the online store")
        }
        Disposition::Stop => tracing::warn!(views = names, %failure, "failed to read from the online store"),
    }
    let message = format!("failed to read {views} {names}: {failure}");
    match failure.disposition {
        Disposition::Retry => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            message,
            "repeat the request; /readyz says which dependency is away",
        )
        .retry(),
        Disposition::Stop => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "store_failed",
            message,
            "an operator has to mend this; the host's log says more",
        ),
    }
}

/// A name that does not exist, with the nearest that does.
pub(crate) fn missing(directory: &Directory, missing: &Missing) -> Problem {
    match missing {
        Missing::View { view } => Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_view",
            format!("unknown feature view `{view}`"),
            suggest::hint(view, &directory.view_names()),
        ),
        Missing::Feature { view, feature } => {
            let names: Vec<&str> = directory
                .view(view)
                .map(|view| view.features.iter().map(|feature| feature.name.as_str()).collect())
                .unwrap_or_default();
            Problem::new(
                StatusCode::NOT_FOUND,
                "unknown_feature",
                format!("view `{view}` has no feature `{feature}`"),
                suggest::hint(feature, &names),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use model::position::{Partition, Position, RowVersion};

    use super::*;

    #[track_caller]
    fn check(event_time: i64, ttl: Option<i64>, now: i64, expected: RowStatus) {
        let version = RowVersion {
            event_time,
            partition: Partition::new("0"),
            position: Position::from_u64(1),
            generation: 1,
            row: 0,
        };
        let row = StoredRow { version, values: Vec::new() };
        assert_eq!(judge(Some(&row), ttl, now), expected);
    }

    #[test]
    fn both_ends_of_the_time_to_live_are_inclusive() {
        check(1000, None, i64::MAX, RowStatus::Present);
        check(1000, Some(10), 1010, RowStatus::Present);
        check(1000, Some(10), 1011, RowStatus::OutsideMaxAge);
        check(1000, Some(0), 1000, RowStatus::Present);
        check(1000, Some(0), 1001, RowStatus::OutsideMaxAge);
        check(2000, Some(10), 1000, RowStatus::Present);
        check(i64::MIN, Some(i64::MAX), -2, RowStatus::Present);
        assert_eq!(judge(None, Some(1), 0), RowStatus::NotFound);
    }
}
