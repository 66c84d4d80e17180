//! What a component says of itself, checked: everything here comes from the guest and is shown to people.

use std::collections::HashSet;

use model::schema::{DataType, Field};
use model::transform::{Description, Parameter};

use crate::bindings::millrace::transform::types as wit;

/// Bytes of a name at most: of the component, a version, a column, a field of a struct, a parameter.
const MAX_NAME: usize = 128;
/// Columns of a schema at most, and parameters.
const MAX_COLUMNS: usize = 1_000;
/// Columns at most when the children of nested types are counted.
const MAX_ALL_COLUMNS: usize = 4_000;
/// Bytes of the text of a type at most.
const MAX_TYPE: usize = 64 << 10;
/// Bytes of the line that explains a parameter.
const MAX_DOC: usize = 1_024;
/// What a parameter may be.
const KINDS: [&str; 7] = ["bool", "integer", "number", "string", "list", "object", "any"];

/// Checks a description and reads its types. The error says what is wrong.
pub(crate) fn check(description: wit::Description) -> Result<Description, String> {
    text("its name", &description.name, 1, MAX_NAME)?;
    text("its version", &description.version, 0, MAX_NAME)?;
    let input = fields("input", description.input)?;
    let output = fields("output", description.output)?;
    if output.is_empty() {
        return Err("it has no output column; a transform produces at least one".to_owned());
    }
    let parameters = parameters(description.parameters)?;
    Ok(Description { name: description.name, version: description.version, input, output, parameters })
}

fn fields(side: &str, described: Vec<wit::FieldResult>) -> Result<Vec<Field>, String> {
    if described.len() > MAX_COLUMNS {
        return Err(format!("it has {} {side} columns, {MAX_COLUMNS} are allowed", described.len()));
    }
    let mut names = HashSet::new();
    let mut fields = Vec::with_capacity(described.len());
    let mut all_columns = 0;
    for (index, field) in described.into_iter().enumerate() {
        text(&format!("the name of its {side} column {index}"), &field.name, 1, MAX_NAME)?;
        if !names.insert(field.name.clone()) {
            return Err(format!("its {side} column `{}` stands there twice", field.name));
        }
        if field.data_type.len() > MAX_TYPE {
            return Err(format!(
                "the type of its {side} column `{}` has more than {MAX_TYPE} bytes",
                field.name
            ));
        }
        let data_type: DataType = field.data_type.parse().map_err(|error| {
            format!("the type of its {side} column `{}` cannot be read: {error}", field.name)
        })?;
        all_columns += count(&data_type)?;
        fields.push(Field { name: field.name, data_type, nullable: field.nullable });
    }
    if all_columns > MAX_ALL_COLUMNS {
        return Err(format!(
            "its {side} consists of {all_columns} columns, nested ones included; {MAX_ALL_COLUMNS} are allowed"
        ));
    }
    Ok(fields)
}

/// Columns that a type takes; names of struct fields are checked on the way. Depth is bounded by the type parser.
fn count(data_type: &DataType) -> Result<usize, String> {
    if let DataType::Struct(fields) = data_type {
        for (name, _) in fields {
            text("the name of a struct's field", name, 1, MAX_NAME)?;
        }
    }
    data_type.children().into_iter().try_fold(1, |sum, child| Ok(sum + count(child)?))
}

fn parameters(described: Vec<wit::Parameter>) -> Result<Vec<Parameter>, String> {
    if described.len() > MAX_COLUMNS {
        return Err(format!("it has {} parameters, {MAX_COLUMNS} are allowed", described.len()));
    }
    let mut names = HashSet::new();
    let mut parameters = Vec::with_capacity(described.len());
    for wit::Parameter { name, kind, required, doc } in described {
        text("the name of a parameter", &name, 1, MAX_NAME)?;
        if !names.insert(name.clone()) {
            return Err(format!("its parameter `{name}` stands there twice"));
        }
        if !KINDS.contains(&kind.as_str()) {
            return Err(format!(
                "the kind of its parameter `{name}` is `{}`; known are `{}`",
                crate::log::cut(&kind, MAX_NAME).escape_debug(),
                KINDS.join("`, `")
            ));
        }
        text(&format!("the explanation of its parameter `{name}`"), &doc, 0, MAX_DOC)?;
        parameters.push(Parameter { name, kind, required, doc });
    }
    Ok(parameters)
}

/// Bounds a text and refuses characters that would garble a log or a terminal.
fn text(what: &str, value: &str, least: usize, most: usize) -> Result<(), String> {
    if value.len() < least || value.len() > most {
        return Err(format!("{what} has {} bytes, {least} to {most} are allowed", value.len()));
    }
    if let Some(odd) = value.chars().find(|character| character.is_control() && *character != '\n') {
        return Err(format!("{what} holds the control character `{}`", odd.escape_debug()));
    }
    Ok(())
}
