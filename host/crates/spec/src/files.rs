//! The files of a views folder, as text. Reading is all that happens here; what the text means is for later stages.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic, SourceFile};

/// Bytes of one file at most. View files are written by people; a larger one is a mistake or an attack.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Folders within folders at most, against links that lead in circles.
const MAX_FOLDER_DEPTH: usize = 32;

/// Files at most, against a `--views` that names the root of a disk.
const MAX_FILES: usize = 10_000;

/// The view files of a folder.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The folder, which paths in view files may not leave; absolute if the files were read from disk.
    pub root: PathBuf,
    /// The folder as it is shown to people.
    pub shown_root: PathBuf,
    /// The files that could be read, sorted by path.
    pub files: Vec<Arc<SourceFile>>,
    /// Files that could not be read.
    pub unreadable: Vec<PathBuf>,
    /// Why not.
    pub problems: Vec<Diagnostic>,
}

impl Files {
    /// Files from memory, each a path and a text. Their root is `views`.
    pub fn from_memory<P: Into<PathBuf>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        let mut files: Vec<_> = files.into_iter().map(|(path, text)| SourceFile::new(path, text)).collect();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let root = PathBuf::from("views");
        Self { shown_root: root.clone(), root, files, ..Self::default() }
    }
}

/// Reads `*.yaml` and `*.yml` below a folder, or one file. Hidden entries, folders named `target` or `node_modules`, and
/// files named `host.yaml` are passed over. Whatever cannot be read becomes a problem.
pub fn read_views(path: &Path) -> Files {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let is_file = path.is_file();
    let root = if is_file { path.parent().unwrap_or(&path).to_owned() } else { path.clone() };
    let mut walk = Walk {
        found: BTreeSet::new(),
        visited: BTreeSet::new(),
        files: Files { shown_root: shown(&root), root, ..Files::default() },
    };
    if is_file {
        walk.found.insert(path);
    } else {
        walk.folder(&path, 0);
    }
    let Walk { found, mut files, .. } = walk;
    if found.len() > MAX_FILES {
        let message = format!("{} view files, more than the {MAX_FILES} that a folder may have", found.len());
        files.problems.push(
            Diagnostic::in_file(Code::TooLarge, &files.shown_root, message)
                .help("name the folder that holds the views, not one further up"),
        );
    }
    for path in found.into_iter().take(MAX_FILES) {
        match read_file(&path) {
            Ok(file) => files.files.push(file),
            Err(problem) => {
                files.problems.push(*problem);
                files.unreadable.push(path);
            }
        }
    }
    files
}

/// Reads one file as text.
pub(crate) fn read_file(path: &Path) -> Result<Arc<SourceFile>, Box<Diagnostic>> {
    let shown_path = shown(path);
    let unreadable = |error: &dyn std::fmt::Display| {
        Box::new(Diagnostic::in_file(Code::Unreadable, &shown_path, format!("cannot be read: {error}")))
    };
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large, without reading all of it.
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("is larger than the {} KiB that a file may have", MAX_FILE_BYTES >> 10);
        return Err(Box::new(
            Diagnostic::in_file(Code::TooLarge, &shown_path, message).help("split it into several files"),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Arc::new(SourceFile { path: path.to_owned(), shown: shown_path, text })),
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            let message = format!("is not UTF-8 text (at byte {offset})");
            Err(Box::new(
                Diagnostic::in_file(Code::Unreadable, &shown_path, message).help("save the file as UTF-8"),
            ))
        }
    }
}

/// A path relative to the working directory, if it lies below.
fn shown(path: &Path) -> PathBuf {
    let below = std::env::current_dir().ok().and_then(|here| Some(path.strip_prefix(here).ok()?.to_owned()));
    match below {
        Some(below) if below.as_os_str().is_empty() => PathBuf::from("."),
        Some(below) => below,
        None => path.to_owned(),
    }
}

struct Walk {
    found: BTreeSet<PathBuf>,
    /// Real paths of folders, so that a link is followed once.
    visited: BTreeSet<PathBuf>,
    files: Files,
}

impl Walk {
    fn folder(&mut self, folder: &Path, depth: usize) {
        if depth > MAX_FOLDER_DEPTH || self.found.len() > MAX_FILES {
            return;
        }
        let entries = match fs::canonicalize(folder).and_then(|real| Ok((real, fs::read_dir(folder)?))) {
            Ok((real, entries)) => {
                if !self.visited.insert(real) {
                    return;
                }
                entries
            }
            Err(error) => return self.problem(folder, &error),
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(&entry.path(), depth),
                Err(error) => return self.problem(folder, &error),
            }
        }
    }

    fn entry(&mut self, path: &Path, depth: usize) {
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { return };
        if name.starts_with('.')
            || matches!(name.as_str(), "target" | "node_modules" | "host.yaml" | "host.yml")
        {
            return;
        }
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        // Links are followed: a mounted ConfigMap consists of them.
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path, depth + 1),
            Ok(metadata) if metadata.is_file() && is_yaml => {
                self.found.insert(path.to_owned());
            }
            Ok(_) => {}
            Err(error) if is_yaml => {
                self.problem(path, &error);
                self.files.unreadable.push(path.to_owned());
            }
            // A dangling link that is no view file is not our business.
            Err(_) => {}
        }
    }

    fn problem(&mut self, path: &Path, error: &std::io::Error) {
        self.files.problems.push(Diagnostic::in_file(
            Code::Unreadable,
            path,
            format!("cannot be read: {error}"),
        ));
    }
}
