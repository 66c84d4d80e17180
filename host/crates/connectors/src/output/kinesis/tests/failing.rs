//! What was not taken, what only an operator can mend, and who is not there.

use std::sync::{Arc, Mutex};

use model::error::Disposition;

use super::server::{Act, number};
use super::{Rig, emission};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

#[test]
fn only_what_was_not_taken_is_sent_again() {
    let rig = Rig::new();
    rig.server.act([Act::Refuse(vec![1, 3], THROTTLED), Act::Refuse(vec![0], "InternalFailure")]);
    rig.emit(emission("p", 0, 4, 100, 1)).unwrap();
    let state = rig.server.state();
    let sizes: Vec<usize> = state.requests.iter().map(Vec::len).collect();
    assert_eq!(sizes, [5, 2, 1]);
    assert_eq!(state.requests[1], ["1", "3"]);
    assert_eq!(state.taken.concat().len(), 5);
}

#[test]
fn other_shards_go_on_while_one_is_throttled() {
    let rig = Rig::new();
    // `b` belongs to the second shard, `a` to the first.
    rig.server.act([Act::Refuse(vec![0], THROTTLED)]);
    rig.emit(super::keyed("p", 0, 0, 1, |_| "b".to_owned())).unwrap();
    rig.server.act((0..6).map(|_| Act::Refuse(vec![0], THROTTLED)));
    let throttled = rig.start(super::keyed("p", 1, 1, 1, |_| "b".to_owned()));
    rig.server.wait(|state| state.acts.is_empty());
    rig.wait(throttled).unwrap();
    assert_eq!(rig.server.numbers("b"), [0, 1]);
}

#[test]
fn a_request_without_an_answer_is_sent_again() {
    let rig = Rig::new();
    rig.server.act([Act::Cut, Act::Fail(500, "InternalFailure"), Act::TakeAndCut, Act::Fail(400, THROTTLED)]);
    rig.emit(emission("p", 0, 4, 100, 1)).unwrap();
    // Taken twice: the second time when the answer came, too.
    assert_eq!(rig.server.records().len(), 10);
    assert_eq!(rig.position("p"), Some(4));
}

#[test]
fn each_key_keeps_its_order_whatever_happens() {
    for seed in 1..3 {
        let rig = Rig::new();
        rig.server.state().chaos = Some((seed, 3));
        let batch = |partition: &str, batch: u64| emission(partition, batch * 40, batch * 40 + 39, 60, 1);
        let batches = (0..5).flat_map(|number| [batch("p", number), batch("q", number)]);
        let batches: Vec<_> = batches.map(|batch| rig.start(batch)).collect();
        batches.into_iter().for_each(|batch| rig.wait(batch).unwrap());
        for entity in 0..60 {
            for partition in ["p", "q"] {
                let identity = format!(";events;{partition};");
                let mut numbers: Vec<u64> = rig
                    .server
                    .records()
                    .iter()
                    .filter(|record| record.key == entity.to_string() && record.data.contains(&identity))
                    .map(number)
                    .collect();
                assert!(numbers.is_sorted(), "seed {seed}, entity {entity}: {numbers:?}");
                numbers.dedup();
                assert_eq!(numbers, (0..200).filter(|row| row % 60 == entity).collect::<Vec<_>>());
            }
        }
        assert_eq!((rig.position("p"), rig.position("q")), (Some(199), Some(199)));
    }
}

#[test]
fn a_stream_that_is_missing_stops_with_words() {
    let mut rig = Rig::closed(true);
    rig.server.state().summary = Err((400, "ResourceNotFoundException"));
    let failure = rig.open().unwrap_err();
    assert_eq!(failure.disposition, Disposition::Stop);
    let text = failure.to_string();
    assert!(text.contains("stream `features`") && text.contains("does not exist"), "{text}");
}

#[test]
fn a_stream_that_ignores_partition_keys_is_refused_where_order_is_wanted() {
    for ordered in [true, false] {
        let mut rig = Rig::closed(ordered);
        rig.server.state().summary.as_mut().unwrap()["RecordDistributionStrategy"] = "AUTO".into();
        match rig.open() {
            Ok(()) => assert!(!ordered),
            Err(failure) => {
                assert!(ordered && failure.disposition == Disposition::Stop);
                assert!(failure.to_string().contains("ignores partition keys"), "{failure}");
            }
        }
    }
}

#[test]
fn who_may_only_write_is_not_asked_for_more() {
    let mut rig = Rig::closed(true);
    rig.server.state().summary = Err((400, "AccessDeniedException"));
    rig.open().unwrap();
    rig.emit(emission("p", 0, 4, 100, 1)).unwrap();
}

#[test]
fn after_a_failure_nothing_goes_before_what_failed() {
    let rig = Rig::new();
    rig.emit(emission("p", 0, 4, 100, 1)).unwrap();
    rig.server.hold(true);
    rig.server.act([Act::Fail(400, "AccessDeniedException")]);
    let first = rig.start(emission("p", 5, 9, 100, 1));
    rig.server.wait(|state| state.requests.len() == 2);
    let second = rig.start(emission("p", 10, 14, 100, 1));
    rig.server.hold(false);
    for batch in [first, second] {
        let failure = rig.wait(batch).unwrap_err();
        assert_eq!(failure.disposition, Disposition::Stop);
        assert!(failure.to_string().contains("kinesis:PutRecords"), "{failure}");
    }
    let until_it_opens = |from: u64| loop {
        match rig.emit(emission("p", from, from + 4, 100, 1)) {
            Err(failure) if failure.disposition == Disposition::Stop => {
                std::thread::park_timeout(std::time::Duration::from_millis(50));
            }
            answer => return answer,
        }
    };
    let failure = until_it_opens(10).unwrap_err();
    assert!(failure.to_string().contains("earlier batch failed"), "{failure}");
    until_it_opens(5).unwrap();
    until_it_opens(10).unwrap();
    let mut numbers: Vec<u64> = rig.server.records().iter().map(number).collect();
    numbers.sort_unstable();
    // The second batch may have been taken before it was given up.
    numbers.dedup();
    assert_eq!(numbers, (0..15).collect::<Vec<_>>());
    assert_eq!(rig.position("p"), Some(14));
}

#[test]
fn nobody_there_makes_emissions_fail_until_somebody_is() {
    let mut rig = Rig::closed(true);
    rig.server.state().summary = Err((503, "ServiceUnavailable"));
    rig.open().unwrap();
    let failure = rig.emit(emission("p", 0, 4, 100, 1)).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry);
    rig.server.state().summary = Ok(super::server::summary());
    while let Err(failure) = rig.emit(emission("p", 0, 4, 100, 1)) {
        assert_eq!(failure.disposition, Disposition::Retry);
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    assert_eq!(rig.server.records().len(), 5);
}

#[test]
fn nothing_is_emitted_for_a_partition_of_another_host() {
    let rig = Rig::new();
    rig.server.hold(true);
    let first = rig.start(emission("p", 0, 4, 100, 1));
    rig.server.wait(|state| state.requests.len() == 1);
    rig.memory.lose(true);
    let failure = rig.wait(first).unwrap_err();
    assert!(failure.to_string().contains("another host's"), "{failure}");
    rig.server.hold(false);
    assert!(rig.emit(emission("p", 5, 9, 100, 1)).is_err());
    assert_eq!(rig.position("p"), None);
    // It comes back, and begins where its keeper says.
    rig.memory.lose(false);
    rig.emit(emission("p", 0, 4, 100, 1)).unwrap();
    assert_eq!(rig.position("p"), Some(4));
}

#[test]
fn the_host_hears_who_is_away_and_back() {
    let mut rig = Rig::closed(true);
    let told: Arc<Mutex<Vec<bool>>> = Arc::default();
    let hearing = Arc::clone(&told);
    let hook = Arc::new(move |name: &str, away: Option<&str>| {
        assert_eq!(name, "aws");
        hearing.lock().unwrap().push(away.is_some());
    });
    rig.open_with(|shared| shared.hook = hook).unwrap();
    rig.server.act([Act::Cut, Act::Fail(500, "InternalFailure")]);
    rig.emit(emission("p", 0, 4, 100, 1)).unwrap();
    assert_eq!(*told.lock().unwrap(), [true, false]);
    // An error about the request is an answer.
    rig.server.act([Act::Fail(400, THROTTLED)]);
    rig.emit(emission("p", 5, 9, 100, 1)).unwrap();
    assert_eq!(told.lock().unwrap().len(), 2);
}

#[test]
fn credentials_that_expire_are_looked_for_again() {
    let rig = Rig::new();
    rig.server.act([Act::Fail(400, "ExpiredTokenException")]);
    rig.emit(emission("p", 0, 4, 100, 1)).unwrap();
    assert_eq!(rig.position("p"), Some(4));
}
