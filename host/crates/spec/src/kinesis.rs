//! What AWS demands of names of streams, regions and roles. Nothing here talks to AWS.

use crate::diagnostic::{Code, Diagnostic, Spot};
use crate::plan::{KinesisConnectionPlan, StreamPlan};
use crate::raw::{RawStreamArn, RawStreamName, Spanned};

/// Characters of a stream's name at most.
const MAX_STREAM: usize = 128;

/// What stands for a stream in a source or an output stream.
pub(crate) struct Given<'a> {
    pub(crate) name: Option<&'a Spanned<RawStreamName>>,
    pub(crate) arn: Option<&'a Spanned<RawStreamArn>>,
    /// The whole of it.
    pub(crate) spot: &'a Spot,
    /// What is said if several are named: the rule, and what to do.
    pub(crate) one: (&'static str, &'static str),
}

/// A problem, and whether something that is absent is to blame for it: it may be among what could not be read.
pub(crate) struct Refused {
    pub(crate) problem: Box<Diagnostic>,
    pub(crate) is_absence: bool,
}

impl From<Box<Diagnostic>> for Refused {
    fn from(problem: Box<Diagnostic>) -> Self {
        Self { problem, is_absence: false }
    }
}

/// The one stream that is given, or why there is none. `connection`: where it is to be found, if that is known.
pub(crate) fn stream(
    given: &Given<'_>,
    connection: Option<&KinesisConnectionPlan>,
) -> Result<StreamPlan, Refused> {
    match (given.name, given.arn) {
        (Some(name), None) => {
            let only = one(&name.value.0, &name.spot, given.one)?;
            stream_name(only).map(StreamPlan::Name).map_err(Refused::from)
        }
        (None, Some(arn)) => {
            let only = one(&arn.value.0, &arn.spot, given.one)?;
            stream_arn(only, connection).map(StreamPlan::Arn).map_err(Refused::from)
        }
        (Some(name), Some(arn)) => {
            let message = "a stream is named once: by `stream_name` or by `stream_arn`";
            let problem = Diagnostic::at(Code::ChooseOne, &arn.spot, message)
                .related(&name.spot, "the other one")
                .help("remove one of them");
            Err(Box::new(problem).into())
        }
        (None, None) => {
            let message = "here one of `stream_name`, `stream_arn` is needed";
            let problem = Diagnostic::at(Code::ChooseOne, given.spot, message)
                .help("write `stream_name: drivers`, or the whole `stream_arn`");
            Err(Refused { problem: Box::new(problem), is_absence: true })
        }
    }
}

fn one<'a>(
    given: &'a [Spanned<String>],
    spot: &Spot,
    (rule, help): (&str, &str),
) -> Result<&'a Spanned<String>, Box<Diagnostic>> {
    match given {
        [only] if !only.value.contains(',') => Ok(only),
        _ => Err(Box::new(Diagnostic::at(Code::OneTopic, spot, rule).help(help))),
    }
}

fn is_stream_name(text: &str) -> bool {
    (1..=MAX_STREAM).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn stream_name(name: &Spanned<String>) -> Result<String, Box<Diagnostic>> {
    let text = name.value.as_str();
    if is_stream_name(text) {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(60).collect();
    let problem =
        Diagnostic::at(Code::BadStream, &name.spot, format!("`{shown}` cannot be the name of a stream"));
    Err(Box::new(problem.help(if text.starts_with("arn:") {
        "an Amazon resource name goes under `stream_arn`"
    } else {
        "streams have 1 to 128 letters, digits, dots, dashes and underscores"
    })))
}

fn stream_arn(
    arn: &Spanned<String>,
    connection: Option<&KinesisConnectionPlan>,
) -> Result<String, Box<Diagnostic>> {
    let text = arn.value.as_str();
    let problem = |message: String, help: &str| {
        Box::new(Diagnostic::at(Code::BadStream, &arn.spot, message).help(help))
    };
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [_, _, service, region, _, resource] = parts.as_slice() else {
        let help = if is_stream_name(text) {
            "the name of a stream goes under `stream_name`"
        } else {
            "write it as `arn:aws:kinesis:eu-central-1:123456789012:stream/drivers`"
        };
        return Err(problem("this is not the Amazon resource name of a stream".to_owned(), help));
    };
    let name = resource.strip_prefix("stream/").unwrap_or_default();
    if name.contains('/') {
        let help = "leave out what follows the name of the stream";
        return Err(problem("this names a consumer of a stream, or another part of one".to_owned(), help));
    }
    if !is_arn(&parts) || *service != "kinesis" || !is_region(region) || !is_stream_name(name) {
        let help = "write it as `arn:aws:kinesis:eu-central-1:123456789012:stream/drivers`";
        return Err(problem("this is not the Amazon resource name of a stream".to_owned(), help));
    }
    if let Some(other) = connection.and_then(|connection| connection.region.as_deref())
        && other != *region
    {
        return Err(problem(
            format!("the stream is in region `{region}`, its connection leads to `{other}`"),
            "use a connection to the stream's region",
        ));
    }
    Ok(text.to_owned())
}

/// Whether the first parts are those of a resource in somebody's account.
fn is_arn(parts: &[&str]) -> bool {
    matches!(parts, ["arn", partition, _, _, account, _]
        if partition.starts_with("aws") && account.len() == 12 && account.chars().all(|c| c.is_ascii_digit()))
}

/// Whether a text looks like a region, such as `eu-central-1`.
pub(crate) fn is_region(text: &str) -> bool {
    let part =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 40 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.split('-').all(part)
}

/// Whether a text is the Amazon resource name of a role.
pub(crate) fn is_role_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    is_arn(&parts)
        && (parts[2], parts[3]) == ("iam", "")
        && parts[5].strip_prefix("role/").is_some_and(|name| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "/+=,.@_-".contains(c))
        })
}

/// Whether a text is an endpoint: `http` or `https`, a host, perhaps a port, and nothing else.
pub(crate) fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(place) = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest)) else { return false };
    crate::connection::is_address(place) || crate::connection::is_host(place)
}
