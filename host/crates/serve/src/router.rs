//! From method and path to an endpoint. A match instead of a table: there are few endpoints and none is added at run time.

use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use hyper::{Method, Request, StatusCode};

use crate::health::Phase;
use crate::problem::{Problem, Reply};
use crate::state::Inner;
use crate::{body, feast, ops, query, suggest, v1};

/// What a path leads to; the number is its place in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    GetOnlineFeatures,
    Push,
    WriteToOnlineStore,
    Materialize,
    MaterializeIncremental,
    V1Features,
    V1Push,
    V1Rewind,
    Health,
    Livez,
    Readyz,
    Metrics,
    /// Every unknown path.
    Other,
}

impl Endpoint {
    pub(crate) const ALL: [Self; 13] = [
        Self::GetOnlineFeatures,
        Self::Push,
        Self::WriteToOnlineStore,
        Self::Materialize,
        Self::MaterializeIncremental,
        Self::V1Features,
        Self::V1Push,
        Self::V1Rewind,
        Self::Health,
        Self::Livez,
        Self::Readyz,
        Self::Metrics,
        Self::Other,
    ];

    /// The label in metrics and the pattern in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GetOnlineFeatures => "/get-online-features",
            Self::Push => "/push",
            Self::WriteToOnlineStore => "/write-to-online-store",
            Self::Materialize => "/materialize",
            Self::MaterializeIncremental => "/materialize-incremental",
            Self::V1Features => "/v1/features/{view}",
            Self::V1Push => "/v1/push/{source}",
            Self::V1Rewind => "/v1/views/{view}/rewind",
            Self::Health => "/health",
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::Other => "other",
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Self::V1Features => "GET, HEAD, POST",
            Self::Health | Self::Livez | Self::Readyz | Self::Metrics => "GET, HEAD",
            _ => "POST",
        }
    }

    /// Whether Feast's clients speak to it.
    fn is_feast(self) -> bool {
        matches!(
            self,
            Self::GetOnlineFeatures
                | Self::Push
                | Self::WriteToOnlineStore
                | Self::Materialize
                | Self::MaterializeIncremental
        )
    }

    /// Whether it can only be answered once views are set up.
    fn needs_views(self) -> bool {
        matches!(
            self,
            Self::GetOnlineFeatures | Self::Push | Self::V1Features | Self::V1Push | Self::V1Rewind
        )
    }

    /// The endpoint of a path, and the name that stands in it.
    fn of(path: &str) -> (Self, &str) {
        let endpoint = match path {
            "/get-online-features" => Self::GetOnlineFeatures,
            "/push" => Self::Push,
            "/write-to-online-store" => Self::WriteToOnlineStore,
            "/materialize" => Self::Materialize,
            "/materialize-incremental" => Self::MaterializeIncremental,
            "/health" => Self::Health,
            "/livez" => Self::Livez,
            "/readyz" => Self::Readyz,
            "/metrics" => Self::Metrics,
            other => {
                if let Some(view) = other.strip_prefix("/v1/features/") {
                    return (Self::V1Features, view);
                }
                if let Some(source) = other.strip_prefix("/v1/push/") {
                    return (Self::V1Push, source);
                }
                if let Some(view) =
                    other.strip_prefix("/v1/views/").and_then(|rest| rest.strip_suffix("/rewind"))
                {
                    return (Self::V1Rewind, view);
                }
                Self::Other
            }
        };
        (endpoint, "")
    }
}

/// Answers a request; there is always an answer.
pub(crate) async fn answer(inner: &Inner, request: Request<Incoming>) -> Reply {
    let started = Instant::now();
    let (endpoint, _) = Endpoint::of(request.uri().path());
    let reply = match dispatch(inner, endpoint, request).await {
        Ok(reply) => reply,
        Err(problem) => {
            tracing::debug!(
                endpoint = endpoint.name(),
                status = problem.status().as_u16(),
                code = problem.code(),
                message = problem.message(),
                "refused a request"
            );
            problem.into_reply(endpoint.is_feast())
        }
    };
    inner.metrics.observe(endpoint, reply.status(), started.elapsed());
    reply
}

async fn dispatch(inner: &Inner, endpoint: Endpoint, request: Request<Incoming>) -> Result<Reply, Problem> {
    let settings = &inner.state.settings;
    let get = request.method() == Method::GET || request.method() == Method::HEAD;
    let post = request.method() == Method::POST;
    if endpoint.needs_views() && inner.state.health.phase() == Phase::Starting {
        // Not even names can be judged before all views are known.
        return Err(ops::starting());
    }
    if post && let Some(encoding) = encoding(request.headers()) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            format!("bodies with `Content-Encoding: {encoding}` are not taken"),
            "send the body as it is",
        ));
    }
    match endpoint {
        Endpoint::GetOnlineFeatures if post => {
            let body = body::read(request.into_body(), settings).await?;
            feast::read(inner, &body).await
        }
        Endpoint::Push if post => {
            let body = body::read(request.into_body(), settings).await?;
            feast::push(inner, body).await
        }
        Endpoint::WriteToOnlineStore | Endpoint::Materialize | Endpoint::MaterializeIncremental if post => {
            Err(feast::later(endpoint))
        }
        Endpoint::V1Features if get => {
            let name = name_of(request.uri().path())?;
            v1::features_by_query(inner, &name, request.uri().query().unwrap_or_default()).await
        }
        Endpoint::V1Features if post => {
            let (head, body) = request.into_parts();
            let name = name_of(head.uri.path())?;
            let body = body::read(body, settings).await?;
            v1::features_by_body(inner, &name, &body).await
        }
        Endpoint::V1Push if post => {
            let (head, body) = request.into_parts();
            let name = name_of(head.uri.path())?;
            let options = v1::PushOptions::of(&head.headers)?;
            // A source that takes nothing says so before megabytes are sent to it.
            let source = v1::push_source(inner, &name)?;
            let body = body::read(body, settings).await?;
            v1::push(inner, &name, &source, options, body).await
        }
        Endpoint::V1Rewind if post => {
            let (head, body) = request.into_parts();
            let name = name_of(head.uri.path())?;
            let body = body::read(body, settings).await?;
            v1::rewind(inner, &name, &body).await
        }
        Endpoint::Health if get => ops::health(inner),
        Endpoint::Livez if get => Ok(ops::livez()),
        Endpoint::Readyz if get => Ok(ops::readyz(inner)),
        Endpoint::Metrics if get => ops::metrics(inner),
        Endpoint::Other => Err(unknown(request.uri().path())),
        known => Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("`{}` does not take {}", known.name(), request.method()),
            format!("use {}", known.methods()),
        )
        .allow(known.methods())),
    }
}

/// The encoding of a body that was not sent as it is.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let encoding = headers.get(CONTENT_ENCODING)?;
    (encoding != "identity").then(|| String::from_utf8_lossy(encoding.as_bytes()).chars().take(40).collect())
}

/// The decoded name at the end of a path.
fn name_of(path: &str) -> Result<String, Problem> {
    let (endpoint, encoded) = Endpoint::of(path);
    query::decode(encoded, false).filter(|name| !name.is_empty()).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_name",
            format!("`{path}` names nothing"),
            format!("use `{}`, percent-encoded UTF-8", endpoint.name()),
        )
    })
}

fn unknown(path: &str) -> Problem {
    let known: Vec<&str> =
        Endpoint::ALL.iter().filter(|known| **known != Endpoint::Other).map(|known| known.name()).collect();
    let shown = path.chars().take(100).collect::<String>();
    let help = match suggest::nearest(path, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", known.join(", ")),
    };
    Problem::new(StatusCode::NOT_FOUND, "unknown_path", format!("there is nothing at `{shown}`"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_has_its_number() {
        for (number, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint as usize, number);
            let path = endpoint.name();
            assert_eq!(Endpoint::of(path).0, endpoint);
        }
    }
}
