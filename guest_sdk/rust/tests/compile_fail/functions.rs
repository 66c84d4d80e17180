//! Functions that are no transforms.

use millrace::prelude::*;

#[derive(Input)]
struct Event {
    id: i64,
}

#[derive(Output)]
struct Row {
    id: i64,
}

struct Plain {
    id: i64,
}

#[transform]
fn nothing() -> Row { //~ this is written `fn(event: In) -> Out`
    Row { id: 1 }
}

#[transform]
fn no_output(event: Event) -> Plain { //~ a transform cannot return `Plain`
    Plain { id: event.id }
}

#[transform]
fn no_input(event: Plain) -> Row { //~ `Plain` is no input of a transform
    Row { id: event.id }
}

#[transform]
fn owned(event: Event, settings: Plain) -> Row { //~ parameters and context are borrowed
    Row { id: event.id + settings.id }
}

#[transform(column)] //~ unknown option; known are `columns`, `name = "…"` and `version = "…"`
fn misspelled(event: Event) -> Row {
    Row { id: event.id }
}

#[transform]
async fn later(event: Event) -> Row { //~ a transform is called and answers: it cannot be async
    Row { id: event.id }
}

fn main() {}
