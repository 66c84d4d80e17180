//! `POST /v1/push/{source}`: one event per line, or a JSON array of them; answered once the log is synced.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use memchr::memchr;
use model::error::Disposition;
use model::source::{Push, PushAck, PushError, PushRequest};
use serde_json::value::RawValue;

use crate::directory::PushEntry;
use crate::health::Phase;
use crate::json::{separate, write_integer, write_text};
use crate::ops;
use crate::problem::{Problem, Reply, reply};
use crate::state::Inner;
use crate::suggest;

/// Events of one push at most: each refused one takes a line of the answer.
pub(crate) const MAX_PUSH_ROWS: usize = 100_000;

const PRODUCER: &str = "millrace-producer";
const SEQUENCE: &str = "millrace-sequence";

/// Bytes of a producer's name at most; the log remembers the names of many producers.
const MAX_PRODUCER_BYTES: usize = 128;

/// What a client says of its push besides the events.
#[derive(Debug, Default)]
pub(crate) struct PushOptions {
    /// The client's own name and count.
    producer: Option<(String, u64)>,
    /// The body is declared to be JSON rather than lines of it.
    json: bool,
}

/// Events within a body.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) body: Bytes,
    pub(crate) ranges: Vec<(u32, u32)>,
}

impl PushOptions {
    /// Reads the headers.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let producer = match (text(PRODUCER), text(SEQUENCE)) {
            (None, None) => None,
            (Some(producer), Some(sequence)) => {
                let Ok(number) = sequence.parse() else {
                    return Err(bad_producer(format!(
                        "`Millrace-Sequence: {sequence}` is not a whole number of 64 bits"
                    )));
                };
                if producer.is_empty() || producer.len() > MAX_PRODUCER_BYTES {
                    return Err(bad_producer(format!(
                        "`Millrace-Producer` must have 1 to {MAX_PRODUCER_BYTES} visible ASCII characters"
                    )));
                }
                Some((producer.to_owned(), number))
            }
            (Some(_), None) => {
                return Err(bad_producer("`Millrace-Producer` without `Millrace-Sequence`".to_owned()));
            }
            (None, Some(_)) => {
                return Err(bad_producer("`Millrace-Sequence` without `Millrace-Producer`".to_owned()));
            }
        };
        let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
        let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
        Ok(Self { producer, json: essence.trim_ascii().eq_ignore_ascii_case(b"application/json") })
    }
}

fn bad_producer(message: String) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad_producer",
        message,
        "send both headers or none: a name of your own and a number that rises by each push",
    )
}

/// The push source of that name, if it takes pushes now.
pub(crate) fn push_source(inner: &Inner, name: &str) -> Result<Arc<PushEntry>, Problem> {
    if inner.state.health.phase() == Phase::Draining {
        return Err(ops::draining());
    }
    let directory = inner.directory();
    let Some(entry) = directory.source(name) else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_source",
            format!("unknown source `{name}`"),
            suggest::hint(name, &directory.source_names()),
        ));
    };
    if entry.push.is_none() {
        return Err(not_pushable(name, entry));
    }
    Ok(Arc::clone(entry))
}

/// The source exists but reads elsewhere.
pub(crate) fn not_pushable(name: &str, entry: &PushEntry) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "not_a_push_source",
        format!("source `{name}` is a {} source: it takes no pushes", entry.kind),
        "declare it with `push: {}` to push to it",
    )
}

/// Takes a push.
pub(crate) async fn push(
    inner: &Inner,
    name: &str,
    entry: &PushEntry,
    options: PushOptions,
    body: Bytes,
) -> Result<Reply, Problem> {
    let Some(push) = &entry.push else { return Err(not_pushable(name, entry)) };
    let rows = split(body, options.json, entry.raw)?;
    let ack = push_rows(inner, name, push.as_ref(), options, rows).await?;
    let mut members = Vec::with_capacity(64 + 96 * ack.rejected.len());
    write_refused(&mut members, &ack);
    if let (0, false, Some(first)) = (ack.accepted, ack.repeated, ack.rejected.first()) {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "no_good_rows",
            format!(
                "none of {} events was taken; event {}: {}",
                ack.rejected.len(),
                first.row,
                first.message
            ),
            "mend the events listed in `rejected`",
        )
        .with_members(members));
    }
    members[0] = b'{';
    if ack.repeated {
        members.extend_from_slice(b",\"repeated\":true");
    }
    members.push(b'}');
    Ok(reply(StatusCode::OK, members))
}

/// Hands events over and translates refusals of the whole push.
pub(crate) async fn push_rows(
    inner: &Inner,
    name: &str,
    push: &dyn Push,
    options: PushOptions,
    rows: Rows,
) -> Result<PushAck, Problem> {
    let request = PushRequest { body: rows.body, rows: rows.ranges, producer: options.producer };
    let ack = push.push(request).await.map_err(|error| refused(inner, name, &error))?;
    if !ack.repeated {
        inner.metrics.count_pushed(ack.accepted, ack.rejected.len());
    }
    Ok(ack)
}

fn refused(inner: &Inner, name: &str, error: &PushError) -> Problem {
    let message = error.to_string();
    match error {
        PushError::Full(_) => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "log_full",
            message,
            "repeat after the time in `Retry-After`; /readyz shows which view is behind",
        )
        .retry(),
        PushError::OutOfSequence { last, .. } => Problem::new(
            StatusCode::CONFLICT,
            "out_of_sequence",
            message,
            format!("go on with a sequence above {last}; only the last push may be repeated"),
        ),
        PushError::Stopping if inner.state.health.phase() == Phase::Draining => ops::draining(),
        // Its declaration has changed, or it is gone: the next request is told which.
        PushError::Stopping => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "log_unavailable",
            format!("source `{name}` is being opened anew after a change of its declaration"),
            "nothing is acknowledged: repeat the request",
        )
        .retry(),
        PushError::Failed(failure) => {
            // The source says once that it fails; each client is told by its answer.
            tracing::debug!(source = name, %failure, "failed to log a push");
            let message = format!("failed to log the events of source `{name}`: {failure}");
            match failure.disposition {
                Disposition::Retry => Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "log_unavailable",
                    message,
                    "nothing is acknowledged: repeat the request; /readyz says what is wrong",
                )
                .retry(),
                Disposition::Stop => Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "log_failed",
                    message,
                    "nothing is acknowledged; an operator has to mend this, the host's log says more",
                ),
            }
        }
    }
}

/// Appends `,"accepted":…,"rejected":[…]`.
pub(crate) fn write_refused(out: &mut Vec<u8>, ack: &PushAck) {
    out.extend_from_slice(b",\"accepted\":");
    write_integer(out, ack.accepted);
    out.extend_from_slice(b",\"rejected\":[");
    for (index, refused) in ack.rejected.iter().enumerate() {
        separate(out, index);
        out.extend_from_slice(b"{\"row\":");
        write_integer(out, refused.row);
        out.extend_from_slice(b",\"code\":");
        write_text(out, refused.code);
        out.extend_from_slice(b",\"message\":");
        write_text(out, &refused.message);
        out.push(b'}');
    }
    out.push(b']');
}

/// More events than one push may have.
pub(crate) fn too_many_rows(count: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_many_rows",
        format!("{count} rows are too many for one push; at most {MAX_PUSH_ROWS} are taken"),
        "send several requests",
    )
}

/// Finds the events: lines, or the elements of an array. An array is recognized without its content type too, as no
/// JSON event begins with a bracket; lines of raw sources may.
fn split(body: Bytes, json: bool, raw: bool) -> Result<Rows, Problem> {
    if u32::try_from(body.len()).is_err() {
        return Err(too_many_rows(body.len()));
    }
    let ranges = match body.trim_ascii_start().first() {
        None => Vec::new(),
        Some(b'[') if json || !raw => array(&body)?,
        // A single object, perhaps over several lines; or lines, whatever the content type says.
        Some(b'{') if json => objects(&body).map_or_else(|| lines(&body), Ok)?,
        Some(_) => lines(&body)?,
    };
    if ranges.is_empty() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "empty_body",
            "the body holds no events",
            "send one event per line, or a JSON array of them with `Content-Type: application/json`",
        ));
    }
    Ok(Rows { body, ranges })
}

/// Lines without the white space around them; blank ones are no events.
fn lines(body: &[u8]) -> Result<Vec<(u32, u32)>, Problem> {
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < body.len() {
        let end = memchr(b'\n', &body[start..]).map_or(body.len(), |length| start + length);
        let line = &body[start..end];
        let trimmed = line.trim_ascii_start();
        if !trimmed.is_empty() {
            let from = end - trimmed.len();
            add(&mut ranges, from..from + trimmed.trim_ascii_end().len())?;
        }
        start = end + 1;
    }
    Ok(ranges)
}

fn array(body: &[u8]) -> Result<Vec<(u32, u32)>, Problem> {
    let elements: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_body",
            format!("the array cannot be read: {error}"),
            "send a valid JSON array, or one event per line",
        )
    })?;
    let mut ranges = Vec::with_capacity(elements.len());
    for element in elements {
        add(&mut ranges, within(body, element.get().as_bytes()))?;
    }
    Ok(ranges)
}

/// JSON objects one after the other; `None` if that is not what the body is.
fn objects(body: &[u8]) -> Option<Vec<(u32, u32)>> {
    let mut ranges = Vec::new();
    for object in serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>() {
        add(&mut ranges, within(body, object.ok()?.get().as_bytes())).ok()?;
    }
    Some(ranges)
}

fn add(ranges: &mut Vec<(u32, u32)>, range: Range<usize>) -> Result<(), Problem> {
    if ranges.len() == MAX_PUSH_ROWS {
        return Err(too_many_rows(MAX_PUSH_ROWS + 1));
    }
    let narrow =
        |position| u32::try_from(position).expect("the length of the body was checked to fit 32 bits");
    ranges.push((narrow(range.start), narrow(range.end)));
    Ok(())
}

/// Where a slice stands in the body that it was taken from.
fn within(body: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - body.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
mod tests;
