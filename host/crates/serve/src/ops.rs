//! Probes and metrics.

use std::sync::PoisonError;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use model::status::{ViewState, ViewStatus};
use prometheus_client::encoding::text::encode;

use crate::directory::Directory;
use crate::health::Phase;
use crate::json::{separate, write_integer, write_text};
use crate::problem::{Problem, Reply, empty, reply};
use crate::state::Inner;

/// `/livez`: the process answers. Nothing else is looked at, so that no dependency can have the host killed.
pub(crate) fn livez() -> Reply {
    reply(StatusCode::OK, b"{\"status\":\"live\"}".to_vec())
}

/// `/health`: as Feast's, an empty 200, or 503 while nothing can be served. Deployments use it as a liveness probe,
/// so recovery does not count here.
pub(crate) fn health(inner: &Inner) -> Result<Reply, Problem> {
    match inner.state.health.phase() {
        Phase::Ready => Ok(empty()),
        Phase::Starting => Err(starting().retry()),
        Phase::Draining => Err(draining()),
    }
}

/// Views are being set up.
pub(crate) fn starting() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "starting",
        "the host is starting",
        "repeat the request; /readyz shows when it is ready",
    )
    .retry()
}

/// The host is about to end.
pub(crate) fn draining() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "draining",
        "the host is stopping",
        "repeat the request with another host, or with this one once it runs again",
    )
    .retry()
}

/// `/readyz`: 503 for what hurts all views, and the state of each view in any case.
pub(crate) fn readyz(inner: &Inner) -> Reply {
    let views = inner.state.overview.views();
    let reasons = reasons(inner, &views);
    let mut body = Vec::with_capacity(512 + 512 * views.len());
    body.extend_from_slice(b"{\"status\":");
    body.extend_from_slice(if reasons.is_empty() { b"\"ready\"" } else { b"\"unready\"" });
    body.extend_from_slice(b",\"reasons\":[");
    for (index, (code, message)) in reasons.iter().enumerate() {
        separate(&mut body, index);
        body.extend_from_slice(b"{\"code\":");
        write_text(&mut body, code);
        body.extend_from_slice(b",\"message\":");
        write_text(&mut body, message);
        body.push(b'}');
    }
    body.extend_from_slice(b"],\"views\":[");
    for (index, view) in views.iter().enumerate() {
        separate(&mut body, index);
        write_view(&mut body, view);
    }
    body.push(b']');
    write_shared(&mut body, &inner.directory());
    body.push(b'}');
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply(status, body)
}

/// `/metrics`: everything in the registry, as OpenMetrics text.
pub(crate) fn metrics(inner: &Inner) -> Result<Reply, Problem> {
    let mut text = String::with_capacity(16 << 10);
    // Metrics of a registry whose holder panicked are still whole: it is only ever added to.
    let registry = inner.state.registry.read().unwrap_or_else(PoisonError::into_inner);
    encode(&mut text, &registry).map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "metrics_failed",
            format!("failed to write the metrics: {error}"),
            "please report this",
        )
    })?;
    drop(registry);
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(reply)
}

/// Why the host as a whole should get no traffic. A view that is paused, failed or stopped is no such reason.
fn reasons(inner: &Inner, views: &[ViewStatus]) -> Vec<(&'static str, String)> {
    let mut reasons = Vec::new();
    match inner.state.health.phase() {
        Phase::Starting => reasons.push(("starting", "views are being set up".to_owned())),
        Phase::Draining => reasons.push(("draining", "the host is stopping".to_owned())),
        Phase::Ready => {}
    }
    let recovering: Vec<&str> = views
        .iter()
        .filter(|view| view.state == ViewState::Recovering)
        .map(|view| view.view.as_str())
        .collect();
    if !recovering.is_empty() && !inner.state.settings.serve_while_recovering {
        let names = recovering.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        reasons.push(("recovering", format!("taking in again what a crash cost: {names}")));
    }
    for (trouble, subject, message) in inner.state.health.troubles() {
        reasons.push((trouble.code(), format!("{subject}: {message}")));
    }
    reasons
}

/// Appends the state of one view.
fn write_view(body: &mut Vec<u8>, view: &ViewStatus) {
    body.extend_from_slice(b"{\"view\":");
    write_text(body, &view.view);
    body.extend_from_slice(b",\"source\":");
    write_text(body, &view.source);
    body.extend_from_slice(b",\"state\":");
    write_text(body, view.state.name());
    body.extend_from_slice(b",\"reason\":");
    write_optional(body, view.state.reason());
    body.extend_from_slice(b",\"component\":");
    write_text(body, &view.component);
    body.extend_from_slice(b",\"generation\":");
    write_integer(body, view.generation);
    body.extend_from_slice(b",\"digest\":");
    write_optional(body, view.digest.map(|digest| digest.to_hex()).as_deref());
    body.extend_from_slice(b",\"last_error\":");
    write_optional(body, view.last_error.as_deref());
    body.extend_from_slice(b",\"rows_in\":");
    write_integer(body, view.rows_in);
    body.extend_from_slice(b",\"rows_out\":");
    write_integer(body, view.rows_out);
    body.extend_from_slice(b",\"dead_letters\":");
    write_integer(body, view.dead_letters);
    body.extend_from_slice(b",\"positions\":");
    write_positions(body, view);
    body.push(b'}');
}

/// Appends the sources whose partitions hosts share, if there are any.
fn write_shared(body: &mut Vec<u8>, directory: &Directory) {
    let shared = directory.shared();
    if shared.is_empty() {
        return;
    }
    body.extend_from_slice(b",\"sources\":[");
    for (index, (name, stream)) in shared.into_iter().enumerate() {
        separate(body, index);
        body.extend_from_slice(b"{\"source\":");
        write_text(body, name);
        body.extend_from_slice(b",\"group\":");
        write_text(body, &stream.group);
        body.extend_from_slice(b",\"topics\":[");
        for (index, topic) in stream.topics.iter().enumerate() {
            separate(body, index);
            write_text(body, topic);
        }
        let (read, all) = stream.share.get();
        body.extend_from_slice(b"],\"partitions\":");
        write_integer(body, read);
        body.extend_from_slice(b",\"of\":");
        write_integer(body, all);
        body.push(b'}');
    }
    body.push(b']');
}

/// Appends how far a view is: `[{"partition":…,"applied":…,"emitted":…}]`, positions in hex.
pub(crate) fn write_positions(body: &mut Vec<u8>, view: &ViewStatus) {
    body.push(b'[');
    for (index, partition) in view.partitions.iter().enumerate() {
        separate(body, index);
        body.extend_from_slice(b"{\"partition\":");
        write_text(body, partition.partition.as_str());
        body.extend_from_slice(b",\"applied\":");
        write_optional(body, partition.applied.map(|position| position.to_string()).as_deref());
        body.extend_from_slice(b",\"emitted\":");
        write_optional(body, partition.emitted.map(|position| position.to_string()).as_deref());
        body.push(b'}');
    }
    body.push(b']');
}

fn write_optional(body: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => write_text(body, text),
        None => body.extend_from_slice(b"null"),
    }
}
