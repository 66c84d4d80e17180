//! Whether the user may run what the host runs, without running it.
//!
//! Within `MULTI` a server checks the rights to each command when it arrives, and runs none before `EXEC`, which never
//! comes.

use redis::{Cmd, ConnectionLike, RedisError, RedisResult, Value};

use crate::redis::error::{self, Trouble, told};

/// Commands on keys that the host or its scripts run, with arguments of the right number.
const ON_KEYS: [&[&str]; 17] = [
    &["HMGET", KEY, "f"],
    &["HGET", KEY, "f"],
    &["HGETALL", KEY],
    &["HLEN", KEY],
    &["HSET", KEY, "f", "v"],
    &["HSETNX", KEY, "f", "v"],
    &["HDEL", KEY, "f"],
    &["GET", KEY],
    &["SET", KEY, "v"],
    &["GETSET", KEY, "v"],
    &["DEL", KEY],
    &["PERSIST", KEY],
    &["PEXPIRE", KEY, "1000"],
    &["PEXPIREAT", KEY, "9999999999999"],
    &["PTTL", KEY],
    &["WATCH", KEY],
    &["EVALSHA", "0000000000000000000000000000000000000000", "1", KEY],
];

/// The same, without keys.
const OTHERS: [&[&str]; 4] = [&["SCRIPT", "LOAD", "return 1"], &["TIME"], &["ROLE"], &["INFO", "server"]];

const IN_CLUSTERS: &[&str] = &["CLUSTER", "SLOTS"];

/// Stands for a key.
const KEY: &str = "{key}";

/// What the user may not do, as the server says it.
pub(super) fn missing(
    connection: &mut redis::Connection,
    project: &str,
    is_cluster: bool,
) -> RedisResult<Vec<String>> {
    if let Some(refused) = refused(connection, &command(&["MULTI"], &[]))? {
        return Ok(vec![refused]);
    }
    let mut missing = Vec::new();
    // The host's own keys, and rows, whose keys are bytes that end in the project.
    for key in [key(project), [b"\x01\0\0\0trial", project.as_bytes()].concat()] {
        for parts in ON_KEYS {
            missing.extend(refused(connection, &command(parts, &key))?);
        }
        // One reason says enough about keys.
        if !missing.is_empty() {
            break;
        }
    }
    for parts in OTHERS.into_iter().chain(is_cluster.then_some(IN_CLUSTERS)) {
        missing.extend(refused(connection, &command(parts, &[]))?);
    }
    connection.req_command(&command(&["DISCARD"], &[]))?;
    missing.dedup();
    Ok(missing)
}

/// A key of the host's own.
pub(super) fn key(project: &str) -> Vec<u8> {
    format!("millrace:{project}:trial").into_bytes()
}

/// What gives a user all that it needs.
pub(super) fn help(user: &str, project: &str) -> String {
    format!(
        "let an administrator run `ACL SETUSER {user} ~*{project} ~millrace:{project}:* ~millrace:{{{project}:* +@read \
         +@write +@scripting +@transaction +@connection +info +role +time +cluster|slots +cluster|info`"
    )
}

fn command(parts: &[&str], key: &[u8]) -> Cmd {
    let mut command = Cmd::new();
    for part in parts {
        if *part == KEY {
            command.arg(key);
        } else {
            command.arg(part);
        }
    }
    command
}

/// The server's words, if the user lacks the right. What else is wrong with the command does not matter here.
fn refused(connection: &mut redis::Connection, command: &Cmd) -> RedisResult<Option<String>> {
    let answer: RedisResult<Value> = connection.req_command(command).and_then(told);
    match answer {
        Ok(_) => Ok(None),
        Err(error) if error::trouble(&error) == Trouble::Rights => Ok(Some(words(&error))),
        Err(error) if error::trouble(&error).is_of_connection() => Err(error),
        Err(_) => Ok(None),
    }
}

/// "User a has no permissions to run the 'hset' command" says more than is needed.
fn words(error: &RedisError) -> String {
    let text = error.detail().unwrap_or_default();
    text.split_once("has no permissions to ").map_or(text, |(_, what)| what).to_owned()
}
