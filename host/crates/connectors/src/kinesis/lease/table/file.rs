//! Rows in a file of this host, which reads the whole stream.
//!
//! `leases-<source>.json`: `{"version":1,"shards":{"shardId-…":{…}}}`, each shard with its progress; owners say nothing where
//! there is one host, and are not kept. Written to a new file, synced and renamed, so that there is always a whole one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use model::error::Failure;
use serde::{Deserialize, Serialize};

use super::{Change, Content as Read, LeaseTable, Row, apply};
use crate::kinesis::lease::progress::{Progress, Written};

/// The version of the file.
const VERSION: u32 = 1;

/// Rows in a file.
#[derive(Debug)]
pub(in super::super) struct FileTable {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// What the file says, and who owns what since the host started. Locked for moments.
    rows: Mutex<BTreeMap<String, Row>>,
    /// Held while the file is written: another change has to come behind it in the file, too.
    writing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    shards: BTreeMap<String, Written>,
}

impl FileTable {
    /// Reads the file of a source in this folder; the folder is made with the first change. Fails with
    /// [`model::error::Disposition::Stop`] if it cannot be understood.
    pub(in super::super) fn open(directory: &Path, source: &str) -> Result<Self, Failure> {
        let path = directory.join(format!("leases-{source}.json"));
        let rows = read(&path)?;
        Ok(Self { inner: Arc::new(Inner { path, rows: Mutex::new(rows), writing: Arc::default() }) })
    }
}

impl LeaseTable for FileTable {
    fn is_shared(&self) -> bool {
        false
    }

    fn read(&self) -> BoxFuture<'_, Result<Read, Failure>> {
        // Nobody else writes to it: it is always the same table.
        std::future::ready(Ok(Read { era: String::new(), rows: self.inner.rows().clone() })).boxed()
    }

    fn change<'a>(
        &'a self,
        _era: &'a str,
        changes: Vec<Change>,
    ) -> BoxFuture<'a, Result<Vec<bool>, Failure>> {
        let inner = Arc::clone(&self.inner);
        async move {
            let writing = Arc::clone(&inner.writing).lock_owned().await;
            let work = tokio::task::spawn_blocking(move || {
                // Here, as a write goes on when nobody waits for it any more.
                let _writing = writing;
                inner.change(changes)
            });
            let work = work.await;
            work.unwrap_or_else(|error| Err(Failure::retry("write leases to their file").caused_by(error)))
        }
        .boxed()
    }
}

impl Inner {
    fn change(&self, changes: Vec<Change>) -> Result<Vec<bool>, Failure> {
        let rows = self.rows().clone();
        let mut next = rows.clone();
        let met = changes.into_iter().map(|change| apply(&mut next, change)).collect();
        let says = |rows: &BTreeMap<String, Row>| -> BTreeMap<String, Progress> {
            rows.iter().map(|(shard, row)| (shard.clone(), row.progress.clone())).collect()
        };
        if says(&rows) != says(&next) {
            self.write(&next).map_err(|error| {
                Failure::retry(format!("write leases to `{}`", self.path.display())).caused_by(error)
            })?;
        }
        *self.rows() = next;
        Ok(met)
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, rows: &BTreeMap<String, Row>) -> io::Result<()> {
        let shards = rows.iter().map(|(shard, row)| (shard.clone(), Written::from(&row.progress)));
        let content = Content { version: VERSION, shards: shards.collect() };
        let directory = self.path.parent().expect("the path was joined to a folder");
        fs::create_dir_all(directory)?;
        let fresh = self.path.with_extension("json.new");
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(&content)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        File::open(directory)?.sync_all()
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Row>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => {
            return Err(Failure::stop(format!("read leases from `{}`", path.display())).caused_by(error));
        }
    };
    parse(&text).map_err(|why| {
        Failure::stop(format!(
            "read leases from `{}`: the file is damaged ({why}); restore it, or remove it and say with `host rewind` where \
             each view goes on",
            path.display()
        ))
    })
}

fn parse(text: &str) -> Result<BTreeMap<String, Row>, String> {
    let content: Content = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if content.version != VERSION {
        return Err(format!("its version is {}, and this host knows {VERSION}", content.version));
    }
    let mut rows = BTreeMap::new();
    for (shard, written) in content.shards {
        let progress = written.try_into().map_err(|why| format!("shard `{shard}`: {why}"))?;
        rows.insert(shard, Row { progress, ..Row::default() });
    }
    Ok(rows)
}
