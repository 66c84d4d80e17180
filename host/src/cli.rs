//! What may be typed. No logic: each command's own file decides what it means.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::time::parse_rfc3339;

/// Turns event streams into machine-learning features, transformed by sandboxed WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "host", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Start here:\n  \
    host new view clicks --lang rust     a view, its transform and sample events, under ./views\n  \
    host build views                     build the transforms\n  \
    host run --views views               run them; saved changes are picked up")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Global {
    /// Say more on stderr; twice for everything.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Say less on stderr; twice for errors only.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) quiet: u8,
    /// How log lines look: for people, or one JSON object a line.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "HOST_LOG_FORMAT", global = true)]
    pub(crate) log_format: LogFormat,
    /// Color on stderr; `auto`: on a terminal, unless NO_COLOR is set.
    #[arg(long, value_enum, default_value_t = ColorChoice::Auto, env = "HOST_COLOR", global = true)]
    pub(crate) color: ColorChoice,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// When to use color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

/// How results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the views of a folder until told to stop.
    Run(RunArgs),
    /// Check view files and components without running anything; with --connect also what they connect to.
    Check(CheckArgs),
    /// Check the machine, the set-up and every connection, before or while a host runs.
    Doctor(DoctorArgs),
    /// Make a new view from a template.
    New(NewArgs),
    /// Build the transforms of views that say how.
    Build(BuildArgs),
    /// Read the features of an entity from a running host.
    Get(GetArgs),
    /// Have a view of a running host take events again from a point on.
    Rewind(RewindArgs),
    /// Move the rows of views from the embedded store to Redis, while the host is stopped.
    MigrateStore(MigrateStoreArgs),
    /// List the views of a running host, the connections of host.yaml, or what can be plugged in.
    List(ListArgs),
    /// Make up events that fit a source's schema.
    Generate(GenerateArgs),
    /// Print the JSON Schema of view files or of host.yaml, for editors.
    Schema(SchemaArgs),
    /// Measure this build on this machine against its limits and peers.
    Bench(BenchArgs),
    /// One side of `host bench kafka`, in a process of its own.
    #[command(hide = true)]
    BenchPart(BenchPartArgs),
    /// Print a completion script for a shell.
    Completion(CompletionArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  host run --views views\n  host run --views views --data-dir /var/lib/millrace --listen 0.0.0.0:6566\n\n\
    Exit codes:\n  0   stopped as told, everything durable\n  \
    69  something it depends on is unavailable: the port, the data directory\n  \
    70  internal error, or not everything was finished in time\n  \
    78  view files or host.yaml cannot be used"
)]
pub(crate) struct RunArgs {
    /// Folder of view files, read recursively and watched.
    #[arg(long, value_name = "DIR", env = "HOST_VIEWS")]
    pub(crate) views: PathBuf,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Where rows, positions and logs are kept; overrides `data_dir` of host.yaml [default: ./.millrace].
    #[arg(long, value_name = "DIR", env = "HOST_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address to serve on; overrides `listen` of host.yaml [default: 127.0.0.1:6566].
    #[arg(long, value_name = "ADDRESS", env = "HOST_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Do not watch the folder: changes need a restart or SIGHUP.
    #[arg(long, env = "HOST_NO_WATCH")]
    pub(crate) no_watch: bool,
    /// How often to look for changes that the file system does not announce, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, env = "HOST_WATCH_POLL", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) watch_poll: u64,
    /// Refuse to start unless every view can start.
    #[arg(long, env = "HOST_REQUIRE_HEALTHY")]
    pub(crate) require_healthy: bool,
    /// Start even if the folder holds no view yet.
    #[arg(long, env = "HOST_ALLOW_EMPTY")]
    pub(crate) allow_empty: bool,
}

/// Where the host's own settings are.
#[derive(Debug, Args)]
pub(crate) struct ConfigArg {
    /// The host's settings [default: ./host.yaml if there is one].
    #[arg(long, value_name = "FILE", env = "HOST_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  host check views\n  host check views --connect        also servers, credentials, topics, streams, rights, record sizes\n\n\
    Exit codes: 0 nothing found, 1 problems found, 2 wrong usage"
)]
pub(crate) struct CheckArgs {
    /// Folder of view files.
    #[arg(value_name = "DIR", default_value = "views", env = "HOST_VIEWS")]
    pub(crate) views: PathBuf,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// How the report looks.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// What counts as a problem beside errors.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) deny: Option<Deny>,
    /// Also try every connection, topic, stream and consumer group that the files name. Changes nothing there.
    #[arg(long)]
    pub(crate) connect: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Looks at the data directory, free space, limits of the system and compilers for transforms; tries every \
    connection of host.yaml, and every topic, stream, group and output that the view files name, including rights to read and \
    write. Changes nothing; where a view asks for `exactly_once`, a transactional id of its own is tried, which stays known \
    to the brokers for some days; in Redis a key is written and removed again.\n\n\
    With --format json: an array of {check, subject, verdict, message, help}; verdicts: good, warning, error.\n\n\
    Exit codes: 0 no error, 1 errors found, 2 wrong usage"
)]
pub(crate) struct DoctorArgs {
    /// Folder of view files; without one only the machine and the connections are checked.
    #[arg(value_name = "DIR", env = "HOST_VIEWS")]
    pub(crate) views: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Where the host keeps its data; overrides `data_dir` of host.yaml.
    #[arg(long, value_name = "DIR", env = "HOST_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// How the report looks.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

/// What else counts as a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deny {
    Warnings,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    #[command(subcommand)]
    pub(crate) what: NewWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NewWhat {
    /// A feature view with its transform and sample events; it builds and runs as it is.
    View(NewViewArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NewViewArgs {
    /// Name of the view: letters, digits and `_`.
    pub(crate) name: String,
    /// Language of the transform.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub(crate) lang: Language,
    /// Where its events come from, and its results go: HTTP and a file, or Kafka topics.
    #[arg(long, value_enum, default_value_t = NewSource::Push)]
    pub(crate) source: NewSource,
    /// Folder of view files; the view gets a folder of its own in it.
    #[arg(long, value_name = "DIR", default_value = "views", env = "HOST_VIEWS")]
    pub(crate) dir: PathBuf,
}

/// Sources that there is a template for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewSource {
    Push,
    Kafka,
}

/// Languages that there is a template for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    Python,
}

#[derive(Debug, Args)]
#[command(after_help = "A view says how it is built in `transform.build`.\n\
    For Rust, a compiler for wasm32-unknown-unknown is looked for: the installed target,\n\
    else `rustup target add`, else Debian's rustc-web and rust-web-src.\n\n\
    Exit codes: 0 all built, 1 a build failed, 2 wrong usage")]
pub(crate) struct BuildArgs {
    /// Folder of view files, or one of them.
    #[arg(value_name = "PATH", default_value = "views", env = "HOST_VIEWS")]
    pub(crate) views: PathBuf,
    /// Build only these views.
    #[arg(long = "view", value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Which Rust to use for wasm.
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = WasmRust::Auto, env = "HOST_WASM_RUST")]
    pub(crate) wasm_rust: WasmRust,
}

/// Where a Rust that can build wasm comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WasmRust {
    /// The first of the others that works.
    Auto,
    /// The target of the installed toolchain, added by rustup if need be.
    Rustup,
    /// Debian's rustc-web, which builds the standard library from source.
    Debian,
}

/// Where the running host is.
#[derive(Debug, Args)]
pub(crate) struct UrlArg {
    /// The running host.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:6566", env = "HOST_URL")]
    pub(crate) url: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  host get user_impression_counts user_id=u1 --format json")]
pub(crate) struct GetArgs {
    /// The view.
    pub(crate) view: String,
    /// Each join key and its value.
    #[arg(value_name = "KEY=VALUE", required = true)]
    pub(crate) keys: Vec<String>,
    /// Only these features.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) features: Vec<String>,
    #[command(flatten)]
    pub(crate) url: UrlArg,
    /// How the result looks.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(
    after_help = "POINT is one of:\n  earliest                 the oldest event that the source still has\n  \
    latest                   what comes from now on; what lies between is skipped\n  \
    committed                where the consumer group is, or the leases\n  \
    2026-01-02T03:04:05Z     the first event that the source recorded then or later\n  \
    1200                     the event with this number (a Kafka offset; Kinesis has none), in every partition\n  \
    ads-0:1200,ads-1:0       these events; other partitions stay. `0:1200` for the only partition 0\n\n\
    The view takes those events again with its present transform, and emits them again in a new epoch, so that consumers \
    which drop repeats accept them. Rows stay until newer ones replace them. A host rewinds the partitions that it reads: \
    where several hosts share a source, send the command to each.\n\n\
    Examples:\n  host rewind user_impression_counts --to 2026-11-20T00:00:00Z\n  host rewind user_impression_counts --to 0:1200,1:990 --url http://host-2:6566"
)]
pub(crate) struct RewindArgs {
    /// The view.
    pub(crate) view: String,
    /// Where it begins again.
    #[arg(long, value_name = "POINT", value_parser = RewindTo::parse)]
    pub(crate) to: RewindTo,
    #[command(flatten)]
    pub(crate) url: UrlArg,
    /// How the result looks.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Copies what the embedded store has of a view, with the versions that rows have: newer rows in Redis stay, so it \
    can be repeated, and stopped in the middle. Then it notes that the view's rows are in Redis. Afterwards name the store in \
    the view or in host.yaml, and start the host.\n\n\
    Examples:\n  host migrate-store --view driver_hourly_stats --to cache\n  \
    host migrate-store --view a --view b --to cache --views views --config host.yaml\n  \
    host migrate-store --view a --to new_name --note-only     the same Redis under another name\n\n\
    Exit codes: 0 all moved, 1 something failed or not all of it was moved, 2 wrong usage"
)]
pub(crate) struct MigrateStoreArgs {
    /// A view whose rows are moved; may be repeated.
    #[arg(long = "view", value_name = "NAME", required = true)]
    pub(crate) only: Vec<String>,
    /// A connection of host.yaml, to Redis.
    #[arg(long, value_name = "CONNECTION")]
    pub(crate) to: String,
    /// Move nothing: only note that the rows are there. `--to embedded` is possible then, too.
    #[arg(long)]
    pub(crate) note_only: bool,
    /// Folder of view files.
    #[arg(long, value_name = "DIR", default_value = "views", env = "HOST_VIEWS")]
    pub(crate) views: PathBuf,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Where the host keeps its data; overrides `data_dir` of host.yaml.
    #[arg(long, value_name = "DIR", env = "HOST_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// How the result looks.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

/// A point to rewind to, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RewindTo {
    /// A word or a time: the host knows which.
    Text(String),
    /// A number for every partition.
    Number(u64),
    /// Partitions and numbers, in the order typed.
    Numbers(Vec<(String, u64)>),
}

impl RewindTo {
    /// Reads what was typed. Words and times are judged here too, so that slips are found before a host is asked.
    fn parse(text: &str) -> Result<Self, String> {
        if matches!(text, "earliest" | "latest" | "committed") || parse_rfc3339(text.as_bytes()).is_ok() {
            return Ok(Self::Text(text.to_owned()));
        }
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        let pair = |pair: &str| {
            let (partition, number) = pair.rsplit_once(':')?;
            let partition = partition.trim();
            (!partition.is_empty()).then_some((partition.to_owned(), number.trim().parse().ok()?))
        };
        text.split(',').map(pair).collect::<Option<_>>().map(Self::Numbers).ok_or_else(|| {
            "expected `earliest`, `latest`, `committed`, a time such as `2026-01-02T03:04:05Z`, an offset, or \
             `PARTITION:OFFSET,…`"
                .to_owned()
        })
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  host list views              states, partitions and lag of a running host's views\n  \
    host list streams            its sources that hosts share: Kafka groups, Kinesis leases\n  \
    host list connections        what host.yaml declares, without secrets\n  \
    host list sources            what this build can read"
)]
pub(crate) struct ListArgs {
    /// What to list.
    #[arg(value_enum)]
    pub(crate) what: ListWhat,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    #[command(flatten)]
    pub(crate) url: UrlArg,
    /// How the result looks.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListWhat {
    /// The views of a running host and how they are doing.
    Views,
    /// The sources of a running host whose partitions hosts share: consumer group or leases, topics or stream, partitions.
    Streams,
    /// The connections of host.yaml: kind and address.
    Connections,
    /// Kinds of stream source in this build.
    Sources,
    /// Payload formats in this build.
    Formats,
    /// Online stores, output streams and dead letters in this build.
    Stores,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  host generate ad_impressions --rows 1000 > events.ndjson\n  host generate ad_impressions --rows 100000 --push"
)]
pub(crate) struct GenerateArgs {
    /// The source whose schema the events follow.
    pub(crate) source: String,
    /// Folder of view files that declares the source.
    #[arg(long, value_name = "DIR", default_value = "views", env = "HOST_VIEWS")]
    pub(crate) views: PathBuf,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Number of events.
    #[arg(long, short = 'n', default_value_t = 10)]
    pub(crate) rows: u64,
    /// Number of different values in text and integer columns.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) entities: u64,
    /// Same seed, same events (but for their times).
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Time of the first event: RFC 3339, or a duration before now such as `-1h` [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// Push the events to a running host instead of printing them.
    #[arg(long)]
    pub(crate) push: bool,
    #[command(flatten)]
    pub(crate) url: UrlArg,
    /// With --push: events a request.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) batch: u64,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Of what.
    #[arg(value_enum)]
    pub(crate) of: SchemaOf,
}

/// Files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// View files.
    View,
    /// host.yaml.
    Host,
}

#[derive(Debug, Args)]
#[command(after_help = "With --format json: an array of {figure, value, unit, against, ratio, goal, met}.")]
pub(crate) struct BenchArgs {
    /// Measure only this group [possible values: sandbox, decode, record, store, flow, push, read, swap, idle, kafka, kinesis, redis].
    pub(crate) group: Option<String>,
    /// How the result looks.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Folder with the built components of the examples [default: target/guests of the checkout].
    #[arg(long, value_name = "DIR", env = "HOST_GUESTS")]
    pub(crate) guests: Option<PathBuf>,
    /// Less work for each figure: a smoke test, not a measurement.
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) kafka: KafkaBenchArgs,
}

/// The servers and the peers of the groups `kafka`, `kinesis` and `redis`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Groups kafka, kinesis and redis")]
pub(crate) struct KafkaBenchArgs {
    /// A broker that runs, without security.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bootstrap: Option<String>,
    /// Its process, to report what it uses.
    #[arg(long, value_name = "PID", requires = "bootstrap")]
    pub(crate) broker_pid: Option<u32>,
    /// Folder with Kafka's jars, to start a broker of its own; `cargo xtask setup` makes one.
    #[arg(long, value_name = "DIR", conflicts_with = "bootstrap")]
    pub(crate) kafka_libs: Option<PathBuf>,
    /// How often each side takes its turn.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Only these parts.
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_parser = ["throughput", "latency", "memory"])]
    pub(crate) only: Vec<String>,
    /// Of the throughput, only these sides; ratios to others are not a number then.
    #[arg(long, value_name = "SIDES", value_delimiter = ',', value_parser = ["l1", "l1-bare", "l2", "null", "embedded", "embedded-many", "l2-redis", "redis", "peers"])]
    pub(crate) sides: Vec<String>,
    /// Where `redis-server` is, for sides with Redis [default: on PATH].
    #[arg(long, value_name = "PATH")]
    pub(crate) redis_server: Option<PathBuf>,
    /// Folder with an installed `kinesalite`, to start servers that speak Kinesis' protocol.
    #[arg(long, value_name = "DIR")]
    pub(crate) kinesalite: Option<PathBuf>,
    /// A Python with `feast[redis]`, to measure Feast's own writer beside the host's.
    #[arg(long, value_name = "PATH")]
    pub(crate) feast_python: Option<PathBuf>,
    /// Minutes for which memory is watched [default: 0, not at all].
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) minutes: u64,
    /// An engine on a virtual machine to measure too; the command finds KAFKA_BOOTSTRAP, KAFKA_INPUT and KAFKA_OUTPUT.
    #[arg(long, value_name = "NAME=COMMAND")]
    pub(crate) jvm_peer: Vec<String>,
    /// The same for one in Python.
    #[arg(long, value_name = "NAME=COMMAND")]
    pub(crate) python_peer: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchPartArgs {
    #[command(subcommand)]
    pub(crate) part: BenchPart,
}

/// A side of `host bench kafka`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchPart {
    /// Consume and produce by hand.
    Relay(RelayArgs),
    /// `run` with an online store that forgets its rows.
    NullStore(RunArgs),
    /// Make a topic, full of ad events.
    Generate(GenerateTopicArgs),
}

#[derive(Debug, Args)]
pub(crate) struct GenerateTopicArgs {
    /// The broker.
    #[arg(long)]
    pub(crate) bootstrap: String,
    /// The topic, which does not exist.
    #[arg(long)]
    pub(crate) topic: String,
    /// Number of events.
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) events: u64,
    /// Number of users.
    #[arg(long, default_value_t = 50_000)]
    pub(crate) users: u64,
}

#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// The broker.
    #[arg(long)]
    pub(crate) bootstrap: String,
    /// The topic to read.
    #[arg(long)]
    pub(crate) input: String,
    /// The topic to write.
    #[arg(long)]
    pub(crate) output: String,
    /// Put out ready-made records.
    #[arg(long)]
    pub(crate) ready_made: bool,
    /// Records carry no header.
    #[arg(long)]
    pub(crate) no_header: bool,
    /// Rows are written to this Redis before their records go out.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) redis: Option<String>,
    /// Client settings of the producer, by librdkafka's names.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) producer: Vec<String>,
    /// Client settings of the consumer.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) consumer: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Shells that there is a completion script for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&RewindTo>) {
        assert_eq!(RewindTo::parse(text).ok().as_ref(), expected, "{text}");
    }

    #[test]
    fn points_are_words_times_and_offsets() {
        for text in ["earliest", "latest", "committed", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5+01:00"]
        {
            check(text, Some(&RewindTo::Text(text.to_owned())));
        }
        check("0", Some(&RewindTo::Number(0)));
        let pairs = |pairs: &[(&str, u64)]| {
            RewindTo::Numbers(pairs.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect())
        };
        check("3:7", Some(&pairs(&[("3", 7)])));
        check("web-ads-0:12, web-ads-1:0", Some(&pairs(&[("web-ads-0", 12), ("web-ads-1", 0)])));
        for text in ["", "yesterday", "-1", "1.5", "a:", ":1", "0:1,", "0:x", "2026-01-02"] {
            check(text, None);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
