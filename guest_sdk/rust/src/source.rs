//! From buffers to bounded views: everything that looks at raw input bytes.
//!
//! The host sends valid columns, so a transform that is called by it checks sizes once a batch and nothing per row
//! beyond Rust's slice bounds. Called natively, columns come from anybody: then UTF-8 is checked as well.

use std::cell::RefCell;

use crate::batch::{Batch, Column};
use crate::scalar::Primitive;

/// One batch on its way into a transform.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    batch: &'a Batch,
    arena: &'a Arena,
    /// Whether texts are known to be UTF-8.
    trusted: bool,
}

impl<'a> Source<'a> {
    /// A batch whose texts are checked when they are bound.
    pub fn new(batch: &'a Batch, arena: &'a Arena) -> Self {
        Self { batch, arena, trusted: false }
    }

    /// A batch whose texts are not checked again.
    ///
    /// # Safety
    ///
    /// Columns that will be bound as texts hold valid UTF-8, and their offsets lie on character boundaries.
    pub unsafe fn trusted(batch: &'a Batch, arena: &'a Arena) -> Self {
        Self { batch, arena, trusted: true }
    }

    /// Number of rows.
    #[inline]
    pub fn rows(&self) -> usize {
        self.batch.rows as usize
    }

    /// The top-level columns, of which there must be at least `count`.
    pub fn views(self, count: usize) -> Result<Vec<ColumnView<'a>>, String> {
        if self.batch.columns.len() < count {
            return Err(format!("expected {count} columns, got {}", self.batch.columns.len()));
        }
        Ok(self.batch.columns[..count]
            .iter()
            .map(|column| ColumnView { source: self, column, len: self.rows() })
            .collect())
    }
}

/// One column of a batch and how many rows it has.
#[derive(Clone, Copy)]
pub struct ColumnView<'a> {
    source: Source<'a>,
    column: &'a Column,
    len: usize,
}

impl<'a> ColumnView<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Which rows have a value.
    pub fn validity(&self) -> Result<Validity<'a>, String> {
        let bits = self.column.validity.as_slice();
        if !bits.is_empty() && bits.len() < self.len.div_ceil(8) {
            return Err(too_short("validity", bits.len(), self.len));
        }
        Ok(Validity::new(bits, self.len))
    }

    /// Bits of a bool column.
    pub fn bits(&self) -> Result<&'a [u8], String> {
        let bits = self.column.values.as_slice();
        if bits.len() < self.len.div_ceil(8) {
            Err(too_short("values", bits.len(), self.len))
        } else {
            Ok(bits)
        }
    }

    /// Fixed-width values, wherever they lie in memory.
    pub fn fixed<T: Primitive>(&self) -> Result<&'a [T::Bytes], String> {
        let width = size_of::<T::Bytes>();
        let values = self.column.values.as_slice();
        if values.len() / width < self.len {
            return Err(too_short("values", values.len(), self.len));
        }
        const { assert!(align_of::<T::Bytes>() == 1) };
        // SAFETY: `Bytes` is an array of bytes, so any address will do; the length was checked above.
        Ok(unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), self.len) })
    }

    /// Fixed-width values as a slice of the type; copied first if the buffer does not lie on its alignment.
    pub fn slice<T: Primitive>(&self) -> Result<&'a [T], String> {
        let bytes = self.fixed::<T>()?;
        let address = if bytes.as_ptr().cast::<T>().is_aligned() {
            bytes.as_ptr()
        } else {
            self.source.arena.aligned(bytes)
        };
        // SAFETY: aligned by now, as many values as `fixed` checked, and every bit pattern is a value.
        Ok(unsafe { std::slice::from_raw_parts(address.cast(), bytes.len()) })
    }

    /// Offsets of a text, bytes, list or map column: ascending and, for texts and bytes, within the values.
    pub fn offsets(&self) -> Result<Offsets<'a>, String> {
        let bytes = self.column.offsets.as_slice();
        if bytes.is_empty() && self.len == 0 {
            return Ok(Offsets(&[[0; 4]]));
        }
        let (all, _) = bytes.as_chunks::<4>();
        match all.get(..=self.len) {
            Some(offsets) => Ok(Offsets(offsets)),
            None => Err(too_short("offsets", bytes.len(), self.len)),
        }
    }

    /// Bytes of a text or bytes column.
    pub fn bytes(&self) -> &'a [u8] {
        &self.column.values
    }

    /// Checks that every row of a text column is UTF-8, unless that is known.
    pub fn check_texts(&self, offsets: &Offsets<'a>) -> Result<(), String> {
        if self.source.trusted {
            return Ok(());
        }
        for row in 0..self.len {
            let (start, end) = offsets.range(row);
            let text =
                self.bytes().get(start..end).ok_or_else(|| format!("offsets of row {row} lie outside"))?;
            if let Err(error) = std::str::from_utf8(text) {
                return Err(format!("row {row} is not UTF-8: {error}"));
            }
        }
        Ok(())
    }

    /// A child column of `len` rows.
    pub fn child(&self, index: usize, len: usize) -> Result<ColumnView<'a>, String> {
        let child =
            self.column.children.get(index).copied().ok_or_else(|| format!("child {index} is missing"))?;
        let column = self.source.batch.columns.get(child as usize);
        let column = column.ok_or_else(|| format!("child {index} is column {child}, which is not there"))?;
        Ok(ColumnView { source: self.source, column, len })
    }
}

/// Which rows of a column have a value.
#[derive(Clone, Copy)]
pub struct Validity<'a> {
    /// Empty if every row has one.
    bits: &'a [u8],
}

impl<'a> Validity<'a> {
    fn new(bits: &'a [u8], len: usize) -> Self {
        // A nullable column without a null is as good as one that is not nullable.
        let all = bits.is_empty()
            || (bits[..len / 8].iter().all(|byte| *byte == 0xff)
                && (len.is_multiple_of(8) || bits[len / 8] | (0xff << (len % 8)) == 0xff));
        Self { bits: if all { &[] } else { bits } }
    }

    /// Whether some row has no value.
    #[inline]
    pub fn has_nulls(&self) -> bool {
        !self.bits.is_empty()
    }

    /// Whether a row has a value.
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        self.bits.is_empty() || bit(self.bits, row)
    }
}

/// Where the values of each row lie.
#[derive(Clone, Copy)]
pub struct Offsets<'a>(&'a [[u8; 4]]);

impl Offsets<'_> {
    /// Start and end of a row.
    #[inline(always)]
    pub fn range(&self, row: usize) -> (usize, usize) {
        (self.at(row), self.at(row + 1))
    }

    /// End of the last row: the least length of the values or children.
    pub fn end(&self) -> usize {
        self.at(self.0.len() - 1)
    }

    #[inline(always)]
    fn at(&self, index: usize) -> usize {
        u32::from_le_bytes(self.0[index]) as usize
    }
}

/// Whether a bit of a bitmap is set.
#[inline(always)]
pub fn bit(bits: &[u8], row: usize) -> bool {
    bits[row / 8] >> (row % 8) & 1 == 1
}

/// Keeps aligned copies of buffers that an allocator put on an odd address. Nearly always empty.
#[derive(Default)]
pub struct Arena {
    // 128 bits, because that is the strictest alignment of a fixed-width type. The inner ones never change again.
    copies: RefCell<Vec<Vec<u128>>>,
}

impl Arena {
    fn aligned<B: Copy>(&self, source: &[B]) -> *const B {
        let size = size_of_val(source);
        let mut copy = vec![0u128; size.div_ceil(16)];
        // SAFETY: `copy` has room for `size` bytes and is no part of `source`.
        unsafe {
            std::ptr::copy_nonoverlapping(source.as_ptr().cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), size)
        };
        let address = copy.as_ptr().cast();
        self.copies.borrow_mut().push(copy);
        address
    }
}

#[cold]
fn too_short(buffer: &str, bytes: usize, rows: usize) -> String {
    format!("the {buffer} buffer of {bytes} bytes is too short for {rows} rows")
}
