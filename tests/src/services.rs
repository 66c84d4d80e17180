//! Things that a machine may lack.

use std::io::Write;
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
