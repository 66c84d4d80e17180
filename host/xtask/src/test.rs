//! `cargo xtask test`: set up, build the guests, run every test.

use crate::step::{cargo, run, say};
use crate::{guests, setup};

/// Runs all tests; arguments go to `cargo test`, but for `--long`: faults are repeated for many minutes.
pub(crate) fn test(arguments: &[String]) -> anyhow::Result<()> {
    setup::compiler()?;
    setup::python()?;
    setup::wasm()?;
    guests::guests()?;
    let (long, arguments): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| *argument == "--long");
    let mut tests = cargo();
    tests.args(["test", "--workspace"]).args(arguments);
    if !long.is_empty() {
        tests.envs([("MILLRACE_LONG", "1"), ("MILLRACE_KILL_ROUNDS", "200")]);
    }
    // What only some tests need is no reason to run none: they say by name what they lack, and fail where services are
    // required.
    match setup::feast() {
        Ok(environment) => {
            tests.env("MILLRACE_FEAST_VENV", environment);
        }
        Err(error) => say(&format!("Feast cannot be installed, its test will be skipped: {error:#}")),
    }
    match setup::kafka() {
        Ok(kafka) => {
            tests.env("MILLRACE_KAFKA_LIBS", kafka.libs).env("MILLRACE_KAFKA_VENV", kafka.environment);
        }
        Err(error) => say(&format!("Kafka cannot be set up, its tests will be skipped: {error:#}")),
    }
    run("running the tests", &mut tests)
}
