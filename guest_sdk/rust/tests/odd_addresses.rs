//! Slices of columns are right whatever addresses an allocator hands out for byte buffers.

use std::alloc::{GlobalAlloc, Layout, System};

use millrace::native::{batch_of, rows_of};
use millrace::prelude::*;
use millrace::source::Arena;

/// Puts everything that asks for no alignment on an odd address.
struct Odd;

// SAFETY: one byte more than asked for is allocated, and the address moved by that byte, both ways.
unsafe impl GlobalAlloc for Odd {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > 1 {
            return unsafe { System.alloc(layout) };
        }
        let wider =
            Layout::from_size_align(layout.size() + 1, 2).expect("a little larger than a valid layout");
        let start = unsafe { System.alloc(wider) };
        if start.is_null() { start } else { unsafe { start.add(1) } }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        if layout.align() > 1 {
            return unsafe { System.dealloc(address, layout) };
        }
        let wider =
            Layout::from_size_align(layout.size() + 1, 2).expect("a little larger than a valid layout");
        unsafe { System.dealloc(address.sub(1), wider) };
    }
}

#[global_allocator]
static ODD: Odd = Odd;

#[derive(Output)]
struct Made<'a> {
    number: i64,
    vector: &'a [f32],
}

#[derive(Input, Debug, PartialEq)]
struct Read<'a> {
    number: i64,
    vector: &'a [f32],
}

#[test]
fn slices_are_copied_to_their_alignment() {
    let vectors = [vec![1.0f32, 2.0], vec![], vec![3.5]];
    let made = vectors.iter().zip(7..).map(|(vector, number)| Made { number, vector });
    let batch = batch_of(made).expect("rows fit in columns");
    assert!(
        batch.columns.iter().all(|column| column.values.is_empty() || column.values.as_ptr().addr() % 2 == 1)
    );
    let arena = Arena::default();
    let expected: Vec<_> = vectors.iter().zip(7..).map(|(vector, number)| Read { number, vector }).collect();
    assert_eq!(rows_of::<Read>(&batch, &arena).expect("the columns hold these rows"), expected);
}
