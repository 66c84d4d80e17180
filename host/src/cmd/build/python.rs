//! Builds a guest written in Python with componentize-py, in a virtual environment of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The version that the guest SDK was tried with. It brings its own Python.
const COMPONENTIZE: &str = "componentize-py==0.25.1";

/// Builds the module; gives the bytes of a component.
pub(super) fn build(module: &Path) -> anyhow::Result<Vec<u8>> {
    let (Some(folder), Some(name)) = (module.parent(), module.file_stem().and_then(|name| name.to_str()))
    else {
        bail!("`transform.build.python` names a file such as `app.py`");
    };
    if !module.is_file() {
        bail!(
            "{} is not there; `transform.build.python` names the file with the transform",
            module.display()
        );
    }
    let tool = componentize()?;
    let sdk = super::sdk::unpack(&super::cache_directory()?.join("sdk"))?;
    let output = tempfile::tempdir().context("cannot make a temporary folder")?;
    let target = output.path().join("component.wasm");
    let result = Command::new(&tool)
        .arg("-d")
        .arg(sdk.join("wit"))
        .args(["-w", "view", "componentize", "--stub-wasi", "-p", "."])
        .arg("-p")
        .arg(sdk.join("python"))
        .arg(name)
        .arg("-o")
        .arg(&target)
        // Native back-traces of the builder hide the Python error above them.
        .env("RUST_BACKTRACE", "0")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", tool.display()))?;
    if !result.status.success() {
        let text = String::from_utf8_lossy(&result.stderr);
        bail!("componentize-py failed: {}\n{}", result.status, text.trim_end());
    }
    fs::read(&target).with_context(|| format!("cannot read {}", target.display()))
}

/// The builder, installed on first use.
fn componentize() -> anyhow::Result<PathBuf> {
    let environment = super::cache_directory()?.join(format!("venv-{}", COMPONENTIZE.replace("==", "-")));
    let tool = environment.join("bin/componentize-py");
    if tool.is_file() {
        return Ok(tool);
    }
    anstream::eprintln!("installing {COMPONENTIZE} into {}", environment.display());
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment)).context(
        "python3 with venv is needed to build Python transforms; on Debian: apt-get install python3 python3-venv",
    )?;
    run(Command::new(environment.join("bin/pip")).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        COMPONENTIZE,
    ]))?;
    Ok(tool)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(())
}
