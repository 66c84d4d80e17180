//! The components that made rows, with their parameters: a replay below a swap runs on what ran then.
//!
//! `<data>/components/<view>/<digest>/` holds `component.wasm` and `transform.json`. A folder is complete or absent: it
//! is renamed into place after its files are synced.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use model::transform::{Limits, TransformOptions};
use model::view::Digest;
use serde::{Deserialize, Serialize};

const COMPONENT: &str = "component.wasm";
const TRANSFORM: &str = "transform.json";

/// The folder of kept components.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    folder: PathBuf,
}

/// `transform.json`: what a component ran with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransformFile {
    params: String,
    memory: usize,
    time_micros: u64,
    time_per_row_micros: u64,
    rows_per_row: usize,
    output: usize,
    log: usize,
    batches_per_instance: u32,
}

impl Kept {
    /// Keeps components below this data directory.
    pub(crate) fn new(data: &Path) -> Self {
        Self { folder: data.join("components") }
    }

    /// Keeps a component; durable on return. One that is there already is left as it is.
    pub(crate) fn keep(
        &self,
        digest: Digest,
        bytes: &[u8],
        options: &TransformOptions,
    ) -> anyhow::Result<()> {
        let folder = self.of(&options.view, digest);
        if folder.is_dir() {
            return Ok(());
        }
        let parent = self.folder.join(options.view.as_ref());
        fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let temporary = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&parent)
            .with_context(|| format!("cannot write into {}", parent.display()))?;
        let transform =
            serde_json::to_vec_pretty(&TransformFile::from(options)).context("cannot write JSON")?;
        write_synced(&temporary.path().join(COMPONENT), bytes)?;
        write_synced(&temporary.path().join(TRANSFORM), &transform)?;
        sync_folder(temporary.path())?;
        fs::rename(temporary.path(), &folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // The folder has its final name: nothing is left to clean up.
        let _moved = temporary.keep();
        sync_folder(&parent)
    }

    /// A kept component's bytes and what it ran with; `None` if it is not there.
    pub(crate) fn find(
        &self,
        view: &str,
        digest: Digest,
    ) -> anyhow::Result<Option<(Vec<u8>, TransformOptions)>> {
        let folder = self.of(view, digest);
        if !folder.is_dir() {
            return Ok(None);
        }
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let transform: TransformFile = serde_json::from_slice(&read(TRANSFORM)?)
            .with_context(|| format!("{} is damaged", folder.join(TRANSFORM).display()))?;
        Ok(Some((read(COMPONENT)?, transform.options(view))))
    }

    /// Drops what a view kept, but for these.
    pub(crate) fn keep_only(&self, view: &str, digests: &[Digest]) -> anyhow::Result<()> {
        let parent = self.folder.join(view);
        let Ok(entries) = fs::read_dir(&parent) else { return Ok(()) };
        let needed: Vec<String> = digests.iter().map(Digest::to_hex).collect();
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", parent.display()))?;
            if !needed.iter().any(|digest| entry.file_name() == digest.as_str()) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(())
    }

    fn of(&self, view: &str, digest: Digest) -> PathBuf {
        self.folder.join(view).join(digest.to_hex())
    }
}

impl From<&TransformOptions> for TransformFile {
    fn from(options: &TransformOptions) -> Self {
        let limits = &options.limits;
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            params: options.params.clone(),
            memory: limits.memory,
            time_micros: micros(limits.time),
            time_per_row_micros: micros(limits.time_per_row),
            rows_per_row: limits.rows_per_row,
            output: limits.output,
            log: limits.log,
            batches_per_instance: limits.batches_per_instance,
        }
    }
}

impl TransformFile {
    fn options(self, view: &str) -> TransformOptions {
        let limits = Limits {
            memory: self.memory,
            time: Duration::from_micros(self.time_micros),
            time_per_row: Duration::from_micros(self.time_per_row_micros),
            rows_per_row: self.rows_per_row,
            output: self.output,
            log: self.log,
            batches_per_instance: self.batches_per_instance,
        };
        TransformOptions { view: view.into(), params: self.params, limits }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    File::create(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn sync_folder(path: &Path) -> anyhow::Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot sync {}", path.display()))
}
