//! Connections to Redis, checked and filled in; and what all stores in Redis have in common. Nothing here connects to
//! anything.

use std::path::Path;
use std::time::Duration;

use super::connections::{both, is_told, pem_file};
use crate::connection::{AddressWords, address};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::{RedisConnectionPlan, RedisMode, RedisTlsPlan};
use crate::raw::{Micros, RawAddresses, RawRedisConnection, RawRedisTlsFiles, Spanned};

/// How long connecting may take, unless a file says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take, unless a file says otherwise: longer than a busy server pauses, and short enough to
/// notice one that is gone.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Databases at most: a server counts them with 31 bits.
const MAX_DATABASE: u64 = i32::MAX as u64;

/// A connection, if it is right.
pub(super) fn redis(
    Spanned { value: raw, spot }: &Spanned<RawRedisConnection>,
    folder: &Path,
    problems: &mut Vec<Diagnostic>,
) -> Option<RedisConnectionPlan> {
    let before = problems.len();
    let addresses = match (&raw.address, &raw.addresses) {
        (Some(only), None) => {
            let only = RawAddresses(vec![only.clone()]);
            addresses(
                &only,
                "address",
                "for example `localhost:6379`; several go under `addresses`",
                problems,
            )
        }
        (None, Some(several)) if several.value.0.is_empty() => {
            let message = "`addresses` needs at least one address";
            problems.push(
                Diagnostic::at(Code::Empty, &several.spot, message)
                    .help("write `address: \"localhost:6379\"`"),
            );
            Vec::new()
        }
        (None, Some(several)) => {
            let example = "for example `localhost:6379`, or `redis-1:6379,redis-2:6379`";
            addresses(&several.value, "addresses", example, problems)
        }
        (given, _) => {
            // What could not be read counts as absent, and was reported.
            if given.is_some() || !is_told(problems, spot) {
                problems.push(
                    Diagnostic::at(Code::ChooseOne, spot, "here one of `address`, `addresses` is needed")
                        .help("write `address: \"localhost:6379\"`, or several under `addresses`"),
                );
            }
            Vec::new()
        }
    };
    let mode = mode(raw, problems);
    let database = raw.database.as_ref().map_or(0, |database| {
        if database.value > MAX_DATABASE {
            let message = format!("`database` must be between 0 and {MAX_DATABASE}");
            problems.push(Diagnostic::at(Code::OutOfRange, &database.spot, message));
        }
        u32::try_from(database.value).unwrap_or(0)
    });
    if let Some(username) = raw.username.as_ref().filter(|username| username.value.is_empty())
        && !is_told(problems, &username.spot)
    {
        let problem = Diagnostic::at(Code::BadValue, &username.spot, "`username` is empty");
        problems.push(problem.help("leave it out for the default user"));
    }
    if let (Some(username), None) = (&raw.username, &raw.password)
        && !is_told(problems, spot)
    {
        let message = "`username` is of no use without `password`";
        problems.push(
            Diagnostic::at(Code::MissingKey, &username.spot, message)
                .help("add `password: \"${REDIS_PASSWORD}\"`, or remove `username`"),
        );
    }
    let mut timeout = |key: &str, raw: Option<&Spanned<Micros>>, default: Duration| {
        let Some(Spanned { value: Micros(micros), spot }) = raw else { return default };
        if !(10_000..=600_000_000).contains(micros) {
            let message = format!("`{key}` must be between 10ms and 10m");
            problems.push(Diagnostic::at(Code::OutOfRange, spot, message));
        }
        Duration::from_micros(micros.unsigned_abs())
    };
    let connect_timeout = timeout("connect_timeout", raw.connect_timeout.as_ref(), CONNECT_TIMEOUT);
    let response_timeout = timeout("response_timeout", raw.response_timeout.as_ref(), RESPONSE_TIMEOUT);
    let tls = raw.tls.as_ref().map(|tls| tls_files(&tls.0, folder, problems));
    (problems.len() == before && !addresses.is_empty()).then(|| RedisConnectionPlan {
        addresses,
        mode,
        database,
        username: raw.username.as_ref().map(|username| username.value.clone()),
        password: raw.password.as_ref().map(|password| password.value.0.clone()),
        tls,
        connect_timeout,
        response_timeout,
    })
}

fn addresses(
    given: &RawAddresses,
    key: &'static str,
    example: &'static str,
    problems: &mut Vec<Diagnostic>,
) -> Vec<String> {
    let words = AddressWords { key, encryption: "tls", user: "`username` and `password`", example };
    let mut addresses: Vec<String> = Vec::new();
    let before = problems.len();
    for (index, Spanned { value, spot }) in given.0.iter().enumerate() {
        match address(value, (key == "addresses").then_some(index), spot, &words) {
            Ok(address) if !addresses.iter().any(|other| other == address) => {
                addresses.push(address.to_owned());
            }
            Ok(_) => {
                let message = format!("address {} of `{key}` stands twice", index + 1);
                problems.push(Diagnostic::at(Code::NameClash, spot, message).help("remove one of them"));
            }
            // One that could not be put in was reported.
            Err(_) if is_told(&problems[..before], spot) => {}
            Err(problem) => problems.push(*problem),
        }
    }
    addresses
}

/// How the nodes belong together. Settings that exclude each other are reported at the later of them.
fn mode(raw: &RawRedisConnection, problems: &mut Vec<Diagnostic>) -> RedisMode {
    let cluster = raw.cluster.as_ref().filter(|cluster| cluster.value);
    if let (Some(cluster), Some(sentinel)) = (cluster, &raw.sentinel) {
        problems.push(
            Diagnostic::at(Code::RedisModes, &sentinel.spot, "sentinels do not watch a cluster")
                .related(&cluster.spot, "declared a cluster here")
                .help("remove `sentinel`: a cluster finds its masters itself; or remove `cluster`"),
        );
    }
    if let (Some(cluster), Some(database)) =
        (cluster, raw.database.as_ref().filter(|number| number.value != 0))
    {
        problems.push(
            Diagnostic::at(Code::RedisModes, &database.spot, "a cluster has database 0 only")
                .related(&cluster.spot, "declared a cluster here")
                .help("remove `database`; keep projects apart by `project`, which is part of every key"),
        );
    }
    if let Some(sentinel) = &raw.sentinel {
        if sentinel.value.is_empty() && !is_told(problems, &sentinel.spot) {
            let message = "`sentinel` takes the name under which sentinels know the server";
            problems
                .push(Diagnostic::at(Code::BadValue, &sentinel.spot, message).help("for example `mymaster`"));
        }
        return RedisMode::Sentinel { service: sentinel.value.clone() };
    }
    // One node is enough to find a cluster, and several that are none are a server and its replicas.
    if cluster.is_some() { RedisMode::Cluster } else { RedisMode::Single }
}

fn tls_files(raw: &RawRedisTlsFiles, folder: &Path, problems: &mut Vec<Diagnostic>) -> RedisTlsPlan {
    let mut path = |key: &str, raw: &Option<Spanned<String>>| {
        pem_file(&format!("tls.{key}"), raw.as_ref(), folder, problems)
    };
    let plan = RedisTlsPlan {
        ca: path("ca", &raw.ca),
        certificate: path("certificate", &raw.certificate),
        key: path("key", &raw.key),
    };
    both(("certificate", raw.certificate.as_ref()), ("key", raw.key.as_ref()), problems);
    plan
}
