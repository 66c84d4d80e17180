//! One look at the table: what it says of this host's leases, what is written back, and what came of that.
//!
//! Decides, and does no IO.

use std::collections::BTreeSet;
use std::time::Duration;

use model::position::Partition;

use super::balance::{Standing, balance, hosts};
use super::moment::Moment;
use super::progress::Progress;
use super::state::{Held, Observed, Phase, State, begin};
use super::table::{Change, Content, Row, Token};

/// How long a row is kept whose shard the stream names no more.
const FORGET: Duration = Duration::from_secs(600);
/// In how many beats an owner notices that the table was emptied and writes its row again.
const PATIENCE: u32 = 3;
/// Which part of a lease's time goes by before it is renewed that has nothing else to say.
const RENEWALS: u32 = 5;

/// Changes to make, with what each is for.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    /// The table that they are for.
    pub(super) era: String,
    purposes: Vec<Purpose>,
    /// Whether it was made by a host that leaves.
    is_goodbye: bool,
}

/// What a change is for.
#[derive(Debug)]
enum Purpose {
    Take { partition: Partition, counter: u64, progress: Progress },
    Renew { partition: Partition, counter: u64, progress: Option<Progress>, change: u64 },
    Free { partition: Partition },
    Other,
}

/// What came of a plan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Leases that were taken.
    pub(super) taken: usize,
    /// Leases that are free now.
    pub(super) freed: Vec<Partition>,
    /// Conditions that were not met: somebody else was faster.
    pub(super) missed: usize,
}

impl State {
    /// The table says this. Shards that are another's are lost; those that another wants are on their way.
    pub(super) fn observe(&mut self, content: Content, now: Moment) {
        let Content { era, rows } = content;
        let unbroken = self.looks.filter(|(_, last)| now.since(*last) < self.beat * PATIENCE);
        self.looks = Some((unbroken.map_or(now, |(first, _)| first), now));
        let mut before = std::mem::take(&mut self.rows);
        // Another table, or what an earlier one was.
        let mut has_forgotten = self.era.as_ref().is_some_and(|known| *known != era);
        self.era = Some(era);
        for (shard, row) in rows {
            let partition = Partition::new(shard);
            let known = before.remove(&partition);
            has_forgotten |= known.as_ref().is_some_and(|known| row.token.counter < known.row.token.counter);
            let since = known.filter(|known| known.row.token == row.token).map_or(now, |known| known.since);
            self.rows.insert(partition, Observed { row, since });
        }
        has_forgotten |= before.keys().any(|partition| !self.unnamed.contains_key(partition));
        if has_forgotten {
            self.forgot = Some(now);
        }
        self.note_unnamed(now);
        let partitions: Vec<Partition> = self.held.keys().cloned().collect();
        for partition in &partitions {
            if self.is_taken(partition) {
                self.lose(partition);
            } else if self.is_to_go(partition)
                && let Some(held) = self.held.get_mut(partition)
                && held.phase == Phase::Here
            {
                held.phase = Phase::Leaving;
            }
        }
    }

    /// Whether the table says that a shard of this host is not its own. If it only does not know yet, or not any more,
    /// that this host has it, it is told.
    fn is_taken(&self, partition: &Partition) -> bool {
        let (Some(observed), Some(held)) = (self.rows.get(partition), self.held.get(partition)) else {
            return false;
        };
        let Token { owner, counter } = &observed.row.token;
        match owner {
            Some(owner) => *owner != self.me,
            None => *counter >= held.counter,
        }
    }

    /// Whether a shard of this host has to be given up: another host wants it, or the stream names it no more.
    fn is_to_go(&self, partition: &Partition) -> bool {
        let wanted_by = self.rows.get(partition).and_then(|observed| observed.row.wanted_by.as_ref());
        wanted_by.is_some_and(|host| *host != self.me) || self.is_unnamed(partition)
    }

    fn is_unnamed(&self, partition: &Partition) -> bool {
        self.shards().is_some() && self.shard(partition).is_none()
    }

    /// Notes since when rows stand for shards that are gone. A row stays while a shard that came from it is named: what
    /// views it knows is asked for.
    fn note_unnamed(&mut self, now: Moment) {
        let Some(shards) = self.shards() else { return };
        let parents: BTreeSet<Partition> =
            shards.flat_map(|(_, shard)| shard.parents.iter().map(Partition::new)).collect();
        let gone: BTreeSet<Partition> = self
            .rows
            .keys()
            .filter(|partition| self.shard(partition).is_none() && !parents.contains(*partition))
            .cloned()
            .collect();
        self.unnamed.retain(|partition, _| gone.contains(partition));
        for partition in gone {
            self.unnamed.entry(partition).or_insert(now);
        }
    }

    /// What to write now.
    pub(super) fn plan(&self, now: Moment) -> Plan {
        let mut plan = Plan { era: self.era.clone().unwrap_or_default(), ..Plan::default() };
        for (partition, held) in &self.held {
            self.plan_held(partition, held, now, &mut plan);
        }
        if self.leaving {
            self.renounce(&mut plan);
            plan.is_goodbye = true;
            return plan;
        }
        self.plan_others(now, &mut plan);
        for (partition, since) in &self.unnamed {
            let is_old = now.since(*since) >= FORGET;
            if is_old && !self.held.contains_key(partition) && self.may_take(partition, now) {
                let expects = self.rows.get(partition).map(|observed| observed.row.token.clone());
                let shard = partition.as_str().to_owned();
                plan.push(Purpose::Other, expects.map(|expects| Change::Remove { shard, expects }));
            }
        }
        plan
    }

    fn plan_held(&self, partition: &Partition, held: &Held, now: Moment, plan: &mut Plan) {
        let is_freed = match held.phase {
            Phase::Lost => return,
            Phase::Freed => true,
            Phase::Arriving | Phase::Here | Phase::Leaving => false,
        };
        let expects = self.rows.get(partition).map(|observed| observed.row.token.clone());
        // The table lost something if it does not have what was written last.
        let is_set_back = expects.as_ref().is_none_or(|token| token.counter < held.counter);
        let says = held.is_dirty() || is_set_back;
        let is_due = self.is_shared && now.since(held.certain) >= self.duration / RENEWALS;
        if !(says || is_due || is_freed) {
            return;
        }
        let counter = expects.as_ref().map_or(0, |token| token.counter).max(held.counter) + 1;
        let owner = (!is_freed).then(|| self.me.clone());
        let progress = says.then(|| held.progress.clone());
        let change = Change::Put {
            shard: partition.as_str().to_owned(),
            expects,
            token: Token { owner, counter },
            progress: progress.clone(),
        };
        let partition = partition.clone();
        let purpose = if is_freed {
            Purpose::Free { partition }
        } else {
            Purpose::Renew { partition, counter, progress, change: held.changed }
        };
        plan.push(purpose, Some(change));
    }

    /// Takes and asks for what is this host's share, of shards that are read and of finished ones: the latter cost
    /// nothing and say nothing of who has how much to do.
    fn plan_others(&self, now: Moment, plan: &mut Plan) {
        let Some(shards) = self.shards() else { return };
        let mut finished = Vec::new();
        let mut unfinished = Vec::new();
        for (partition, _) in shards {
            let group = if self.is_finished(partition) { &mut finished } else { &mut unfinished };
            group.push((partition.clone(), self.standing(partition, now)));
        }
        let mut all = hosts(&self.me, &finished);
        all.extend(hosts(&self.me, &unfinished));
        for leases in [unfinished, finished] {
            let decision = balance(&self.me, all.len(), &leases);
            for partition in decision.take {
                self.take(&partition, plan);
            }
            for (partition, owner) in decision.ask {
                let shard = partition.as_str().to_owned();
                let change = Change::Want { shard, owner, wanted_by: self.me.clone() };
                plan.push(Purpose::Other, Some(change));
            }
        }
    }

    fn take(&self, partition: &Partition, plan: &mut Plan) {
        let Some(shard) = self.shard(partition) else { return };
        let row = self.rows.get(partition).map(|observed| &observed.row);
        let expects = row.map(|row| row.token.clone());
        // A lease that was lost and that nobody took meanwhile: what is written is older than what was done.
        let is_ours = expects.as_ref().is_some_and(|token| token.owner.as_ref() == Some(&self.me));
        let remembered = self.remembered.get(partition).filter(|_| is_ours);
        let written = remembered.or(row.map(|row| &row.progress)).cloned();
        let progress = begin(shard, written);
        let counter = expects.as_ref().map_or(0, |token| token.counter) + 1;
        let change = Change::Put {
            shard: partition.as_str().to_owned(),
            expects,
            token: Token { owner: Some(self.me.clone()), counter },
            progress: Some(progress.clone()),
        };
        plan.push(Purpose::Take { partition: partition.clone(), counter, progress }, Some(change));
    }

    /// Takes back wishes, and leases that this host has without knowing of them.
    fn renounce(&self, plan: &mut Plan) {
        for (partition, observed) in &self.rows {
            let token = &observed.row.token;
            if self.is_shared && token.owner.as_ref() == Some(&self.me) && !self.held.contains_key(partition)
            {
                let change = Change::Put {
                    shard: partition.as_str().to_owned(),
                    expects: Some(token.clone()),
                    token: Token { owner: None, counter: token.counter + 1 },
                    progress: None,
                };
                plan.push(Purpose::Other, Some(change));
            }
            if observed.row.wanted_by.as_ref() == Some(&self.me) {
                let shard = partition.as_str().to_owned();
                let change = Change::Renounce { shard, wanted_by: self.me.clone() };
                plan.push(Purpose::Other, Some(change));
            }
        }
    }

    fn standing(&self, partition: &Partition, now: Moment) -> Standing<'_> {
        let row = self.rows.get(partition).map(|observed| &observed.row);
        let wanted_by = row.and_then(|row| row.wanted_by.as_deref());
        if let Some(held) = self.held.get(partition) {
            // What was freed or lost is not for this host to take before the flow knows.
            return match held.phase {
                Phase::Freed | Phase::Lost => Standing::PromisedTo(wanted_by.unwrap_or(&self.me)),
                _ => Standing::Mine { wanted_by: wanted_by.filter(|host| *host != self.me) },
            };
        }
        if self.may_take(partition, now) {
            let is_promised = row.is_some_and(|row| row.token.owner.is_none()) && wanted_by == Some(&self.me);
            return if is_promised { Standing::Promised } else { Standing::Free };
        }
        let owner = row.and_then(|row| row.token.owner.as_deref());
        match (owner, wanted_by) {
            (Some(owner), wanted_by) => Standing::Other { owner, wanted_by },
            (None, Some(host)) => Standing::PromisedTo(host),
            // Its owner writes it again, or does not live any more.
            (None, None) => Standing::PromisedTo("?"),
        }
    }

    /// Whether nobody can be working with a shard that is not held here.
    fn may_take(&self, partition: &Partition, now: Moment) -> bool {
        if !self.is_shared {
            return true;
        }
        let is_past = |since: Moment, wait: Duration| now.since(since) >= wait;
        let is_known = self.forgot.is_none_or(|forgot| is_past(forgot, self.duration));
        let Some(Observed { row, since }) = self.rows.get(partition) else {
            // An owner whose row the table has lost writes it again.
            return is_known && self.looks.is_some_and(|(first, _)| is_past(first, self.beat * PATIENCE));
        };
        // What a table says that was set back may be older than what was there; what was written since is true.
        let is_true = is_known || self.forgot.is_some_and(|forgot| *since > forgot);
        let is_open = match &row.token.owner {
            // It was lost to a table that did not answer, and nobody took it.
            Some(owner) => *owner == self.me && self.remembered.contains_key(partition),
            None => row.wanted_by.as_ref().is_none_or(|host| *host == self.me),
        };
        is_true && (is_open || is_past(*since, self.duration))
    }

    /// Notes what came of a plan that was sent at this time.
    pub(super) fn settle(&mut self, plan: Plan, met: &[bool], sent: Moment) -> Outcome {
        let mut outcome = Outcome::default();
        let is_goodbye = plan.is_goodbye;
        for ((purpose, change), met) in plan.purposes.into_iter().zip(plan.changes).zip(met) {
            if !met {
                outcome.missed += 1;
                continue;
            }
            self.note(change, sent);
            match purpose {
                Purpose::Other => {}
                Purpose::Take { partition, counter, progress } => {
                    self.remembered.remove(&partition);
                    self.held.insert(partition, Held::taken(counter, sent, progress));
                    outcome.taken += 1;
                }
                Purpose::Renew { partition, counter, progress, change } => {
                    let Some(held) = self.held.get_mut(&partition) else { continue };
                    held.counter = counter;
                    if held.phase != Phase::Lost {
                        held.certain = sent;
                    }
                    if let Some(progress) = progress {
                        held.committed = progress.group;
                        held.confirmed = held.confirmed.max(change);
                    }
                }
                Purpose::Free { partition } => {
                    self.held.remove(&partition);
                    outcome.freed.push(partition);
                }
            }
        }
        self.goodbye |= is_goodbye && self.held.is_empty();
        outcome
    }

    /// A change was made: what was read is that much newer.
    fn note(&mut self, change: Change, now: Moment) {
        match change {
            Change::Put { shard, token, progress, .. } => {
                let partition = Partition::new(shard);
                let observed = self.rows.entry(partition);
                let observed = observed.or_insert_with(|| Observed { row: Row::default(), since: now });
                if token.owner.is_some() && token.owner != observed.row.token.owner {
                    observed.row.wanted_by = None;
                }
                observed.row.token = token;
                observed.since = now;
                if let Some(progress) = progress {
                    observed.row.progress = progress;
                }
            }
            Change::Want { shard, wanted_by, .. } => {
                if let Some(observed) = self.rows.get_mut(&Partition::new(shard)) {
                    observed.row.wanted_by = Some(wanted_by);
                }
            }
            Change::Renounce { shard, .. } => {
                if let Some(observed) = self.rows.get_mut(&Partition::new(shard)) {
                    observed.row.wanted_by = None;
                }
            }
            Change::Remove { shard, .. } => {
                let partition = Partition::new(shard);
                self.rows.remove(&partition);
                self.unnamed.remove(&partition);
                self.remembered.remove(&partition);
            }
        }
    }
}

impl Plan {
    fn push(&mut self, purpose: Purpose, change: Option<Change>) {
        if let Some(change) = change {
            self.purposes.push(purpose);
            self.changes.push(change);
        }
    }
}
