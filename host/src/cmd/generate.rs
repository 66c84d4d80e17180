//! `host generate`: made-up events that fit a source's schema, to try a view without a stream.

use std::time::Duration;

use model::codec::{SourceColumn, TimestampUnit};
use model::schema::DataType;
use model::time::{Clock, EventTime};

use crate::cli::GenerateArgs;
use crate::client::{Client, encode};
use crate::clock::SystemClock;
use crate::project::Project;
use crate::report::Stopped;
use crate::results;

/// Runs the command.
pub(crate) fn generate(args: &GenerateArgs) -> Result<(), Stopped> {
    let project = Project::read(&args.views, args.config.config.as_deref())?;
    let sources = &project.report.plan.sources;
    let Some(source) = sources.get(&args.source) else {
        project.print_errors_of_syntax()?;
        let known: Vec<&str> = sources.keys().map(String::as_str).collect();
        return Err(Stopped::Usage(format!(
            "{} declares no source `{}`; known sources: {}",
            args.views.display(),
            args.source,
            known.join(", ")
        )));
    };
    let from = match &args.from {
        None => SystemClock.now(),
        Some(text) => match before(text) {
            Some(duration) => SystemClock.now().minus(duration),
            None => EventTime(model::time::parse_rfc3339(text.as_bytes()).map_err(|error| {
                Stopped::Usage(format!("`--from {text}` {error}, nor a duration such as `-1h`"))
            })?),
        },
    };
    let mut events = Events::new(&source.columns, args.entities, args.seed, from);
    let client = args.push.then(|| Client::new(&args.url.url));
    let mut left = args.rows;
    while left > 0 {
        let count = left.min(args.batch);
        let mut body = Vec::new();
        for _ in 0..count {
            events.write(&mut body);
            body.push(b'\n');
        }
        match &client {
            None => results::print(&String::from_utf8_lossy(&body))?,
            Some(client) => push(client, &args.source, &body)?,
        }
        left -= count;
    }
    if client.is_some() {
        anstream::eprintln!("pushed {} events to `{}`", args.rows, args.source);
    }
    Ok(())
}

/// A duration before now: `-30s`, `-5m`, `-1h`, `-2d`.
fn before(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('-')?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?))
}

fn push(client: &Client, source: &str, body: &[u8]) -> Result<(), Stopped> {
    let answer = client.post(&format!("/v1/push/{}", encode(source)), body)?;
    let refused = answer.body["rejected"].as_array().map_or(0, Vec::len);
    if answer.status != 200 || refused > 0 {
        return Err(Stopped::Unavailable(answer.message()));
    }
    Ok(())
}

/// An endless, reproducible sequence of events of one schema.
pub(crate) struct Events<'a> {
    columns: &'a [SourceColumn],
    entities: u64,
    state: u64,
    time: EventTime,
}

impl<'a> Events<'a> {
    /// Events with `entities` different values in text and integer columns, each a millisecond after the last.
    pub(crate) fn new(columns: &'a [SourceColumn], entities: u64, seed: u64, from: EventTime) -> Self {
        Self { columns, entities: entities.max(1), state: seed, time: from }
    }

    /// Appends the next event as a JSON object, without a line end.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) {
        out.push(b'{');
        let columns = self.columns;
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_text(out, &column.field.name);
            out.push(b':');
            self.write_value(out, &column.field.name, &column.field.data_type, column.unit);
        }
        out.push(b'}');
        self.time.0 += 1000;
    }

    /// SplitMix64: small, good enough, the same everywhere.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn write_value(&mut self, out: &mut Vec<u8>, name: &str, data_type: &DataType, unit: TimestampUnit) {
        let text = match data_type {
            DataType::Bool => self.next().is_multiple_of(2).to_string(),
            DataType::Int8 | DataType::UInt8 => (self.next() % self.entities.min(100)).to_string(),
            DataType::Int16 | DataType::UInt16 => (self.next() % self.entities.min(30_000)).to_string(),
            DataType::Int32 | DataType::UInt32 | DataType::Int64 | DataType::UInt64 => {
                (self.next() % self.entities.min(1 << 31)).to_string()
            }
            DataType::Float32 | DataType::Float64 => {
                format!("{}.{:02}", self.next() % 100, self.next() % 100)
            }
            DataType::Decimal { precision, scale } => decimal(self.next(), *precision, *scale),
            DataType::Date => {
                let mut day = Vec::new();
                model::time::write_date(&mut day, self.time.0.div_euclid(86_400_000_000));
                format!("\"{}\"", String::from_utf8_lossy(&day))
            }
            DataType::Timestamp => match unit {
                TimestampUnit::Text => format!("\"{}\"", self.time),
                TimestampUnit::Seconds => (self.time.0 / 1_000_000).to_string(),
                TimestampUnit::Millis => (self.time.0 / 1000).to_string(),
                TimestampUnit::Micros => self.time.0.to_string(),
            },
            DataType::String => {
                let number = self.next() % self.entities;
                if name.ends_with("uuid") { uuid(number) } else { format!("\"{}{number}\"", initial(name)) }
            }
            // Base64 of three bytes: any four digits of its alphabet.
            DataType::Bytes => format!("\"{:04}\"", self.next() % 10_000),
            DataType::List(item) => {
                out.push(b'[');
                for index in 0..self.next() % 4 {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.write_value(out, name, item, unit);
                }
                out.push(b']');
                return;
            }
            DataType::Struct(fields) => {
                out.push(b'{');
                for (index, (name, data_type)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_text(out, name);
                    out.push(b':');
                    self.write_value(out, name, data_type, unit);
                }
                out.push(b'}');
                return;
            }
            DataType::Map(_, value) => {
                out.extend_from_slice(b"{\"1\":");
                self.write_value(out, name, value, unit);
                out.push(b'}');
                return;
            }
        };
        out.extend_from_slice(text.as_bytes());
    }
}

fn initial(name: &str) -> char {
    name.chars().next().unwrap_or('v')
}

fn uuid(number: u64) -> String {
    format!("\"{:08x}-0000-4000-8000-{number:012x}\"", number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff)
}

fn decimal(random: u64, precision: u8, scale: u8) -> String {
    let whole = if precision > scale { random % 10 } else { 0 };
    if scale == 0 {
        return whole.to_string();
    }
    let width = usize::from(scale.min(9));
    let digits = format!("{:09}", (random >> 8) % 1_000_000_000);
    format!("{whole}.{}", &digits[..width])
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push(b'\\');
        }
        let mut buffer = [0; 4];
        out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    }
    out.push(b'"');
}
