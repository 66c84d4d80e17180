//! Reading a request body: bounded in bytes and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};

use crate::problem::Problem;
use crate::state::ServeSettings;

/// A refused body is read and thrown away up to here: most clients look for the answer only after they have sent
/// everything, and would otherwise see nothing but a broken connection.
const DISCARDED_BYTES: u64 = 256 << 20;

/// A declared length is believed up to here; room for more is made as it arrives.
const TRUSTED_BYTES: usize = 4 << 20;

/// How long discarding may take.
const DISCARDING_TIME: Duration = Duration::from_secs(5);

/// The whole body.
pub(crate) async fn read(body: Incoming, settings: &ServeSettings) -> Result<Bytes, Problem> {
    let limit = u64::try_from(settings.max_body_bytes).unwrap_or(u64::MAX);
    if body.size_hint().lower() > limit {
        let declared = body.size_hint().lower();
        discard(body, declared).await;
        return Err(too_large(settings, Some(declared)));
    }
    match tokio::time::timeout(settings.body_timeout, collect(body, settings)).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            format!("the body did not arrive within {} s", settings.body_timeout.as_secs_f32()),
            "send it faster or in several requests",
        )),
    }
}

async fn collect(mut body: Incoming, settings: &ServeSettings) -> Result<Bytes, Problem> {
    let mut whole: Option<BytesMut> = None;
    let mut first = Bytes::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "broken_body",
                format!("the body broke off: {error}"),
                "send as many bytes as `Content-Length` says, or valid chunks",
            )
        })?;
        // Trailers carry nothing that any endpoint asks for.
        let Ok(data) = frame.into_data() else { continue };
        if first.is_empty() && whole.is_none() {
            first = data;
            if first.len() > settings.max_body_bytes {
                return Err(too_large(settings, None));
            }
            continue;
        }
        let so_far = whole.get_or_insert_with(|| {
            let rest = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(TRUSTED_BYTES);
            let mut whole = BytesMut::with_capacity(first.len() + data.len() + rest);
            whole.extend_from_slice(&first);
            whole
        });
        if so_far.len() + data.len() > settings.max_body_bytes {
            return Err(too_large(settings, None));
        }
        so_far.extend_from_slice(&data);
    }
    // A body of one frame, as nearly all small ones are, was never copied.
    Ok(whole.map_or(first, BytesMut::freeze))
}

async fn discard(mut body: Incoming, declared: u64) {
    if declared > DISCARDED_BYTES {
        return;
    }
    let reading = async { while let Some(Ok(_)) = body.frame().await {} };
    if tokio::time::timeout(DISCARDING_TIME, reading).await.is_err() {
        tracing::debug!(declared, "gave up discarding a body that is too large");
    }
}

fn too_large(settings: &ServeSettings, declared: Option<u64>) -> Problem {
    let size = declared.map_or_else(|| "more".to_owned(), |bytes| format!("{bytes} bytes"));
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body has {size}; at most {} bytes are taken", settings.max_body_bytes),
        format!("send several requests, or raise `{}` in host.yaml", settings.max_body_key),
    )
}
