//! Folders for one test, and where the built things are.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The checkout.
pub fn checkout() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).expect("the checkout is there")
}

/// The host's binary, built beside this test.
pub fn host_binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows itself");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let binary = folder.join("host");
    assert!(binary.is_file(), "{} is not there: run `cargo xtask test`", binary.display());
    binary
}

/// A built guest, by the name of its component.
pub fn guest(name: &str) -> PathBuf {
    let path = checkout().join("target/guests").join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is not there: run `cargo xtask guests`", path.display());
    path
}

/// A folder for one test, with views in it. Gone when dropped, unless `KEEP_TEST_FOLDERS` is set.
pub struct Workspace {
    folder: Option<TempDir>,
    path: PathBuf,
}

impl Workspace {
    /// An empty one.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("millrace-test-").expect("there is a temporary folder");
        let path = fs::canonicalize(folder.path()).expect("it was just made");
        fs::create_dir(path.join("views")).expect("the folder is ours");
        let workspace = Self { folder: Some(folder), path };
        if std::env::var_os("KEEP_TEST_FOLDERS").is_some() {
            eprintln!("keeping {}", workspace.path.display());
        }
        workspace
    }

    /// The folder; also the host's working folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The views folder.
    pub fn views(&self) -> PathBuf {
        self.join("views")
    }

    /// Writes a file, making folders as needed.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("files lie in folders")).expect("the folder is ours");
        fs::write(&path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        self
    }

    /// Puts a built guest into the views folder under another name.
    pub fn component(&self, name: &str, built: &str) -> &Self {
        fs::copy(guest(built), self.views().join(name)).expect("the folder is ours");
        self
    }

    /// The lines of a file; none if it is not there.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if std::env::var_os("KEEP_TEST_FOLDERS").is_some()
            && let Some(folder) = self.folder.take()
        {
            let _kept = folder.keep();
        }
    }
}
