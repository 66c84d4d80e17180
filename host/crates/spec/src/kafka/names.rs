//! Names and addresses as Kafka takes them.

use crate::connection::{AddressWords, address};
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

/// What there is to say of addresses of brokers.
const ADDRESSES: AddressWords = AddressWords {
    key: "bootstrap_servers",
    encryption: "security",
    user: "`security.sasl`",
    example: "for example `localhost:9092`, or `kafka-1:9092,kafka-2:9092`",
};

/// Addresses of brokers, `host:port`, parted by commas: the same without blanks, or why not.
pub(crate) fn servers(text: &Spanned<String>) -> Result<String, Box<Diagnostic>> {
    let servers = text.value.split(',').map(str::trim).enumerate();
    let servers: Vec<&str> = servers
        .map(|(index, server)| address(server, Some(index), &text.spot, &ADDRESSES))
        .collect::<Result<_, _>>()?;
    Ok(servers.join(","))
}
