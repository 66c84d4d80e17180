//! Paths of view files: relative, and within the folder that they are meant for. Looks at texts, never at the disk.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::Context;
use crate::diagnostic::{Code, Diagnostic};
use crate::raw::Spanned;

impl Context<'_> {
    /// A path relative to the view file that names it, within the views folder.
    pub(super) fn beside(&self, path: &Spanned<String>) -> Result<PathBuf, Box<Diagnostic>> {
        let folder = path.spot.path().parent().unwrap_or(Path::new(""));
        inside(&self.files.root, folder, path, "the views folder")
    }

    /// A path relative to `files_root`, within it.
    pub(super) fn in_files_root(&self, path: &Spanned<String>) -> Result<PathBuf, Box<Diagnostic>> {
        let root = &self.host.files_root;
        inside(root, root, path, "`files_root`")
    }
}

/// `folder` lies within `root`, and the path that comes out does too.
fn inside(
    root: &Path,
    folder: &Path,
    path: &Spanned<String>,
    called: &str,
) -> Result<PathBuf, Box<Diagnostic>> {
    let problem = |code, message: String| Box::new(Diagnostic::at(code, &path.spot, message));
    let text = path.value.as_str();
    if text.is_empty() || text.contains('\0') {
        return Err(problem(Code::BadValue, "a path cannot be empty or contain NUL".to_owned()));
    }
    // Steps below the root.
    let mut steps: Vec<OsString> = folder
        .strip_prefix(root)
        .map(|below| below.components().map(|step| step.as_os_str().to_owned()).collect())
        .unwrap_or_default();
    let base = if folder.starts_with(root) { root } else { folder };
    for step in Path::new(text).components() {
        match step {
            Component::CurDir => {}
            Component::Normal(name) => steps.push(name.to_owned()),
            Component::ParentDir if steps.pop().is_some() => {}
            Component::ParentDir => {
                let message = format!("path `{text}` leads out of {called}");
                return Err(Box::new(
                    problem(Code::PathOutside, message)
                        .help(format!("put the file into {called}: {}", root.display())),
                ));
            }
            Component::RootDir | Component::Prefix(_) => {
                let message = format!("path `{text}` is absolute");
                return Err(Box::new(
                    problem(Code::PathOutside, message)
                        .help(format!("give a path within {called}, without a leading `/`")),
                ));
            }
        }
    }
    Ok(steps.into_iter().fold(base.to_owned(), |path, step| path.join(step)))
}
