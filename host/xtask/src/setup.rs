//! System packages: what is missing is installed where we may, named where we may not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::step::{run, say};

/// The client that the statements about Feast's endpoints were tried with.
const FEAST: &str = "feast==0.67.0";

/// Everything that any verb needs.
pub(crate) fn everything() -> anyhow::Result<()> {
    compiler()?;
    python()?;
    wasm()
}

/// A C compiler: the allocator is written in C.
pub(crate) fn compiler() -> anyhow::Result<()> {
    if works("cc", &["--version"]) { Ok(()) } else { install("a C compiler", &["gcc", "libc6-dev"]) }
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
    python()?;
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    let environment = cache.join("millrace").join(format!("venv-{}", FEAST.replace("==", "-")));
    // Made last, so that an installation that was broken off is begun again.
    let complete = environment.join("complete");
    if !complete.is_file() {
        run(
            "making a virtual environment for Feast",
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment),
        )?;
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", FEAST]);
        run(&format!("installing {FEAST}, against which a test drives the host"), &mut pip)?;
        std::fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    }
    Ok(environment)
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
