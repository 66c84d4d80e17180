//! What every [`Source`] promises, as named clauses that can be run.
//!
//! A connector implements [`SourceFixture`] and calls [`holds`]. Each clause gets a fresh fixture. Clauses say nothing
//! of speed, and nothing of what only one kind of source can do.

#![expect(clippy::unwrap_used, reason = "a clause fails where a test would")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use model::batch::RawBatch;
use model::position::{Partition, Position};
use model::source::{BatchBudget, Positions, ReadEvent, Reader, Source};

/// How long something may take that has to happen. Generous: a busy machine must not fail a clause.
const LIMIT: Duration = Duration::from_secs(30);

/// A budget that nothing in here exceeds.
const AMPLE: BatchBudget = BatchBudget { rows: 1 << 20, bytes: 1 << 30 };

/// A source under test and what stands behind it.
pub trait SourceFixture {
    /// The source as it is opened now.
    fn source(&self) -> Arc<dyn Source>;

    /// The partition that [`SourceFixture::append`] feeds.
    fn partition(&self) -> Partition;

    /// Adds events, which have no line breaks; on return the source has them.
    fn append(&mut self, events: &[Vec<u8>]);

    /// Closes the source and opens it again over what it left.
    fn reopen(&mut self);
}

/// A promise.
type Clause = (&'static str, fn(&mut dyn SourceFixture));

const CLAUSES: &[Clause] = &[
    ("an empty partition has no end and gives nothing", an_empty_partition_gives_nothing),
    ("events come in order, from the beginning", events_come_in_order),
    ("a reader begins strictly behind its position", a_reader_begins_behind_its_position),
    ("a batch keeps to its budget", a_batch_keeps_to_its_budget),
    ("an event larger than the budget comes alone", a_large_event_comes_alone),
    ("batches cover the partition without gap or overlap", batches_cover_the_partition),
    ("positions do not depend on how events are split into batches", positions_are_fixed),
    ("readers do not disturb each other", readers_are_independent),
    ("a waiting reader gets what comes", a_waiting_reader_gets_what_comes),
    ("the end is the position of the last event", the_end_is_the_last_position),
    ("what is not released is kept", what_is_not_released_is_kept),
    ("a source that is opened again goes on", a_reopened_source_goes_on),
    ("positions rise even when everything was released", positions_rise_after_release),
    ("a partition that does not exist is refused", an_unknown_partition_is_refused),
];

/// Runs all clauses; panics with the name of the first that does not hold.
#[track_caller]
pub fn holds(make: impl Fn() -> Box<dyn SourceFixture>) {
    for (name, clause) in CLAUSES {
        let mut fixture = make();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| clause(&mut *fixture))) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            match text.or_else(|| panic.downcast_ref::<&str>().copied()) {
                Some(text) => panic!("the source breaks its contract, \"{name}\": {text}"),
                None => resume_unwind(panic),
            }
        }
    }
}

fn an_empty_partition_gives_nothing(fixture: &mut dyn SourceFixture) {
    let source = fixture.source();
    assert!(source.partitions().unwrap().contains(&fixture.partition()), "the partition is listed");
    assert_eq!(source.end(&fixture.partition()).unwrap(), None, "end");
    expect_nothing(&mut *reader(fixture, None));
}

fn events_come_in_order(fixture: &mut dyn SourceFixture) {
    fixture.append(&events(0..100));
    fixture.append(&events(100..101));
    fixture.append(&events(101..300));
    let seen = read(&mut *reader(fixture, None), 300, AMPLE);
    assert_eq!(payloads(&seen), events(0..300));
}

fn a_reader_begins_behind_its_position(fixture: &mut dyn SourceFixture) {
    fixture.append(&events(0..20));
    fixture.append(&events(20..50));
    let all = read(&mut *reader(fixture, None), 50, AMPLE);
    for (row, (position, _)) in all.iter().enumerate() {
        let mut reader = reader(fixture, Some(*position));
        assert_eq!(read(&mut *reader, 49 - row, AMPLE), all[row + 1..], "behind row {row}");
    }
}

fn a_batch_keeps_to_its_budget(fixture: &mut dyn SourceFixture) {
    fixture.append(&events(0..50));
    fixture.append(&events(50..200));
    for budget in [BatchBudget { rows: 7, bytes: 1 << 30 }, BatchBudget { rows: 1 << 20, bytes: 100 }] {
        let mut reader = reader(fixture, None);
        let mut count = 0;
        while count < 200 {
            let batch = expect_batch(&mut *reader, budget);
            let bytes = (0..batch.len()).map(|row| batch.payload(row).len()).sum::<usize>();
            assert!(batch.len() <= budget.rows, "{} rows with {budget:?}", batch.len());
            assert!(bytes <= budget.bytes || batch.len() == 1, "{bytes} bytes with {budget:?}");
            count += batch.len();
        }
        expect_nothing(&mut *reader);
    }
}

fn a_large_event_comes_alone(fixture: &mut dyn SourceFixture) {
    let all = [b"first".to_vec(), vec![b'x'; 5_000], b"last".to_vec()];
    fixture.append(&all);
    let mut reader = reader(fixture, None);
    for event in &all {
        let batch = expect_batch(&mut *reader, BatchBudget { rows: 100, bytes: 6 });
        assert_eq!((batch.len(), batch.payload(0)), (1, &event[..]));
    }
}

fn batches_cover_the_partition(fixture: &mut dyn SourceFixture) {
    fixture.append(&events(0..1));
    fixture.append(&events(1..90));
    fixture.append(&events(90..250));
    let mut reader = reader(fixture, None);
    let mut through: Option<Position> = None;
    let mut count = 0;
    while count < 250 {
        let batch = expect_batch(&mut *reader, BatchBudget { rows: 13, bytes: 1 << 30 });
        let rows = batch.len();
        let (first, last) = (batch.positions.at(0), batch.positions.at(rows - 1));
        assert_eq!(batch.positions.len(), rows, "one position for each event");
        assert!(
            batch.ingest_times.is_empty() || batch.ingest_times.len() == rows,
            "one ingest time for each event"
        );
        assert!((1..rows).all(|row| batch.positions.at(row - 1) < batch.positions.at(row)), "positions rise");
        assert!(batch.covers.first <= first && last <= batch.covers.through, "a batch covers its events");
        assert!(
            through.is_none_or(|through| through < batch.covers.first),
            "a batch begins behind the one before"
        );
        // Nothing lies between two batches: a reader behind the first one gives the second one.
        if let Some(through) = through {
            let again = expect_batch(&mut *self::reader(fixture, Some(through)), AMPLE);
            assert_eq!(
                again.covers.first, batch.covers.first,
                "the next batch begins where the one before ended"
            );
        }
        through = Some(batch.covers.through);
        count += rows;
    }
    let end = fixture.source().end(&fixture.partition()).unwrap();
    assert!(through >= end, "the last batch covers the end");
}

fn positions_are_fixed(fixture: &mut dyn SourceFixture) {
    fixture.append(&events(0..60));
    fixture.append(&events(60..61));
    fixture.append(&events(61..97));
    let all = read(&mut *reader(fixture, None), 97, AMPLE);
    for rows in [1, 5, 64] {
        assert_eq!(
            read(&mut *reader(fixture, None), 97, BatchBudget { rows, bytes: 1 << 30 }),
            all,
            "{rows} a batch"
        );
    }
}

fn readers_are_independent(fixture: &mut dyn SourceFixture) {
    fixture.append(&events(0..30));
    let (mut one, mut other) = (reader(fixture, None), reader(fixture, None));
    let budget = BatchBudget { rows: 1, bytes: 1 << 30 };
    let first = read(&mut *one, 30, AMPLE);
    for (row, (_, event)) in first.iter().enumerate() {
        let batch = expect_batch(&mut *other, budget);
        assert_eq!(batch.payload(0), event, "row {row} of the slow reader");
    }
    fixture.append(&events(30..40));
    assert_eq!(read(&mut *one, 10, AMPLE), read(&mut *other, 10, AMPLE));
}

fn a_waiting_reader_gets_what_comes(fixture: &mut dyn SourceFixture) {
    fixture.append(&events(0..1));
    let mut waiting = reader(fixture, None);
    read(&mut *waiting, 1, AMPLE);
    let waiter = thread::spawn(move || expect_batch(&mut *waiting, AMPLE));
    fixture.append(&events(1..2));
    let batch = waiter.join().unwrap_or_else(|panic| resume_unwind(panic));
    assert_eq!(batch.payload(0), events(1..2)[0]);
}

fn the_end_is_the_last_position(fixture: &mut dyn SourceFixture) {
    for (from, to) in [(0, 1), (1, 40), (40, 41)] {
        fixture.append(&events(from..to));
        let all = read(&mut *reader(fixture, None), to, AMPLE);
        let end = fixture.source().end(&fixture.partition()).unwrap();
        assert_eq!(end, all.last().map(|(position, _)| *position), "after {to} events");
        expect_nothing(&mut *reader(fixture, end));
    }
}

fn what_is_not_released_is_kept(fixture: &mut dyn SourceFixture) {
    for chunk in 0..20 {
        fixture.append(&events(chunk * 10..chunk * 10 + 10));
    }
    let all = read(&mut *reader(fixture, None), 200, AMPLE);
    for released in [0, 49, 50, 120, 198] {
        fixture
            .source()
            .release(&fixture.partition(), Some(&all[released].0), &std::collections::BTreeMap::new())
            .unwrap();
        let rest = &all[released + 1..];
        assert_eq!(
            read(&mut *reader(fixture, Some(all[released].0)), rest.len(), AMPLE),
            rest,
            "behind {released}"
        );
        // Without a position a reader may begin earlier, but not later.
        let mut beginning = reader(fixture, None);
        let first = expect_batch(&mut *beginning, BatchBudget { rows: 1, bytes: 1 << 30 });
        assert!(first.positions.at(0) <= all[released + 1].0, "the beginning after releasing {released}");
    }
}

fn a_reopened_source_goes_on(fixture: &mut dyn SourceFixture) {
    fixture.append(&events(0..30));
    let before = read(&mut *reader(fixture, None), 30, AMPLE);
    fixture.reopen();
    assert_eq!(read(&mut *reader(fixture, None), 30, AMPLE), before, "the same events at the same positions");
    let end = fixture.source().end(&fixture.partition()).unwrap();
    assert_eq!(end, before.last().map(|(position, _)| *position), "the same end");
    fixture.append(&events(30..50));
    let after = read(&mut *reader(fixture, end), 20, AMPLE);
    assert_eq!(payloads(&after), events(30..50));
    assert!(after.iter().all(|(position, _)| Some(*position) > end), "positions go on");
}

fn positions_rise_after_release(fixture: &mut dyn SourceFixture) {
    fixture.append(&events(0..300));
    let end = fixture.source().end(&fixture.partition()).unwrap();
    fixture
        .source()
        .release(&fixture.partition(), Some(&end.unwrap()), &std::collections::BTreeMap::new())
        .unwrap();
    fixture.reopen();
    assert_eq!(fixture.source().end(&fixture.partition()).unwrap(), end, "the end is kept");
    fixture.append(&events(300..301));
    let seen = read(&mut *reader(fixture, end), 1, AMPLE);
    assert_eq!(payloads(&seen), events(300..301));
    assert!(Some(seen[0].0) > end, "positions go on");
}

fn an_unknown_partition_is_refused(fixture: &mut dyn SourceFixture) {
    let unknown = Partition::new("there is no such partition");
    assert!(fixture.source().end(&unknown).is_err(), "end");
    assert!(fixture.source().read(std::slice::from_ref(&unknown), &Positions::new()).is_err(), "read");
}

fn events(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers.map(|number| format!("event {number} {}", "~".repeat(number % 17)).into_bytes()).collect()
}

fn reader(fixture: &dyn SourceFixture, after: Option<Position>) -> Box<dyn Reader> {
    let partition = fixture.partition();
    let after = after.map(|after| (partition.clone(), after)).into_iter().collect();
    fixture.source().read(&[partition], &after).unwrap()
}

/// Exactly `count` events, and then nothing.
#[track_caller]
fn read(reader: &mut dyn Reader, count: usize, budget: BatchBudget) -> Vec<(Position, Vec<u8>)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let batch = expect_batch(reader, budget);
        seen.extend((0..batch.len()).map(|row| (batch.positions.at(row), batch.payload(row).to_vec())));
    }
    assert_eq!(seen.len(), count, "number of events");
    expect_nothing(reader);
    seen
}

fn payloads(seen: &[(Position, Vec<u8>)]) -> Vec<Vec<u8>> {
    seen.iter().map(|(_, payload)| payload.clone()).collect()
}

#[track_caller]
fn expect_batch(reader: &mut dyn Reader, budget: BatchBudget) -> RawBatch {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        match reader.next(budget, Duration::from_millis(100)).unwrap() {
            ReadEvent::Batch(batch) => {
                assert!(!batch.is_empty(), "a batch has events");
                return batch;
            }
            ReadEvent::Idle => {}
            ReadEvent::End => panic!("the source ended, but there is more"),
        }
    }
    panic!("no event came within {LIMIT:?}");
}

#[track_caller]
fn expect_nothing(reader: &mut dyn Reader) {
    if let ReadEvent::Batch(batch) = reader.next(AMPLE, Duration::ZERO).unwrap() {
        panic!("{} events came that should not be there", batch.len());
    }
}
