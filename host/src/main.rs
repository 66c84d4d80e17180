//! `host`: composition only. Each part lives in a crate of its own; here they are put together.

mod cli;
mod client;
mod clock;
mod cmd;
mod components;
mod project;
mod report;
mod results;
mod running;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// Serves C's `malloc` as well, so that libraries in C share its thread caches.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::install(&cli.global, matches!(cli.command, Command::Check(_) | Command::Doctor(_)));
    let running = matches!(cli.command, Command::Run(_));
    let result = match cli.command {
        Command::Run(args) => cmd::run::run(&args),
        Command::Check(args) => cmd::check::check(&args),
        Command::Doctor(args) => cmd::doctor::doctor(&args),
        Command::New(args) => cmd::new::new(&args),
        Command::Build(args) => cmd::build::build(&args),
        Command::Get(args) => cmd::get::get(&args),
        Command::Rewind(args) => cmd::rewind::rewind(&args),
        Command::MigrateStore(args) => cmd::migrate::migrate(&args),
        Command::List(args) => cmd::list::list(&args),
        Command::Generate(args) => cmd::generate::generate(&args),
        Command::Schema(args) => cmd::schema::schema(&args),
        Command::Bench(args) => cmd::bench::bench(&args),
        Command::BenchPart(args) => cmd::bench::bench_part(&args.part),
        Command::Completion(args) => cmd::completion::completion(&args),
    };
    report::conclude(result, running)
}
