//! A guest that imports WASI 0.2 and reports what it finds there: one number for each thing, a row each.

wit_bindgen::generate!({
    inline: "
        package tests:wasi;

        world reporter {
            include millrace:transform/view@0.1.0;
            import wasi:clocks/monotonic-clock@0.2.0;
            import wasi:clocks/wall-clock@0.2.0;
            import wasi:random/random@0.2.0;
            import wasi:filesystem/preopens@0.2.0;
            import wasi:cli/environment@0.2.0;
            import wasi:cli/exit@0.2.0;
            import wasi:cli/stdout@0.2.0;
            import wasi:cli/stderr@0.2.0;
        }
    ",
    path: ["../../../wit", "wit/io", "wit/clocks", "wit/random", "wit/filesystem", "wit/cli"],
    world: "tests:wasi/reporter",
    generate_all,
});

use std::cell::RefCell;

use exports::millrace::transform::transform::{Batch, Context, Description, Field, Guest, Level, Output};
use millrace::transform::types::Column;
use wasi::cli::{environment, exit, stderr, stdout};
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::filesystem::preopens;
use wasi::random::random;

thread_local! {
    static ACTION: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Reporter;

impl Guest for Reporter {
    fn describe() -> Result<Description, String> {
        let field = || Field { name: "number".to_owned(), data_type: "uint64".to_owned(), nullable: false };
        Ok(Description {
            name: "wasi".to_owned(),
            version: String::new(),
            input: Vec::new(),
            output: vec![field()],
            parameters: Vec::new(),
        })
    }

    fn open(parameters: String, _input: Vec<Field>, _level: Level) -> Result<(), String> {
        ACTION.set(parameters.split('"').nth(3).unwrap_or_default().to_owned());
        Ok(())
    }

    fn process(_input: Batch, _context: Context) -> Result<Output, String> {
        let numbers = match ACTION.take().as_str() {
            "clocks" => {
                let before = monotonic_clock::now();
                // An hour: a host that sleeps for it would be noticed.
                monotonic_clock::subscribe_duration(3_600_000_000_000).block();
                let wall = wall_clock::now();
                vec![before, monotonic_clock::now(), wall.seconds, u64::from(wall.nanoseconds)]
            }
            "random" => {
                let bytes = random::get_random_bytes(10_000);
                vec![random::get_random_u64(), bytes.iter().map(|byte| u64::from(*byte)).sum(), random::get_random_u64()]
            }
            "surroundings" => vec![
                environment::get_environment().len() as u64,
                environment::get_arguments().len() as u64,
                preopens::get_directories().len() as u64,
            ],
            "print" => {
                stdout::get_stdout().blocking_write_and_flush(b"printed in\n two lines").map_err(|e| format!("{e:?}"))?;
                Vec::new()
            }
            "print much" => {
                let out = stdout::get_stdout();
                for _ in 0..1_000 {
                    out.blocking_write_and_flush(&[b'x'; 4_096]).map_err(|e| format!("{e:?}"))?;
                }
                Vec::new()
            }
            "print and trap" => {
                let error = stderr::get_stderr();
                error.blocking_write_and_flush(b"fatal: out of cheese\n").map_err(|e| format!("{e:?}"))?;
                std::process::abort();
            }
            "exit" => {
                exit::exit(Err(()));
                Vec::new()
            }
            "hoard" => {
                let held: Vec<_> = (0..10_000).map(|_| stdout::get_stdout()).collect();
                vec![held.len() as u64]
            }
            other => return Err(format!("what is `{other}`?")),
        };
        let rows = numbers.len() as u32;
        let values = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        let column = Column { validity: Vec::new(), offsets: Vec::new(), values, children: Vec::new() };
        // All of them come from the first input row.
        let input_rows = vec![0; 4 * rows as usize];
        Ok(Output { batch: Batch { rows, columns: vec![column] }, input_rows, rejected: Vec::new() })
    }
}

export!(Reporter);
