//! A guest that misbehaves on demand: the parameter `{"do": "…"}` says how, for each limit and each check of the host.
//!
//! `describe` gets no parameters: tests patch [`DESCRIBE`] in the built module instead.

wit_bindgen::generate!({ world: "view", path: "../../../wit" });

use std::cell::RefCell;
use std::hint::black_box;

use exports::millrace::transform::transform::{Batch, Context, Description, Field, Guest, Level, Output};
use millrace::transform::log::log;
use millrace::transform::types::{Column, Parameter, Rejection};

/// What `describe` does; a test replaces the word behind the colon by another of at most as many letters.
static DESCRIBE: [u8; 32] = *b"hostile describe:honest         ";

thread_local! {
    /// What `process` does.
    static ACTION: RefCell<String> = const { RefCell::new(String::new()) };
    static LEAKED: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static CALLS: RefCell<u32> = const { RefCell::new(0) };
}

struct Hostile;

impl Guest for Hostile {
    fn describe() -> Result<Description, String> {
        let field = |name: &str, data_type: &str| Field {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            nullable: true,
        };
        let columns = || {
            vec![field("number", "int64"), field("text", "string"), field("items", "list<int64>"), field("flag", "bool")]
        };
        let mut description = Description {
            name: "hostile".to_owned(),
            version: "1".to_owned(),
            input: columns(),
            output: columns(),
            parameters: vec![Parameter {
                name: "do".to_owned(),
                kind: "string".to_owned(),
                required: true,
                doc: "how to misbehave".to_owned(),
            }],
        };
        // Volatile: the compiler must not know what the test will have written there.
        let describe = unsafe { std::ptr::read_volatile(&DESCRIBE) };
        let how = std::str::from_utf8(&describe[17..]).unwrap_or_default().trim_end();
        match how {
            "error" => return Err("I would rather not say".to_owned()),
            "panic" => panic!("nothing to describe"),
            "spin" => spin(),
            "bomb" => bomb(),
            "longname" => description.name = "x".repeat(129),
            "noname" => description.input[0].name = String::new(),
            "twice" => description.output[1].name = "number".to_owned(),
            "badtype" => description.output[1].data_type = "int63".to_owned(),
            "deeptype" => description.output[1].data_type = "list<".repeat(5_000),
            "manycolumns" => {
                description.input = (0..1_001).map(|index| field(&format!("c{index}"), "bool")).collect();
            }
            "manychildren" => {
                let fields: Vec<String> = (0..5_000).map(|index| format!("f{index}: bool")).collect();
                description.input[0].data_type = format!("struct<{}>", fields.join(", "));
            }
            "nooutput" => description.output = Vec::new(),
            "badkind" => description.parameters[0].kind = "colour".to_owned(),
            "control" => description.version = "\u{1b}[2J".to_owned(),
            "flood" => description.name = "x".repeat(64 << 20),
            "notnull" => {
                for field in description.input.iter_mut().chain(&mut description.output) {
                    field.nullable = false;
                }
            }
            _ => {}
        }
        Ok(description)
    }

    fn open(parameters: String, _input: Vec<Field>, _level: Level) -> Result<(), String> {
        std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
        let action = parameters.split('"').nth(3).unwrap_or_default().to_owned();
        match action.as_str() {
            "open error" => return Err("parameter `do` is not to my liking".to_owned()),
            "open panic" => panic!("cannot open"),
            "open spin" => spin(),
            "open bomb" => bomb(),
            _ => {}
        }
        ACTION.set(action);
        Ok(())
    }

    fn process(input: Batch, context: Context) -> Result<Output, String> {
        let action = ACTION.take();
        let answer = act(&action, input, &context);
        ACTION.set(action);
        answer
    }
}

/// The output that repeats the input.
fn echo(input: Batch) -> Output {
    Output { batch: input, input_rows: Vec::new(), rejected: Vec::new() }
}

fn numbers(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn act(action: &str, input: Batch, context: &Context) -> Result<Output, String> {
    let rows = input.rows;
    match action {
        "spin" => spin(),
        "panic" => panic!("told to panic over batch {}", context.first_position),
        "bomb" => bomb(),
        "polite bomb" => {
            let mut held: Vec<Vec<u8>> = Vec::new();
            loop {
                let mut more = Vec::new();
                more.try_reserve_exact(1 << 20).map_err(|_| format!("no more memory after {} MiB", held.len()))?;
                more.resize(1 << 20, 1);
                held.push(black_box(more));
            }
        }
        "recurse" => return Err(recurse(1).to_string()),
        "trap on 13" => {
            let (values, _) = input.columns[0].values.as_chunks::<8>();
            assert!(values.iter().all(|value| i64::from_le_bytes(*value) != 13), "thirteen");
        }
        "spin on 13" => {
            let (values, _) = input.columns[0].values.as_chunks::<8>();
            if values.iter().any(|value| i64::from_le_bytes(*value) == 13) {
                spin();
            }
        }
        "error" => return Err("this batch is not to my liking".to_owned()),
        "leak" => LEAKED.with_borrow_mut(|leaked| leaked.push(vec![1; 8 << 20])),
        "count" => {
            let calls = CALLS.with_borrow_mut(|calls| {
                *calls += 1;
                *calls
            });
            let mut output = echo(input);
            output.batch.columns[0].values = i64::from(calls).to_le_bytes().repeat(rows as usize);
            output.batch.columns[0].validity = Vec::new();
            return Ok(output);
        }
        "log" => {
            log(Level::Info, &format!("batch {} of {}", context.first_position, context.view));
            log(Level::Trace, "a detail");
        }
        "log flood" => {
            for index in 0..20_000 {
                log(Level::Warn, &format!("message {index} {}", "x".repeat(100)));
            }
        }
        "log huge" => log(Level::Warn, &"x".repeat(1 << 20)),
        "exhaust log" => log(Level::Warn, &"x".repeat(40 << 20)),
        "reject odd" => {
            // Rows whose number is odd are refused, the others stay.
            let (values, _) = input.columns[0].values.as_chunks::<8>();
            let odd: Vec<u32> = (0..rows).filter(|row| values[*row as usize][0] & 1 == 1).collect();
            let even: Vec<u32> = (0..rows).filter(|row| values[*row as usize][0] & 1 == 0).collect();
            let count = even.len();
            let numbers_kept = even.iter().flat_map(|row| values[*row as usize]).collect();
            let empty = |values| Column { validity: Vec::new(), offsets: Vec::new(), values, children: Vec::new() };
            let columns = vec![
                empty(numbers_kept),
                Column { offsets: vec![0; (count + 1) * 4], ..empty(Vec::new()) },
                Column { offsets: vec![0; (count + 1) * 4], children: vec![4], ..empty(Vec::new()) },
                empty(vec![0; count.div_ceil(8)]),
                empty(Vec::new()),
            ];
            return Ok(Output {
                batch: Batch { rows: count as u32, columns },
                input_rows: numbers(&even),
                rejected: odd.into_iter().map(|row| Rejection { row, reason: format!("odd: row {row}") }).collect(),
            });
        }
        _ => return Ok(spoil(action, echo(input), rows)),
    }
    Ok(echo(input))
}

/// Answers that do not hold what the contract says.
fn spoil(action: &str, mut output: Output, rows: u32) -> Output {
    let columns = &mut output.batch.columns;
    match action {
        "short values" => drop(columns[0].values.pop()),
        "long values" => columns[0].values.push(0),
        "short validity" => columns[0].validity = vec![0xff; (rows as usize).div_ceil(8) - 1],
        "all null" => columns[0].validity = vec![0; (rows as usize).div_ceil(8)],
        "short offsets" => columns[1].offsets.truncate(4),
        "no offsets" => columns[1].offsets.clear(),
        "descending offsets" => columns[1].offsets[4..8].copy_from_slice(&0x7fff_0000_i32.to_le_bytes()),
        "negative offsets" => columns[1].offsets[..4].copy_from_slice(&(-1_i32).to_le_bytes()),
        "far offsets" => {
            let end = columns[1].offsets.len();
            columns[1].offsets[end - 4..].copy_from_slice(&i32::MAX.to_le_bytes());
        }
        "far list offsets" => {
            let end = columns[2].offsets.len();
            columns[2].offsets[end - 4..].copy_from_slice(&i32::MAX.to_le_bytes());
        }
        "bad utf8" => columns[1].values.iter_mut().for_each(|byte| *byte = 0xff),
        "split character" => {
            // One character of two bytes over two rows.
            columns[1].values = "é".as_bytes().to_vec();
            let mut offsets = vec![0, 1];
            offsets.resize(rows as usize + 1, 2);
            columns[1].offsets = numbers(&offsets);
        }
        "offsets on numbers" => columns[0].offsets = vec![0; 4],
        "values on lists" => columns[2].values = vec![0; 4],
        "children on numbers" => columns[0].children = vec![4],
        "no children" => columns[2].children.clear(),
        "child out of range" => columns[2].children = vec![99],
        "child before parent" => columns[2].children = vec![0],
        "child itself" => columns[2].children = vec![2],
        "short child" => drop(columns[4].values.pop()),
        "too few columns" => columns.truncate(2),
        "too many columns" => {
            let copy = columns[0].clone();
            columns.push(copy);
        }
        "short bools" => drop(columns[3].values.pop()),
        "wrong row count" => output.batch.rows += 1,
        "too many rows" => output.batch.rows = u32::MAX,
        "descending rows" => output.input_rows = numbers(&(0..rows).rev().collect::<Vec<_>>()),
        "rows out of range" => output.input_rows = numbers(&vec![rows; rows as usize]),
        "short rows" => output.input_rows = vec![0; 3],
        "rejected out of range" => {
            output.rejected = vec![Rejection { row: rows, reason: String::new() }];
        }
        "rejected twice" => {
            let twice = Rejection { row: 0, reason: String::new() };
            output = Output { rejected: vec![twice.clone(), twice], ..nothing() };
        }
        "rejected and kept" => output.rejected = vec![Rejection { row: 0, reason: "kept".to_owned() }],
        "reject all" => {
            let rejected = (0..rows).map(|row| Rejection { row, reason: "\u{7}no\u{1b}".repeat(1_000) }).collect();
            output = Output { rejected, ..nothing() };
        }
        "drop all" => output = nothing(),
        "allocate" => {
            columns[1].values = vec![b'x'; 8 << 20];
        }
        "exhaust" => {
            columns[1].values = vec![b'x'; 48 << 20];
        }
        _ => {}
    }
    output
}

/// No rows of the four columns.
fn nothing() -> Output {
    let empty = || Column { validity: Vec::new(), offsets: Vec::new(), values: Vec::new(), children: Vec::new() };
    let columns = vec![empty(), empty(), Column { children: vec![4], ..empty() }, empty(), empty()];
    Output { batch: Batch { rows: 0, columns }, input_rows: Vec::new(), rejected: Vec::new() }
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn bomb() -> ! {
    loop {
        std::mem::forget(black_box(vec![1_u8; 1 << 20]));
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    let frame = black_box([depth; 64]);
    recurse(black_box(frame[3] + 1)) + black_box(frame[9])
}

export!(Hostile);
