//! A column of texts or bytes under construction.

use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use super::cursor::Cursor;
use super::problem::{Kind, Problem};

/// Room for text beyond what a batch is expected to need.
const TEXT_ROOM: usize = 1024;

/// Texts or bytes of any length.
pub(super) struct Texts {
    offsets: Vec<i32>,
    /// All of them, one behind the other; ends with what was appended but not closed.
    pub(super) data: Vec<u8>,
}

impl Texts {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { offsets: vec![0], data: Vec::new() }
    }

    /// Makes room for so many more texts of so many bytes altogether.
    pub(super) fn reserve(&mut self, rows: usize, bytes: usize) {
        self.offsets.reserve(rows);
        // Texts are copied in blocks, and as much is reserved as the rest of the event has.
        self.data.reserve(bytes + TEXT_ROOM);
    }

    /// Ends the text that was appended to `data`.
    #[inline(always)]
    pub(super) fn close(&mut self, at: usize) -> Result<(), Problem> {
        match i32::try_from(self.data.len()) {
            Ok(end) => {
                self.offsets.push(end);
                Ok(())
            }
            Err(_) => Err(Problem::new(at, Kind::TooMuchText)),
        }
    }

    /// Appends the text here if it is plain; otherwise leaves everything as it was.
    #[inline(always)]
    pub(super) fn append_fast(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let before = self.data.len();
        if cursor.fast_text_into(&mut self.data).is_some()
            && let Ok(end) = i32::try_from(self.data.len())
        {
            self.offsets.push(end);
            return Some(());
        }
        self.data.truncate(before);
        None
    }

    /// Appends an empty text.
    pub(super) fn repeat(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
    }

    /// Keeps the first `rows` texts, and nothing that was not closed.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.data.truncate(self.offsets.last().map_or(0, |end| end.cast_unsigned() as usize));
    }

    /// The finished buffers; none are left.
    pub(super) fn finish(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(std::mem::take(&mut self.data)))
    }
}
