//! Things that a machine may lack.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tests that could not run.
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Says that a test cannot run for want of `what`, by name. Where services are required, in CI, that is a failure.
///
/// Use as `if !require("python3", works) { return; }`.
pub fn require(what: &str, there: bool) -> bool {
    if !there {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        assert!(
            std::env::var_os("MILLRACE_REQUIRE_SERVICES").is_none(),
            "{test} needs {what}, and MILLRACE_REQUIRE_SERVICES is set"
        );
        let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
        // Not through `eprintln`, which the test runner swallows for tests that pass.
        drop(writeln!(std::io::stderr(), "SKIPPED {test} ({count} so far): needs {what}"));
    }
    there
}

/// Where `cargo xtask setup` puts what it downloads.
pub(crate) fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("millrace"))
}
