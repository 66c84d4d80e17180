//! `host bench`: what this build does on this machine, each figure against a limit or a peer measured in the same run.
//!
//! A group measures the parts in this process, or starts a host of its own on a folder of its own and measures from
//! outside. Nothing of it is used by `host run`.

mod figure;
mod guests;
mod client;
mod child;
mod service;
mod sandbox;
mod decode;
mod record;
mod store;
mod flow;
mod push;
mod read;
mod swap;
mod idle;
mod redis_server;
mod redis;
mod kafka;
mod kinesis;

use std::io::IsTerminal;

use crate::cli::{BenchArgs, BenchPart, Format, KafkaBenchArgs};
use crate::report::Stopped;
use crate::results;

use figure::Figure;
use guests::Guests;

/// What every group is given.
struct Bench {
    guests: Guests,
    /// Less work: proves that the group works, measures nothing.
    quick: bool,
    /// The broker and the peers of the group `kafka`.
    kafka: KafkaBenchArgs,
}

impl Bench {
    /// `full`, or a hundredth of it in a quick run.
    fn scaled(&self, full: u64) -> u64 {
        if self.quick { (full / 100).max(1) } else { full }
    }
}

type Group = fn(&Bench) -> anyhow::Result<Vec<Figure>>;

/// The groups, in the order of the flow.
const GROUPS: [(&str, Group); 12] = [
    ("sandbox", sandbox::measure),
    ("decode", decode::measure),
    ("record", record::measure),
    ("store", store::measure),
    ("flow", flow::measure),
    ("push", push::measure),
    ("read", read::measure),
    ("swap", swap::measure),
    ("idle", idle::measure),
    ("kafka", kafka::measure),
    ("kinesis", kinesis::measure),
    ("redis", redis::measure),
];

/// Runs the command.
pub(crate) fn bench(args: &BenchArgs) -> Result<(), Stopped> {
    if let Some(wanted) = &args.group
        && !GROUPS.iter().any(|(name, _)| name == wanted)
    {
        let known: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
        return Err(Stopped::Usage(format!(
            "there is no group `{wanted}`; known groups: {}",
            known.join(", ")
        )));
    }
    if cfg!(debug_assertions) {
        anstream::eprintln!(
            "\x1b[1;33mwarning\x1b[0m: this is a development build; measure with `cargo build --release`"
        );
    }
    let bench =
        Bench { guests: Guests::find(args.guests.as_deref())?, quick: args.quick, kafka: args.kafka.clone() };
    let has_broker = args.kafka.bootstrap.is_some() || args.kafka.kafka_libs.is_some();
    let groups: Vec<_> = GROUPS
        .iter()
        // Without a server, a group is only measured (and says what it needs) when it is asked for.
        .filter(|(name, _)| match &args.group {
            Some(wanted) => wanted == name,
            None => match *name {
                "kafka" => has_broker,
                "kinesis" => has_broker && args.kafka.kinesalite.is_some(),
                "redis" => args.kafka.redis_server.is_some(),
                _ => true,
            },
        })
        .collect();
    let bar = indicatif::ProgressBar::new(u64::try_from(groups.len()).unwrap_or(0));
    bar.set_style(
        indicatif::ProgressStyle::with_template("{bar:20} {pos}/{len} {msg}")
            .unwrap_or(indicatif::ProgressStyle::default_bar()),
    );
    let mut figures = Vec::new();
    for (name, measure) in groups {
        bar.set_message(format!("measuring {name}"));
        if !std::io::stderr().is_terminal() {
            anstream::eprintln!("measuring {name}");
        }
        figures.extend(measure(&bench)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let text = match args.format {
        Format::Json => figure::json(&figures),
        Format::Table => figure::table(&figures),
    };
    Ok(results::print(&text)?)
}

/// Runs one side of the group `kafka`.
pub(crate) fn bench_part(part: &BenchPart) -> Result<(), Stopped> {
    kafka::run_part(part)
}
