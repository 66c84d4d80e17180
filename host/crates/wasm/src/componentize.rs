//! Core modules that carry the contract become components, without any tool of the guest's language.
//!
//! `wit-bindgen` puts the contract into a custom section of the modules that it helps to build. WASI preview 1, which
//! some toolchains cannot do without, is answered by `stub.wat`, within the component.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use crate::admit::{Sections, read_leb};
use crate::error::LoadError;

/// The module that preview-1 imports are linked with.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// `stub.wat`, encoded.
static STUB: LazyLock<Vec<u8>> =
    LazyLock::new(|| wat::parse_str(include_str!("stub.wat")).expect("the stub is valid WebAssembly text"));

/// Makes a component of a core module that carries the contract: what `host build` does after a guest's own build.
///
/// Bytes that are a component already come back as they are.
pub fn componentize(core: &[u8]) -> Result<Vec<u8>, LoadError> {
    crate::admit::admit("the module", core, usize::MAX).map(std::borrow::Cow::into_owned)
}

/// Whether these bytes start as a component does, rather than as a core module.
pub fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm") && bytes.get(6) == Some(&1)
}

/// Whether a core module has a section in which bindings generators leave the contract.
pub(crate) fn carries_contract(core: &[u8]) -> bool {
    Sections::of(core)
        .flatten()
        .any(|(id, contents)| id == 0 && section_name(contents).starts_with(b"component-type"))
}

/// [`componentize`] with a name for messages.
pub(crate) fn componentize_named(name: &str, core: &[u8]) -> Result<Vec<u8>, LoadError> {
    let encode = || {
        let mut encoder = ComponentEncoder::default().validate(true).module(core)?;
        if import_modules(core).contains(PREVIEW1) {
            encoder = encoder.adapter(PREVIEW1, &STUB)?;
        }
        encoder.encode()
    };
    // The encoder is not meant for hostile input: it may panic where a validator would refuse.
    match std::panic::catch_unwind(encode) {
        Ok(Ok(component)) => Ok(component),
        Ok(Err(error)) => Err(LoadError::Invalid {
            name: name.to_owned(),
            detail: format!("the core module cannot be made into a component: {error:#}"),
        }),
        Err(_) => Err(LoadError::Invalid {
            name: name.to_owned(),
            detail:
                "the core module cannot be made into a component: its description of the contract is damaged"
                    .to_owned(),
        }),
    }
}

/// What a core module without the contract probably is, and how to make a component of its source.
pub(crate) fn looks_like(core: &[u8]) -> String {
    let imports = import_modules(core);
    let origin = if imports.contains("wbg") || imports.iter().any(|module| module.starts_with("__wbindgen")) {
        "it was built with wasm-bindgen, for browsers"
    } else if imports.contains("gojs") {
        "it was built with Go's `GOOS=js`, for browsers"
    } else if imports.contains(PREVIEW1) {
        "it was built for WASI preview 1 (`wasm32-wasip1`) and does not know the contract"
    } else {
        "it is a core module that does not know the contract"
    };
    format!(
        "{origin}: generate bindings for `wit/` (Rust: the `millrace` crate, others: `wit-bindgen`), build a library (`crate-type = [\"cdylib\"]`, C and Zig: a reactor) and do not strip custom sections (`strip = true` keeps them, `wasm-strip` does not)"
    )
}

/// The names of the modules that a core module imports from; what cannot be read counts as nothing.
fn import_modules(core: &[u8]) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for payload in Parser::new(0).parse_all(core) {
        match payload {
            Ok(Payload::ImportSection(section)) => {
                for import in section.into_imports().flatten() {
                    modules.insert(import.module.to_owned());
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    modules
}

/// The name of a custom section.
fn section_name(contents: &[u8]) -> &[u8] {
    let Some((length, width)) = read_leb(contents) else { return b"" };
    contents.get(width..width.saturating_add(length)).unwrap_or_default()
}
