//! `POST /v1/views/{view}/rewind`: a view takes events again from a point on. Decides nothing: it reads the point, asks
//! the flow, and says what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;
use model::error::Disposition;
use model::position::Partition;
use model::source::Point;
use model::status::{Rewound, ViewState, ViewStatus};
use model::time::parse_rfc3339;
use serde::Deserialize;

use crate::directory::Missing;
use crate::json::{separate, write_integer, write_text};
use crate::lookup;
use crate::problem::{Problem, Reply, reply};
use crate::request::{Members, Scalar};
use crate::state::Inner;
use crate::suggest;

const EXAMPLE: &str = "such as {\"to\":\"earliest\"}, {\"to\":\"2026-01-02T03:04:05Z\"}, {\"to\":1200} or \
                       {\"to\":{\"ads-0\":1200,\"ads-1\":0}}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RewindBody<'a> {
    #[serde(borrow)]
    to: To<'a>,
}

/// A point as it was sent.
enum To<'a> {
    One(Scalar<'a>),
    Numbers(Members<'a, Scalar<'a>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for To<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let raw = <&'de serde_json::value::RawValue>::deserialize(deserializer)?.get();
        if raw.starts_with('{') {
            serde_json::from_str(raw).map(To::Numbers).map_err(D::Error::custom)
        } else {
            serde_json::from_str(raw).map(To::One).map_err(D::Error::custom)
        }
    }
}

/// Rewinds a view.
pub(crate) async fn rewind(inner: &Inner, name: &str, body: &[u8]) -> Result<Reply, Problem> {
    let directory = inner.directory();
    if directory.view(name).is_none() {
        return Err(lookup::missing(&directory, &Missing::View { view: name.to_owned() }));
    }
    let request: RewindBody<'_> = serde_json::from_slice(body).map_err(|error| {
        let (code, message) = if body.trim_ascii().is_empty() {
            ("empty_body", "the body is empty".to_owned())
        } else {
            ("bad_body", format!("the body cannot be read: {error}"))
        };
        Problem::new(StatusCode::BAD_REQUEST, code, message, EXAMPLE)
    })?;
    let status = inner.state.overview.status(name);
    let status = status.filter(|status| can_rewind(&status.state)).ok_or_else(|| {
        let state = inner.state.overview.state(name).map_or("not started", |state| state.name());
        Problem::new(
            StatusCode::CONFLICT,
            "view_not_running",
            format!("view `{name}` is {state}"),
            "repeat the request once it runs; /readyz shows why it does not",
        )
    })?;
    let point = point(&request.to, &status)?;
    let (control, view) = (Arc::clone(&inner.state.control), name.to_owned());
    // It waits for what the view has begun, and for the disk.
    let rewound = tokio::task::spawn_blocking(move || control.rewind(&view, &point)).await;
    let rewound = rewound.map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "cannot_rewind",
            format!("rewinding view `{name}` broke off: {error}"),
            "please report this",
        )
    })?;
    match rewound {
        Ok(rewound) => {
            tracing::info!(view = name, epoch = rewound.epoch, "rewound on request");
            Ok(reply(StatusCode::OK, write(name, &rewound)))
        }
        Err(failure) => {
            let message = format!("failed to {failure}");
            Err(match failure.disposition {
                Disposition::Retry => Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "rewind_unavailable",
                    message,
                    "nothing was changed; repeat the request",
                )
                .retry(),
                Disposition::Stop => Problem::new(
                    StatusCode::CONFLICT,
                    "cannot_rewind",
                    message,
                    "nothing was changed; choose another point, or mend what the message names",
                ),
            })
        }
    }
}

fn can_rewind(state: &ViewState) -> bool {
    match state {
        ViewState::Running
        | ViewState::CatchingUp
        | ViewState::Recovering
        // The way out of what cannot be read any more.
        | ViewState::Paused { .. } => true,
        ViewState::Starting | ViewState::Draining | ViewState::Stopped | ViewState::Failed { .. } => false,
    }
}

fn point(to: &To<'_>, status: &ViewStatus) -> Result<Point, Problem> {
    match to {
        To::One(Scalar::Text(text)) => match text.as_ref() {
            "earliest" => Ok(Point::Earliest),
            "latest" => Ok(Point::Latest),
            "committed" => Ok(Point::Committed),
            other => parse_rfc3339(other.as_bytes()).map(Point::Time).map_err(|_| {
                let shown: String = other.chars().take(100).collect();
                bad_point(format!(
                    "`{shown}` is none of `earliest`, `latest`, `committed`, and no RFC 3339 time"
                ))
            }),
        },
        To::One(scalar) => {
            let number = number(scalar).ok_or_else(|| {
                bad_point("`to` is neither a text, a number from 0 on, nor an object".to_owned())
            })?;
            let everywhere = status.partitions.iter().map(|known| (known.partition.clone(), number));
            let numbers: BTreeMap<Partition, u64> = everywhere.collect();
            if numbers.is_empty() {
                return Err(Problem::new(
                    StatusCode::CONFLICT,
                    "cannot_rewind",
                    format!("view `{}` reads no partition on this host", status.view),
                    "ask a host that reads some; /readyz lists them",
                ));
            }
            Ok(Point::Numbers(numbers))
        }
        To::Numbers(Members(entries)) => {
            let mut numbers = BTreeMap::new();
            for (name, scalar) in entries {
                let partition = partition(name, status)?;
                let number = number(scalar)
                    .ok_or_else(|| bad_point(format!("`{name}` has no number from 0 on as its value")))?;
                if numbers.insert(partition, number).is_some() {
                    return Err(bad_point(format!("`{name}` names a partition that stands twice")));
                }
            }
            if numbers.is_empty() {
                return Err(bad_point("`to` names no partition".to_owned()));
            }
            Ok(Point::Numbers(numbers))
        }
    }
}

fn number(scalar: &Scalar<'_>) -> Option<u64> {
    match scalar {
        Scalar::Int(number) => u64::try_from(*number).ok(),
        Scalar::UInt(number) => Some(*number),
        _ => None,
    }
}

/// The partition of that name; its number is enough where only one topic has it.
fn partition(name: &str, status: &ViewStatus) -> Result<Partition, Problem> {
    let known: Vec<&Partition> = status.partitions.iter().map(|known| &known.partition).collect();
    if let Some(same) = known.iter().find(|known| known.as_str() == name) {
        return Ok((*same).clone());
    }
    let numbered =
        |known: &&&Partition| known.as_str().rsplit_once('-').is_some_and(|(_, number)| number == name);
    let mut found = known.iter().filter(numbered);
    if let (Some(only), None) = (found.next(), found.next()) {
        return Ok((**only).clone());
    }
    let names: Vec<&str> = known.iter().map(|known| known.as_str()).collect();
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_partition",
        format!("view `{}` reads no partition `{name}` on this host", status.view),
        suggest::hint(name, &names),
    ))
}

fn bad_point(message: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_rewind", message, EXAMPLE)
}

fn write(name: &str, rewound: &Rewound) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + 64 * rewound.partitions.len());
    out.extend_from_slice(b"{\"view\":");
    write_text(&mut out, name);
    out.extend_from_slice(b",\"epoch\":");
    write_integer(&mut out, rewound.epoch);
    out.extend_from_slice(b",\"partitions\":[");
    for (index, (partition, after)) in rewound.partitions.iter().enumerate() {
        separate(&mut out, index);
        out.extend_from_slice(b"{\"partition\":");
        write_text(&mut out, partition.as_str());
        out.extend_from_slice(b",\"after\":");
        match after {
            Some(position) => write_text(&mut out, &position.to_string()),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}
