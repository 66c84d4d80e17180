//! Several hosts in one process: each has leases of its own and a flow that emits what a made-up stream holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{Assignee, Kept, ViewProgress};
use tokio::runtime::{Handle, Runtime};

use super::table::{Change, Content, LeaseTable, Row, apply};
use super::*;
use crate::kinesis::{Shared, position};
use crate::redis::testing::until;

mod alone;
mod listing;
mod moving;
mod redis;
mod sleeping;

/// How often tests look at the table.
const BEAT: Duration = Duration::from_millis(20);
/// Leases that do not run out while a test lasts, however slow the machine.
const LONG: Duration = Duration::from_secs(300);
/// Leases that run out soon.
const SHORT: Duration = Duration::from_secs(2);
const VIEW: &str = "clicks";

fn runtime() -> Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let make = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    RUNTIME.get_or_init(make).handle().clone()
}

fn partition(number: usize) -> Partition {
    Partition::new(format!("shardId-{number}"))
}

fn at(number: u64) -> Position {
    position::of_record(&(u128::from(number) + (1 << 64)).to_string(), 0).unwrap()
}

fn number(through: Option<Position>) -> u64 {
    match through {
        None => 0,
        Some(through) if through == position::end() => u64::MAX,
        Some(through) => (1..).find(|number| at(*number) == through).unwrap(),
    }
}

/// A shard and how many records it holds so far.
#[derive(Clone)]
struct Filled {
    shard: Shard,
    records: u64,
}

/// A stream, and what the hosts that share it have emitted.
#[derive(Default)]
struct Stream {
    shards: Mutex<BTreeMap<Partition, Filled>>,
    /// Whether it refuses to name its shards.
    refuses: AtomicBool,
    emitted: Mutex<Emitted>,
}

#[derive(Default)]
struct Emitted {
    through: BTreeMap<Partition, u64>,
    repeated: usize,
    wrong: Vec<String>,
}

impl Stream {
    fn with(count: usize) -> Arc<Self> {
        let stream = Arc::new(Self::default());
        for shard in 0..count {
            stream.add(shard, &[]);
        }
        stream
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<Partition, Filled>> {
        self.shards.lock().unwrap()
    }

    fn emitted(&self) -> MutexGuard<'_, Emitted> {
        self.emitted.lock().unwrap()
    }

    fn add(&self, number: usize, parents: &[usize]) {
        let id = partition(number).as_str().to_owned();
        let parents: Vec<String> =
            parents.iter().map(|parent| partition(*parent).as_str().to_owned()).collect();
        let mut shards = self.shards();
        for parent in &parents {
            shards.get_mut(&Partition::new(parent)).unwrap().shard.ending = Some("9".to_owned());
        }
        let starting = "1".to_owned();
        let shard = Shard { id, parents, starting, ending: None, hash_keys: (0, u128::MAX) };
        shards.insert(partition(number), Filled { shard, records: 0 });
    }

    /// Records come to all open shards.
    fn fill(&self, count: u64) {
        for filled in self.shards().values_mut().filter(|filled| filled.shard.ending.is_none()) {
            filled.records += count;
        }
    }

    fn emit(&self, host: &str, partition: &Partition, number: u64) {
        let parents = self.shards()[partition].shard.parents.clone();
        let records: Vec<(Partition, u64)> = parents
            .iter()
            .map(Partition::new)
            .filter_map(|parent| Some((parent.clone(), self.shards().get(&parent)?.records)))
            .collect();
        let mut emitted = self.emitted();
        for (parent, records) in records {
            let through = emitted.through.get(&parent).copied().unwrap_or(0);
            if through < records {
                let line =
                    format!("{host} emits of {partition} before {parent} is through: {through} of {records}");
                emitted.wrong.push(line);
            }
        }
        let greatest = emitted.through.get(partition).copied().unwrap_or(0);
        if number > greatest + 1 {
            let line = format!("{host} emits {number} of {partition} behind {greatest}: records are lost");
            emitted.wrong.push(line);
        }
        emitted.repeated += usize::from(number <= greatest);
        emitted.through.insert(partition.clone(), greatest.max(number));
    }

    /// Waits until everything is emitted.
    #[track_caller]
    fn drained(&self) {
        until("all records are emitted", || {
            let emitted = self.emitted().through.clone();
            let is_through = |(partition, filled): (&Partition, &Filled)| {
                emitted.get(partition).copied().unwrap_or(0) == filled.records
            };
            self.shards().iter().all(is_through)
        });
    }

    /// What must never have happened, and how often records were emitted again.
    #[track_caller]
    fn check(&self) -> usize {
        let emitted = self.emitted();
        assert!(emitted.wrong.is_empty(), "{:#?}", emitted.wrong);
        emitted.repeated
    }
}

impl ShardLister for Stream {
    fn page(&self, next: Option<String>) -> BoxFuture<'_, Result<ShardPage, Failure>> {
        let answer = if self.refuses.load(Ordering::Acquire) {
            Err(Failure::stop("list the shards: there is no such stream"))
        } else {
            let shards: Vec<Shard> = self.shards().values().map(|filled| filled.shard.clone()).collect();
            let from: usize = next.map_or(0, |next| next.parse().unwrap());
            let page = shards.iter().skip(from).take(2).cloned().collect();
            let next = (from + 2 < shards.len()).then(|| (from + 2).to_string());
            Ok(ShardPage { shards: page, next })
        };
        std::future::ready(answer).boxed()
    }
}

/// A table in memory that several hosts use.
#[derive(Default)]
struct Memory {
    rows: Mutex<BTreeMap<String, Row>>,
}

/// A host's line to a table.
struct Line {
    table: Arc<dyn LeaseTable>,
    is_cut: AtomicBool,
}

impl LeaseTable for Memory {
    fn is_shared(&self) -> bool {
        true
    }

    fn read(&self) -> BoxFuture<'_, Result<Content, Failure>> {
        let rows = self.rows.lock().unwrap().clone();
        std::future::ready(Ok(Content { era: String::new(), rows })).boxed()
    }

    fn change<'a>(
        &'a self,
        _era: &'a str,
        changes: Vec<Change>,
    ) -> BoxFuture<'a, Result<Vec<bool>, Failure>> {
        let mut rows = self.rows.lock().unwrap();
        let met = changes.into_iter().map(|change| apply(&mut rows, change)).collect();
        std::future::ready(Ok(met)).boxed()
    }
}

impl Line {
    fn to(table: Arc<dyn LeaseTable>) -> Arc<Self> {
        Arc::new(Self { table, is_cut: AtomicBool::new(false) })
    }

    async fn pass(&self) {
        if self.is_cut.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
    }
}

impl LeaseTable for Line {
    fn is_shared(&self) -> bool {
        self.table.is_shared()
    }

    fn read(&self) -> BoxFuture<'_, Result<Content, Failure>> {
        async move {
            self.pass().await;
            self.table.read().await
        }
        .boxed()
    }

    fn change<'a>(&'a self, era: &'a str, changes: Vec<Change>) -> BoxFuture<'a, Result<Vec<bool>, Failure>> {
        async move {
            self.pass().await;
            self.table.change(era, changes).await
        }
        .boxed()
    }
}

/// A flow that writes down what it is told.
struct Flow {
    name: String,
    stream: Arc<Stream>,
    leases: OnceLock<Weak<Leases>>,
    /// How far it is in each of its shards. Locked while it emits, so that what is revoked is not under way.
    work: Mutex<BTreeMap<Partition, u64>>,
    told: Mutex<Vec<String>>,
    /// It takes until this is over to give anything up.
    is_slow: AtomicBool,
    is_over: AtomicBool,
}

impl Flow {
    fn tell(&self, what: &str, partitions: &[Partition]) {
        let mut told = self.told.lock().unwrap();
        told.extend(partitions.iter().map(|partition| format!("{what} {partition}")));
    }

    fn told(&self, what: &str) -> usize {
        self.told.lock().unwrap().iter().filter(|line| line.starts_with(what)).count()
    }

    fn leases(&self) -> Option<Arc<Leases>> {
        self.leases.get()?.upgrade()
    }

    /// Emits what there is, a record of each shard at a time.
    fn run(&self) {
        while !self.is_over.load(Ordering::Acquire) {
            let Some(leases) = self.leases() else { return };
            let mut work = self.work.lock().unwrap();
            for (partition, through) in work.iter_mut() {
                self.step(&leases, partition, through);
            }
            drop(work);
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn step(&self, leases: &Leases, partition: &Partition, through: &mut u64) {
        let Some(filled) = self.stream.shards().get(partition).cloned() else { return };
        if *through == u64::MAX || (*through == 0 && !leases.may_read(partition)) {
            return;
        }
        if *through < filled.records {
            // Asked last, as outputs do.
            if leases.holds(partition) {
                *through += 1;
                self.stream.emit(&self.name, partition, *through);
                self.release(leases, partition, at(*through));
            }
        } else if filled.shard.is_closed() {
            *through = u64::MAX;
            self.release(leases, partition, position::end());
            leases.end_reached(partition);
        }
    }

    fn release(&self, leases: &Leases, partition: &Partition, through: Position) {
        let progress = ViewProgress { through: Some(through), epoch: 0 };
        leases.release(partition, Some(&through), &[(VIEW.to_owned(), progress)].into());
    }
}

impl Assignee for Flow {
    fn assigned(&self, partitions: &[Partition]) {
        let Some(leases) = self.leases() else { return };
        let mut work = self.work.lock().unwrap();
        for partition in partitions {
            assert!(leases.partitions().contains(partition));
            // It may have gone again already; then that is told next.
            let Ok(kept) = leases.kept(VIEW, partition) else { continue };
            work.insert(partition.clone(), number(kept.view));
        }
        drop(work);
        self.tell("assigned", partitions);
    }

    fn revoked(&self, partitions: &[Partition], deadline: Instant) {
        assert!(deadline > Instant::now());
        self.tell("revoking", partitions);
        while self.is_slow.load(Ordering::Acquire) {
            thread::park_timeout(Duration::from_millis(5));
        }
        let mut work = self.work.lock().unwrap();
        for partition in partitions {
            work.remove(partition);
        }
        self.tell("revoked", partitions);
    }

    fn lost(&self, partitions: &[Partition]) {
        let mut work = self.work.lock().unwrap();
        for partition in partitions {
            work.remove(partition);
        }
        self.tell("lost", partitions);
    }
}

/// A host: leases, a flow, and a thread that emits.
struct Host {
    leases: Arc<Leases>,
    flow: Arc<Flow>,
    line: Arc<Line>,
    worker: Option<JoinHandle<()>>,
}

fn options(instance: &str, duration: Duration) -> LeaseOptions {
    LeaseOptions {
        project: "shop".to_owned(),
        source: "clicks".to_owned(),
        instance: instance.to_owned(),
        place: LeasePlace::Alone { directory: "/nonexistent".into() },
        duration,
        shared: Shared::for_tests(runtime()),
    }
}

impl Host {
    fn join(name: &str, duration: Duration, table: &Arc<dyn LeaseTable>, stream: &Arc<Stream>) -> Self {
        let line = Line::to(Arc::clone(table));
        let leases = Leases::with_table(
            options(name, duration),
            Arc::clone(&line) as _,
            Arc::clone(stream) as _,
            BEAT,
        );
        let flow = Arc::new(Flow {
            name: name.to_owned(),
            stream: Arc::clone(stream),
            leases: OnceLock::new(),
            work: Mutex::default(),
            told: Mutex::default(),
            is_slow: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        flow.leases.set(Arc::downgrade(&leases)).unwrap();
        let working = Arc::clone(&flow);
        let worker = Some(thread::spawn(move || working.run()));
        leases.join(Arc::clone(&flow) as _);
        Self { leases, flow, line, worker }
    }

    fn count(&self) -> usize {
        self.leases.partitions().len()
    }

    /// Leaves as one does.
    fn leave(self) {
        self.leases.leave();
        assert!(self.flow.work.lock().unwrap().is_empty());
    }

    /// Dies: says nothing any more, and does nothing.
    fn die(self) {
        self.line.is_cut.store(true, Ordering::Release);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.flow.is_over.store(true, Ordering::Release);
        if let Some(worker) = self.worker.take() {
            worker.join().unwrap();
        }
    }
}

/// Looks, as long as it lives, that no shard has two holders.
struct Watch {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    known: Arc<Mutex<Vec<Weak<Leases>>>>,
}

impl Watch {
    fn over(stream: &Arc<Stream>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let known: Arc<Mutex<Vec<Weak<Leases>>>> = Arc::default();
        let (ending, looking, stream) = (Arc::clone(&is_over), Arc::clone(&known), Arc::clone(stream));
        let thread = thread::spawn(move || {
            while !ending.load(Ordering::Acquire) {
                let all: Vec<Arc<Leases>> =
                    looking.lock().unwrap().iter().filter_map(Weak::upgrade).collect();
                let partitions: Vec<Partition> = stream.shards().keys().cloned().collect();
                for partition in &partitions {
                    let holders: Vec<_> = all.iter().filter(|leases| leases.holds(partition)).collect();
                    // One may have had it before the other: only who still has it had it at the same time.
                    if holders.len() > 1
                        && holders[..holders.len() - 1].iter().any(|one| one.holds(partition))
                    {
                        stream.emitted().wrong.push(format!("{partition} has {} holders", holders.len()));
                    }
                }
                thread::park_timeout(Duration::from_millis(1));
            }
        });
        Self { is_over, thread: Some(thread), known }
    }

    fn add(&self, host: &Host) {
        self.known.lock().unwrap().push(Arc::downgrade(&host.leases));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Waits until these hosts have all shards, evenly.
#[track_caller]
fn even(hosts: &[Host], shards: usize) {
    until("all have the same", || {
        let counts: Vec<usize> = hosts.iter().map(Host::count).collect();
        let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        counts.iter().sum::<usize>() == shards && most - least <= 1
    });
}

fn memory() -> Arc<dyn LeaseTable> {
    Arc::new(Memory::default())
}
