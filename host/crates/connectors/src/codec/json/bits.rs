//! Truth values under construction, 64 to a word; and where a column has values.

use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};

#[cfg(test)]
mod tests;

const WORD_BITS: usize = 64;

/// Bits in order, the first in the lowest place of the first word.
#[derive(Debug, Default)]
pub(super) struct Bits {
    /// Bits beyond `len` are 0.
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// So many bits, all set.
    fn ones(len: usize) -> Self {
        let mut bits = Self { words: vec![u64::MAX; len.div_ceil(WORD_BITS)], len: usize::MAX };
        bits.truncate(len);
        bits
    }

    /// Makes room for so many more bits.
    pub(super) fn reserve(&mut self, bits: usize) {
        self.words.reserve(bits.div_ceil(WORD_BITS));
    }

    /// Appends a bit.
    #[inline(always)]
    pub(super) fn push(&mut self, bit: bool) {
        let place = self.len % WORD_BITS;
        match self.words.last_mut() {
            Some(word) if place > 0 => *word |= u64::from(bit) << place,
            _ => self.words.push(u64::from(bit)),
        }
        self.len += 1;
    }

    /// Keeps the first `len` bits.
    pub(super) fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.words.truncate(len.div_ceil(WORD_BITS));
        self.len = len;
        if let (Some(word), 1..) = (self.words.last_mut(), len % WORD_BITS) {
            *word &= (1 << (len % WORD_BITS)) - 1;
        }
    }

    /// The finished bits; none are left.
    pub(super) fn finish(&mut self) -> BooleanBuffer {
        let len = std::mem::take(&mut self.len);
        // Words are little-endian on every machine that Arrow runs on in practice, and are made so on any other.
        let words: Vec<u64> = std::mem::take(&mut self.words).into_iter().map(u64::to_le).collect();
        BooleanBuffer::new(Buffer::from_vec(words), 0, len)
    }
}

/// Which values of a column are there. Costs a counter until the first one is missing.
#[derive(Debug, Default)]
pub(super) struct Nulls {
    len: usize,
    /// Set for values that are there; `None` as long as all are.
    bits: Option<Bits>,
}

impl Nulls {
    /// Number of values, missing ones included.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends a value that is there.
    #[inline(always)]
    pub(super) fn push_value(&mut self) {
        self.len += 1;
        if let Some(bits) = &mut self.bits {
            bits.push(true);
        }
    }

    /// Appends a missing value.
    pub(super) fn push_null(&mut self) {
        let bits = self.bits.get_or_insert_with(|| Bits::ones(self.len));
        bits.push(false);
        self.len += 1;
    }

    /// Keeps the first `len` values.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        if let Some(bits) = &mut self.bits {
            bits.truncate(len);
        }
    }

    /// The finished buffer, if a value is missing; none are left.
    pub(super) fn finish(&mut self) -> Option<NullBuffer> {
        self.len = 0;
        let nulls = NullBuffer::new(self.bits.take()?.finish());
        (nulls.null_count() > 0).then_some(nulls)
    }
}
