//! A piece of text in a file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that was read: its path and its text.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The path as it is shown to people: relative to the working directory, if the file lies below.
    pub shown: PathBuf,
    /// All of it.
    pub text: String,
}

impl SourceFile {
    /// A file from memory.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        let path = path.into();
        Arc::new(Self { shown: path.clone(), path, text: text.into() })
    }
}

/// Its path alone: the text may hold a secret.
impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceFile({})", self.shown.display())
    }
}

/// A piece of the text of a file. All spots are equal, so that plans compare by what they say, not by where they say it.
#[derive(Clone)]
pub struct Spot {
    file: Arc<SourceFile>,
    start: usize,
    end: usize,
}

impl Spot {
    /// These bytes of a file; what reaches beyond the end or into a character is moved back.
    pub fn new(file: &Arc<SourceFile>, range: Range<usize>) -> Self {
        let text = &file.text;
        let start = text.floor_char_boundary(range.start.min(text.len()));
        let end = text.floor_char_boundary(range.end.min(text.len())).max(start);
        Self { file: Arc::clone(file), start, end }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The file's path as it is shown to people.
    pub fn shown_path(&self) -> &Path {
        &self.file.shown
    }

    /// The file.
    pub fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }

    /// The bytes of the file's text.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The text itself.
    pub fn text(&self) -> &str {
        &self.file.text[self.start..self.end]
    }

    /// Line and column of its start, both counted from 1, the column in characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        position(&self.file.text, self.start)
    }

    /// Line and column behind its end.
    pub fn end_line_and_column(&self) -> (usize, usize) {
        position(&self.file.text, self.end)
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.bytes().filter(|byte| *byte == b'\n').count() + 1, before[line_start..].chars().count() + 1)
}

impl PartialEq for Spot {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_and_column();
        write!(f, "{}:{line}:{column}", self.shown_path().display())
    }
}
