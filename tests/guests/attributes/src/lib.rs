//! Shows a transform what a source knows of its events beside their payloads: each of it becomes a feature.

use millrace::prelude::*;

#[derive(Input)]
struct Event<'a> {
    user_uuid: &'a str,
    timestamp: Timestamp,
    _key: Option<&'a [u8]>,
    _headers: Vec<Header<'a>>,
    _partition: &'a str,
    _offset: Option<i64>,
    _position: &'a [u8],
    _ingest_time: Timestamp,
}

#[derive(Input)]
struct Header<'a> {
    name: &'a str,
    value: Option<&'a [u8]>,
}

#[derive(Output)]
struct Attributes<'a> {
    user_id: &'a str,
    key: Option<String>,
    headers: String,
    partition: &'a str,
    offset: Option<i64>,
    position: &'a [u8],
    ingest_time: Timestamp,
    timestamp: Timestamp,
}

#[transform]
fn attributes<'a>(event: Event<'a>) -> Attributes<'a> {
    let headers: Vec<String> =
        event._headers.iter().map(|header| format!("{}={}", header.name, header.value.map_or_else(|| "null".to_owned(), text))).collect();
    Attributes {
        user_id: event.user_uuid,
        key: event._key.map(text),
        headers: headers.join(","),
        partition: event._partition,
        offset: event._offset,
        position: event._position,
        ingest_time: event._ingest_time,
        timestamp: event.timestamp,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
