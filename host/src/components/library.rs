//! Admission: from a component's file to something that a view may run.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::Context;
use model::codec::Format;
use model::transform::{Component, TransformOptions};
use model::view::Digest;
use sha2::{Digest as _, Sha256};
use spec::diagnostic::{Diagnostic, Severity};
use spec::plan::{SourcePlan, ViewPlan};

use super::kept::Kept;
use super::trial;

/// How long a file must stay the same before it is believed. Shorter takes half-written files for whole ones more often
/// (they are then refused as truncated and tried again), longer delays every reload.
const SETTLE: Duration = Duration::from_millis(20);

/// Compiled components by the SHA-256 of their bytes, shared for as long as anything uses them.
pub(crate) struct Library {
    engine: wasm::Engine,
    /// Bytes of a component's file at most.
    max_bytes: u64,
    /// `None` where nothing runs, as in `host check`.
    kept: Option<Kept>,
    loaded: Mutex<HashMap<Digest, Weak<dyn Component>>>,
}

/// A component that may run for a view.
#[derive(Clone)]
pub(crate) struct Admitted {
    /// Compiled and linked.
    pub(crate) component: Arc<dyn Component>,
    /// Of its bytes and the view's parameters.
    pub(crate) digest: Digest,
    /// What it will run with.
    pub(crate) options: TransformOptions,
    /// Its file, when it was read.
    pub(crate) stamp: Stamp,
    /// What is odd about it but no reason to refuse it.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Why a component may not run.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no such file.
    Missing(PathBuf),
    /// The file is not whole yet, or was changing while it was read.
    Incomplete(String),
    /// It does not fit: problems of the view file and the component together.
    Unfit(Vec<Diagnostic>),
    /// Something beside the component is in the way and may go away by itself.
    Unavailable(String),
    /// Somebody has to mend something that nobody here hears of, such as a topic that is missing.
    Unmet(String),
    /// Anything else, in words.
    Refused(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                write!(
                    f,
                    "the component {} is not there; build it with `host build`, or copy it there",
                    path.display()
                )
            }
            Self::Incomplete(message)
            | Self::Unavailable(message)
            | Self::Unmet(message)
            | Self::Refused(message) => f.write_str(message),
            Self::Unfit(diagnostics) => {
                let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
                let messages: Vec<String> = errors.map(|diagnostic| diagnostic.message.clone()).collect();
                f.write_str(&messages.join("; "))
            }
        }
    }
}

/// What tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Changes with every write, also where the modification time was set back.
    changed: (i64, i64),
}

impl Stamp {
    /// The state of a file; `None` if it is not there.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Library {
    /// A library without components.
    pub(crate) fn new(options: wasm::EngineOptions, kept: Option<Kept>) -> anyhow::Result<Self> {
        let max_bytes = u64::try_from(options.max_component).unwrap_or(u64::MAX);
        let engine = wasm::Engine::new(options).context("cannot set up the sandbox")?;
        Ok(Self { engine, max_bytes, kept, loaded: Mutex::default() })
    }

    /// Reads and examines a view's component. `settle`: whether somebody may be writing the file at this moment.
    pub(crate) fn admit(
        &self,
        view: &ViewPlan,
        source: &SourcePlan,
        format: &dyn Format,
        settle: bool,
    ) -> Result<Admitted, Refusal> {
        let path = &view.component;
        let stamp = Stamp::of(path).ok_or_else(|| Refusal::Missing(path.clone()))?;
        let bytes = self.read(path)?;
        if settle {
            let until = Instant::now() + SETTLE;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                std::thread::park_timeout(left);
            }
        }
        // Whoever writes in place may pause between two writes; the content must stand still for a moment.
        if Stamp::of(path) != Some(stamp) || (settle && self.read(path)? != bytes) {
            return Err(Refusal::Incomplete(format!("{} is being written", path.display())));
        }
        let component = self.load(&view.shape.name, path, &bytes)?;
        let problems = spec::component::check_component(view, source, component.description());
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(Refusal::Unfit(problems));
        }
        let options = TransformOptions {
            view: view.shape.name.as_str().into(),
            params: view.params_json.clone(),
            limits: view.limits.clone(),
        };
        trial::run(component.as_ref(), &options, format, view.samples.as_deref())
            .map_err(Refusal::Refused)?;
        let digest = digest(component.digest(), &options.params);
        if let Some(kept) = &self.kept {
            let kept = kept.keep(digest, &bytes, &options);
            kept.map_err(|error| Refusal::Unavailable(format!("{error:#}")))?;
        }
        Ok(Admitted { component, digest, options, stamp, warnings: problems })
    }

    /// A component that made rows of this view, with what it ran with.
    pub(crate) fn older(
        &self,
        view: &str,
        digest: Digest,
    ) -> anyhow::Result<Option<(Arc<dyn Component>, TransformOptions)>> {
        let Some(kept) = &self.kept else { return Ok(None) };
        let Some((bytes, options)) = kept.find(view, digest)? else { return Ok(None) };
        let component = self.load(view, Path::new("kept component"), &bytes).map_err(|refusal| {
            anyhow::anyhow!("the kept component {} cannot be used: {refusal}", digest.short())
        })?;
        Ok(Some((component, options)))
    }

    /// Drops kept components of a view that no replay needs.
    pub(crate) fn keep_only(&self, view: &str, digests: &[Digest]) -> anyhow::Result<()> {
        self.kept.as_ref().map_or(Ok(()), |kept| kept.keep_only(view, digests))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, Refusal> {
        // Ask before reading: a file of gigabytes must not be taken into memory to be refused.
        let limit = self.max_bytes;
        let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
        if size > limit {
            return Err(Refusal::Refused(format!(
                "{} has {} MiB, more than the {} MiB that a component may have",
                path.display(),
                size >> 20,
                limit >> 20
            )));
        }
        fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Refusal::Missing(path.to_owned()),
            _ => Refusal::Refused(format!("cannot read {}: {error}", path.display())),
        })
    }

    fn load(&self, view: &str, path: &Path, bytes: &[u8]) -> Result<Arc<dyn Component>, Refusal> {
        let digest = Digest(Sha256::digest(bytes).into());
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = loaded().get(&digest).and_then(Weak::upgrade) {
            return Ok(component);
        }
        let component = self.engine.load(view, bytes).map_err(|error| {
            let message = format!("{}: {error}", path.display());
            if error.is_incomplete() { Refusal::Incomplete(message) } else { Refusal::Refused(message) }
        })?;
        let mut loaded = loaded();
        loaded.retain(|_, component| component.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&component));
        Ok(component)
    }
}

/// What makes a generation: the component's bytes and its parameters.
fn digest(component: Digest, params: &str) -> Digest {
    Digest(Sha256::new().chain_update(component.0).chain_update(params).finalize().into())
}
