//! Generations, beginnings and positions of views: answered from memory, changed on disk.
//!
//! Generations, beginnings and rewinds are synced before a call returns. Positions are not: they become durable with the
//! checkpoint that holds the rows which they cover, see `checkpoint.rs`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use model::error::Failure;
use model::online::{GenerationEntry, Starts, ViewLedger};
use model::position::{Partition, Position};

use super::disk::Disk;
use super::meta::{Fact, generation_key, online_key};

#[derive(Default)]
pub(super) struct Ledgers {
    views: Mutex<HashMap<String, Entry>>,
    /// Held while something is written to disk, so that calls for one view do not overtake each other. Taken before
    /// `views`, which is never held during a write.
    changing: Mutex<()>,
}

#[derive(Default)]
struct Entry {
    /// 0 until there is something to store about the view.
    number: u32,
    generations: Vec<GenerationEntry>,
    started: Starts,
    /// How often the view was rewound.
    epoch: u32,
    progress: BTreeMap<Partition, Progress>,
}

#[derive(Default, Clone, Copy)]
struct Progress {
    applied: Option<Position>,
    durable: Option<Position>,
}

/// A position that is to become durable with a checkpoint.
pub(super) struct Pending {
    view: String,
    partition: Partition,
    through: Position,
}

impl Ledgers {
    /// Takes in what was read when the store opened.
    pub(super) fn learn(&mut self, facts: &[Fact]) {
        let views = self.views.get_mut().expect(UNBROKEN);
        let mut names = HashMap::new();
        for fact in facts {
            if let Fact::View { name, number } = fact {
                names.insert(*number, name.clone());
                views.entry(name.clone()).or_default().number = *number;
            }
        }
        let mut entry_of = |number: &u32, change: &dyn Fn(&mut Entry)| {
            if let Some(entry) = names.get(number).and_then(|name| views.get_mut(name)) {
                change(entry);
            }
        };
        for fact in facts {
            match fact {
                Fact::Generation { view, entry } => {
                    entry_of(view, &|known| known.generations.push(entry.clone()));
                }
                Fact::Started { view, partition, after } => entry_of(view, &|known| {
                    known.started.insert(partition.clone(), *after);
                }),
                Fact::Online { view, partition, through } => entry_of(view, &|known| {
                    let through = Some(*through);
                    known.progress.insert(partition.clone(), Progress { applied: through, durable: through });
                }),
                Fact::Epoch { view, epoch } => entry_of(view, &|known| known.epoch = *epoch),
                Fact::View { .. } | Fact::RowSet { .. } | Fact::Schema { .. } => {}
            }
        }
    }

    pub(super) fn known_number(&self, view: &str) -> Option<u32> {
        self.lock().get(view).map(|entry| entry.number).filter(|number| *number != 0)
    }

    /// The view's number, a new durable one if it has none.
    pub(super) fn number(&self, view: &str, disk: &Disk) -> Result<u32, Failure> {
        if let Some(number) = self.known_number(view) {
            return Ok(number);
        }
        let _changing = self.changing.lock().expect(UNBROKEN);
        self.number_changing(view, disk)
    }

    pub(super) fn view(&self, view: &str) -> ViewLedger {
        let views = self.lock();
        let Some(entry) = views.get(view) else { return ViewLedger::default() };
        ViewLedger {
            epoch: entry.epoch,
            generations: entry.generations.clone(),
            started: entry.started.clone(),
            online: entry
                .progress
                .iter()
                .filter_map(|(partition, progress)| Some((partition.clone(), progress.durable?)))
                .collect(),
        }
    }

    pub(super) fn start(
        &self,
        view: &str,
        partition: &Partition,
        after: Option<Position>,
        disk: &Disk,
    ) -> Result<(), Failure> {
        let _changing = self.changing.lock().expect(UNBROKEN);
        if self.lock().get(view).is_some_and(|entry| entry.started.contains_key(partition)) {
            return Ok(());
        }
        let number = self.number_changing(view, disk)?;
        disk.put_facts(&[Fact::Started { view: number, partition: partition.clone(), after }])?;
        self.lock().entry(view.to_owned()).or_default().started.insert(partition.clone(), after);
        Ok(())
    }

    /// A partition that the generation has already keeps where it began.
    pub(super) fn begin_generation(
        &self,
        view: &str,
        entry: &GenerationEntry,
        disk: &Disk,
    ) -> Result<(), Failure> {
        let _changing = self.changing.lock().expect(UNBROKEN);
        let wanted = &entry.generation;
        let mut merged = entry.clone();
        let known = self.lock().get(view).and_then(|known| {
            known.generations.iter().find(|known| known.generation.number == wanted.number).cloned()
        });
        if let Some(known) = known {
            if known.generation.digest != wanted.digest {
                return Err(Failure::stop(format!(
                    "note generation {} of view `{view}` as {}: that number belongs to {}",
                    wanted.number,
                    wanted.digest.short(),
                    known.generation.digest.short()
                )));
            }
            merged.after.extend(known.after.clone());
            if merged == known {
                return Ok(());
            }
        }
        let number = self.number_changing(view, disk)?;
        disk.put_facts(&[Fact::Generation { view: number, entry: merged.clone() }])?;
        let mut views = self.lock();
        let generations = &mut views.entry(view.to_owned()).or_default().generations;
        generations.retain(|known| known.generation.number != merged.generation.number);
        generations.push(merged);
        generations.sort_by_key(|known| known.generation.number);
        Ok(())
    }

    pub(super) fn forget_generations_before(
        &self,
        view: &str,
        first: u32,
        disk: &Disk,
    ) -> Result<(), Failure> {
        let _changing = self.changing.lock().expect(UNBROKEN);
        let (number, old) = {
            let views = self.lock();
            let Some(entry) = views.get(view) else { return Ok(()) };
            let numbers = entry.generations.iter().map(|known| known.generation.number);
            (entry.number, numbers.filter(|number| *number < first).collect::<Vec<_>>())
        };
        if old.is_empty() {
            return Ok(());
        }
        // Generations are kept sorted, so keys ascend as a commit wants them.
        disk.commit(0, |sink| old.iter().try_for_each(|old| sink.remove(&generation_key(number, *old))))?;
        if let Some(entry) = self.lock().get_mut(view) {
            entry.generations.retain(|known| known.generation.number >= first);
        }
        Ok(())
    }

    /// Positions that are beyond go back, in one synced step. No checkpoint may be on its way.
    pub(super) fn set_back(&self, view: &str, to: &Starts, disk: &Disk) -> Result<(), Failure> {
        let _changing = self.changing.lock().expect(UNBROKEN);
        let Some(number) = self.known_number(view) else { return Ok(()) };
        let mut changes = Changes::new();
        for (partition, to) in to {
            if self.durable(view, partition) <= *to {
                continue;
            }
            match *to {
                Some(through) => {
                    let fact = Fact::Online { view: number, partition: partition.clone(), through };
                    changes.insert(fact.key(), Some(fact.value()));
                }
                None => {
                    changes.insert(online_key(number, partition), None);
                }
            }
        }
        commit(&changes, disk)?;
        let mut views = self.lock();
        let Some(entry) = views.get_mut(view) else { return Ok(()) };
        for (partition, to) in to {
            if let Some(progress) = entry.progress.get_mut(partition) {
                *progress =
                    Progress { applied: progress.applied.min(*to), durable: progress.durable.min(*to) };
            }
        }
        Ok(())
    }

    /// All of it in one synced step. No checkpoint may be on its way: it could hold a position from before.
    pub(super) fn rewind(
        &self,
        view: &str,
        to: &Starts,
        generation: &GenerationEntry,
        epoch: u32,
        disk: &Disk,
    ) -> Result<(), Failure> {
        let _changing = self.changing.lock().expect(UNBROKEN);
        let number = self.number_changing(view, disk)?;
        let mut changes = Changes::new();
        if let Some(entry) = self.lock().get(view) {
            let old = entry.generations.iter().map(|known| known.generation.number);
            changes.extend(old.map(|old| (generation_key(number, old), None)));
        }
        let mut facts = vec![
            Fact::Generation { view: number, entry: generation.clone() },
            Fact::Epoch { view: number, epoch },
        ];
        for (partition, after) in to {
            facts.push(Fact::Started { view: number, partition: partition.clone(), after: *after });
            match *after {
                Some(through) => {
                    facts.push(Fact::Online { view: number, partition: partition.clone(), through });
                }
                None => {
                    changes.insert(online_key(number, partition), None);
                }
            }
        }
        changes.extend(facts.iter().map(|fact| (fact.key(), Some(fact.value()))));
        commit(&changes, disk)?;
        let mut views = self.lock();
        let entry = views.entry(view.to_owned()).or_default();
        entry.generations = vec![generation.clone()];
        entry.epoch = epoch;
        for (partition, after) in to {
            entry.started.insert(partition.clone(), *after);
            entry.progress.insert(partition.clone(), Progress { applied: *after, durable: *after });
        }
        Ok(())
    }

    pub(super) fn durable(&self, view: &str, partition: &Partition) -> Option<Position> {
        self.lock().get(view)?.progress.get(partition)?.durable
    }

    /// Notes that everything through a position is in the table. A smaller position than before changes nothing.
    pub(super) fn advance(&self, view: &str, partition: &Partition, through: &Position) {
        let mut views = self.lock();
        if !views.contains_key(view) {
            views.insert(view.to_owned(), Entry::default());
        }
        let Some(entry) = views.get_mut(view) else { return };
        match entry.progress.get_mut(partition) {
            Some(progress) => progress.applied = progress.applied.max(Some(*through)),
            None => {
                let progress = Progress { applied: Some(*through), durable: None };
                entry.progress.insert(partition.clone(), progress);
            }
        }
    }

    /// Positions that moved since they were last durable. Taken before rows are collected, so that rows may be newer
    /// than positions, never older.
    pub(super) fn pending(&self) -> Vec<Pending> {
        let views = self.lock();
        let moved = views.iter().flat_map(|(view, entry)| {
            entry.progress.iter().filter(|(_, progress)| progress.applied > progress.durable).filter_map(
                move |(partition, progress)| {
                    Some(Pending {
                        view: view.clone(),
                        partition: partition.clone(),
                        through: progress.applied?,
                    })
                },
            )
        });
        moved.collect()
    }

    /// The facts that make positions durable.
    pub(super) fn facts(&self, pending: &[Pending], disk: &Disk) -> Result<Vec<Fact>, Failure> {
        pending
            .iter()
            .map(|pending| {
                Ok(Fact::Online {
                    view: self.number(&pending.view, disk)?,
                    partition: pending.partition.clone(),
                    through: pending.through,
                })
            })
            .collect()
    }

    /// Notes that these positions are durable.
    pub(super) fn publish(&self, pending: &[Pending]) {
        let mut views = self.lock();
        for pending in pending {
            let progress =
                views.get_mut(&pending.view).and_then(|entry| entry.progress.get_mut(&pending.partition));
            if let Some(progress) = progress {
                progress.durable = Some(pending.through);
            }
        }
    }

    /// As [`Ledgers::number`], with `changing` held.
    fn number_changing(&self, view: &str, disk: &Disk) -> Result<u32, Failure> {
        let next = {
            let views = self.lock();
            if let Some(entry) = views.get(view).filter(|entry| entry.number != 0) {
                return Ok(entry.number);
            }
            views.values().map(|entry| entry.number).max().unwrap_or(0) + 1
        };
        disk.put_facts(&[Fact::View { name: view.to_owned(), number: next }])?;
        self.lock().entry(view.to_owned()).or_default().number = next;
        Ok(next)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.views.lock().expect(UNBROKEN)
    }
}

/// By key, as a commit wants it; `None` removes.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// All of them in one synced step.
fn commit(changes: &Changes, disk: &Disk) -> Result<(), Failure> {
    disk.commit(0, |sink| {
        changes.iter().try_for_each(|(key, value)| match value {
            Some(value) => sink.put(key, value),
            None => sink.remove(key),
        })
    })
}

const UNBROKEN: &str = "nothing panics while it changes a ledger";
