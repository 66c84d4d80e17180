//! Parameters: the view's `params`, checked and read once, when an instance is opened.
//!
//! Behind the feature `params` (on by default), because it brings a JSON reader; a guest that has no parameters is
//! linked without it either way.

use crate::batch::Parameter;

/// What a transform may be configured with. Derive it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no set of parameters",
    note = "put `#[derive(Params)]` on the struct"
)]
pub trait Params: Sized + Send + Sync + 'static {
    /// Names, kinds and comments.
    fn describe() -> Vec<Parameter>;

    /// Reads one JSON object.
    fn from_json(text: &str) -> Result<Self, String>;
}

/// A transform without parameters.
impl Params for () {
    fn describe() -> Vec<Parameter> {
        Vec::new()
    }

    fn from_json(text: &str) -> Result<(), String> {
        let blank = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
        if blank.eq(*b"{}") || text.is_empty() {
            Ok(())
        } else {
            Err("this transform takes no parameters".to_owned())
        }
    }
}

/// A JSON object that is taken apart key by key: what the derived [`Params::from_json`] works with.
#[cfg(feature = "params")]
pub struct Object(serde_json::Map<String, serde_json::Value>);

#[cfg(feature = "params")]
impl Object {
    /// Reads a JSON object.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| format!("parameters are not a JSON object: {error}"))
    }

    /// Takes a value out; `None` if it is not given or null.
    pub fn take<T: serde::de::DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, String> {
        match self.0.remove(name) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(value) => match serde_json::from_value(value) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(format!("parameter `{name}`: {error}")),
            },
        }
    }

    /// Takes a value out that must be given.
    pub fn require<T: serde::de::DeserializeOwned>(&mut self, name: &str) -> Result<T, String> {
        self.take(name)?.ok_or_else(|| format!("parameter `{name}` is missing"))
    }

    /// Refuses what was not taken.
    pub fn finish(self, known: &[Parameter]) -> Result<(), String> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let known: Vec<String> =
                    known.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
                Err(format!("unknown parameter `{name}`; this transform takes {}", known.join(", ")))
            }
        }
    }
}
