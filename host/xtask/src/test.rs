//! `cargo xtask test`: set up, build the guests, run every test.

use std::path::Path;
use std::process::Command;

use crate::broker::Broker;
use crate::server::Server;
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
    let folder = std::env::temp_dir().join(format!("millrace-test-servers-{}", std::process::id()));
    let broker = kafka(&mut tests, &folder.join("kafka"))?;
    let kinesis = kinesis(&mut tests, &folder)?;
    redis(&mut tests)?;
    let result = run("running the tests", &mut tests);
    drop((broker, kinesis));
    // What cannot be removed is in the way of nobody.
    drop(std::fs::remove_dir_all(&folder));
    result
}

/// A broker for the tests of the connectors; those of the binary start what they need.
fn kafka(tests: &mut Command, folder: &Path) -> anyhow::Result<Option<Broker>> {
    match setup::kafka() {
        Ok(kafka) => {
            let broker = Broker::start(&kafka.libs, folder)?;
            tests
                .env("MILLRACE_TEST_KAFKA", &broker.address)
                .env("MILLRACE_KAFKA_LIBS", kafka.libs)
                .env("MILLRACE_KAFKA_VENV", kafka.environment);
            Ok(Some(broker))
        }
        Err(error) => {
            say(&format!("Kafka cannot be set up, its tests will be skipped: {error:#}"));
            Ok(None)
        }
    }
}

/// The same for Kinesis: one server of each make.
fn kinesis(tests: &mut Command, folder: &Path) -> anyhow::Result<Option<[Server; 2]>> {
    match setup::kinesis() {
        Ok(kinesis) => {
            let local = Server::kinesis_local(&kinesis, &folder.join("kinesis-local"))?;
            let kinesalite = Server::kinesalite(&kinesis, &folder.join("kinesalite"))?;
            tests
                .env("MILLRACE_TEST_KINESIS", local.endpoint())
                .env("MILLRACE_TEST_KINESALITE", kinesalite.endpoint())
                .env("MILLRACE_KINESIS_MODULES", kinesis.modules)
                .env("MILLRACE_BOTO3_VENV", kinesis.environment);
            Ok(Some([local, kinesalite]))
        }
        Err(error) => {
            say(&format!("Kinesis cannot be set up, its tests will be skipped: {error:#}"));
            Ok(None)
        }
    }
}

/// A Redis on the path: each test starts servers of its own.
fn redis(tests: &mut Command) -> anyhow::Result<()> {
    match setup::redis() {
        Ok(program) => {
            // Behind all others: beside it there may be programs that are somebody else's.
            let folders = std::env::var_os("PATH").unwrap_or_default();
            let mut folders: Vec<_> = std::env::split_paths(&folders).collect();
            folders.extend(program.parent().filter(|folder| folder.is_absolute()).map(Path::to_owned));
            tests.env("PATH", std::env::join_paths(folders)?);
        }
        Err(error) => say(&format!("Redis cannot be set up, its tests will be skipped: {error:#}")),
    }
    Ok(())
}
