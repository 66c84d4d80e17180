//! Settings of librdkafka that files may pass on, and those that they may not, each with its reason.
//!
//! The list names what is refused; everything else goes through, for librdkafka knows its own settings best. One list
//! serves consumers and producers: no setting means one thing to the one and another to the other.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic};
use crate::raw::RawOptions;

/// Where options stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a connection of `host.yaml`: by an operator.
    Connection,
    /// In a source of a view file: by the author of a view. With the protocol in which the broker assigns partitions?
    Source {
        /// `group_protocol: consumer`.
        assigned_by_broker: bool,
    },
    /// In an output stream of a view file.
    Output,
}

/// Why a setting is refused, and what to do instead.
struct Refusal {
    why: &'static str,
    help: &'static str,
}

/// The options as the client takes them; whatever is wrong with the others is reported.
pub(crate) fn options(
    raw: Option<&RawOptions>,
    place: Place,
    report: &mut dyn FnMut(Diagnostic),
) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for (name, value) in raw.map(|raw| raw.0.as_slice()).unwrap_or_default() {
        if !is_option_name(&name.value) {
            let shown: String = name.value.chars().take(60).collect();
            let mut problem = Diagnostic::at(
                Code::RefusedOption,
                &name.spot,
                format!("`{shown}` is not the name of a client setting"),
            )
            .help("settings are called as in librdkafka, such as `socket.keepalive.enable`");
            let lower = name.value.to_lowercase().replace('-', ".");
            problem.suggestion = is_option_name(&lower).then_some(lower);
            report(problem);
        } else if let Some(Refusal { why, help }) = refusal(&name.value, &value.0, place) {
            let message = format!("`{}` cannot be set here: {why}", name.value);
            report(Diagnostic::at(Code::RefusedOption, &name.spot, message).help(help));
        } else {
            options.insert(name.value.clone(), value.0.clone());
        }
    }
    options
}

fn is_option_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    name.len() <= 100 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('.').all(part)
}

fn refusal(name: &str, value: &str, place: Place) -> Option<Refusal> {
    endpoint(name, value, place)
        .or_else(|| dangerous(name))
        .or_else(|| consumer(name, value, place))
        .or_else(|| producer(name))
}

fn refuse(why: &'static str, help: &'static str) -> Option<Refusal> {
    Some(Refusal { why, help })
}

/// Where the brokers are and what it takes to get in: `host.yaml` says it, under keys of its own.
fn endpoint(name: &str, value: &str, place: Place) -> Option<Refusal> {
    const SECURITY: &str = "the connection's `security` says it";
    match name {
        "bootstrap.servers" | "metadata.broker.list" => {
            refuse("the connection says where the brokers are", "set its `bootstrap_servers` in host.yaml")
        }
        "security.protocol" => {
            refuse(SECURITY, "set `security: plaintext`, or `tls`, `sasl` or both below it, in host.yaml")
        }
        "enable.ssl.certificate.verification" | "ssl.endpoint.identification.algorithm" => refuse(
            "TLS without checking the certificate and the name in it is no protection, so both are always checked",
            "put the authority that signed the broker's certificate into `security.tls.ca` in host.yaml",
        ),
        "sasl.mechanism" | "sasl.mechanisms" => {
            refuse(SECURITY, "set `security.sasl.mechanism` in host.yaml")
        }
        "sasl.username" => refuse(SECURITY, "set `security.sasl.username` in host.yaml"),
        "sasl.password" => {
            refuse("it is a secret", "set `security.sasl.password: ${KAFKA_PASSWORD}` in host.yaml")
        }
        "ssl.key.password" | "ssl.keystore.password" => {
            refuse("it is a secret", "set `security.tls.key_password: ${KAFKA_KEY_PASSWORD}` in host.yaml")
        }
        "ssl.key.pem" | "ssl.keystore.location" | "ssl.key.location" => {
            refuse(SECURITY, "name the PEM file as `security.tls.key` in host.yaml")
        }
        "ssl.certificate.location" | "ssl.certificate.pem" => {
            refuse(SECURITY, "name the PEM file as `security.tls.certificate` in host.yaml")
        }
        "ssl.ca.location" | "ssl.ca.pem" | "https.ca.location" | "https.ca.pem" => {
            refuse(SECURITY, "name the PEM file as `security.tls.ca` in host.yaml")
        }
        "ssl.engine.location" | "ssl.engine.id" | "ssl.providers" | "plugin.library.paths" => {
            refuse("it loads code into the host", "remove it")
        }
        // How TLS is spoken is no secret and breaks nothing; it is the operator's to say.
        "ssl.cipher.suites" | "ssl.curves.list" | "ssl.sigalgs.list" | "ssl.crl.location"
            if place == Place::Connection =>
        {
            None
        }
        _ if name.starts_with("test.mock.") => {
            refuse("its cluster would exist in this process only", "remove it")
        }
        _ if name.starts_with("sasl.")
            || name.starts_with("enable.sasl.")
            || name.starts_with("ssl.")
            || name.starts_with("ssl_") =>
        {
            refuse(SECURITY, "set `security` in host.yaml, or ask the operator to")
        }
        _ if crate::yaml::looks_secret(name) || value.contains("PRIVATE KEY-----") => refuse(
            "it looks like a secret",
            "secrets stand under `security` in host.yaml, and come from outside",
        ),
        _ => None,
    }
}

/// What only a program can set.
fn dangerous(name: &str) -> Option<Refusal> {
    let only_programs = matches!(
        name,
        "interceptors"
            | "opaque"
            | "default_topic_conf"
            | "enabled_events"
            | "msg_order_cmp"
            | "builtin.features"
    ) || name.ends_with("_cb")
        || name.ends_with(".cb")
        || name.starts_with("dr_")
        || name.starts_with("dr.");
    if only_programs { refuse("only the program that runs the client can set it", "remove it") } else { None }
}

/// What the promises of a source rest on.
fn consumer(name: &str, value: &str, place: Place) -> Option<Refusal> {
    match name {
        "group.id" => refuse("the source has a key for it", "set `group`"),
        "group.protocol" => refuse("the source has a key for it", "set `group_protocol`"),
        "auto.offset.reset" => refuse(
            "a gap must be noticed",
            "set `start` for where a view begins, and `out_of_range` for records that are gone",
        ),
        "enable.auto.commit"
        | "auto.commit.enable"
        | "auto.commit.interval.ms"
        | "enable.auto.offset.store" => {
            refuse("the host commits a position once everything through it is done", "remove it")
        }
        "offset.store.method" | "offset.store.path" | "offset.store.sync.interval.ms" => {
            refuse("the group keeps the positions", "remove it")
        }
        "group.instance.id" => {
            refuse("each host has one of its own, made once in its data directory", "remove it")
        }
        "partition.assignment.strategy" | "group.protocol.type" => refuse(
            "members of a group have to agree on it, and hosts take over from each other step by step",
            "remove it",
        ),
        "isolation.level" if value != "read_committed" => refuse(
            "records of transactions that were given up must not be seen",
            "remove it: it is `read_committed`",
        ),
        "enable.partition.eof" => {
            refuse("the host has to see the end of a partition to know that it caught up", "remove it")
        }
        "allow.auto.create.topics" => {
            refuse("a misspelled topic would be made instead of reported", "remove it, and make the topic")
        }
        "session.timeout.ms" | "heartbeat.interval.ms"
            if place == (Place::Source { assigned_by_broker: true }) =>
        {
            refuse(
                "with `group_protocol: consumer` the broker decides it",
                "remove it, and set it at the broker",
            )
        }
        _ => None,
    }
}

/// What the promises of an output stream rest on.
fn producer(name: &str) -> Option<Refusal> {
    match name {
        "acks" | "request.required.acks" => {
            refuse("a record counts as emitted once all replicas in sync have it", "remove it: it is `all`")
        }
        "enable.idempotence" | "enable.gapless.guarantee" => {
            refuse("records are neither repeated nor skipped by the client", "remove it: it is on")
        }
        "max.in.flight" | "max.in.flight.requests.per.connection" | "queuing.strategy" => {
            refuse("records of one entity stay in their order", "remove it")
        }
        "partitioner" => refuse(
            "records of one entity go to one partition, the same that Java clients choose",
            "remove it: it is `murmur2`",
        ),
        "message.timeout.ms" | "delivery.timeout.ms" | "retries" | "message.send.max.retries" => {
            refuse("a record is sent until the brokers have it, it is never given up", "remove it")
        }
        "transactional.id" => refuse("each view on each host has one of its own", "set `exactly_once: true`"),
        "transaction.timeout.ms" => refuse("the host watches over its transactions itself", "remove it"),
        _ => None,
    }
}
