//! Order, positions, keys, identities, room.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use model::error::Disposition;
use model::output::OutputStream;
use model::position::{Partition, Position};

use super::super::queue::Outcome;
use super::super::stream::emitter;
use super::super::summary::Summary;
use super::server::number;
use super::{Kept, Rig, Shared, Stream, emission, keyed, options};
use crate::output::emitter::Slot;

#[test]
fn records_have_key_data_and_identity() {
    let rig = Rig::new();
    let mut late = emission("events-0", 7, 8, 10, 1);
    late.applied.late = vec![1];
    late.epoch = 3;
    rig.emit(late).unwrap();
    let mut records = rig.server.records();
    records.sort_by(|left, right| left.key.cmp(&right.key));
    assert_eq!(records[0].key, "7");
    let start = r#"{"version":"1","producer":"millrace","job_type":"stream","feature_view_name":"v""#;
    let end = concat!(
        r#""entity_keys":{"id":"7"},"feature_values":{"f":"x"},"#,
        r#""millrace":"1;3;events;events-0;0000000000000007;0;1;abababababababab;true"}"#,
    );
    assert!(records[0].data.starts_with(start) && records[0].data.ends_with(end), "{}", records[0].data);
    assert!(records[1].data.ends_with(r#";0000000000000008;0;1;abababababababab;false"}"#));
    assert_eq!(rig.position("events-0"), Some(8));
}

#[test]
fn an_entity_that_makes_no_partition_key_is_hashed() {
    let rig = Rig::new();
    rig.emit(keyed("p", 0, 0, 1, |_| "say \"hi\" ü".to_owned())).unwrap();
    rig.emit(keyed("p", 1, 1, 1, |_| String::new())).unwrap();
    rig.emit(keyed("p", 2, 2, 1, |_| "k".repeat(1_000))).unwrap();
    let keys: Vec<String> = rig.server.records().into_iter().map(|record| record.key).collect();
    assert_eq!(keys[0], "say \"hi\" ü");
    assert!(keys[1..].iter().all(|key| key.len() == 64), "{keys:?}");
}

#[test]
fn rows_it_has_are_skipped_and_empty_batches_move_the_position() {
    let rig = Rig::new();
    rig.emit(emission("p", 0, 4, 100, 1)).unwrap();
    rig.emit(emission("p", 0, 4, 100, 1)).unwrap();
    rig.emit(emission("p", 3, 6, 100, 1)).unwrap();
    // 7 is not below 6, so there are no rows.
    let mut empty = emission("p", 7, 6, 100, 1);
    Arc::get_mut(&mut empty.batch).unwrap().covers.through = Position::from_u64(20);
    rig.emit(empty).unwrap();
    assert_eq!(rig.position("p"), Some(20));
    assert_eq!(rig.position("q"), None);
    let mut numbers: Vec<u64> = rig.server.records().iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..7).collect::<Vec<_>>());
}

#[test]
fn ordered_has_one_record_of_a_key_under_way() {
    let rig = Rig::new();
    let batches: Vec<_> =
        (0..20).map(|batch| rig.start(emission("p", batch * 50, batch * 50 + 49, 7, 1))).collect();
    for (number, batch) in batches.into_iter().enumerate() {
        rig.wait(batch).unwrap();
        assert!(rig.position("p") >= Some(number as u64 * 50 + 49));
    }
    for request in &rig.server.state().requests {
        let keys: HashSet<&String> = request.iter().collect();
        assert_eq!(keys.len(), request.len(), "{request:?}");
    }
    for entity in 0..7 {
        let numbers = rig.server.numbers(&entity.to_string());
        assert_eq!(numbers, (0..1_000).filter(|row| row % 7 == entity).collect::<Vec<_>>());
    }
}

#[test]
fn unordered_sends_all_that_fit() {
    let rig = Rig::unordered();
    rig.emit(emission("p", 0, 1_199, 1, 1)).unwrap();
    assert_eq!(rig.server.numbers("0").len(), 1_200);
    let sizes: Vec<usize> = rig.server.state().requests.iter().map(Vec::len).collect();
    assert_eq!(sizes.iter().max(), Some(&500));
    assert!(sizes.len() < 10, "{sizes:?}");
}

#[test]
fn records_gather_while_a_request_is_under_way() {
    let rig = Rig::unordered();
    rig.server.hold(true);
    let first = rig.start(emission("p", 0, 0, 1, 1));
    rig.server.wait(|state| state.requests.len() == 1);
    let others: Vec<_> = (1..400).map(|row| rig.start(emission("p", row, row, 1, 1))).collect();
    rig.server.hold(false);
    rig.wait(first).unwrap();
    others.into_iter().for_each(|other| rig.wait(other).unwrap());
    assert!(rig.server.state().requests.len() < 100);
    assert_eq!(rig.position("p"), Some(399));
}

#[test]
fn what_waits_is_bounded_and_goes_on_by_itself() {
    let rig = Rig::new();
    rig.server.hold(true);
    // 32 MiB, of which a quarter fits.
    let batches: Vec<_> = (0..8)
        .map(|batch| rig.start(emission("p", batch * 64, batch * 64 + 63, 1_000_000, 60_000)))
        .collect();
    rig.server.wait(|state| !state.requests.is_empty());
    let waiting: usize = rig.server.state().requests.iter().map(Vec::len).sum();
    assert!(waiting < 200, "{waiting}");
    rig.server.hold(false);
    batches.into_iter().for_each(|batch| rig.wait(batch).unwrap());
    assert_eq!(rig.server.records().len(), 512);
    assert_eq!(rig.position("p"), Some(511));
}

#[test]
fn a_record_that_is_too_large_becomes_a_dead_letter() {
    let rig = Rig::new();
    rig.emit(emission("p", 0, 2, 100, 1 << 20)).unwrap();
    rig.emit(emission("p", 3, 3, 100, 1_000_000)).unwrap();
    let letters = rig.letters();
    assert_eq!(letters.len(), 3);
    assert_eq!((letters[0].0.as_str(), letters[0].1), ("record_too_large", 0));
    assert!(letters[0].2 > 1 << 20);
    assert_eq!(rig.position("p"), Some(3));
    assert_eq!(rig.server.records().len(), 1);
}

#[test]
fn a_stream_may_take_larger_records() {
    let mut rig = Rig::closed(true);
    rig.server.state().summary.as_mut().unwrap()["MaxRecordSizeInKiB"] = 6_000.into();
    rig.open().unwrap();
    rig.emit(emission("p", 0, 1, 100, 5 << 20)).unwrap();
    assert_eq!(rig.letters(), []);
    assert_eq!(rig.server.state().requests.len(), 2);
}

#[test]
fn after_a_rewind_rows_are_emitted_again() {
    let rig = Rig::new();
    rig.emit(emission("p", 0, 9, 100, 1)).unwrap();
    let stream = rig.stream.as_ref().unwrap();
    stream.rewind("v", &Partition::new("p"), Some(Position::from_u64(4)), 1).unwrap();
    rig.emit(emission("p", 0, 9, 100, 1)).unwrap();
    assert_eq!(rig.server.records().len(), 15);
    assert_eq!(rig.position("p"), Some(9));
}

#[test]
fn a_rewind_waits_for_what_is_under_way() {
    let rig = Rig::new();
    rig.emit(emission("p", 0, 4, 100, 1)).unwrap();
    rig.server.hold(true);
    let waiting = rig.start(emission("p", 5, 9, 100, 1));
    let stream = rig.stream.as_ref().unwrap();
    let (partition, to) = (Partition::new("p"), Some(Position::from_u64(2)));
    let failure = stream.rewind("v", &partition, to, 1).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry, "{failure}");
    rig.server.hold(false);
    rig.wait(waiting).unwrap();
    assert_eq!(rig.position("p"), Some(9));
    stream.rewind("v", &partition, to, 1).unwrap();
    assert_eq!(rig.position("p"), Some(2));
}

/// Without a sender, so that nothing moves but what the test moves.
#[test]
fn who_waits_for_room_hears_of_what_is_given_up() {
    let rig = Rig::closed(true);
    let shared = Shared::for_tests(rig.runtime.handle().clone());
    let name = Stream::Name("features".to_owned());
    let options = options("http://127.0.0.1:1", name, shared, Arc::clone(&rig.letters), true);
    let summary = Summary { max_record: 1 << 20, ignores_keys: false };
    let emitter = emitter(options, Box::new(Kept(Arc::clone(&rig.memory))), Slot::Open(summary));
    let queue = || emitter.carrier.queue();
    let full = emitter.emit(emission("p", 0, 107, 1, 60_000));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut waiting = emitter.emit(emission("q", 0, 0, 1, 1));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(emitter.room.is_awaited());
    // A few go out: there is some room, though too little to wake anybody.
    for _ in 0..4 {
        let taken = queue().take(Instant::now()).unwrap();
        assert!(queue().settle(taken, Outcome::Answered(Vec::new()), Instant::now()).is_empty());
    }
    assert!(!emitter.carrier.has_room());
    rig.letters.fill(true);
    rig.wait(emitter.emit(emission("p", 108, 108, 1, 2 << 20))).unwrap_err();
    rig.wait(full).unwrap_err();
    assert_eq!(queue().len(), 0);
    assert!(woken.0.load(Ordering::SeqCst), "there is room, and nobody else will say so");
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(queue().len(), 1);
}

/// Whether a task was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}
