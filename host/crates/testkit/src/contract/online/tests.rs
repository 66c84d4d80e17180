//! The fake store keeps what the contract says of ledgers. Rows of other shapes than its own it does not have.

use std::sync::{Arc, Mutex};

use futures_core::future::BoxFuture;
use model::error::Failure;
use model::online::{OnlineReader, StoredRow};
use model::value::Value;
use model::view::ViewShape;

use super::{Place, Subject};
use crate::fake::online::MemoryStore;
use crate::fake::trouble::Fuse;

/// The store that was opened last; the next is what remains of it after a crash.
#[derive(Default)]
struct Memory(Mutex<Option<Arc<MemoryStore>>>);

impl Place for Memory {
    fn open(&self) -> Subject {
        let mut last = self.0.lock().expect("one test at a time");
        let store = match &*last {
            Some(store) => store.after_crash(&Fuse::never(), 0),
            None => Arc::new(MemoryStore::default()),
        };
        *last = Some(Arc::clone(&store));
        Subject {
            store: Arc::clone(&store) as _,
            reader: Arc::new(Reader(Arc::clone(&store))),
            ledger: Some(store),
            delete: None,
        }
    }
}

struct Reader(Arc<MemoryStore>);

impl OnlineReader for Reader {
    fn get(
        &self,
        view: &Arc<ViewShape>,
        keys: Vec<Vec<Value>>,
        _: Vec<usize>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredRow>>, Failure>> {
        let rows = keys.iter().map(|key| {
            let [Value::String(key)] = key.as_slice() else { return None };
            let (version, value) = self.0.row(&view.name, key)?;
            Some(StoredRow { version, values: vec![value.map_or(Value::Null, Value::Int)] })
        });
        Box::pin(std::future::ready(Ok(rows.collect())))
    }
}

macro_rules! contract {
    ($($name:ident),*) => {
        $(#[test] fn $name() { super::$name(&Memory::default()); })*
    };
}

contract!(
    newer_wins,
    replay,
    late_rows,
    reopen,
    empty_batch,
    advance_without_rows,
    generations,
    rewind,
    set_back
);
