//! The first thing on each connection, and now and then while nothing else is to do: is this the store that it was, and is
//! everything there that it has acknowledged?

use std::sync::atomic::Ordering;

use model::error::Failure;
use redis::{Cmd, ConnectionLike, RedisResult, Value, cmd};

use super::common::Common;
use crate::online::redis::notes::FoundMark;
use crate::online::redis::random::random_hex;
use crate::redis::error::told;
use crate::redis::{Identity, Keyed, Nodes};

const DOING: &str = "look what is there";

/// Looks over a connection of our own. Returns the marks that were found.
pub(super) fn look(
    common: &Common,
    connection: &mut redis::Connection,
) -> RedisResult<Result<Vec<FoundMark>, Failure>> {
    let mut ask = |command: Cmd| connection.req_command(&command).and_then(told);
    let store_key = common.store_key();
    // Asked before Redis is: another writer may name the store meanwhile.
    let is_named = common.notes.store().is_some();
    let mut store = text(&ask(get(&store_key))?);
    if store.is_none() && !is_named {
        ask(name_store(&store_key))?;
        store = text(&ask(get(&store_key))?);
    }
    let marks = common.notes.marks();
    let mut found = Vec::with_capacity(marks.len());
    for (key, acknowledged) in marks {
        let mark = number(&ask(get(&key))?);
        found.push(FoundMark { key, acknowledged, found: mark });
    }
    Ok(common.notes.examine(store.as_deref(), &found).map(|()| found))
}

/// Looks at all nodes of a cluster.
pub(super) async fn look_at_cluster(common: &Common, nodes: &Nodes) -> Result<Vec<FoundMark>, Failure> {
    let store_key = common.store_key();
    let ask = async |command: Cmd, key: &str| -> Result<Value, Failure> {
        let mut answers = nodes.run(vec![Keyed::new(key.as_bytes(), command)]).await?;
        answers.pop().unwrap_or_else(|| Err(Failure::retry(DOING)))
    };
    let is_named = common.notes.store().is_some();
    let mut store = text(&ask(get(&store_key), &store_key).await?);
    if store.is_none() && !is_named {
        ask(name_store(&store_key), &store_key).await?;
        store = text(&ask(get(&store_key), &store_key).await?);
    }
    let marks = common.notes.marks();
    let commands = marks.iter().map(|(key, _)| Keyed::new(key.as_bytes(), get(key))).collect();
    let answers = nodes.run(commands).await?;
    let mut found = Vec::with_capacity(marks.len());
    for ((key, acknowledged), answer) in marks.into_iter().zip(answers) {
        found.push(FoundMark { key, acknowledged, found: number(&answer?) });
    }
    common.notes.examine(store.as_deref(), &found)?;
    Ok(found)
}

/// Says once that a server throws rows away when its memory is full.
pub(super) fn warn_of_eviction(common: &Common, identity: &Identity) {
    if let Some(policy) = identity.evicts()
        && !common.warned.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(
            connection = common.options.connection.name,
            address = identity.address,
            "redis evicts keys by `maxmemory-policy {policy}`: rows vanish when its memory is full; set `noeviction`, with which writes wait instead"
        );
    }
}

fn get(key: &str) -> Cmd {
    let mut command = cmd("GET");
    command.arg(key);
    command
}

fn name_store(key: &str) -> Cmd {
    let mut command = cmd("SET");
    command.arg(key).arg(random_hex()).arg("NX");
    command
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

/// Something that is no number was not written by us.
pub(super) fn number(value: &Value) -> u64 {
    text(value).and_then(|text| text.parse().ok()).unwrap_or(0)
}
