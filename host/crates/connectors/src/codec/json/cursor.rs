//! A place within an event: white space, literals, texts, the frame of objects and lists.
//!
//! A cursor knows the whole allocation that an event lies in, so that wide loads need not stop at the event's end; what
//! lies behind that end never becomes part of a value. It does not know columns.

use super::problem::{Kind, Problem};
use super::scan;

/// The greatest number of objects and lists around a value, as in `serde_json`.
pub(super) const MAX_DEPTH: u8 = 127;

/// A place within an event.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    data: &'a [u8],
    end: usize,
    /// Offset within the allocation.
    pub(super) at: usize,
    depth: u8,
}

/// A text that was read: its place between the quotes, and whether it must be unescaped.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawText {
    start: usize,
    end: usize,
    escaped: bool,
}

impl RawText {
    /// Offset of the opening quote.
    pub(super) fn quote(&self) -> usize {
        self.start - 1
    }
}

impl<'a> Cursor<'a> {
    /// A cursor over `data[start..end]`.
    pub(super) fn new(data: &'a [u8], start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= data.len(), "an event lies within its allocation");
        Self { data, end, at: start, depth: 0 }
    }

    /// A cursor that stands within the object of the event.
    pub(super) fn within(data: &'a [u8], start: usize, end: usize) -> Self {
        Self { data, end, at: start, depth: 1 }
    }

    /// A cursor over the same event that stands elsewhere.
    pub(super) fn again(&self, at: usize, depth: u8) -> Self {
        Self { data: self.data, end: self.end, at, depth }
    }

    /// The byte here.
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        if self.at < self.end { self.data.get(self.at).copied() } else { None }
    }

    /// Whether nothing is left.
    #[inline(always)]
    pub(super) fn is_done(&self) -> bool {
        self.at == self.end
    }

    /// Bytes between two offsets.
    #[inline(always)]
    pub(super) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        &self.data[start..end]
    }

    /// The whole allocation.
    #[inline(always)]
    pub(super) fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Offset behind the event.
    #[inline(always)]
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Eight bytes at an offset, which may lie behind the event; `None` at the end of the allocation.
    #[inline(always)]
    pub(super) fn load8(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(*self.data.get(at..)?.first_chunk::<8>()?))
    }

    /// Sixteen bytes at an offset, like [`Cursor::load8`].
    #[inline(always)]
    pub(super) fn load16(&self, at: usize) -> Option<u128> {
        Some(u128::from_le_bytes(*self.data.get(at..)?.first_chunk::<16>()?))
    }

    /// A problem here.
    #[inline]
    pub(super) fn problem(&self, kind: Kind) -> Problem {
        Problem::new(self.at, kind)
    }

    /// Steps over white space.
    #[inline]
    pub(super) fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps over this byte, which must be here.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8, wanted: &'static str) -> Result<(), Problem> {
        if self.peek() != Some(byte) {
            return Err(self.problem(Kind::Expected(wanted)));
        }
        self.at += 1;
        Ok(())
    }

    /// Steps over a literal, which must be here.
    #[inline]
    pub(super) fn literal(&mut self, literal: &'static str) -> Result<(), Problem> {
        let end = self.at + literal.len();
        if end > self.end || &self.data[self.at..end] != literal.as_bytes() {
            return Err(self.problem(Kind::Expected("a value")));
        }
        self.at = end;
        Ok(())
    }

    /// Steps into an object or list.
    #[inline]
    pub(super) fn enter(&mut self, bracket: u8, wanted: &'static str) -> Result<(), Problem> {
        if self.peek() != Some(bracket) {
            return Err(self.problem(Kind::Expected(wanted)));
        }
        if self.depth >= MAX_DEPTH {
            return Err(self.problem(Kind::Depth));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Levels around this place.
    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    /// Steps to the next key of an object that was entered, over its colon, to its value; `None` behind the object.
    pub(super) fn next_key(&mut self, first: bool) -> Result<Option<RawText>, Problem> {
        self.skip_whitespace();
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                self.depth = self.depth.saturating_sub(1);
                return Ok(None);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_whitespace();
            }
            _ if first => {}
            _ => return Err(self.problem(Kind::Expected("`,` or `}`"))),
        }
        let key = self.text("a key in quotes")?;
        self.skip_whitespace();
        self.expect(b':', "`:`")?;
        self.skip_whitespace();
        Ok(Some(key))
    }

    /// Steps to the next item of a list that was entered; `false` behind the list.
    pub(super) fn next_item(&mut self, first: bool) -> Result<bool, Problem> {
        self.skip_whitespace();
        match self.peek() {
            Some(b']') => {
                self.at += 1;
                self.depth = self.depth.saturating_sub(1);
                return Ok(false);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_whitespace();
            }
            _ if first => {}
            _ => return Err(self.problem(Kind::Expected("`,` or `]`"))),
        }
        Ok(true)
    }

    /// Steps over a text and checks all of it.
    pub(super) fn text(&mut self, wanted: &'static str) -> Result<RawText, Problem> {
        self.expect(b'"', wanted)?;
        let start = self.at;
        let stop = scan::plain_text(self.data, start, self.end);
        if stop.at < self.end && self.data[stop.at] == b'"' && stop.ascii {
            self.at = stop.at + 1;
            return Ok(RawText { start, end: stop.at, escaped: false });
        }
        let escaped = self.escaped_text(start, None)?;
        Ok(RawText { start, end: self.at - 1, escaped })
    }

    /// The characters of a text that was read; `scratch` holds them if they were escaped.
    pub(super) fn unescape<'s>(&self, text: RawText, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        if !text.escaped {
            return &self.data[text.start..text.end];
        }
        scratch.clear();
        let mut cursor = Cursor { data: self.data, end: self.end, at: text.start, depth: 0 };
        let checked = cursor.escaped_text(text.start, Some(&mut *scratch));
        debug_assert!(checked.is_ok(), "the text was checked when it was read");
        scratch
    }

    /// Appends the characters of the text here to `out`. After a problem `out` may hold a part of it.
    pub(super) fn text_into(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        let start = self.at + 1;
        self.escaped_text(start, Some(out)).map(drop)
    }

    /// Does something rare on a copy, so that the cursor itself can stay in registers.
    #[inline(always)]
    pub(super) fn aside<T>(
        &mut self,
        rare: impl FnOnce(&mut Self) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let mut copy = self.clone();
        let value = rare(&mut copy)?;
        self.at = copy.at;
        Ok(value)
    }

    /// Reads a text from behind its opening quote, with escapes and characters beyond ASCII, into `out` if there is one.
    /// Returns whether there were escapes.
    #[inline(never)]
    fn escaped_text(&mut self, start: usize, mut out: Option<&mut Vec<u8>>) -> Result<bool, Problem> {
        let mut escaped = false;
        self.at = start;
        loop {
            let run = self.at;
            let stop = scan::plain_text(self.data, run, self.end);
            let plain = &self.data[run..stop.at];
            if !stop.ascii {
                // An escape cannot stand within a character, so each run must be valid by itself.
                if let Err(error) = std::str::from_utf8(plain) {
                    return Err(Problem::new(run + error.valid_up_to(), Kind::Utf8));
                }
            }
            if let Some(out) = out.as_deref_mut() {
                out.extend_from_slice(plain);
            }
            self.at = stop.at;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    let character = self.escape()?;
                    if let Some(out) = out.as_deref_mut() {
                        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
                _ => return Err(self.problem(Kind::ControlCharacter)),
            }
        }
    }

    /// Reads one escape, or two that make a surrogate pair.
    fn escape(&mut self) -> Result<char, Problem> {
        let at = self.at;
        self.at += 1;
        let simple = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(at),
            _ => return Err(Problem::new(at, Kind::Escape)),
        };
        self.at += 1;
        Ok(simple)
    }

    fn unicode_escape(&mut self, at: usize) -> Result<char, Problem> {
        let first = self.hex4(at)?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or_else(|| Problem::new(at, Kind::LoneSurrogate));
        }
        if self.at + 1 >= self.end || &self.data[self.at..self.at + 2] != b"\\u" {
            return Err(Problem::new(at, Kind::LoneSurrogate));
        }
        let second_at = self.at;
        self.at += 1;
        let second = self.hex4(second_at)?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(Problem::new(at, Kind::LoneSurrogate));
        }
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        char::from_u32(code).ok_or_else(|| Problem::new(at, Kind::LoneSurrogate))
    }

    /// Reads `uXXXX`.
    pub(super) fn hex4(&mut self, escape_at: usize) -> Result<u32, Problem> {
        let digits = self.data[..self.end]
            .get(self.at + 1..self.at + 5)
            .ok_or_else(|| Problem::new(escape_at, Kind::Escape))?;
        let mut code = 0;
        for digit in digits {
            let value =
                char::from(*digit).to_digit(16).ok_or_else(|| Problem::new(escape_at, Kind::Escape))?;
            code = code * 16 + value;
        }
        self.at += 5;
        Ok(code)
    }
}
