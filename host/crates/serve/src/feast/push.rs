//! `POST /push`: a data frame becomes events of its push source; the answer waits until reads see what they made.

use bytes::Bytes;
use hyper::StatusCode;
use model::status::WaitError;
use serde::Deserialize;

use crate::health::Phase;
use crate::ops;
use crate::problem::{Problem, Reply, empty};
use crate::request::{Frame, Text};
use crate::state::Inner;
use crate::suggest;
use crate::v1::{PushOptions, not_pushable, push_rows, write_refused};

use super::frame;
use super::later;
use super::parse::{parse, without_nan};

/// `allow_registry_cache` and `transform_on_write` are Feast's own matters and ignored like other members.
#[derive(Deserialize)]
struct FeastPush<'a> {
    #[serde(borrow)]
    push_source_name: Text<'a>,
    #[serde(borrow)]
    df: Frame<'a>,
    #[serde(borrow, default)]
    to: Option<Text<'a>>,
}

/// Takes a push.
pub(crate) async fn push(inner: &Inner, body: Bytes) -> Result<Reply, Problem> {
    if inner.state.health.phase() == Phase::Draining {
        return Err(ops::draining());
    }
    let mended;
    let request: FeastPush<'_> = match parse(&body) {
        Ok(request) => request,
        Err(problem) => {
            mended = without_nan(&body).ok_or(problem)?;
            parse(&mended)?
        }
    };
    match request.to.as_ref().map_or("online", Text::as_str) {
        "online" => {}
        to @ ("offline" | "online_and_offline") => return Err(later::offline(to)),
        other => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad_to",
                format!("`to: {}` is unknown", other.chars().take(40).collect::<String>()),
                "push with `to: online`",
            )
            .at("value_error", &["to"]));
        }
    }
    let name = request.push_source_name.as_str();
    let directory = inner.directory();
    let entry = directory.source(name).ok_or_else(|| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unknown_source",
            format!("unknown push source `{name}`"),
            suggest::hint(name, &directory.source_names()),
        )
        .at("value_error", &["push_source_name"])
    })?;
    let Some(push) = &entry.push else { return Err(not_pushable(name, entry)) };
    let rows = frame::rows(&request.df, entry, body.len())?;
    let sent = rows.ranges.len();
    let ack = push_rows(inner, name, push.as_ref(), PushOptions::default(), rows).await?;
    if !ack.rejected.is_empty() {
        return Err(partly_refused(&ack, sent));
    }
    if let Some(through) = ack.through {
        inner
            .state
            .overview
            .wait_applied(name, &push.partition(), through, inner.state.settings.push_wait)
            .await
            .map_err(|error| not_applied(inner, &error))?;
    }
    Ok(empty())
}

/// Feast's clients take a push as done or not done; what was done is said in the answer.
fn partly_refused(ack: &model::source::PushAck, sent: usize) -> Problem {
    let refused = ack.rejected.len();
    let first = &ack.rejected[0];
    let mut members = Vec::new();
    write_refused(&mut members, ack);
    let rest = match ack.accepted {
        0 => "nothing was taken".to_owned(),
        1 => "the other one is logged and will be applied".to_owned(),
        several => format!("the other {several} are logged and will be applied"),
    };
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "rows_refused",
        format!("{refused} of {sent} rows were refused, {rest}; row {}: {}", first.row, first.message),
        "mend the rows listed in `rejected` and send only these again",
    )
    .with_members(members)
    .at("value_error", &["df"])
}

/// The events are safe but not yet visible. Neither answer invites a repeat, which would only log them twice.
fn not_applied(inner: &Inner, error: &WaitError) -> Problem {
    match error {
        WaitError::TimedOut { view } => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "not_applied_in_time",
            format!(
                "the events are logged, but view `{view}` did not apply them within {} s",
                inner.state.settings.push_wait.as_secs_f32()
            ),
            "do not send them again: they will be applied; /readyz shows how far the view is",
        ),
        WaitError::NotRunning { view, state } => Problem::new(
            StatusCode::CONFLICT,
            "view_not_running",
            format!("the events are logged, but view `{view}` is {state}"),
            "do not send them again: they will be applied once the view runs; /readyz says why it does not",
        ),
    }
}
