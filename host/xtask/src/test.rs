//! `cargo xtask test`: set up, build the guests, run every test.

use crate::broker::Broker;
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
    let folder = std::env::temp_dir().join(format!("millrace-test-broker-{}", std::process::id()));
    // For the tests of the connectors; those of the binary start what they need.
    let broker = match setup::kafka() {
        Ok(kafka) => {
            let broker = Broker::start(&kafka.libs, &folder)?;
            tests
                .env("MILLRACE_TEST_KAFKA", &broker.address)
                .env("MILLRACE_KAFKA_LIBS", kafka.libs)
                .env("MILLRACE_KAFKA_VENV", kafka.environment);
            Some(broker)
        }
        Err(error) => {
            say(&format!("Kafka cannot be set up, its tests will be skipped: {error:#}"));
            None
        }
    };
    let result = run("running the tests", &mut tests);
    drop(broker);
    // What cannot be removed is in the way of nobody.
    drop(std::fs::remove_dir_all(&folder));
    result
}
