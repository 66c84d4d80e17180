//! A batch on its way to Redis: its keys, the rows that are left of it, and what became of them.

use std::sync::Arc;

use model::batch::{Applied, FeatureBatch};
use model::error::Failure;
use model::position::RowVersion;
use model::value::Value;
use model::view::ViewRef;
use tokio::sync::oneshot;

use super::budget::Permit;
use super::collapse::{Collapsed, collapse};
use super::known::{EntityHash, EntityHasher};
use crate::online::redis::layout::version::Version;
use crate::online::redis::layout::{EntityKeys, KeyLayout};

/// What a caller wants done, and waits for.
pub(in crate::online::redis) enum Job {
    /// Take in the rows of a batch.
    Write { batch: Arc<FeatureBatch>, reply: oneshot::Sender<Result<Applied, Failure>>, permit: Permit },
    /// Delete entities as of a version.
    Delete {
        view: ViewRef,
        keys: Vec<Vec<Value>>,
        version: RowVersion,
        reply: oneshot::Sender<Result<Vec<bool>, Failure>>,
        permit: Permit,
    },
}

/// What is written.
pub(super) enum Content {
    Rows(Arc<FeatureBatch>),
    Deletion(RowVersion),
}

/// Who hears of it.
enum Reply {
    Rows(oneshot::Sender<Result<Applied, Failure>>),
    /// With the place of each key among the rows of the work; `None` = no entity has it.
    Deletion(oneshot::Sender<Result<Vec<bool>, Failure>>, Vec<Option<u32>>),
}

/// A job under way.
pub(super) struct Work {
    pub(super) view: ViewRef,
    pub(super) content: Content,
    pub(super) keys: EntityKeys,
    pub(super) entities: Vec<EntityHash>,
    pub(super) collapsed: Collapsed,
    /// How many of `collapsed.rows` were sent.
    pub(super) sent: usize,
    /// Rows that have to be compared after all: the claim broke before they were written.
    pub(super) again: Vec<u32>,
    /// Requests without an answer.
    pub(super) open: usize,
    /// Rows that Redis did not take, in no order.
    pub(super) late: Vec<u32>,
    /// In which era of the notes it was taken.
    pub(super) era: u64,
    /// The highest mark behind its rows; 0 = no row was sent.
    pub(super) mark: u64,
    /// What went wrong.
    pub(super) failure: Option<Failure>,
    reply: Reply,
    _permit: Permit,
}

impl Job {
    /// The view's name.
    pub(super) fn view(&self) -> &ViewRef {
        match self {
            Self::Write { batch, .. } => &batch.view,
            Self::Delete { view, .. } => view,
        }
    }

    /// Whether nobody waits for it any more, see [`Work::is_abandoned`].
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Write { reply, .. } => reply.is_closed(),
            Self::Delete { reply, .. } => reply.is_closed(),
        }
    }

    /// Ends it with a failure.
    pub(in crate::online::redis) fn fail(self, failure: Failure) {
        match self {
            // Whoever asked may have gone.
            Self::Write { reply, .. } => drop(reply.send(Err(failure))),
            Self::Delete { reply, .. } => drop(reply.send(Err(failure))),
        }
    }
}

impl Work {
    /// Works out keys and sorts rows out.
    pub(super) fn new(job: Job, era: u64, layout: &KeyLayout, hasher: &EntityHasher) -> Option<Self> {
        let view = ViewRef::clone(job.view());
        let mut keys = EntityKeys::default();
        let (content, reply, permit) = match job {
            Job::Write { batch, reply, permit } => {
                if let Err(failure) = check_shape(&batch).and_then(|()| keys.encode(layout, &batch)) {
                    drop(reply.send(Err(failure)));
                    return None;
                }
                (Content::Rows(batch), Reply::Rows(reply), permit)
            }
            Job::Delete { keys: values, version, reply, permit, .. } => {
                let mut places = Vec::with_capacity(values.len());
                for entity in &values {
                    match keys.push(layout, entity) {
                        Ok(exists) => {
                            places.push(exists.then(|| u32::try_from(keys.len() - 1).unwrap_or(u32::MAX)));
                        }
                        Err(failure) => {
                            drop(reply.send(Err(failure)));
                            return None;
                        }
                    }
                }
                (Content::Deletion(version), Reply::Deletion(reply, places), permit)
            }
        };
        let entities: Vec<EntityHash> = (0..keys.len()).map(|row| hasher.hash(keys.get(row))).collect();
        let collapsed = match &content {
            Content::Rows(batch) => collapse(&entities, |one, other| {
                let order = |row: u32| {
                    let row = row as usize;
                    (batch.event_times[row], batch.positions.bytes_at(row), batch.ordinal(row))
                };
                order(one).cmp(&order(other))
            }),
            Content::Deletion(_) => collapse(&entities, |_, _| std::cmp::Ordering::Equal),
        };
        let late = collapsed.late.clone();
        Some(Self {
            view,
            content,
            keys,
            entities,
            collapsed,
            sent: 0,
            again: Vec::new(),
            open: 0,
            late,
            era,
            mark: 0,
            failure: None,
            reply,
            _permit: permit,
        })
    }

    /// The version of a row.
    #[inline]
    pub(super) fn version(&self, row: u32) -> Version<'_> {
        match &self.content {
            Content::Rows(batch) => Version::of_row(batch, row as usize),
            Content::Deletion(version) => Version::from(version),
        }
    }

    /// The partition of its rows.
    pub(super) fn partition(&self) -> &str {
        match &self.content {
            Content::Rows(batch) => batch.partition.as_str(),
            Content::Deletion(version) => version.partition.as_str(),
        }
    }

    pub(super) fn is_deletion(&self) -> bool {
        matches!(self.content, Content::Deletion(_))
    }

    /// Whether rows are left to be sent.
    pub(super) fn has_more(&self) -> bool {
        self.failure.is_none() && (self.sent < self.collapsed.rows.len() || !self.again.is_empty())
    }

    /// Whether everything has an answer.
    pub(super) fn is_done(&self) -> bool {
        self.open == 0 && !self.has_more()
    }

    /// A row was not taken, and so were not those that it stands for.
    pub(super) fn note_late(&mut self, row: u32) {
        self.late.push(row);
        self.late.extend(self.collapsed.replaced_by(row));
    }

    /// What Redis holds of the entity cannot be compared with: the view stops until somebody has looked.
    pub(super) fn note_damaged(&mut self, row: u32) {
        let (view, key) = (&self.view.name, self.keys.get(row as usize).escape_ascii());
        self.failure.get_or_insert_with(|| {
            Failure::stop(format!(
                "write rows of view `{view}` to Redis: the field `_mv:{view}` of the key \"{key}\" is damaged, or from a newer \
                 version of this program; remove the key there, and rewind the view if its row is to come back"
            ))
        });
    }

    /// Redis held this when the row was taken: rows that it stands for may have been late.
    pub(super) fn note_replaced(&mut self, row: u32, is_late: impl Fn(&Version<'_>) -> bool) {
        let late: Vec<u32> =
            self.collapsed.replaced_by(row).filter(|replaced| is_late(&self.version(*replaced))).collect();
        self.late.extend(late);
    }

    /// Whether nobody waits for it any more: its source has gone back, or the view has ended. It may be done or not, but what
    /// it has done moves no position, as others decide by now where the view goes on.
    pub(super) fn is_abandoned(&self) -> bool {
        match &self.reply {
            Reply::Rows(reply) => reply.is_closed(),
            Reply::Deletion(reply, _) => reply.is_closed(),
        }
    }

    /// Tells whoever asked.
    pub(super) fn finish(mut self) {
        let late = std::mem::take(&mut self.late);
        match (self.failure, self.reply) {
            (Some(failure), Reply::Rows(reply)) => drop(reply.send(Err(failure))),
            (Some(failure), Reply::Deletion(reply, _)) => drop(reply.send(Err(failure))),
            (None, Reply::Rows(reply)) => {
                let mut late = late;
                late.sort_unstable();
                // What was decided twice, as it had to be sent again, counts once.
                late.dedup();
                drop(reply.send(Ok(Applied { late })));
            }
            (None, Reply::Deletion(reply, places)) => {
                let deleted = places.into_iter().map(|place| place.is_some_and(|row| !late.contains(&row)));
                drop(reply.send(Ok(deleted.collect())));
            }
        }
    }
}

fn check_shape(batch: &FeatureBatch) -> Result<(), Failure> {
    let (view, columns) = (&batch.view, batch.rows.num_columns());
    let expected = view.keys.len() + view.features.len();
    let rows = [batch.rows.num_rows(), batch.event_times.len(), batch.positions.len()];
    if batch.is_empty() || (columns == expected && rows.iter().all(|rows| *rows == batch.len())) {
        return Ok(());
    }
    Err(Failure::stop(format!(
        "write a batch to view `{}`: {columns} columns where {expected} belong, of {} rows with {} event times and {} positions",
        view.name, rows[0], rows[1], rows[2]
    )))
}
