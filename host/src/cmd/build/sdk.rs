//! The guest SDKs and the contract, as embedded in this binary.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
}

/// Name of the folder that `host new` puts the Rust SDK into, inside the views folder. Hidden folders hold no views.
const VENDORED: &str = ".millrace";

/// Puts the SDK into a views folder, so that guests build with plain cargo and any checkout has what it needs.
/// Gives the folder of the Rust SDK. An SDK of another version is replaced.
pub(crate) fn vendor(views: &Path) -> anyhow::Result<PathBuf> {
    Ok(write(&views.join(VENDORED))?.join("guest_sdk/rust"))
}

/// What a Python build needs: the contract and the SDK's module.
pub(super) struct Unpacked {
    root: PathBuf,
}

impl Unpacked {
    /// A folder by the name that builders use.
    pub(super) fn join(&self, what: &str) -> PathBuf {
        match what {
            "wit" => self.root.join("wit"),
            other => self.root.join("guest_sdk").join(other),
        }
    }
}

/// Unpacks into a cache folder, one for each version.
pub(super) fn unpack(cache: &Path) -> anyhow::Result<Unpacked> {
    Ok(Unpacked { root: write(&cache.join(env!("CARGO_PKG_VERSION")))? })
}

/// Writes all files; those that are there and equal stay untouched, so that builds see no change.
fn write(root: &Path) -> anyhow::Result<PathBuf> {
    let manifest = [("Cargo.toml", embedded::MANIFEST.as_bytes())];
    for (name, content) in embedded::FILES.iter().copied().chain(manifest) {
        let path = root.join(name);
        if fs::read(&path).is_ok_and(|present| present == content) {
            continue;
        }
        let folder = path.parent().expect("every file lies below the root");
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // A symbolic link in the path would make relative paths in manifests lead elsewhere.
    fs::canonicalize(root).with_context(|| format!("cannot find {}", root.display()))
}
