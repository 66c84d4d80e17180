//! Reading a JSON body as Feast's server does, with an answer that says where it went wrong.

use std::borrow::Cow;

use hyper::StatusCode;
use serde::Deserialize;

use crate::problem::Problem;

/// A body of this form, or the 422 that Feast's clients know.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| problem(body, &error))
}

/// Python writes `NaN` into what it calls JSON, and Feast's server reads it. The same body with `null` for each `NaN`;
/// `None` if there is none to replace.
pub(super) fn without_nan(body: &[u8]) -> Option<Vec<u8>> {
    let mut mended = Vec::new();
    let mut copied = 0;
    let mut in_text = false;
    let mut index = 0;
    while index < body.len() {
        match body[index] {
            b'\\' if in_text => index += 1,
            b'"' => in_text = !in_text,
            b'N' if !in_text && body[index..].starts_with(b"NaN") => {
                mended.extend_from_slice(&body[copied..index]);
                mended.extend_from_slice(b"null");
                index += 2;
                copied = index + 1;
            }
            _ => {}
        }
        index += 1;
    }
    (copied > 0).then(|| {
        mended.extend_from_slice(&body[copied..]);
        mended
    })
}

fn problem(body: &[u8], error: &serde_json::Error) -> Problem {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "empty_body",
            "the body is empty",
            "send the JSON object that docs/http.md shows",
        )
        .at("missing", &[]);
    }
    let text = error.to_string();
    let field = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let (kind, path): (_, &[&str]) = match &field {
        Some(field) => ("missing", &[field]),
        None if error.is_data() => ("value_error", &[]),
        None => ("json_invalid", &[]),
    };
    let help: Cow<'static, str> = match field {
        Some(field) => format!("add `{field}` to the body").into(),
        None if error.is_data() => "docs/http.md shows the form of the body".into(),
        None => "send one JSON object".into(),
    };
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad_body",
        format!("the body cannot be read: {text}"),
        help,
    )
    .at(kind, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_nan_is_replaced() {
        let body = br#"{"a":[NaN, 1.0,NaN],"NaN \" NaN":"NaN"}"#;
        let expected = br#"{"a":[null, 1.0,null],"NaN \" NaN":"NaN"}"#;
        assert_eq!(without_nan(body).as_deref(), Some(&expected[..]));
        assert_eq!(without_nan(br#"{"a":"NaN"}"#), None);
        assert_eq!(without_nan(br#"{"a":"\"#), None);
    }
}
