//! Which records go when, without a clock that runs.

use model::position::{Covers, Partition, Position};

use super::*;
use crate::output::lane::Lanes;

/// A queue whose clock stands where the test puts it.
struct Rig {
    queue: Queue,
    ticket: Arc<Ticket>,
    now: Instant,
}

impl Rig {
    fn new(is_ordered: bool) -> Self {
        let lane = Lanes::default().of(&Partition::new("p"));
        let covers = Covers { first: Position::from_u64(0), through: Position::from_u64(9) };
        let ticket = Ticket::open(&lane, covers, 1_000);
        Self { queue: Queue::new(is_ordered, b"[".to_vec()), ticket, now: Instant::now() }
    }

    /// Adds a record for each of these partition keys.
    fn add(&mut self, keys: &[&str]) {
        let mut entries = Entries::default();
        keys.iter().for_each(|key| entries.append(key.as_bytes(), b"{}"));
        self.queue.add(entries, &self.ticket);
    }

    /// What goes now.
    fn take(&mut self) -> Option<Taken> {
        self.queue.take(self.now)
    }

    fn settle(&mut self, taken: Taken, refused: &[usize]) {
        let not_taken = refused.iter().map(|index| NotTaken { index: *index, shard: None }).collect();
        self.queue.settle(taken, Outcome::Answered(not_taken), self.now);
    }

    /// Lets the time of the next look come.
    fn wait(&mut self) {
        self.now = self.queue.next_look(self.now).expect("something waits for its time");
    }

    fn keys(taken: &Taken) -> Vec<String> {
        let body = String::from_utf8(taken.body.clone()).unwrap() + "]";
        let entries: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
        entries.iter().map(|entry| entry["PartitionKey"].as_str().unwrap().to_owned()).collect()
    }
}

#[track_caller]
fn check(taken: Option<&Taken>, expected: &[&str]) {
    assert_eq!(taken.map(Rig::keys).unwrap_or_default(), expected);
}

#[test]
fn the_next_record_of_a_key_waits_for_the_one_before() {
    let mut rig = Rig::new(true);
    rig.add(&["a", "b", "a", "a", "c"]);
    let first = rig.take().unwrap();
    check(Some(&first), &["a", "b", "c"]);
    check(rig.take().as_ref(), &[]);
    rig.settle(first, &[1]);
    let second = rig.take().unwrap();
    check(Some(&second), &["a"]);
    rig.settle(second, &[]);
    let third = rig.take().unwrap();
    check(Some(&third), &["a"]);
    rig.settle(third, &[]);
    check(rig.take().as_ref(), &[]);
    rig.wait();
    let again = rig.take().unwrap();
    check(Some(&again), &["b"]);
    rig.settle(again, &[]);
    assert_eq!((rig.queue.len(), rig.queue.bytes()), (0, 0));
    assert_eq!(rig.queue.next_look(rig.now), None);
}

#[test]
fn without_order_records_of_a_key_go_together() {
    let mut rig = Rig::new(false);
    rig.add(&["a", "a", "b", "a"]);
    check(rig.take().as_ref(), &["a", "a", "b", "a"]);
}

#[test]
fn records_gather_while_a_request_is_under_way() {
    let mut rig = Rig::new(false);
    rig.add(&["a"]);
    let first = rig.take().unwrap();
    rig.add(&["b"]);
    rig.add(&["c"]);
    check(rig.take().as_ref(), &[]);
    rig.wait();
    let second = rig.take().unwrap();
    check(Some(&second), &["b", "c"]);
    rig.settle(first, &[]);
    rig.settle(second, &[]);
    rig.add(&["d"]);
    check(rig.take().as_ref(), &["d"]);
}

#[test]
fn a_shard_that_had_too_much_waits_and_others_go_on() {
    let mut rig = Rig::new(false);
    // `a` belongs to the first, `b` to the second.
    rig.queue.set_map(ShardMap::new([("0", 1 << 127), ("1", u128::MAX)].into_iter()));
    rig.add(&["a", "b"]);
    let first = rig.take().unwrap();
    rig.settle(first, &[1]);
    rig.add(&["b", "a", "b"]);
    let second = rig.take().unwrap();
    check(Some(&second), &["a"]);
    rig.settle(second, &[]);
    check(rig.take().as_ref(), &[]);
    rig.wait();
    let third = rig.take().unwrap();
    check(Some(&third), &["b", "b", "b"]);
    // One request at a time tries it.
    rig.add(&["b", "a"]);
    rig.wait();
    let fourth = rig.take().unwrap();
    check(Some(&fourth), &["a"]);
    rig.settle(fourth, &[]);
    rig.settle(third, &[]);
    let fifth = rig.take().unwrap();
    check(Some(&fifth), &["b"]);
    rig.settle(fifth, &[]);
    rig.add(&["b", "a"]);
    check(rig.take().as_ref(), &["b", "a"]);
}

#[test]
fn while_nobody_answers_one_request_at_a_time_is_tried() {
    let mut rig = Rig::new(false);
    rig.add(&["a"]);
    let first = rig.take().unwrap();
    rig.queue.settle(first, Outcome::Failed, rig.now);
    rig.add(&["b"]);
    check(rig.take().as_ref(), &[]);
    rig.wait();
    let second = rig.take().unwrap();
    check(Some(&second), &["a", "b"]);
    rig.add(&["c"]);
    assert_eq!(rig.queue.next_look(rig.now), None);
    rig.settle(second, &[]);
    check(rig.take().as_ref(), &["c"]);
}

#[test]
fn what_was_given_up_is_dropped_and_keeps_no_key_busy() {
    let mut rig = Rig::new(true);
    rig.add(&["a", "a", "b", "b"]);
    let first = rig.take().unwrap();
    rig.ticket.fail();
    rig.queue.purge();
    rig.ticket = {
        let fresh = Rig::new(true);
        fresh.ticket
    };
    rig.add(&["a"]);
    // Those under way come to their end first.
    rig.now += GATHER;
    check(rig.take().as_ref(), &[]);
    rig.settle(first, &[1]);
    rig.queue.purge();
    check(rig.take().as_ref(), &["a"]);
    assert_eq!(rig.queue.len(), 1);
}

#[track_caller]
fn check_given_up(outcome: Outcome) {
    let mut rig = Rig::new(true);
    rig.add(&["a", "a"]);
    let first = rig.take().unwrap();
    rig.ticket.fail();
    rig.queue.purge();
    rig.queue.settle(first, outcome, rig.now);
    rig.queue.purge();
    assert_eq!((rig.queue.len(), rig.queue.bytes()), (0, 0));
    assert!(!rig.queue.wants_map());
}

#[test]
fn what_was_given_up_while_it_was_under_way_is_not_sent_again() {
    check_given_up(Outcome::Failed);
    check_given_up(Outcome::Answered(vec![NotTaken { index: 0, shard: Some(Arc::from("0")) }]));
    check_given_up(Outcome::Answered(Vec::new()));
}

#[test]
fn the_shards_of_keys_are_asked_for_while_records_wait_for_one_that_is_not_known() {
    let mut rig = Rig::new(false);
    rig.add(&["a"]);
    let first = rig.take().unwrap();
    assert!(!rig.queue.wants_map());
    rig.settle(first, &[0]);
    assert!(rig.queue.wants_map());
    rig.queue.set_map(ShardMap::new([("0", u128::MAX)].into_iter()));
    assert!(rig.queue.wants_map(), "they wait for the one that was not known");
    rig.wait();
    let again = rig.take().unwrap();
    rig.settle(again, &[]);
    assert!(!rig.queue.wants_map());
}

#[test]
fn a_request_has_at_most_500_records_and_a_few_mebibytes() {
    let mut rig = Rig::new(false);
    rig.add(&vec!["a"; 501]);
    assert_eq!(rig.take().unwrap().records.len(), 500);
    let mut rig = Rig::new(false);
    let mut entries = Entries::default();
    (0..3).for_each(|_| entries.append(b"a", &vec![b'x'; 1 << 20]));
    entries.append(b"a", &vec![b'x'; 6 << 20]);
    entries.append(b"a", b"{}");
    rig.queue.add(entries, &rig.ticket);
    assert_eq!(rig.take().unwrap().records.len(), 3);
    assert_eq!(rig.take().unwrap().records.len(), 1);
    rig.now += GATHER;
    assert_eq!(rig.take().unwrap().records.len(), 1);
}
