//! Names and addresses as Kafka takes them.

use crate::diagnostic::{Code, Diagnostic};
use crate::raw::Spanned;

/// Where exactly-once outputs keep their progress when their source is no topic of the same connection.
const PROGRESS_TOPIC: &str = "millrace-progress";

/// Characters in a topic's name at most.
const MAX_TOPIC: usize = 249;

/// Bytes in a group's name at most: coordinators keep it with every commit.
const MAX_GROUP: usize = 249;

/// The name of a topic, or why not.
pub(crate) fn topic(name: &Spanned<String>) -> Result<String, Box<Diagnostic>> {
    let text = name.value.as_str();
    let shown: String = text.chars().take(60).collect();
    if text == PROGRESS_TOPIC {
        let message = format!("topic `{text}` is where hosts keep the progress of exactly-once outputs");
        return Err(Box::new(
            Diagnostic::at(Code::ReservedName, &name.spot, message).help("choose another topic"),
        ));
    }
    let fits = text.len() <= MAX_TOPIC
        && !matches!(text, "" | "." | "..")
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if fits {
        return Ok(text.to_owned());
    }
    let problem = Diagnostic::at(Code::BadTopic, &name.spot, format!("`{shown}` cannot be a topic"));
    let help = if text.contains(',') {
        "several topics are a list: `topic: [a, b]`"
    } else if text.starts_with('^') || text.contains(['*', '(', '[', '\\', '|', '$']) {
        "topics are named one by one, there are no patterns"
    } else {
        "topics have 1 to 249 letters, digits, dots, dashes and underscores"
    };
    Err(Box::new(problem.help(help)))
}

/// The name of a consumer group, or why not.
pub(crate) fn group(name: &Spanned<String>) -> Result<String, Box<Diagnostic>> {
    let text = name.value.as_str();
    let fits = !text.is_empty()
        && text.len() <= MAX_GROUP
        && text.trim() == text
        && !text.chars().any(char::is_control);
    if fits {
        return Ok(text.to_owned());
    }
    Err(Box::new(
        Diagnostic::at(Code::BadTopic, &name.spot, "this cannot be a consumer group")
            .help("groups have 1 to 249 bytes, no control characters, and no blanks at either end"),
    ))
}

/// Addresses of brokers, `host:port`, parted by commas: the same without blanks, or why not.
pub(crate) fn servers(text: &Spanned<String>) -> Result<String, Box<Diagnostic>> {
    let mut servers = Vec::new();
    for (index, server) in text.value.split(',').map(str::trim).enumerate() {
        // The text itself is not quoted: it may have been put in from outside.
        let which = format!("address {} of `bootstrap_servers`", index + 1);
        let problem = |message: String, help: &str| {
            Err(Box::new(Diagnostic::at(Code::BadValue, &text.spot, message).help(help)))
        };
        if server.contains("://") {
            return problem(
                format!("{which} has a scheme"),
                "write `host:port` alone; `security` says whether it is encrypted",
            );
        }
        if server.contains('@') {
            return problem(
                format!("{which} has a user"),
                "write `host:port` alone; users and passwords stand under `security.sasl`",
            );
        }
        let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
        let is_address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map_or_else(
            || {
                !host.is_empty()
                    && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
            },
            |host| host.parse::<std::net::Ipv6Addr>().is_ok(),
        );
        if !is_address || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return problem(
                format!("{which} is not `host:port`"),
                "for example `localhost:9092`, or `kafka-1:9092,kafka-2:9092`",
            );
        }
        servers.push(server);
    }
    Ok(servers.join(","))
}
