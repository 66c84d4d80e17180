//! Endpoints of Feast's server that a later version answers. Said in words, so that nobody searches for a typing error.

use hyper::StatusCode;

use crate::problem::Problem;
use crate::router::Endpoint;

/// 501 for this endpoint.
pub(crate) fn later(endpoint: Endpoint) -> Problem {
    let help = match endpoint {
        Endpoint::WriteToOnlineStore => {
            "push events to the view's source with `POST /push` or `POST /v1/push/{source}`: its transform makes the rows"
        }
        _ => {
            "stream views keep the online store fresh by themselves; `start: earliest` reads a source from its beginning"
        }
    };
    Problem::new(
        StatusCode::NOT_IMPLEMENTED,
        "not_implemented",
        format!("`{}` arrives in a later version", endpoint.name()),
        help,
    )
}

/// 501 for a push that asks for the offline store.
pub(crate) fn offline(to: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_IMPLEMENTED,
        "offline_not_implemented",
        format!("`to: {to}`: the offline store arrives in a later version; nothing was taken"),
        "push with `to: online`",
    )
}
