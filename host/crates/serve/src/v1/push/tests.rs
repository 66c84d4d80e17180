//! Where events begin and end in a body.

use super::*;

#[track_caller]
fn check(body: &str, json: bool, raw: bool, expected: Result<&[&str], &&str>) {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let actual = split(body.clone(), json, raw).map_err(|problem| problem.code()).map(|rows| {
        rows.ranges
            .iter()
            .map(|(start, end)| std::str::from_utf8(&body[*start as usize..*end as usize]).unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(actual.as_deref(), expected);
}

#[test]
fn lines_are_events() {
    check(
        "{\"a\":1}\n\r\n  {\"a\":2} \r\n{\"a\":3}",
        false,
        false,
        Ok(&["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]),
    );
    check("not json\n", false, false, Ok(&["not json"]));
    check("[1]\n[2]", false, true, Ok(&["[1]", "[2]"]));
    check("", false, false, Err(&"empty_body"));
    check(" \r\n\n", true, true, Err(&"empty_body"));
}

#[test]
fn json_is_an_array_an_object_or_lines() {
    check(" [{\"a\":1},\n {\"a\":2}]", false, false, Ok(&["{\"a\":1}", "{\"a\":2}"]));
    check("[{\"a\":1}, 7]", true, true, Ok(&["{\"a\":1}", "7"]));
    check("{\"a\":\n1}", true, false, Ok(&["{\"a\":\n1}"]));
    check("{\"a\":1}\n{\"a\":2}", true, false, Ok(&["{\"a\":1}", "{\"a\":2}"]));
    check("{\"a\":1}\n{oops\n{\"a\":2}", true, false, Ok(&["{\"a\":1}", "{oops", "{\"a\":2}"]));
    check("[{\"a\":1}", true, false, Err(&"bad_body"));
    check("[]", true, false, Err(&"empty_body"));
}

#[test]
fn too_many_events_are_refused() {
    check(&"x\n".repeat(MAX_PUSH_ROWS + 1), false, true, Err(&"too_many_rows"));
}
