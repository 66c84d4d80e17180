//! The built components that groups use.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use model::transform::{CallContext, Component, Limits, TransformOptions};

/// A folder of built components.
pub(super) struct Guests {
    folder: PathBuf,
}

impl Guests {
    /// The named folder, or `target/guests` here or in the checkout that this binary was built in.
    pub(super) fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        let candidates = match named {
            Some(folder) => vec![folder.to_owned()],
            None => vec![
                PathBuf::from("target/guests"),
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests"),
            ],
        };
        let folder = candidates.iter().find(|folder| folder.is_dir());
        let folder = folder.with_context(|| {
            format!(
                "no built components in {}; run `cargo xtask guests` or name their folder with --guests",
                candidates[0].display()
            )
        })?;
        Ok(Self { folder: folder.clone() })
    }

    /// The bytes of a component.
    pub(super) fn bytes(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.folder.join(format!("{name}.wasm"));
        fs::read(&path).with_context(|| format!("cannot read {}; run `cargo xtask guests`", path.display()))
    }

    /// A component, compiled.
    pub(super) fn load(&self, engine: &wasm::Engine, name: &str) -> anyhow::Result<Arc<dyn Component>> {
        Ok(engine.load(name, &self.bytes(name)?)?)
    }
}

/// Options without parameters.
pub(super) fn options(limits: Limits) -> TransformOptions {
    TransformOptions { view: "bench".into(), params: "{}".to_owned(), limits }
}

/// A context for calls whose messages nobody reads.
pub(super) fn context() -> CallContext {
    CallContext {
        view: "bench".into(),
        generation: 1,
        partition: "0".into(),
        first_position: "0000000000000000".to_owned(),
        attempt: 1,
    }
}
