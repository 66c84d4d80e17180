//! A core module with imports of WASI preview 1, as Go, C that prints and safe Zig make them. It must be componentized
//! with the host's stub; it reports what the stub answers.

wit_bindgen::generate!({ world: "view", path: "../../../wit" });

use exports::millrace::transform::transform::{Batch, Context, Description, Field, Guest, Level, Output};
use millrace::transform::types::Column;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(id: i32, precision: i64, out: *mut u64) -> i32;
    fn random_get(out: *mut u8, len: usize) -> i32;
    fn fd_write(fd: i32, iovs: *const [usize; 2], count: usize, written: *mut usize) -> i32;
    fn environ_sizes_get(count: *mut usize, bytes: *mut usize) -> i32;
    fn poll_oneoff(subscriptions: *const [u64; 6], events: *mut [u64; 4], count: usize, ready: *mut usize) -> i32;
    fn fd_prestat_get(fd: i32, out: *mut u64) -> i32;
    fn path_open(
        fd: i32, dirflags: i32, path: *const u8, len: usize, oflags: i32, base: i64, inheriting: i64, flags: i32,
        out: *mut i32,
    ) -> i32;
}

struct Preview1;

impl Guest for Preview1 {
    fn describe() -> Result<Description, String> {
        Ok(Description {
            name: "preview1".to_owned(),
            version: String::new(),
            input: Vec::new(),
            output: vec![Field { name: "number".to_owned(), data_type: "uint64".to_owned(), nullable: false }],
            parameters: Vec::new(),
        })
    }

    fn open(_parameters: String, _input: Vec<Field>, _level: Level) -> Result<(), String> {
        Ok(())
    }

    fn process(_input: Batch, _context: Context) -> Result<Output, String> {
        let numbers = unsafe { report() };
        let rows = numbers.len() as u32;
        let values = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        let column = Column { validity: Vec::new(), offsets: Vec::new(), values, children: Vec::new() };
        let input_rows = vec![0; 4 * rows as usize];
        Ok(Output { batch: Batch { rows, columns: vec![column] }, input_rows, rejected: Vec::new() })
    }
}

/// Two readings of the clock, a clock after sleeping an hour, random numbers, and the answers of what is denied.
unsafe fn report() -> Vec<u64> {
    let mut numbers = vec![0; 10];
    unsafe {
        clock_time_get(1, 0, &mut numbers[0]);
        clock_time_get(0, 0, &mut numbers[1]);
        // A subscription to a clock: user data, tag and padding, clock, time, precision, flags.
        let subscription = [77, 0, 1, 3_600_000_000_000, 0, 0];
        let (mut event, mut ready) = ([0; 4], 0);
        poll_oneoff(&subscription, &mut event, 1, &mut ready);
        numbers[2] = event[0] * 10 + ready as u64;
        clock_time_get(1, 0, &mut numbers[3]);
        random_get((&raw mut numbers[4]).cast(), 8);
        let text = b"into the void";
        let mut written = 0;
        numbers[5] = fd_write(1, &[text.as_ptr() as usize, text.len()], 1, &mut written) as u64 * 1_000 + written as u64;
        let (mut count, mut bytes) = (9, 9);
        environ_sizes_get(&mut count, &mut bytes);
        numbers[6] = (count + bytes) as u64;
        numbers[7] = fd_prestat_get(3, &mut 0) as u64;
        numbers[8] = path_open(3, 0, text.as_ptr(), text.len(), 0, 0, 0, 0, &mut 0) as u64;
        numbers[9] = fd_write(5, &[0, 0], 1, &mut written) as u64;
    }
    numbers
}

export!(Preview1);
