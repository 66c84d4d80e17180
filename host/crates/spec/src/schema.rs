//! JSON Schemas for editors, from the same types that read the files.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;

use crate::raw::{RawDocument, RawHost};

/// Of one document of a view file.
pub fn view_schema() -> Value {
    schema::<RawDocument>("Millrace view file")
}

/// Of `host.yaml`.
pub fn host_schema() -> Value {
    schema::<RawHost>("Millrace host.yaml")
}

fn schema<T: JsonSchema>(title: &str) -> Value {
    // Draft 7 is what the YAML servers of editors know.
    let generator: SchemaGenerator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), title.into());
    }
    without_raw(&mut schema);
    schema
}

/// Types are called `RawView` and so on here; in an editor that would be noise.
fn without_raw(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Object(definitions)) = object.get_mut("definitions") {
                let renamed = std::mem::take(definitions)
                    .into_iter()
                    .map(|(name, schema)| (name.trim_start_matches("Raw").to_owned(), schema))
                    .collect();
                *definitions = renamed;
            }
            if let Some(Value::String(reference)) = object.get_mut("$ref") {
                *reference = reference.replace("#/definitions/Raw", "#/definitions/");
            }
            object.values_mut().for_each(without_raw);
        }
        Value::Array(items) => items.iter_mut().for_each(without_raw),
        _ => {}
    }
}
