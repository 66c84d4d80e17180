//! The WebAssembly side: bindings to the contract, and the component that wraps a transform.

use std::sync::OnceLock;

use crate::batch::{Batch, Context, Description, Field, Output};
use crate::log::Level;
use crate::params::Params;
use crate::source::{Arena, Source};
use crate::transform::Transform;

#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "view",
        with: { "millrace:transform/types@0.1.0": crate::batch },
        pub_export_macro: true,
        export_macro_name: "export_view",
        default_bindings_module: "millrace::guest::bindings",
        runtime_path: "::millrace::wit_bindgen::rt",
    });
}

use bindings::millrace::transform::log as host;

/// A transform that keeps its parameters in a static of its own.
pub trait Guest: Transform {
    /// The parameters of this instance, set by `open`.
    fn params() -> &'static OnceLock<Self::Params>;
}

/// What `describe` does.
pub fn describe<T: Guest>() -> Result<Description, String> {
    hook_panics();
    Ok(T::describe())
}

/// What `open` does.
pub fn open<T: Guest>(parameters: &str, _input: Vec<Field>, level: host::Level) -> Result<(), String> {
    hook_panics();
    crate::log::set_level(match level {
        host::Level::Error => Level::Error,
        host::Level::Warn => Level::Warn,
        host::Level::Info => Level::Info,
        host::Level::Debug => Level::Debug,
        host::Level::Trace => Level::Trace,
    });
    let params = T::Params::from_json(parameters)?;
    T::params().set(params).map_err(|_| "`open` was called twice".to_owned())
}

/// What `process` does.
pub fn process<T: Guest>(input: &Batch, context: &Context) -> Result<Output, String> {
    let params = T::params().get().ok_or_else(|| "`process` was called before `open`".to_owned())?;
    let arena = Arena::default();
    // SAFETY: the contract has the host send valid UTF-8 in columns of the types that `describe` names.
    let source = unsafe { Source::trusted(input, &arena) };
    T::process(source, params, context)
}

/// Hands a message to the host.
pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Error => host::Level::Error,
        Level::Warn => host::Level::Warn,
        Level::Info => host::Level::Info,
        Level::Debug => host::Level::Debug,
        Level::Trace => host::Level::Trace,
    };
    host::log(level, message);
}

/// A panic ends the instance without a word; its message has to leave before.
fn hook_panics() {
    std::panic::set_hook(Box::new(|info| {
        log(Level::Error, &info.to_string());
    }));
}
