//! What the scripts answer.

use redis::{RedisError, Value};

use crate::online::redis::layout::version::{self, Held};

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// Which of the rows of the call, from 0.
    pub(super) row: usize,
    pub(super) outcome: Outcome,
    /// What was held before.
    pub(super) held: Option<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something newer is held.
    Late,
    /// It was written.
    Taken,
    /// The very same is held.
    Same,
    /// What is held is no version of ours, so nobody can say which is newer. It stays.
    Damaged,
}

/// The answer of the script for many rows: whether the claim stands, and the rows that are told of.
pub(super) fn batch(answer: &Value) -> Result<(bool, Vec<Told>), RedisError> {
    let Value::Array(parts) = answer else { return Err(unexpected()) };
    let Some((Value::Int(stands), rows)) = parts.split_first() else { return Err(unexpected()) };
    let told = rows.chunks(4).map(|part| match part {
        [Value::Int(row), rest @ ..] => told(usize::try_from(*row - 1).map_err(|_| unexpected())?, rest),
        _ => Err(unexpected()),
    });
    Ok((*stands == 1, told.collect::<Result<_, _>>()?))
}

/// The answer of the script for one row.
pub(super) fn single(answer: &Value) -> Result<Told, RedisError> {
    match answer {
        Value::Array(parts) => told(0, parts),
        _ => Err(unexpected()),
    }
}

fn told(row: usize, parts: &[Value]) -> Result<Told, RedisError> {
    // Lua's lists end at the first `false` that is last, which is how "nothing" is told.
    let Some(Value::Int(outcome)) = parts.first() else { return Err(unexpected()) };
    let outcome = match outcome {
        0 => Outcome::Late,
        1 => Outcome::Taken,
        2 => Outcome::Same,
        3 => Outcome::Damaged,
        _ => return Err(unexpected()),
    };
    let bytes = |index: usize| match parts.get(index) {
        Some(Value::BulkString(bytes)) => Some(&bytes[..]),
        _ => None,
    };
    // What cannot be read was written by somebody else. The script has decided all the same; nothing is known of it here.
    let held = version::held(bytes(1), bytes(2)).unwrap_or_default();
    Ok(Told { row, outcome, held })
}

fn unexpected() -> RedisError {
    let text = "a script has answered something else than it does";
    std::io::Error::new(std::io::ErrorKind::InvalidData, text).into()
}
