//! `docs/http.md` is executed: each request block is sent, its answer compared with the block behind it.
//!
//! Requests run in the order of the page against one server. An answer block lists the headers that it cares for; a
//! JSON body is compared as JSON, any other as text, and lines of `…` stand for whatever else there is.

use crate::harness::Host;

const PAGE: &str = include_str!("../../../../../docs/http.md");

#[test]
fn every_example_holds() {
    let host = Host::start();
    let blocks = blocks(PAGE);
    assert!(blocks.len() >= 20, "the page lost its examples: {}", blocks.len());
    for pair in blocks.chunks(2) {
        let [("request", request), ("response", response)] = pair else {
            panic!("a request is followed by its response: {pair:#?}");
        };
        exchange(&host, request, response);
    }
}

/// Kind and text of each ```` ```http KIND ```` block.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    page.split("```http ")
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0.split_once('\n').unwrap())
        .collect()
}

#[track_caller]
fn exchange(host: &Host, request: &str, response: &str) {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
    let headers: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let answer = host.send(method, path, &headers, body);

    let (head, expected) = response.split_once("\n\n").unwrap_or((response, ""));
    let mut lines = head.lines();
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(answer.status, status, "{request}\n{}", answer.body);
    for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
        assert_eq!(answer.header(name), Some(value), "{request}");
    }
    match serde_json::from_str::<serde_json::Value>(expected) {
        Ok(expected) => assert_eq!(answer.json(), expected, "{request}\n{}", answer.body),
        Err(_) => {
            let mut actual = answer.body.as_str();
            for part in expected.split("…\n").map(str::trim).filter(|part| !part.is_empty()) {
                let found = actual.find(part).unwrap_or_else(|| panic!("no\n{part}\nin\n{actual}"));
                actual = &actual[found + part.len()..];
            }
            assert_eq!(expected.trim().is_empty(), answer.body.is_empty(), "{request}\n{}", answer.body);
        }
    }
}
