//! What a component imports and exports, compared with the contract in words.
//!
//! The linker has the last word on types; this page exists so that the usual mistakes get a message that helps.

use wasmtime::component::types::{Component as ComponentType, ComponentItem};

use crate::engine::Engine;
use crate::error::LoadError;

/// The contract that the host speaks, as messages name it.
pub const CONTRACT: &str = "millrace:transform@0.1.0";

/// The package of the contract, without its version.
const PACKAGE: &str = "millrace:transform/";
/// Its version.
const VERSION: &str = "0.1.0";
/// What a component must export.
const EXPORTED: &str = "millrace:transform/transform@0.1.0";
/// The functions in it.
const FUNCTIONS: [&str; 3] = ["describe", "open", "process"];
/// Interfaces of the contract that a component may import.
const OFFERED: [&str; 2] = ["log", "types"];
/// Packages of WASI 0.2 that are linked, with everything denied.
const WASI: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// What a component needs from the linker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) wasi: bool,
}

/// Refuses imports that are not on the list and components that do not export the contract.
pub(crate) fn check(name: &str, component: &ComponentType, engine: &Engine) -> Result<Needs, LoadError> {
    let mut needs = Needs { wasi: false };
    for (import, _) in component.imports(engine.wasmtime()) {
        check_import(name, import, &mut needs)?;
    }
    check_exports(name, component, engine)?;
    Ok(needs)
}

fn check_import(name: &str, import: &str, needs: &mut Needs) -> Result<(), LoadError> {
    let refused = |help: &str| LoadError::Import {
        name: name.to_owned(),
        import: import.to_owned(),
        help: help.to_owned(),
    };
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    if let Some(ours) = interface.strip_prefix(PACKAGE) {
        if version != VERSION {
            return Err(other_version(name, version));
        }
        if OFFERED.contains(&ours) {
            return Ok(());
        }
        return Err(refused(
            "of the contract a component may import only `log`; look at the world `view` in `wit/world.wit`",
        ));
    }
    if WASI.iter().any(|package| interface.starts_with(package)) {
        if version.starts_with("0.2.") {
            needs.wasi = true;
            return Ok(());
        }
        return Err(refused(
            "only WASI 0.2 is linked (with everything in it denied); build for it, or without WASI: `wasm32-unknown-unknown`, componentize-py `--stub-wasi`, jco `--disable all`",
        ));
    }
    Err(refused(if interface.starts_with("wasi:http/") {
        "a transform has no network; build without it, for example jco `--disable http fetch-event` or `--disable all`"
    } else if interface.starts_with("wasi:") {
        "a transform has no clock, randomness, environment, file or socket; build without it: componentize-py `--stub-wasi`, jco `--disable all`"
    } else {
        "a component may import `millrace:transform/log` and nothing else; if another component gives it, compose the two first (`wasm-tools compose`)"
    }))
}

fn check_exports(name: &str, component: &ComponentType, engine: &Engine) -> Result<(), LoadError> {
    let contract = |detail: String| LoadError::Contract { name: name.to_owned(), contract: CONTRACT, detail };
    let mut known = Vec::new();
    for (export, item) in component.exports(engine.wasmtime()) {
        if export == EXPORTED {
            let ComponentItem::ComponentInstance(instance) = item.ty else {
                return Err(contract(format!("its export `{EXPORTED}` is not an interface")));
            };
            return match FUNCTIONS
                .iter()
                .find(|function| instance.get_export(engine.wasmtime(), function).is_none())
            {
                None => Ok(()),
                Some(missing) => Err(contract(format!(
                    "its export `{EXPORTED}` has no function `{missing}`; generate its bindings from this host's `wit/`"
                ))),
            };
        }
        known.push(export.to_owned());
    }
    let ours = known.iter().find_map(|export| export.strip_prefix(PACKAGE)?.strip_prefix("transform@"));
    if let Some(version) = ours {
        return Err(other_version(name, version));
    }
    if known.is_empty() {
        return Err(contract(format!(
            "it exports nothing, `{EXPORTED}` is missing; export it (Rust: `#[millrace::transform]` or wit-bindgen's `export!`) and build a library, not a program"
        )));
    }
    let listed = known.iter().take(10).map(|export| format!("`{export}`")).collect::<Vec<_>>().join(", ");
    let hint = if known.iter().any(|export| export.starts_with("wasi:cli/run")) {
        "; it is a command: build a library (`crate-type = [\"cdylib\"]`, C and Zig: a reactor)"
    } else {
        "; build it for the world `view` of `wit/`"
    };
    Err(contract(format!("`{EXPORTED}` is missing, it exports {listed}{hint}")))
}

fn other_version(name: &str, version: &str) -> LoadError {
    let version = if version.is_empty() { "none" } else { version };
    LoadError::Contract {
        name: name.to_owned(),
        contract: CONTRACT,
        detail: format!(
            "it was built for version `{version}` of the contract; build it again with the SDK or the `wit/` of this host"
        ),
    }
}
