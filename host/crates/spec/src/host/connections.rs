//! Connections of `host.yaml`, checked and filled in. Nothing here connects to anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::kinesis::kinesis;
use super::redis::redis;
use crate::connection::{reference, settings};
use crate::diagnostic::{Code, Diagnostic, Spot};
use crate::kafka::{Place, create_topic, one_topic, options, servers};
use crate::plan::{ConnectionPlan, DeadLetterPlan, KafkaConnectionPlan, SaslMechanism, SaslPlan, TlsPlan};
use crate::raw::{
    Ordered, RawConnection, RawDeadLetter, RawKafkaConnection, RawSaslMechanism, RawSecurity, RawTlsFiles,
    Spanned,
};

/// All connections that are right.
pub(super) fn connections(
    raw: &Ordered<Spanned<RawConnection>>,
    folder: &Path,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<String, ConnectionPlan> {
    let mut connections = BTreeMap::new();
    for (name, Spanned { value: raw, spot }) in &raw.0 {
        let given = [raw.kafka.is_some(), raw.kinesis.is_some(), raw.redis.is_some()];
        let given = given.into_iter().filter(|given| *given).count();
        if given > 1 || (given == 0 && !is_told(problems, spot)) {
            let message = format!("connection `{}` takes one of `kafka`, `kinesis`, `redis`", name.value.0);
            let help = ["kafka", "kinesis", "redis"].map(settings).join("`, or `");
            problems.push(Diagnostic::at(Code::ChooseOne, spot, message).help(format!("write `{help}`")));
        }
        let plan = if let Some(raw) = &raw.kafka {
            kafka(raw, folder, problems).map(ConnectionPlan::Kafka)
        } else if let Some(raw) = &raw.kinesis {
            Some(ConnectionPlan::Kinesis(kinesis(raw, folder, problems)))
        } else {
            raw.redis.as_ref().and_then(|raw| redis(raw, folder, problems)).map(ConnectionPlan::Redis)
        };
        connections.extend(plan.map(|plan| (name.value.0.clone(), plan)));
    }
    connections
}

fn kafka(
    raw: &RawKafkaConnection,
    folder: &Path,
    problems: &mut Vec<Diagnostic>,
) -> Option<KafkaConnectionPlan> {
    let options = options(raw.options.as_ref(), Place::Connection, &mut |problem| problems.push(problem));
    let bootstrap_servers = servers(&raw.bootstrap_servers).map_err(|problem| {
        // One that could not be put in was reported.
        if !is_told(problems, &raw.bootstrap_servers.spot) {
            problems.push(*problem);
        }
    });
    let (mut tls, mut sasl) = (None, None);
    if let Some(Spanned { value: RawSecurity::Given(given), spot }) = &raw.security {
        if given.tls.is_none() && given.sasl.is_none() && !is_told(problems, spot) {
            problems.push(
                Diagnostic::at(Code::ChooseOne, spot, "`security` takes `tls`, `sasl` or both")
                    .help("write `security: plaintext` for neither"),
            );
        }
        tls = given.tls.as_ref().map(|tls| tls_files(&tls.0, folder, problems));
        sasl = given.sasl.as_ref().map(|sasl| SaslPlan {
            mechanism: match sasl.mechanism {
                RawSaslMechanism::Plain => SaslMechanism::Plain,
                RawSaslMechanism::ScramSha256 => SaslMechanism::ScramSha256,
                RawSaslMechanism::ScramSha512 => SaslMechanism::ScramSha512,
            },
            username: sasl.username.value.clone(),
            password: sasl.password.0.clone(),
        });
    }
    Some(KafkaConnectionPlan { bootstrap_servers: bootstrap_servers.ok()?, tls, sasl, options })
}

fn tls_files(raw: &RawTlsFiles, folder: &Path, problems: &mut Vec<Diagnostic>) -> TlsPlan {
    let mut path = |key: &str, raw: &Option<Spanned<String>>| {
        pem_file(&format!("security.tls.{key}"), raw.as_ref(), folder, problems)
    };
    let plan = TlsPlan {
        ca: path("ca", &raw.ca),
        certificate: path("certificate", &raw.certificate),
        key: path("key", &raw.key),
        key_password: raw.key_password.as_ref().map(|password| password.value.0.clone()),
    };
    both(("certificate", raw.certificate.as_ref()), ("key", raw.key.as_ref()), problems);
    needs(
        raw.key_password.as_ref().map(|password| &password.spot),
        "key_password",
        raw.key.is_some(),
        "key",
        problems,
    );
    plan
}

/// The path of a PEM file, relative to the folder of host.yaml. `key`: what it is the value of.
pub(super) fn pem_file(
    key: &str,
    raw: Option<&Spanned<String>>,
    folder: &Path,
    problems: &mut Vec<Diagnostic>,
) -> Option<PathBuf> {
    let Spanned { value, spot } = raw?;
    if value.contains("-----BEGIN") {
        let message = format!("`{key}` takes the path of a PEM file, found what is in one");
        problems.push(
            Diagnostic::at(Code::BadValue, spot, message)
                .help("put it into a file that only the host can read, and name that"),
        );
    } else if value.is_empty() {
        problems.push(Diagnostic::at(Code::BadValue, spot, "a path cannot be empty"));
    }
    Some(folder.join(value))
}

/// Two settings of which one is of no use without the other.
pub(super) fn both(
    (one, first): (&str, Option<&Spanned<String>>),
    (other, second): (&str, Option<&Spanned<String>>),
    problems: &mut Vec<Diagnostic>,
) {
    needs(first.map(|raw| &raw.spot), one, second.is_some(), other, problems);
    needs(second.map(|raw| &raw.spot), other, first.is_some(), one, problems);
}

/// A setting, if it is there, that is of no use without another one.
pub(super) fn needs(
    present: Option<&Spot>,
    what: &str,
    has_other: bool,
    other: &str,
    problems: &mut Vec<Diagnostic>,
) {
    if let Some(spot) = present.filter(|_| !has_other) {
        let message = format!("`{what}` is of no use without `{other}`");
        problems.push(
            Diagnostic::at(Code::MissingKey, spot, message)
                .help(format!("add `{other}`, or remove `{what}`")),
        );
    }
}

/// Whether something within a piece of text was reported: what is wrong there counts as absent.
pub(super) fn is_told(problems: &[Diagnostic], spot: &Spot) -> bool {
    let range = spot.range();
    problems.iter().filter_map(|problem| problem.spot.as_ref()).any(|place| {
        let place = place.range();
        range.start <= place.start && place.end <= range.end
    })
}

/// Where dead letters go, `file` as a path of the plan. `known`: the connections, if all of them could be read.
pub(super) fn dead_letter(
    raw: &Spanned<RawDeadLetter>,
    file: Option<PathBuf>,
    known: Option<&BTreeMap<String, ConnectionPlan>>,
    problems: &mut Vec<Diagnostic>,
) -> Option<DeadLetterPlan> {
    let kafka = match (file, &raw.value.kafka) {
        (Some(file), None) => return Some(DeadLetterPlan::File(file)),
        (None, Some(kafka)) => kafka,
        (file, _) => {
            if file.is_some() || !is_told(problems, &raw.spot) {
                problems.push(
                    Diagnostic::at(Code::ChooseOne, &raw.spot, "`dead_letter` takes one of `file`, `kafka`")
                        .help(
                            "write `file: { path: dead_letter.ndjson }`, or leave `dead_letter` out for that",
                        ),
                );
            }
            return None;
        }
    };
    let name = &kafka.connection;
    if let Some(known) = known {
        problems.extend(reference(name, "kafka", known).err().map(|problem| *problem));
    }
    let topic = one_topic(&kafka.topic, "dead letters go to one topic", "name one topic")
        .map_err(|problem| problems.push(*problem));
    let create =
        kafka.create.as_ref().map(|create| create_topic(create, &mut |problem| problems.push(problem)));
    Some(DeadLetterPlan::Kafka { connection: name.value.0.clone(), topic: topic.ok()?, create })
}
