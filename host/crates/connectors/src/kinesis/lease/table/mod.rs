//! Where leases are written down. Each change is conditional, so that of two hosts that want the same one gets it.
//!
//! A [`Row`] is taken by whoever changes it from what was last read; its counter rises with each change of its owner
//! or its renewal, and a row whose counter stands still for longer than a lease lasts has an owner who is gone. No clock but
//! the reader's own is asked. That somebody else wants a shard is noted beside, and changes no counter.
//!
//! [`FileTable`] is for a host that reads a stream by itself, [`RedisTable`] for several.

use std::collections::BTreeMap;

use futures_core::future::BoxFuture;
use model::error::Failure;

use super::progress::Progress;

mod file;
mod redis;
#[cfg(test)]
pub(super) mod tests;

pub(super) use file::FileTable;
pub(super) use redis::RedisTable;

/// Who has a lease, and the how manieth change that is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Token {
    /// Who; `None` = it is free.
    pub(super) owner: Option<String>,
    /// Rises with each change.
    pub(super) counter: u64,
}

/// What is written down of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Row {
    /// Who has it.
    pub(super) token: Token,
    /// Who is to have it next.
    pub(super) wanted_by: Option<String>,
    /// How far everybody is.
    pub(super) progress: Progress,
}

/// What a table says at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    /// Names the table. It has another name when it was emptied, and when it is somewhere else than before or was loaded
    /// again: then rows may be missing, or be what they were a while ago.
    pub(super) era: String,
    /// Its rows, by shard.
    pub(super) rows: BTreeMap<String, Row>,
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Writes a row if its token is this. A new owner fulfills the wish.
    Put {
        /// The shard.
        shard: String,
        /// What the token must be; `None` = there must be no row.
        expects: Option<Token>,
        /// What it is then.
        token: Token,
        /// What the progress is then; `None` = as it was.
        progress: Option<Progress>,
    },
    /// Asks an owner for a shard that nobody else wants yet.
    Want {
        /// The shard.
        shard: String,
        /// Who has to be its owner.
        owner: String,
        /// Who wants it.
        wanted_by: String,
    },
    /// Takes a wish back.
    Renounce {
        /// The shard.
        shard: String,
        /// Whose wish.
        wanted_by: String,
    },
    /// Removes a row if its token is this.
    Remove {
        /// The shard.
        shard: String,
        /// What the token must be.
        expects: Token,
    },
}

/// The rows of one source.
///
/// [`LeaseTable::change`] does each change whole or not at all, one after the other, none between what another host does to
/// the same row; those of one call need not happen together. A call that fails may have done any of them.
pub(super) trait LeaseTable: Send + Sync {
    /// Whether other hosts use it, too.
    fn is_shared(&self) -> bool;

    /// All rows, and which table that is.
    fn read(&self) -> BoxFuture<'_, Result<Content, Failure>>;

    /// Makes these changes of the table with this name, and says of each whether its condition was met; where the table has
    /// another name by now, none was. On return they are as durable as the table is.
    fn change<'a>(&'a self, era: &'a str, changes: Vec<Change>) -> BoxFuture<'a, Result<Vec<bool>, Failure>>;
}

/// Makes a change of rows in memory. Whether its condition was met.
pub(super) fn apply(rows: &mut BTreeMap<String, Row>, change: Change) -> bool {
    match change {
        Change::Put { shard, expects, token, progress } => {
            if rows.get(&shard).map(|row| &row.token) != expects.as_ref() {
                return false;
            }
            let row = rows.entry(shard).or_default();
            if token.owner.is_some() && token.owner != row.token.owner {
                row.wanted_by = None;
            }
            row.token = token;
            if let Some(progress) = progress {
                row.progress = progress;
            }
            true
        }
        Change::Want { shard, owner, wanted_by } => match rows.get_mut(&shard) {
            Some(row) if row.token.owner.as_ref() == Some(&owner) && row.wanted_by.is_none() => {
                row.wanted_by = Some(wanted_by);
                true
            }
            _ => false,
        },
        Change::Renounce { shard, wanted_by } => match rows.get_mut(&shard) {
            Some(row) if row.wanted_by.as_ref() == Some(&wanted_by) => {
                row.wanted_by = None;
                true
            }
            _ => false,
        },
        Change::Remove { shard, expects } => {
            let is_met = rows.get(&shard).is_some_and(|row| row.token == expects);
            if is_met {
                rows.remove(&shard);
            }
            is_met
        }
    }
}
