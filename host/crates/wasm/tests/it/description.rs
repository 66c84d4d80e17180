//! Descriptions that the host must not accept; the hostile guest's file is patched to give each of them.

use wasm::{EngineOptions, LoadError};

use crate::support::{ENGINE, guest};

/// Rewrites the word that decides what the hostile guest's `describe` does.
pub(crate) fn patch(bytes: &mut [u8], how: &str) {
    const MARK: &[u8] = b"hostile describe:";
    let at = bytes.windows(MARK.len()).position(|window| window == MARK).expect("the guest holds its mark");
    let word = &mut bytes[at + MARK.len()..at + 32];
    word.fill(b' ');
    word[..how.len()].copy_from_slice(how.as_bytes());
}

#[track_caller]
fn check(how: &str, expected: &str) {
    let mut bytes = guest("hostile");
    patch(&mut bytes, how);
    match ENGINE.load("h.wasm", &bytes).map(drop) {
        Err(LoadError::Description { detail, .. }) if detail.contains(expected) => {}
        other => panic!("{how}: {other:?}"),
    }
}

#[test]
fn what_describe_says_is_checked() {
    check("error", "`describe` answered with an error: I would rather not say");
    check("longname", "its name has 129 bytes, 1 to 128 are allowed");
    check("noname", "the name of its input column 0 has 0 bytes");
    check("twice", "its output column `number` stands there twice");
    check("badtype", "the type of its output column `text` cannot be read: unknown type `int63`");
    check("deeptype", "types may be nested at most 8 deep");
    check("manycolumns", "it has 1001 input columns, 1000 are allowed");
    check("manychildren", "its input consists of 5005 columns");
    check("nooutput", "it has no output column");
    check("badkind", "the kind of its parameter `do` is `colour`; known are `bool`, `integer`");
    check("control", "its version holds the control character `\\u{1b}`");
}

#[test]
fn describe_runs_within_limits() {
    check("panic", "`describe` of component `h.wasm` trapped: a panic");
    check("flood", "(`limits.output`)");
    check("bomb", "ran out of memory (limit 256 MiB");
}

#[test]
fn describe_that_never_ends_is_ended() {
    let mut options = EngineOptions::default();
    options.describe_limits.time = std::time::Duration::from_millis(500);
    let engine = wasm::Engine::new(options).unwrap();
    let mut bytes = guest("hostile");
    patch(&mut bytes, "spin");
    let error = engine.load("h.wasm", &bytes).map(drop).unwrap_err();
    assert!(error.to_string().contains("took longer than 500ms"), "{error}");
}
