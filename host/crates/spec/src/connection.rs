//! References to connections, and addresses in them: what is the same for every product.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Spot};
use crate::plan::ConnectionPlan;
use crate::raw::{Name, Spanned};

/// The connection of that name, if it is there and of that kind.
pub(crate) fn reference(
    name: &Spanned<Name>,
    kind: &str,
    known: &BTreeMap<String, ConnectionPlan>,
) -> Result<String, Box<Diagnostic>> {
    let text = &name.value.0;
    match known.get(text) {
        Some(connection) if connection.kind() == kind => Ok(text.clone()),
        Some(connection) => Err(Box::new(other_kind(text, connection.kind(), kind, &name.spot, known))),
        None => Err(Box::new(unknown(text, kind, &name.spot, known))),
    }
}

fn of_kind<'a>(
    known: &'a BTreeMap<String, ConnectionPlan>,
    kind: &'a str,
) -> impl Iterator<Item = &'a str> + 'a {
    known.iter().filter(move |(_, connection)| connection.kind() == kind).map(|(name, _)| name.as_str())
}

fn other_kind(
    name: &str,
    kind: &str,
    wanted: &str,
    spot: &Spot,
    known: &BTreeMap<String, ConnectionPlan>,
) -> Diagnostic {
    let message = format!("connection `{name}` is one to `{kind}`, here one to `{wanted}` is needed");
    let fitting = of_kind(known, wanted).collect::<Vec<_>>().join(", ");
    let help = if fitting.is_empty() {
        format!("declare one in host.yaml: {}", example("NAME", wanted))
    } else {
        format!("connections to `{wanted}`: {fitting}")
    };
    Diagnostic::at(Code::ConnectionKind, spot, message).help(help)
}

fn unknown(name: &str, kind: &str, spot: &Spot, known: &BTreeMap<String, ConnectionPlan>) -> Diagnostic {
    let message = format!("there is no connection `{name}` in host.yaml");
    let problem = Diagnostic::at(Code::UnknownConnection, spot, message).suggest(name, of_kind(known, kind));
    if problem.suggestion.is_some() {
        return problem;
    }
    let fitting = of_kind(known, kind).collect::<Vec<_>>().join(", ");
    problem.help(if fitting.is_empty() {
        format!("declare it there: {}", example(name, kind))
    } else {
        format!("connections to `{kind}`: {fitting}")
    })
}

/// The least that declares a connection.
pub(crate) fn example(name: &str, kind: &str) -> String {
    format!("`connections: {{ {name}: {{ {} }} }}`", settings(kind))
}

/// The least that says where a connection leads.
pub(crate) fn settings(kind: &str) -> &'static str {
    match kind {
        "kinesis" => "kinesis: { region: eu-central-1 }",
        "redis" => "redis: { address: \"localhost:6379\" }",
        _ => "kafka: { bootstrap_servers: \"localhost:9092\" }",
    }
}

/// Words for addresses of one product.
pub(crate) struct AddressWords {
    /// The key whose value they are.
    pub(crate) key: &'static str,
    /// Where encryption is said.
    pub(crate) encryption: &'static str,
    /// Where users and passwords are said.
    pub(crate) user: &'static str,
    /// What addresses look like.
    pub(crate) example: &'static str,
}

/// An address `host:port`, or why it is none. `index`: which of several, from 0; `None` = the only one.
pub(crate) fn address<'a>(
    text: &'a str,
    index: Option<usize>,
    spot: &Spot,
    words: &AddressWords,
) -> Result<&'a str, Box<Diagnostic>> {
    // The text itself is not quoted: it may have been put in from outside.
    let which = match index {
        Some(index) => format!("address {} of `{}`", index + 1, words.key),
        None => format!("`{}`", words.key),
    };
    let problem = |message: String, help: String| {
        Err(Box::new(Diagnostic::at(Code::BadValue, spot, message).help(help)))
    };
    if text.contains("://") {
        return problem(
            format!("{which} has a scheme"),
            format!("write `host:port` alone; `{}` says whether it is encrypted", words.encryption),
        );
    }
    if text.contains('@') {
        return problem(
            format!("{which} has a user"),
            format!("write `host:port` alone; users and passwords stand under {}", words.user),
        );
    }
    if !is_address(text) {
        return problem(format!("{which} is not `host:port`"), words.example.to_owned());
    }
    Ok(text)
}

/// Whether a text is `host:port`, with a port that somebody can listen on.
pub(crate) fn is_address(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether a text is the name of a host, its IPv4 address, or its IPv6 address in brackets.
pub(crate) fn is_host(text: &str) -> bool {
    text.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map_or_else(
        || {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        },
        |host| host.parse::<std::net::Ipv6Addr>().is_ok(),
    )
}
