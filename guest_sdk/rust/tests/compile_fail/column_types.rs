//! Fields whose types no column has.

use std::collections::HashMap;

use millrace::prelude::*;

#[derive(Input)]
struct Event<'a> {
    id: &'a str,
    counts: HashMap<String, i64>, //~ `HashMap<String, i64>` cannot be an input column
}

#[derive(Output)]
struct Row<'a> {
    id: &'a str,
    size: usize, //~ `usize` cannot be an output column
}

#[transform]
fn sized<'a>(event: Event<'a>) -> Row<'a> {
    Row { id: event.id, size: event.counts.len() }
}

fn main() {}
