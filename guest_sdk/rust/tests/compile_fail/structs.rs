//! What cannot be derived on.

use millrace::prelude::*;

#[derive(Input)]
enum Event { //~ `Input` is derived on a struct with named fields, not on an enum
    Added,
}

#[derive(Output)]
struct Row(i64); //~ `Output` is derived on a struct with named fields, not on a struct without field names

#[derive(Input)]
struct Generic<T> { //~ columns have fixed types: write the type in place of a parameter
    value: T,
}

#[derive(Input)]
struct Renamed {
    #[millrace(nam = "id")] //~ unknown attribute; known are `name = "…"` and, for parameters, `default`
    value: i64,
}

#[derive(Output)]
struct Twice {
    id: i64,
    #[millrace(name = "id")]
    other: i64, //~ two fields are named `id`
}

fn main() {}
