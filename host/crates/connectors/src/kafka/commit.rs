//! What a commit says beside its offset: how far each view is. Plain data; talks to nobody.
//!
//! The metadata of a commit is a text such as `1;*=4;clicks=1207;impressions=1200,2`: a version, the number of partitions
//! that the topic had when the group began with it, and for each view the offset of the next record that its output
//! stream lacks, with the view's epoch unless that is 0. Names are percent-encoded where they would be taken for
//! punctuation. Brokers keep 4,096 bytes of it unless they are told otherwise.
//!
//! Text of another form was written by somebody else who uses the group; it tells nothing of views, and the next commit
//! replaces it.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Bytes of metadata that every broker keeps with an offset (`offset.metadata.max.bytes`).
pub(super) const MAX_METADATA_BYTES: usize = 4096;

/// The version of the text.
const VERSION: &str = "1";
/// Stands where a view's name would, before the number of partitions; no view can be called so.
const BEGUN: &str = "*";
/// Digits of the greatest offset and of the greatest epoch, with the comma between them.
const GREATEST_ENTRY: usize = 19 + 1 + 10;

/// How far a view's output stream is in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ViewOffset {
    /// The offset behind the last record that it has.
    pub(super) next: u64,
    /// How often the view was rewound.
    pub(super) epoch: u32,
}

/// How far the views are in one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// How many partitions the topic had when the group began with it: later ones are read from their beginning.
    pub(super) begun: Option<u32>,
    /// Each view that the group knows, also those that no host runs at the moment.
    pub(super) views: BTreeMap<String, ViewOffset>,
}

/// The text would be longer than brokers keep.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the progress of {views} views takes {bytes} bytes of the {MAX_METADATA_BYTES} that brokers keep with an offset"
)]
pub(super) struct TooLong {
    /// Views in it.
    pub(super) views: usize,
    /// Bytes that it would take.
    pub(super) bytes: usize,
}

impl Progress {
    /// Reads what [`Progress::encode`] wrote; `None` for anything else.
    pub(super) fn parse(metadata: &str) -> Option<Self> {
        let mut entries = metadata.split(';');
        if entries.next()? != VERSION {
            return None;
        }
        let mut progress = Self::default();
        for entry in entries {
            let (name, value) = entry.split_once('=')?;
            if name == BEGUN {
                progress.begun = Some(value.parse().ok()?);
                continue;
            }
            let (next, epoch) = value.split_once(',').unwrap_or((value, "0"));
            let offset = ViewOffset { next: next.parse().ok()?, epoch: epoch.parse().ok()? };
            progress.views.insert(unescape(name)?, offset);
        }
        Some(progress)
    }

    /// The text for a commit.
    pub(super) fn encode(&self) -> Result<String, TooLong> {
        let mut text = VERSION.to_owned();
        let written = (|| {
            if let Some(begun) = self.begun {
                write!(text, ";{BEGUN}={begun}")?;
            }
            for (view, ViewOffset { next, epoch }) in &self.views {
                text.push(';');
                escape(view, &mut text);
                write!(text, "={next}")?;
                if *epoch != 0 {
                    write!(text, ",{epoch}")?;
                }
            }
            std::fmt::Result::Ok(())
        })();
        written.expect("writing into a string succeeds");
        if text.len() > MAX_METADATA_BYTES {
            return Err(TooLong { views: self.views.len(), bytes: text.len() });
        }
        Ok(text)
    }

    /// Whether `view` can be added, or is in it, with all offsets as long as they can become.
    pub(super) fn fits(&self, view: &str) -> Result<(), TooLong> {
        let mut names = String::new();
        let mut views = 0;
        let known = self.views.keys().map(String::as_str);
        for name in known.chain((!self.views.contains_key(view)).then_some(view)) {
            escape(name, &mut names);
            views += 1;
        }
        let begun = 2 + BEGUN.len() + 10;
        let bytes = VERSION.len() + begun + names.len() + views * (2 + GREATEST_ENTRY);
        if bytes > MAX_METADATA_BYTES { Err(TooLong { views, bytes }) } else { Ok(()) }
    }

    /// Notes that a view is this far. A greater epoch counts in any case, within one only more progress does. Whether
    /// that changed anything.
    pub(super) fn advance(&mut self, view: &str, to: ViewOffset) -> bool {
        match self.views.get_mut(view) {
            Some(known) if (to.epoch, to.next) > (known.epoch, known.next) => *known = to,
            Some(_) => return false,
            None => {
                self.views.insert(view.to_owned(), to);
            }
        }
        true
    }
}

/// Appends a name without `;`, `=` or what else could be misread.
fn escape(name: &str, text: &mut String) {
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/' | b'#') {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02x}").expect("writing into a string succeeds");
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut name = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let high = digit(bytes.next())?;
                let low = digit(bytes.next())?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests;
