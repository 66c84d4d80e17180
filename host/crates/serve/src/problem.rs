//! What a client is told when a request cannot be done: one JSON shape with a stable code.
//!
//! `{"error":{"code":…,"message":…,"help":…}}`. Endpoints that Feast's clients know add Feast's `detail` to a 422, as
//! its server does. Codes are listed in `docs/http.md`; a test holds that list complete.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::json;

/// An answer; its body is written whole.
pub(crate) type Reply = Response<Full<Bytes>>;

/// Seconds after which a refused request is worth repeating.
const RETRY_SECONDS: &str = "1";

/// Every code that an answer can carry. They are promises: one that stands here keeps its meaning.
pub(crate) const CODES: &[&str] = &[
    "bad_body",
    "bad_join_key",
    "bad_name",
    "bad_producer",
    "bad_query",
    "bad_request",
    "bad_rewind",
    "bad_to",
    "body_timeout",
    "body_too_large",
    "broken_body",
    "cannot_rewind",
    "column_lengths",
    "draining",
    "empty_body",
    "empty_frame",
    "entity_lengths",
    "feature_name_collision",
    "frame_too_large",
    "log_failed",
    "log_full",
    "log_unavailable",
    "method_not_allowed",
    "metrics_failed",
    "missing_column",
    "missing_join_key",
    "no_good_rows",
    "not_a_push_source",
    "not_applied_in_time",
    "not_implemented",
    "not_online",
    "offline_not_implemented",
    "out_of_sequence",
    "recovering",
    "rewind_unavailable",
    "rows_refused",
    "starting",
    "store_failed",
    "store_unavailable",
    "too_many_rows",
    "unknown_feature",
    "unknown_join_key",
    "unknown_partition",
    "unknown_path",
    "unknown_service",
    "unknown_source",
    "unknown_view",
    "unsupported_encoding",
    "view_not_running",
];

/// Where in a Feast body a problem lies, and pydantic's word for it.
#[derive(Debug)]
struct Place {
    /// The path behind `body`.
    path: Vec<String>,
    /// Such as `missing` or `value_error`.
    kind: &'static str,
}

/// Why a request was refused. Boxed: it travels up through the results of a hot path that rarely needs it.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    message: String,
    help: Cow<'static, str>,
    retry: bool,
    allow: Option<&'static str>,
    /// Further members of the answer, such as `,"accepted":0`.
    members: Vec<u8>,
    place: Option<Place>,
}

impl Problem {
    /// A problem; `message` says what, `help` how to mend it.
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<Cow<'static, str>>,
    ) -> Self {
        debug_assert!(CODES.contains(&code), "`{code}` is not among the codes");
        Self(Box::new(Parts {
            status,
            code,
            message: message.into(),
            help: help.into(),
            retry: false,
            allow: None,
            members: Vec::new(),
            place: None,
        }))
    }

    /// Tells the client that the same request may work soon.
    #[must_use]
    pub(crate) fn retry(mut self) -> Self {
        self.0.retry = true;
        self
    }

    /// Names the methods that would have worked.
    #[must_use]
    pub(crate) fn allow(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// Adds members to the answer: bytes of the form `,"name":value`.
    #[must_use]
    pub(crate) fn with_members(mut self, members: Vec<u8>) -> Self {
        self.0.members = members;
        self
    }

    /// Says where in a Feast body the problem lies.
    #[must_use]
    pub(crate) fn at(mut self, kind: &'static str, path: &[&str]) -> Self {
        self.0.place = Some(Place { path: path.iter().map(|part| (*part).to_owned()).collect(), kind });
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// The answer. With `feast`, a 422 carries the `detail` that Feast's server would send.
    pub(crate) fn into_reply(self, feast: bool) -> Reply {
        let parts = *self.0;
        let mut body = Vec::with_capacity(256 + parts.message.len() + parts.members.len());
        body.extend_from_slice(b"{\"error\":{\"code\":");
        json::write_text(&mut body, parts.code);
        body.extend_from_slice(b",\"message\":");
        json::write_text(&mut body, &parts.message);
        body.extend_from_slice(b",\"help\":");
        json::write_text(&mut body, &parts.help);
        body.push(b'}');
        body.extend_from_slice(&parts.members);
        if feast && parts.status == StatusCode::UNPROCESSABLE_ENTITY {
            parts.write_detail(&mut body);
        }
        body.push(b'}');
        let mut reply = reply(parts.status, body);
        if parts.retry {
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        if let Some(methods) = parts.allow {
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        }
        reply
    }
}

impl Parts {
    fn write_detail(&self, body: &mut Vec<u8>) {
        let (kind, path) =
            self.place.as_ref().map_or(("value_error", &[][..]), |place| (place.kind, &place.path));
        body.extend_from_slice(b",\"detail\":[{\"type\":");
        json::write_text(body, kind);
        body.extend_from_slice(b",\"loc\":[\"body\"");
        for part in path {
            body.push(b',');
            json::write_text(body, part);
        }
        body.extend_from_slice(b"],\"msg\":");
        json::write_text(body, &self.message);
        body.extend_from_slice(b"}]");
    }
}

/// A JSON answer.
pub(crate) fn reply(status: StatusCode, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// 200 without a body or content type, as Feast answers a push.
pub(crate) fn empty() -> Reply {
    Response::new(Full::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(problem: Problem, feast: bool, expected: &str) {
        use http_body_util::BodyExt as _;
        let body = futures_util::FutureExt::now_or_never(problem.into_reply(feast).into_body().collect());
        assert_eq!(body.unwrap().unwrap().to_bytes(), expected);
    }

    #[test]
    fn every_code_is_documented() {
        let page = include_str!("../../../../docs/http.md");
        for code in CODES {
            assert!(page.contains(&format!("| `{code}` |")), "docs/http.md does not list `{code}`");
        }
        assert!(CODES.is_sorted(), "codes stand in alphabetical order");
    }

    #[test]
    fn problems_have_one_shape() {
        let problem = || {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_body", "field \"a\" is missing", "add it")
                .at("missing", &["df", "a"])
                .with_members(b",\"accepted\":0".to_vec())
        };
        check(
            problem(),
            false,
            r#"{"error":{"code":"bad_body","message":"field \"a\" is missing","help":"add it"},"accepted":0}"#,
        );
        check(
            problem(),
            true,
            concat!(
                r#"{"error":{"code":"bad_body","message":"field \"a\" is missing","help":"add it"},"accepted":0,"#,
                r#""detail":[{"type":"missing","loc":["body","df","a"],"msg":"field \"a\" is missing"}]}"#
            ),
        );
    }
}
