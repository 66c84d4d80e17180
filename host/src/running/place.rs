//! Where the rows of a view are, as the ledger remembers it, and whether the view may go to where its file says.
//!
//! Rows do not follow a view from one store to another by themselves: a view that began anew in an empty store would
//! answer as if its entities were unknown, while its positions say that everything was done.

use connectors::online::embedded::EmbeddedStore;
use model::error::Failure;
use model::online::{Ledger, Starts};
use model::position::{Partition, Position};
use spec::plan::{StorePlan, ViewPlan};

/// The name under which the ledger remembers where the rows of a view are: the store is the name of a partition.
fn name(view: &str) -> String {
    format!("{view}#store")
}

/// Where the rows of a view are; `None` for one that has none, or that has them in the embedded store since before there
/// were others.
pub(crate) fn noted(ledger: &dyn Ledger, view: &str) -> Result<Option<StorePlan>, Failure> {
    let notes = ledger.view(&name(view))?.started;
    // The note with the greatest number is the newest.
    let newest = notes.into_iter().max_by_key(|(_, number)| number.and_then(|number| number.as_u64()));
    Ok(newest.map(|(partition, _)| match partition.as_str().strip_prefix("redis/") {
        Some(connection) => StorePlan::Redis { connection: connection.to_owned() },
        None => StorePlan::Embedded,
    }))
}

/// Notes that the rows of a view are in this store from now on. Durable on return.
pub(crate) fn note(ledger: &dyn Ledger, view: &str, store: &StorePlan) -> Result<(), Failure> {
    let notes = ledger.view(&name(view))?.started;
    let newest = notes.values().flatten().filter_map(Position::as_u64).max().unwrap_or(0);
    let to = Starts::from([(Partition::new(store.to_string()), Some(Position::from_u64(newest + 1)))]);
    ledger.note(&name(view), &to, 0)
}

/// Refuses a view whose rows are in another store than its file says. Changes nothing.
pub(super) fn check(store: &EmbeddedStore, view: &ViewPlan) -> Result<(), Failure> {
    let (name, wanted) = (view.name(), &view.store);
    if !view.shape.online {
        return Ok(());
    }
    let noted = noted(store, name)?;
    match noted {
        Some(noted) if noted == *wanted => Ok(()),
        Some(StorePlan::Redis { connection }) => Err(Failure::stop(format!(
            "start view `{name}` with its rows in {}: they are in Redis at connection `{connection}`; name that again, or, \
             if it is the same Redis under another name or its rows were copied, say so with `host migrate-store --view \
             {name} --to {} --note-only` while the host is stopped",
            in_words(wanted),
            word(wanted)
        ))),
        Some(StorePlan::Embedded) | None
            if *wanted == StorePlan::Embedded || !store.has_rows(&view.shape)? =>
        {
            Ok(())
        }
        Some(StorePlan::Embedded) | None => Err(Failure::stop(format!(
            "start view `{name}` with its rows in {}: they are in the embedded store; move them with `host migrate-store \
             --view {name} --to {}` while the host is stopped, or write `online_store: {{ embedded: {{}} }}` in the view",
            in_words(wanted),
            word(wanted)
        ))),
    }
}

/// The same, and notes where the rows of the view are to be, before it writes the first of them.
pub(super) fn settle(store: &EmbeddedStore, view: &ViewPlan) -> Result<(), Failure> {
    check(store, view)?;
    if !view.shape.online || noted(store, view.name())?.as_ref() == Some(&view.store) {
        return Ok(());
    }
    note(store, view.name(), &view.store)
}

/// A store as the command line names it.
fn word(store: &StorePlan) -> &str {
    store.connection().unwrap_or("embedded")
}

/// A store as messages name it.
pub(crate) fn in_words(store: &StorePlan) -> String {
    match store {
        StorePlan::Embedded => "the embedded store".to_owned(),
        StorePlan::Redis { connection } => format!("Redis at connection `{connection}`"),
    }
}
