//! Finds a Rust that can build for wasm32-unknown-unknown.
//!
//! In this order: the target of the installed toolchain; `rustup target add`; Debian's `rustc-web`, whose source
//! package lets cargo build the standard library. If none is there, says which command gets one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::cli::WasmRust;

/// The target of all guests: no WASI, so nothing to deny.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler is always called by its path: a rustup proxy may stand before it in PATH.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

const HELP: &str = "get one with\n    rustup target add wasm32-unknown-unknown\nor, on Debian,\n    \
    apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld";

/// A Rust that can build guests.
#[derive(Debug)]
pub(super) enum Rust {
    /// The default toolchain has the target.
    Installed,
    /// Debian's compiler, which builds the standard library itself.
    Debian {
        /// A linker for wasm. A change of it makes cargo rebuild everything, so the choice must not vary.
        linker: PathBuf,
    },
}

impl Rust {
    /// A cargo call with everything set but the folder and the crate.
    pub(super) fn cargo(&self, target_directory: &Path) -> Command {
        let mut command = Command::new("cargo");
        command.arg("build").args(["--release", "--target", TARGET]);
        command.env("CARGO_TARGET_DIR", target_directory);
        // Flags and wrappers that are meant for the host's own target break a guest.
        for name in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTC"]
        {
            command.env_remove(name);
        }
        if let Self::Debian { linker } = self {
            command.arg("-Zbuild-std=std,panic_abort");
            command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        command
    }

    /// Compilers share no outputs, so each has a folder of its own.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Installed => "rustup",
            Self::Debian { .. } => "debian",
        }
    }
}

/// Finds a Rust that can build guests, adding the target through rustup if that is allowed and works.
pub(super) fn find(wanted: WasmRust) -> anyhow::Result<Rust> {
    if wanted != WasmRust::Debian {
        if target_is_installed() {
            return Ok(Rust::Installed);
        }
        if add_target_with_rustup() && target_is_installed() {
            return Ok(Rust::Installed);
        }
        if wanted == WasmRust::Rustup {
            bail!(
                "the installed Rust cannot build for {TARGET}, and rustup could not add the target; {HELP}"
            );
        }
    }
    match debian() {
        Some(rust) => {
            anstream::eprintln!(
                "using Debian's {DEBIAN_RUSTC}; the first build compiles the standard library"
            );
            Ok(rust)
        }
        None => bail!("found no Rust that can build for {TARGET}; {HELP}"),
    }
}

/// Which Rust would build guests, without getting one.
pub(crate) fn present() -> Option<&'static str> {
    if target_is_installed() {
        return Some("the installed toolchain");
    }
    debian().map(|_| "Debian's rustc-web")
}

/// `rustc` prints the folder of a target whether or not it is there.
fn target_is_installed() -> bool {
    output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))
        .is_some_and(|folder| Path::new(&folder).is_dir())
}

fn add_target_with_rustup() -> bool {
    anstream::eprintln!("adding the target {TARGET} with rustup");
    Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn debian() -> Option<Rust> {
    let sysroot = output(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]))?;
    if !Path::new(&sysroot).join("lib/rustlib/src/rust/library/std").is_dir() {
        return None;
    }
    // The rustup toolchain's own linker is newer than Debian's.
    let bundled = output(Command::new("rustc").args(["--print", "sysroot"]))
        .map(|root| Path::new(&root).join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"))
        .filter(|linker| linker.is_file());
    let linker = bundled.or_else(|| {
        let search = std::env::var_os("PATH")?;
        std::env::split_paths(&search).map(|folder| folder.join("wasm-ld")).find(|linker| linker.is_file())
    })?;
    Some(Rust::Debian { linker })
}

/// What a command prints on stdout, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// Checks that cargo is there at all.
pub(super) fn require_cargo() -> anyhow::Result<()> {
    output(Command::new("cargo").arg("--version"))
        .map(|_| ())
        .context("cargo is not installed; get Rust from your distribution or with rustup")
}
