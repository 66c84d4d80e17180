//! What a fresh machine lacks: system packages, a Kafka broker, Python clients. What is missing is installed where we
//! may, named where we may not; what is there is left alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::step::{root, run, say};

/// The client that the statements about Feast's endpoints were tried with.
const FEAST: &str = "feast==0.67.0";

/// The Kafka client that consumers in Python use.
const KAFKA_CLIENT: &str = "confluent-kafka==2.16.0";

/// The broker, as `tests/kafka/pom.xml` names it.
const KAFKA: &str = "kafka-4.3.1";

/// A Kafka broker to start, and a client of another make.
pub(crate) struct Kafka {
    /// The folder of the broker's jars.
    pub(crate) libs: PathBuf,
    /// A virtual environment with the Python client.
    pub(crate) environment: PathBuf,
}

/// Everything that any verb needs.
pub(crate) fn everything() -> anyhow::Result<()> {
    compiler()?;
    python()?;
    wasm()?;
    kafka().map(drop)
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

/// The stock Feast client that a test drives a host with; gives its virtual environment. Installed once, 590 MB.
pub(crate) fn feast() -> anyhow::Result<PathBuf> {
    environment("feast-0.67.0", FEAST, "a test drives the host with it")
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
