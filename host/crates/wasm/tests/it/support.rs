//! Guests that `cargo xtask guests` has built, one engine for all tests, and batches to call them with.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, ListArray, RecordBatch, StringArray};
use model::schema::{DataType, Field, arrow_schema};
use model::transform::{CallContext, Component, Fault, Limits, Transform, TransformOptions, TransformOutput};
use wasm::{Admitted, Engine, EngineOptions};

/// The engine that tests share; tests that need other options make their own.
pub(crate) static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(EngineOptions::default()).unwrap());

/// The guest that misbehaves on demand.
pub(crate) static HOSTILE: LazyLock<Arc<Admitted>> = LazyLock::new(|| load("hostile"));

/// The file of a built guest.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../../target/guests/{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask guests`", path.display()))
}

pub(crate) fn load(name: &str) -> Arc<Admitted> {
    ENGINE.load_admitted(&format!("{name}.wasm"), &guest(name)).unwrap()
}

/// Limits that no honest test meets, even on a busy machine.
pub(crate) fn generous() -> Limits {
    Limits { time: Duration::from_secs(60), ..Limits::default() }
}

/// The hostile guest told what to do.
pub(crate) fn told(action: &str, limits: Limits) -> Box<dyn Transform> {
    HOSTILE.transform(&TransformOptions {
        view: Arc::from("clicks"),
        params: format!(r#"{{"do": "{action}"}}"#),
        limits,
    })
}

/// One batch to a hostile guest.
pub(crate) fn call(action: &str, limits: Limits, rows: usize) -> Result<TransformOutput, Fault> {
    told(action, limits).process(&batch(rows), &context())
}

pub(crate) fn context() -> CallContext {
    CallContext {
        view: Arc::from("clicks"),
        generation: 1,
        partition: Arc::from("0"),
        first_position: "00000000000000ff".to_owned(),
        attempt: 1,
    }
}

/// Columns of the hostile guest: row `i` holds the number `i`, a text, `i % 3` items, and whether `i` is even.
pub(crate) fn batch(rows: usize) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..i64::try_from(rows).unwrap());
    let texts = StringArray::from_iter_values((0..rows).map(|row| format!("text {row}")));
    let items = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..rows).map(|row| Some(vec![Some(7_i64); row % 3])),
    );
    let flags: BooleanArray = (0..rows).map(|row| Some(row % 2 == 0)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(texts), Arc::new(items), Arc::new(flags)];
    RecordBatch::try_new(arrow_schema(&fields()), columns).unwrap()
}

fn fields() -> Vec<Field> {
    vec![
        Field::nullable("number", DataType::Int64),
        Field::nullable("text", DataType::String),
        Field::nullable("items", DataType::List(Box::new(DataType::Int64))),
        Field::nullable("flag", DataType::Bool),
    ]
}

/// The functions of the contract as a core module exports them; all of them trap.
pub(crate) const CORE_FUNCTIONS: &str = r#"
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "millrace:transform/transform@0.1.0#describe") (result i32) unreachable)
    (func (export "millrace:transform/transform@0.1.0#open") (param i32 i32 i32 i32 i32) (result i32) unreachable)
    (func (export "millrace:transform/transform@0.1.0#process")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
"#;

/// A core module with these fields that carries the contract as bindings generators leave it.
pub(crate) fn core_module(fields: &str) -> Vec<u8> {
    let mut module = wat::parse_str(format!("(module {fields})")).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit");
    let (package, _) = resolve.push_dir(&wit).unwrap();
    let world = resolve.select_world(&[package], Some("view")).unwrap();
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        wit_component::StringEncoding::UTF8,
    )
    .unwrap();
    module
}
