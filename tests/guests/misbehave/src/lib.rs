//! The ad-impression transform, but it misbehaves as the parameter `do` says: always, or for the user `bad` only.

use millrace::prelude::*;

#[derive(Input)]
struct Impression<'a> {
    user_uuid: &'a str,
    timestamp: Timestamp,
}

#[derive(Params)]
struct Settings {
    /// How to misbehave: `nothing`, `spin`, `bomb`, `panic`, `recurse`, `reject`, `dawdle`.
    r#do: String,
    /// Whether only for the user `bad`.
    #[millrace(default)]
    only_bad: bool,
}

#[derive(Output)]
struct Count<'a> {
    user_id: &'a str,
    impression: i64,
    timestamp: Timestamp,
}

#[transform]
fn misbehave<'a>(event: Impression<'a>, settings: &Settings) -> Result<Count<'a>, Reject> {
    if !settings.only_bad || event.user_uuid == "bad" {
        match settings.r#do.as_str() {
            "spin" => spin(),
            "bomb" => bomb(),
            "panic" => panic!("cannot bear {}", event.user_uuid),
            "recurse" => drop(recurse(1)),
            "dawdle" => dawdle(),
            "reject" => reject!("do not like {}", event.user_uuid),
            _ => {}
        }
    }
    Ok(Count { user_id: event.user_uuid, impression: 1, timestamp: event.timestamp })
}

fn spin() {
    let mut number = 1_u64;
    while std::hint::black_box(number) != 0 {
        number |= 1;
    }
}

/// Takes a millisecond or so.
fn dawdle() {
    let mut number = 1_u64;
    for round in 0..1_000_000 {
        number = std::hint::black_box(number.rotate_left(7) ^ round);
    }
}

fn bomb() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}

fn recurse(depth: u64) -> u64 {
    let local = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + local[7] }
}
