//! `cargo xtask test`: set up, build the guests, run every test.

use crate::step::{cargo, run, say};
use crate::{guests, setup};

/// Runs all tests; arguments go to `cargo test`.
pub(crate) fn test(arguments: &[String]) -> anyhow::Result<()> {
    setup::everything()?;
    guests::guests()?;
    let mut tests = cargo();
    tests.args(["test", "--workspace"]).args(arguments);
    match setup::feast() {
        Ok(environment) => {
            tests.env("MILLRACE_FEAST_VENV", environment);
        }
        // One test of many needs it; it says so by name, and fails where services are required.
        Err(error) => say(&format!("Feast cannot be installed, its test will be skipped: {error:#}")),
    }
    run("running the tests", &mut tests)
}
