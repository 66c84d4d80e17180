//! Cuts bytes into lines. Knows nothing of files, and keeps nothing between calls.

use std::ops::Range;

/// A line within some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it begins.
    pub(super) start: usize,
    /// Where its text ends: before `\n` or `\r\n`.
    pub(super) end: usize,
}

impl Line {
    /// The line from `start` whose `\n` is at `newline`, or which ends there without one.
    pub(super) fn new(bytes: &[u8], start: usize, newline: usize) -> Self {
        let ends_with_return = newline > start && bytes[newline - 1] == b'\r';
        Self { start, end: newline - usize::from(ends_with_return) }
    }

    /// Whether there is no text.
    pub(super) fn is_blank(&self) -> bool {
        self.start == self.end
    }

    /// Its text, of which at most `most` bytes count.
    pub(super) fn text(&self, most: usize) -> Range<usize> {
        self.start..self.end.min(self.start.saturating_add(most))
    }
}

/// The last line with text. The first line counts only if `bytes` begins with its beginning (`is_start`), the last one
/// only if it has its end or `with_partial` is given.
pub(super) fn last_line(bytes: &[u8], is_start: bool, with_partial: bool) -> Option<Line> {
    let mut newline = bytes.len();
    let mut has_end = false;
    loop {
        let before = memchr::memrchr(b'\n', &bytes[..newline]);
        let line = Line::new(bytes, before.map_or(0, |before| before + 1), newline);
        let is_whole = (has_end || with_partial) && (before.is_some() || is_start);
        if is_whole && !line.is_blank() {
            return Some(line);
        }
        newline = before?;
        has_end = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, is_start: bool, with_partial: bool, expected: Option<&str>) {
        let line = last_line(text.as_bytes(), is_start, with_partial);
        assert_eq!(line.map(|line| &text[line.text(100)]), expected);
    }

    #[test]
    fn the_last_line_has_text_and_both_ends() {
        check("", true, true, None);
        check("a", true, true, Some("a"));
        check("a", true, false, None);
        check("a\n", true, false, Some("a"));
        check("a\n", false, false, None);
        check("a\nb", true, false, Some("a"));
        check("a\nb", true, true, Some("b"));
        check("a\nb\r\n\n\r\n", false, false, Some("b"));
        check("a\nb\r", true, true, Some("b"));
        check("\n\n", true, true, None);
    }
}
