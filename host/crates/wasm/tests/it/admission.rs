//! Files that are refused, and in which words.

use wasm::{LoadError, admit};

use crate::support::{CORE_FUNCTIONS, ENGINE, core_module, guest};

/// Loads bytes that must be refused with these words.
#[track_caller]
fn check(bytes: &[u8], expected: &str) -> LoadError {
    let error = ENGINE.load("views/clicks.wasm", bytes).map(drop).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("`views/clicks.wasm`"), "{message}");
    assert!(message.contains(expected), "`{expected}` is not in: {message}");
    error
}

#[track_caller]
fn check_text(wat: &str, expected: &str) -> LoadError {
    check(&wat::parse_str(wat).unwrap(), expected)
}

#[test]
fn files_of_other_kinds_are_named() {
    assert!(check(b"", "is incomplete: the file is empty").is_incomplete());
    assert!(check(b"\0as", "it ends after 3 bytes").is_incomplete());
    assert!(!check(b"hello, world", "does not start with the bytes of WebAssembly").is_incomplete());
    check(b"(component)", "it is WebAssembly text");
    check(b"\x7fELF and so on", "it is a native program");
    check(b"\x1f\x8b and so on", "it is compressed");
    check(b"\0asm\x09\x09\x09\x09", "its WebAssembly version [09, 09, 09, 09] is not known");
}

#[test]
fn large_files_are_refused_before_anything_looks_at_them() {
    let large = vec![0; wasm::DEFAULT_MAX_COMPONENT + 1];
    assert!(matches!(
        check(&large, "has 33554433 bytes, the host takes 33554432"),
        LoadError::TooLarge { .. }
    ));
}

#[test]
fn machine_code_is_refused() {
    let engine = wasmtime::Engine::default();
    let compiled = engine.precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
    check(&compiled, "it is machine code that wasmtime has compiled");
}

#[test]
fn core_modules_without_the_contract_are_refused() {
    check_text("(module)", "it is a core module that does not know the contract");
    check_text(
        r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))))"#,
        "it was built for WASI preview 1",
    );
    check_text(r#"(module (import "wbg" "f" (func)))"#, "it was built with wasm-bindgen, for browsers");
}

#[test]
fn core_modules_with_a_damaged_contract_are_refused() {
    let damaged = r#"(module (@custom "component-type:view" "not a contract"))"#;
    check_text(damaged, "the core module cannot be made into a component");
}

#[test]
fn imports_beyond_the_list_are_named() {
    let refused = |import: &str, expected: &str| {
        let text = format!(r#"(component (import "{import}" (instance)))"#);
        let error = check_text(&text, expected);
        assert!(matches!(error, LoadError::Import { import: named, .. } if named == import));
    };
    refused("acme:db/store@1.0.0", "compose the two first");
    refused("wasi:http/types@0.2.0", "a transform has no network");
    refused("wasi:keyvalue/store@0.2.0-draft", "--stub-wasi");
    refused("wasi:clocks/monotonic-clock@0.3.0", "only WASI 0.2 is linked");
    refused("millrace:transform/state@0.1.0", "may import only `log`");
    let other = r#"(component (import "millrace:transform/log@0.2.0" (instance)))"#;
    check_text(other, "it was built for version `0.2.0` of the contract");
}

#[test]
fn imports_of_other_types_are_named() {
    let refused = |import: &str, function: &str| {
        let contract =
            ["describe", "open", "process"].map(|name| format!(r#"(export "{name}" (func $f))"#)).concat();
        let text = format!(
            r#"(component
                (import "{import}" (instance (export "{function}" (func))))
                (core module $m (func (export "f")))
                (core instance $m (instantiate $m))
                (func $f (canon lift (core func $m "f")))
                (instance $i {contract})
                (export "millrace:transform/transform@0.1.0" (instance $i)))"#
        );
        let error = check_text(&text, "which the host does not give");
        assert!(matches!(&error, LoadError::Import { import: named, .. } if named == import), "{error}");
    };
    refused("millrace:transform/log@0.1.0", "log");
    refused("wasi:cli/teleport@0.2.0", "beam");
    refused("wasi:clocks/wall-clock@0.2.0", "stop");
}

#[test]
fn components_for_another_world_are_refused() {
    check_text("(component)", "it exports nothing, `millrace:transform/transform@0.1.0` is missing");
    let exporting = |name: &str| format!(r#"(component (instance $i) (export "{name}" (instance $i)))"#);
    check_text(
        &exporting("acme:other/run@0.1.0"),
        "is missing, it exports `acme:other/run@0.1.0`; build it for the world",
    );
    check_text(&exporting("wasi:cli/run@0.2.0"), "it is a command");
    check_text(&exporting("millrace:transform/transform@0.9.0"), "it was built for version `0.9.0`");
    check_text(&exporting("millrace:transform/transform@0.1.0"), "has no function `describe`");
}

#[test]
fn functions_of_other_types_are_refused() {
    let text = r#"(component
        (core module $m (func (export "f")))
        (core instance $m (instantiate $m))
        (func $f (canon lift (core func $m "f")))
        (instance $i (export "describe" (func $f)) (export "open" (func $f)) (export "process" (func $f)))
        (export "millrace:transform/transform@0.1.0" (instance $i)))"#;
    let error = check_text(text, "does not keep the contract `millrace:transform@0.1.0`");
    assert!(error.to_string().contains("generate its bindings from this host's `wit/`"), "{error}");
}

#[test]
fn a_component_that_is_still_being_written_is_incomplete() {
    let component = wasm::componentize(&guest("hostile")).unwrap();
    ENGINE.load("whole.wasm", &component).unwrap();
    let mut at_boundaries = 0;
    for length in (0..component.len()).step_by(997).chain(component.len() - 300..component.len()) {
        let loaded = ENGINE.load("half.wasm", &component[..length]).map(drop);
        // Between two sections nothing tells that more is to come; without its last ones, which hold names, it even works.
        at_boundaries += u32::from(!loaded.is_err_and(|error| error.is_incomplete()));
    }
    assert!(at_boundaries < 20, "{at_boundaries}");
}

#[test]
fn a_core_module_that_is_still_being_written_is_incomplete() {
    let core = core_module(CORE_FUNCTIONS);
    let mut at_boundaries = 0;
    for length in 0..core.len() {
        let error = admit("half.wasm", &core[..length], usize::MAX).map(drop).unwrap_err();
        at_boundaries += u32::from(!error.is_incomplete());
    }
    // Behind the header and behind each section but the last: there nothing tells that more is to come.
    assert_eq!(at_boundaries, 6);
}

#[test]
fn corrupt_components_are_refused_without_a_panic() {
    let component = wasm::componentize(&guest("columns")).unwrap();
    let mut refused = 0;
    for position in (8..component.len()).step_by(component.len() / 150) {
        let mut corrupt = component.clone();
        corrupt[position] ^= 0x55;
        // Some bytes do not matter, such as those of names; most do.
        refused += u32::from(ENGINE.load("corrupt.wasm", &corrupt).is_err());
    }
    assert!(refused > 30, "{refused}");
}

#[test]
fn what_needs_more_than_the_engine_offers_is_refused() {
    let threads = r#"(component (core module (memory 1 2 shared)))"#;
    assert!(matches!(check_text(threads, "is not valid"), LoadError::Invalid { .. }));
}

#[test]
fn core_modules_with_the_contract_become_components() {
    let core = core_module(CORE_FUNCTIONS);
    assert!(!wasm::is_component(&core));
    let component = wasm::componentize(&core).unwrap();
    assert!(wasm::is_component(&component));
    // Bytes that are a component already come back as they are.
    assert_eq!(wasm::componentize(&component).unwrap(), component);
    // It is a component for the right world, whose functions trap.
    check(&core, "`describe` of component `views/clicks.wasm` trapped");
    check(&component, "`describe` of component `views/clicks.wasm` trapped");
}

#[test]
fn core_modules_that_lack_a_function_are_refused() {
    check(&core_module(""), "the core module cannot be made into a component");
}
