//! `cargo xtask`: everything that is done to this checkout beyond `cargo build`. Each verb does all its own set-up.

mod broker;
mod demo;
mod demo_host;
mod demo_kafka;
mod demo_drivers;
mod guests;
mod server;
mod setup;
mod step;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask VERB

  demo [PARTS] [--keep]   build everything and run the main job on embedded parts; PARTS: --kafka from topic to topic,
                          --kinesis from stream to stream, --redis with rows in Redis, each with servers of its own;
                          --keep leaves it running
  test [ARGUMENTS]        set up and pass every test; ARGUMENTS go to `cargo test`; --long repeats faults for longer
  guests                  build the example and test guests into target/guests
  setup                   install what the other verbs need: system packages, servers, Python clients
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = arguments.split_first().map_or(("", &[][..]), |(verb, rest)| (verb.as_str(), rest));
    let result = match verb {
        "demo" => demo::demo(rest),
        "test" => test::test(rest),
        "guests" => guests::guests(),
        "setup" => setup::everything(),
        "help" | "--help" | "-h" => {
            eprint!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nfailed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
