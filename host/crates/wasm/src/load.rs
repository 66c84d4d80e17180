//! From bytes to a component that can be called: admit, compile, link, describe.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::schema::arrow_schema;
use model::transform::FaultKind;
use model::view::Digest;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use crate::admit::admit;
use crate::bindings::ViewIndices;
use crate::bindings::millrace::transform::types as wit;
use crate::contract::{self, CONTRACT};
use crate::describe;
use crate::engine::Engine;
use crate::error::LoadError;
use crate::fault::{Blame, Phase, quoted};
use crate::instance::{Instance, StartError};
use crate::log::LogSink;
use crate::transform::{Admitted, Compiled};

/// All that `Engine::load` does.
pub(crate) fn load(engine: &Engine, name: &str, bytes: &[u8]) -> Result<Admitted, LoadError> {
    let component_bytes = admit(name, bytes, engine.options().max_component)?;
    let component = compile(engine, name, &component_bytes)?;
    drop(component_bytes);
    let needs = contract::check(name, &component.component_type(), engine)?;
    let linker = if needs.wasi { engine.wasi_linker()? } else { engine.linker() };
    let linked = linker.instantiate_pre(&component).map_err(|error| unlinked(name, &error))?;
    let exports = ViewIndices::new(&linked).map_err(|error| different(name, &error))?;
    let mut compiled =
        Compiled::undescribed(engine.clone(), name, (linked, exports), needs.wasi, digest(bytes));
    let described = ask(&compiled, name)?;
    let description = describe::check(described)
        .map_err(|detail| LoadError::Description { name: name.to_owned(), detail })?;
    compiled.output_schema = arrow_schema(&description.output);
    compiled.description = description;
    engine.counters().components.fetch_add(1, Ordering::Relaxed);
    Ok(Admitted::new(compiled))
}

/// SHA-256 of a component's bytes as they were given, before any of it is made into something else.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Compiles on the engine's own threads, whose stacks are large: what is compiled may be hostile.
fn compile(engine: &Engine, name: &str, bytes: &[u8]) -> Result<Component, LoadError> {
    let compiled = catch_unwind(AssertUnwindSafe(|| {
        engine.compile_threads().install(|| Component::from_binary(engine.wasmtime(), bytes))
    }));
    let invalid = |detail: String| LoadError::Invalid { name: name.to_owned(), detail };
    match compiled {
        Ok(Ok(component)) => {
            // Ahead of time, so that the first batch does not pay for it. Without it instances start more slowly.
            if let Err(error) = component.initialize_copy_on_write_image() {
                tracing::debug!(component = name, error = %format!("{error:#}"), "no copy-on-write image");
            }
            Ok(component)
        }
        Ok(Err(error)) => Err(invalid(format!("{error:#}"))),
        Err(_) => Err(invalid("the compiler panicked over it; please report it with the file".to_owned())),
    }
}

/// An import whose name is allowed, but which the linker does not have, or has with another type.
fn unlinked(name: &str, error: &wasmtime::Error) -> LoadError {
    let message = format!("{error:#}");
    // The linker names the import between back-quotes, and nowhere else.
    let import = message.split('`').nth(1).unwrap_or("something").to_owned();
    LoadError::Import { name: name.to_owned(), import, help: message }
}

/// Names are right, but types differ.
fn different(name: &str, error: &wasmtime::Error) -> LoadError {
    LoadError::Contract {
        name: name.to_owned(),
        contract: CONTRACT,
        detail: format!("{error:#}; generate its bindings from this host's `wit/`"),
    }
}

/// Calls `describe` on a throw-away instance.
fn ask(compiled: &Compiled, name: &str) -> Result<wit::Description, LoadError> {
    let engine = &compiled.engine;
    let limits = &engine.options().describe_limits;
    let view: Arc<str> = Arc::from("");
    let log = Arc::new(LogSink::new(engine, &view, &compiled.name, limits.log));
    log.choose_level();
    let failed = |phase, error: &wasmtime::Error, refusals| {
        let fault = Blame { view: "", component: &compiled.name, limits, rows: 0, phase }.fault(
            error,
            refusals,
            &log.last_words(),
        );
        match fault.kind {
            FaultKind::Capacity => LoadError::Host { detail: fault.message },
            _ => LoadError::Description { name: name.to_owned(), detail: fault.message },
        }
    };
    let mut instance = match Instance::start(compiled, limits, &log) {
        Ok(instance) => instance,
        Err(StartError { error, types: true, .. }) => return Err(different(name, &error)),
        Err(StartError { error, refusals, .. }) => return Err(failed(Phase::Start, &error, refusals)),
    };
    match instance.describe(engine.ticks(limits.time)) {
        Ok(Ok(description)) => Ok(description),
        Ok(Err(message)) => Err(LoadError::Description {
            name: name.to_owned(),
            detail: format!("`describe` answered with an error: {}", quoted(&message)),
        }),
        Err(error) => Err(failed(Phase::Describe, &error, instance.end())),
    }
}
