//! Steps over values that nobody asked for, and checks that they are JSON. Does not recurse.

use super::cursor::{Cursor, MAX_DEPTH};
use super::problem::{Kind, Problem};
use super::scan;

impl Cursor<'_> {
    /// Steps over the value here. Surrogates in texts need not be paired: nobody reads them.
    pub(super) fn skip_value(&mut self) -> Result<(), Problem> {
        // One bit for each level that was entered here: set for an object.
        let mut objects: u128 = 0;
        let mut levels: u8 = 0;
        loop {
            match self.peek() {
                Some(b'"') => self.skip_text()?,
                Some(b'-' | b'0'..=b'9') => {
                    self.number_text()?;
                }
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                Some(bracket @ (b'{' | b'[')) => {
                    if self.depth() + levels >= MAX_DEPTH {
                        return Err(self.problem(Kind::Depth));
                    }
                    self.at += 1;
                    levels += 1;
                    objects = objects << 1 | u128::from(bracket == b'{');
                    self.skip_whitespace();
                    match (self.peek(), bracket) {
                        (Some(b'}'), b'{') | (Some(b']'), b'[') => {}
                        (_, b'{') => {
                            self.skip_key()?;
                            continue;
                        }
                        _ => continue,
                    }
                }
                _ => return Err(self.problem(Kind::Expected("a value"))),
            }
            // Behind a value, or at the bracket that closes an empty one: leave what ends here.
            loop {
                if levels == 0 {
                    return Ok(());
                }
                self.skip_whitespace();
                let in_object = objects & 1 == 1;
                match self.peek() {
                    Some(b'}') if in_object => {}
                    Some(b']') if !in_object => {}
                    Some(b',') => {
                        self.at += 1;
                        self.skip_whitespace();
                        if in_object {
                            self.skip_key()?;
                        }
                        break;
                    }
                    _ if in_object => return Err(self.problem(Kind::Expected("`,` or `}`"))),
                    _ => return Err(self.problem(Kind::Expected("`,` or `]`"))),
                }
                self.at += 1;
                levels -= 1;
                objects >>= 1;
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), Problem> {
        if self.peek() != Some(b'"') {
            return Err(self.problem(Kind::Expected("a key in quotes")));
        }
        self.skip_text()?;
        self.skip_whitespace();
        self.expect(b':', "`:`")?;
        self.skip_whitespace();
        Ok(())
    }

    fn skip_text(&mut self) -> Result<(), Problem> {
        self.at += 1;
        loop {
            let run = self.at;
            let stop = scan::plain_text(self.slice(0, self.end()), run, self.end());
            if !stop.ascii
                && let Err(error) = std::str::from_utf8(self.slice(run, stop.at))
            {
                return Err(Problem::new(run + error.valid_up_to(), Kind::Utf8));
            }
            self.at = stop.at;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            self.hex4(stop.at)?;
                        }
                        _ => return Err(Problem::new(stop.at, Kind::Escape)),
                    }
                }
                _ => return Err(self.problem(Kind::ControlCharacter)),
            }
        }
    }
}
