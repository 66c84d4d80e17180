//! Partitions of a shared source come and go: where views begin, what a revoke leaves behind, what shows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use model::error::Disposition;
use model::position::Position;
use model::source::{Point, ViewProgress};
use pipeline::setup::FlowSettings;
use testkit::fake::component::FakeComponent;
use testkit::fake::group::MemoryGroup;
use testkit::fake::online::MemoryStore;
use testkit::fake::output::MemoryOutput;
use testkit::fake::trouble::{Fuse, Trace};
use testkit::fake::wait::{LIMIT, wait_until};

use crate::hosts::{Host, PATIENT, append, positions};
use crate::world::{SOURCE, settings, view_setup};

/// How long an impatient revoke may take; what it waits for never comes.
const IMPATIENT: Duration = Duration::from_millis(60);

fn at(number: u64) -> Option<Position> {
    Some(Position::from_u64(number))
}

#[test]
fn a_view_without_partitions_runs() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    host.start("v");
    assert_eq!(host.state("v"), "running");
    assert!(host.marks("v").is_empty());
    assert!(host.flow.remove_source(SOURCE).is_err());
    append(&group, "t-0", 1..=10);
    host.member.assign(&["t-0"]);
    host.wait_marks("v", "t-0", 10);
    host.member.revoke(&["t-0"], PATIENT);
    assert!(host.marks("v").is_empty());
    assert_eq!(host.state("v"), "running");
}

#[test]
fn a_revoke_finishes_what_has_begun_and_says_how_far_it_is() {
    let group = MemoryGroup::new(&["t-0"]);
    let (one, other) = (Host::new(&group, 0), Host::new(&group, 1));
    [&one, &other].iter().for_each(|host| host.start("v"));
    append(&group, "t-0", 1..=500);
    one.member.assign(&["t-0"]);
    wait_until("something is emitted", || !positions(&group, "v", "t-0").is_empty());
    one.member.revoke(&["t-0"], PATIENT);
    let through = *positions(&group, "v", "t-0").last().unwrap();
    assert_eq!(group.committed("t-0"), at(through));
    assert_eq!(group.committed_view("t-0", "v"), Some(ViewProgress { through: at(through), epoch: 0 }));
    assert_eq!(one.store.row("v", "k0").is_some(), through >= 3);
    other.member.assign(&["t-0"]);
    other.wait_marks("v", "t-0", 500);
    assert_eq!(positions(&group, "v", "t-0"), (1..=500).collect::<Vec<u64>>());
}

#[test]
fn a_revoke_waits_for_no_sink_that_is_away() {
    let group = MemoryGroup::new(&["t-0", "t-1"]);
    let host = Host::new(&group, 0);
    host.start("v");
    append(&group, "t-0", 1..=100);
    append(&group, "t-1", 1..=100);
    host.output.gate.close();
    host.member.assign(&["t-0", "t-1"]);
    wait_until("emissions wait", || host.output.gate.waiting() >= 2);
    let begun = Instant::now();
    host.member.revoke(&["t-0"], IMPATIENT);
    assert!(begun.elapsed() < LIMIT, "it came to an end");
    assert_eq!(host.marks("v").keys().collect::<Vec<_>>(), ["t-1"]);
    let before = positions(&group, "v", "t-0");
    host.output.gate.open();
    host.wait_marks("v", "t-1", 100);
    assert_eq!(positions(&group, "v", "t-0"), before);
    // What was not acknowledged is made again by whoever comes next.
    host.member.assign(&["t-0"]);
    host.wait_marks("v", "t-0", 100);
    let expected: Vec<u64> = before.iter().copied().chain(1..=100).collect();
    assert_eq!(positions(&group, "v", "t-0"), expected);
    assert_eq!(host.member.strays(), 0);
}

#[test]
fn a_guest_that_is_busy_holds_no_revoke() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    let component = FakeComponent::identity(1);
    host.flow.start_view(host.view("v", &component)).unwrap();
    component.counts().close();
    append(&group, "t-0", 1..=10);
    host.member.assign(&["t-0"]);
    wait_until("the guest is at work", || component.counts().waiting() == 1);
    host.member.revoke(&["t-0"], IMPATIENT);
    // Given back before the guest has come to its end: the next unit waits for the last.
    host.member.assign(&["t-0"]);
    component.counts().open();
    host.wait_marks("v", "t-0", 10);
    assert_eq!(positions(&group, "v", "t-0"), (1..=10).collect::<Vec<u64>>());
}

#[test]
fn nothing_is_emitted_for_a_partition_that_was_lost() {
    let group = MemoryGroup::new(&["t-0"]);
    let (one, other) = (Host::new(&group, 0), Host::new(&group, 1));
    [&one, &other].iter().for_each(|host| host.start("v"));
    append(&group, "t-0", 1..=2000);
    one.member.assign(&["t-0"]);
    wait_until("something is emitted", || !positions(&group, "v", "t-0").is_empty());
    one.member.lose(&["t-0"]);
    let before = positions(&group, "v", "t-0");
    other.member.assign(&["t-0"]);
    other.wait_marks("v", "t-0", 2000);
    let expected: Vec<u64> = before.into_iter().chain(1..=2000).collect();
    assert_eq!(positions(&group, "v", "t-0"), expected);
    assert_eq!(one.member.strays(), 0);
}

#[test]
fn a_restart_of_a_view_holds_no_revoke() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    host.start("v");
    append(&group, "t-0", 1..=10);
    host.output.gate.close();
    host.member.assign(&["t-0"]);
    wait_until("an emission waits", || host.output.gate.waiting() > 0);
    let (flow, mut silent) = (host.flow.clone(), host.view("v", &FakeComponent::identity(2)));
    silent.output = None;
    let swapping = std::thread::spawn(move || flow.swap_view(silent));
    wait_until("the view restarts", || host.state("v") == "draining");
    host.member.revoke(&["t-0"], IMPATIENT);
    swapping.join().unwrap().unwrap();
    assert_eq!(host.state("v"), "running");
    assert!(host.marks("v").is_empty());
}

#[test]
fn where_a_view_begins_is_known_to_other_hosts_at_once() {
    let group = MemoryGroup::new(&["t-0"]);
    let (one, other) = (Host::new(&group, 0), Host::new(&group, 1));
    [&one, &other].iter().for_each(|host| host.start_at("v", Point::Latest));
    append(&group, "t-0", 1..=10);
    one.member.assign(&["t-0"]);
    wait_until("the view has begun", || one.marks("v").contains_key("t-0"));
    wait_until("the group is told", || {
        one.member.commit();
        group.committed_view("t-0", "v").is_some()
    });
    one.member.lose(&["t-0"]);
    append(&group, "t-0", 11..=12);
    other.member.assign(&["t-0"]);
    other.wait_marks("v", "t-0", 12);
    assert_eq!(positions(&group, "v", "t-0"), [11, 12]);
}

#[test]
fn a_partition_that_came_into_being_is_read_from_its_beginning() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    host.start_at("v", Point::Latest);
    append(&group, "t-0", 1..=5);
    host.member.assign(&["t-0"]);
    wait_until("the view has begun", || host.marks("v").contains_key("t-0"));
    group.add_partition("t-1");
    append(&group, "t-1", 1..=5);
    host.member.assign(&["t-1"]);
    host.wait_marks("v", "t-1", 5);
    assert_eq!(positions(&group, "v", "t-0"), [] as [u64; 0]);
    assert_eq!(positions(&group, "v", "t-1"), [1, 2, 3, 4, 5]);
}

#[test]
fn what_others_have_emitted_is_applied_and_not_emitted_again() {
    let group = MemoryGroup::new(&["t-0"]);
    let (one, other) = (Host::new(&group, 0), Host::new(&group, 1));
    one.start("v");
    // A second view that is behind keeps the group's offset back.
    let slow = FakeComponent::identity(9);
    slow.counts().close();
    one.flow.start_view(one.view("slow", &slow)).unwrap();
    append(&group, "t-0", 1..=30);
    one.member.assign(&["t-0"]);
    one.wait_marks("v", "t-0", 30);
    one.checkpoint();
    one.member.commit();
    one.member.revoke(&["t-0"], IMPATIENT);
    slow.counts().open();
    assert_eq!(group.committed_view("t-0", "v").and_then(|view| view.through), at(30));
    other.start("v");
    other.start("slow");
    append(&group, "t-0", [31]);
    other.member.assign(&["t-0"]);
    other.wait_marks("v", "t-0", 31);
    other.wait_marks("slow", "t-0", 31);
    assert_eq!(positions(&group, "v", "t-0"), (1..=31).collect::<Vec<u64>>());
    assert_eq!(positions(&group, "slow", "t-0"), (1..=31).collect::<Vec<u64>>());
}

#[test]
fn an_output_stream_of_its_own_host_begins_where_the_other_host_was() {
    let group = MemoryGroup::new(&["t-0"]);
    let (one, other) = (Host::new(&group, 0), Host::new(&group, 1));
    let outputs = [MemoryOutput::traced(&Arc::default()), MemoryOutput::traced(&Arc::default())];
    let slow = FakeComponent::identity(2);
    for (host, output) in [&one, &other].into_iter().zip(&outputs) {
        let setup = view_setup("v", &FakeComponent::identity(1), Some(output.clone()));
        host.flow.start_view(setup).unwrap();
        host.flow.start_view(host.view("slow", &slow)).unwrap();
    }
    append(&group, "t-0", 1..=5);
    one.member.assign(&["t-0"]);
    one.wait_marks("slow", "t-0", 5);
    one.wait_marks("v", "t-0", 5);
    one.member.revoke(&["t-0"], PATIENT);
    // From here on the other view is behind, and the group's offset with it.
    slow.counts().close();
    append(&group, "t-0", 6..=25);
    for (host, last) in [(&one, 25), (&other, 45), (&one, 65)] {
        host.member.assign(&["t-0"]);
        host.wait_marks("v", "t-0", last);
        host.member.revoke(&["t-0"], IMPATIENT);
        append(&group, "t-0", last as i64 + 1..=last as i64 + 20);
    }
    let expected: Vec<u64> = (1..=25).chain(46..=65).collect();
    assert_eq!(outputs[0].positions_of("v"), expected);
    assert_eq!(outputs[1].positions_of("v"), (26..=45).collect::<Vec<u64>>());
    assert_eq!(group.committed("t-0"), at(5));
    slow.counts().open();
}

#[test]
fn rows_that_are_older_than_what_was_emitted_are_recovered_and_no_others() {
    let group = MemoryGroup::new(&["t-0", "t-1"]);
    let (one, other) = (Host::new(&group, 0), Host::new(&group, 1));
    [&one, &other].iter().for_each(|host| host.start("v"));
    append(&group, "t-0", 1..=10);
    append(&group, "t-1", 1..=10);
    one.member.assign(&["t-0", "t-1"]);
    one.wait_marks("v", "t-0", 10);
    one.wait_marks("v", "t-1", 10);
    one.member.revoke(&["t-0", "t-1"], PATIENT);
    // A host that has nothing of the partition is not behind.
    other.store.gate.close();
    append(&group, "t-0", 11..=20);
    other.member.assign(&["t-0"]);
    wait_until("it has begun", || other.marks("v").contains_key("t-0"));
    assert_ne!(other.state("v"), "recovering");
    other.store.gate.open();
    other.wait_marks("v", "t-0", 20);
    other.member.revoke(&["t-0"], PATIENT);
    // One that has got back what nobody moved is not either; one that has older rows is.
    one.store.gate.close();
    append(&group, "t-1", 11..=12);
    one.member.assign(&["t-1"]);
    wait_until("it has begun", || one.marks("v").contains_key("t-1"));
    assert_ne!(one.state("v"), "recovering");
    one.member.assign(&["t-0"]);
    wait_until("it has begun", || one.marks("v").contains_key("t-0"));
    assert_eq!(one.state("v"), "recovering");
    one.store.gate.open();
    one.wait_marks("v", "t-0", 20);
    assert_eq!(one.state("v"), "running");
    assert_eq!(positions(&group, "v", "t-0"), (1..=20).collect::<Vec<u64>>());
}

#[test]
fn a_host_that_crashed_recovers_what_it_may_have_emitted() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    host.start("v");
    append(&group, "t-0", 1..=10);
    host.member.assign(&["t-0"]);
    host.wait_marks("v", "t-0", 10);
    let host = host.crash(&group, 1);
    host.store.gate.close();
    host.start("v");
    host.member.assign(&["t-0"]);
    wait_until("it has begun", || host.marks("v").contains_key("t-0"));
    assert_eq!(host.state("v"), "recovering");
    host.store.gate.open();
    host.wait_marks("v", "t-0", 10);
    assert_eq!(host.state("v"), "running");
}

#[test]
fn what_is_committed_is_a_place_to_begin_if_there_is_a_commit() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    host.start_at("v", Point::Committed);
    append(&group, "t-0", 1..=10);
    host.member.assign(&["t-0"]);
    wait_until("it is paused", || host.state("v") == "paused");
    let reason = host.reason("v");
    assert!(reason.contains("have committed nothing in partition `t-0`"), "{reason}");
    // The same if the partition was there before the view.
    host.start_at("x", Point::Committed);
    wait_until("it is paused, too", || host.state("x") == "paused");
    host.start("w");
    host.wait_marks("w", "t-0", 10);
    host.checkpoint();
    host.member.revoke(&["t-0"], PATIENT);
    append(&group, "t-0", 11..=12);
    host.member.assign(&["t-0"]);
    host.wait_marks("w", "t-0", 12);
    assert_eq!(positions(&group, "v", "t-0"), [] as [u64; 0]);
}

#[test]
fn a_group_that_cannot_be_asked_is_asked_again() {
    let group = MemoryGroup::new(&["t-0", "t-1"]);
    let host = Host::new(&group, 0);
    host.start("v");
    append(&group, "t-0", 1..=10);
    host.member.failures.fail_next(5, Disposition::Retry);
    host.member.assign(&["t-0"]);
    host.wait_marks("v", "t-0", 10);
    assert_eq!(host.member.failures.seen(), 5);
    // Also for a view that starts meanwhile.
    host.member.failures.fail_next(3, Disposition::Retry);
    host.start("w");
    assert_eq!(host.state("w"), "running");
    host.wait_marks("w", "t-0", 10);
    // And what only an operator can mend pauses the view, until it is mended.
    host.member.failures.fail_next(1, Disposition::Stop);
    append(&group, "t-1", 1..=10);
    host.member.assign(&["t-1"]);
    wait_until("a view is paused", || host.state("v") == "paused" || host.state("w") == "paused");
    let paused = if host.state("v") == "paused" { "v" } else { "w" };
    assert!(host.reason(paused).contains("a fake failure"), "{}", host.reason(paused));
    host.flow.resume_view(paused).unwrap();
    host.wait_marks("v", "t-1", 10);
    host.wait_marks("w", "t-1", 10);
    assert_eq!(positions(&group, paused, "t-0"), (1..=10).collect::<Vec<u64>>());
}

#[test]
fn a_paused_view_holds_the_commit_back_and_the_others_say_how_far_they_are() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    host.start("v");
    let failing = FakeComponent::new(2, |row| match row.1 {
        Some(value) if value > 10 => testkit::fake::component::Reaction::Panic,
        _ => testkit::fake::component::Reaction::Rows(vec![row.clone()]),
    });
    host.flow.start_view(host.view("bad", &failing)).unwrap();
    host.member.assign(&["t-0"]);
    append(&group, "t-0", 1..=10);
    host.wait_marks("bad", "t-0", 10);
    append(&group, "t-0", 11..=20);
    wait_until("it is paused", || host.state("bad") == "paused");
    host.wait_marks("v", "t-0", 20);
    host.member.revoke(&["t-0"], PATIENT);
    assert_eq!(group.committed("t-0"), at(10));
    assert_eq!(group.committed_view("t-0", "v").and_then(|view| view.through), at(20));
    assert_eq!(group.committed_view("t-0", "bad").and_then(|view| view.through), at(10));
    // It comes back; the paused view gets no unit before it goes on, and holds the commit back all the same.
    host.member.assign(&["t-0"]);
    append(&group, "t-0", 21..=25);
    host.wait_marks("v", "t-0", 25);
    host.checkpoint();
    host.member.commit();
    assert_eq!(group.committed("t-0"), at(10));
    assert_eq!(group.committed_view("t-0", "v").and_then(|view| view.through), at(25));
    host.flow.swap_view(host.view("bad", &FakeComponent::identity(3))).unwrap();
    host.wait_marks("bad", "t-0", 25);
    assert_eq!(positions(&group, "bad", "t-0"), (1..=25).collect::<Vec<u64>>());
}

#[test]
fn a_drain_leaves_the_group_with_everything_committed() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    host.start("v");
    append(&group, "t-0", 1..=100);
    host.member.assign(&["t-0"]);
    host.wait_marks("v", "t-0", 100);
    assert!(host.flow.drain(LIMIT));
    assert_eq!(host.member.left.load(Ordering::SeqCst), 1);
    assert!(host.member.assigned().is_empty());
    assert_eq!(group.committed("t-0"), at(100));
}

#[test]
fn a_source_that_is_removed_leaves_its_group() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    host.start("v");
    host.member.assign(&["t-0"]);
    wait_until("it has begun", || host.marks("v").contains_key("t-0"));
    host.flow.stop_view("v", true);
    assert!(host.flow.wait_stopped("v", LIMIT));
    wait_until("nobody uses the source", || host.flow.remove_source(SOURCE).is_ok());
    assert_eq!(host.member.left.load(Ordering::SeqCst), 1);
}

#[test]
fn the_series_of_a_partition_vanish_with_it() {
    let group = MemoryGroup::new(&["t-0", "t-1"]);
    let host = Host::new(&group, 0);
    host.start("v");
    append(&group, "t-0", 1..=10);
    append(&group, "t-1", 1..=10);
    host.member.assign(&["t-0", "t-1"]);
    host.wait_marks("v", "t-0", 10);
    host.wait_marks("v", "t-1", 10);
    let lag = |partition: &str| format!("millrace_view_lag_events{{view=\"v\",partition=\"{partition}\"}} 0");
    let seconds = "millrace_view_lag_seconds{view=\"v\",partition=\"t-0\"} 0";
    wait_until("lag is measured", || {
        host.checkpoint();
        host.metrics().contains(&lag("t-0")) && host.metrics().contains(&lag("t-1"))
    });
    assert!(host.metrics().contains(seconds), "{}", host.metrics());
    host.member.revoke(&["t-0"], PATIENT);
    host.checkpoint();
    let shown = host.metrics();
    assert!(!shown.contains("t-0"), "{shown}");
    assert!(shown.contains("t-1"), "{shown}");
    // Behind: events, and the age of the last that was applied.
    host.store.gate.close();
    append(&group, "t-1", 11..=13);
    wait_until("it is behind", || {
        host.checkpoint();
        host.metrics().contains("millrace_view_lag_events{view=\"v\",partition=\"t-1\"} 3")
    });
    host.store.gate.open();
    host.wait_marks("v", "t-1", 13);
}

#[test]
fn a_view_that_waits_for_its_output_says_so() {
    let group = MemoryGroup::new(&["t-0"]);
    let settings = FlowSettings { waits_long: Duration::from_millis(1), ..settings() };
    let store = MemoryStore::traced(&Arc::new(Trace::default()));
    let host = Host::on(&group, 0, store, Fuse::never(), settings);
    host.start("v");
    host.member.assign(&["t-0"]);
    append(&group, "t-0", 1..=5);
    host.wait_marks("v", "t-0", 5);
    assert_eq!(host.flow.waiting(), []);
    host.output.gate.close();
    append(&group, "t-0", 6..=6);
    wait_until("it says so", || host.flow.waiting().iter().any(|waiting| waiting.what == "output"));
    let status = model::status::Overview::status(&*host.flow, "v").unwrap();
    let error = status.last_error.unwrap_or_default();
    assert!(error.contains("has waited for its output stream"), "{error}");
    host.output.gate.open();
    host.wait_marks("v", "t-0", 6);
    wait_until("it is over", || host.flow.waiting().is_empty());
    host.output.failures.fail_next(200, Disposition::Retry);
    append(&group, "t-0", 7..=7);
    wait_until("it says why", || {
        host.flow.waiting().iter().any(|waiting| waiting.reason.contains("a fake failure"))
    });
    host.wait_marks("v", "t-0", 7);
    wait_until("it is over", || host.flow.waiting().is_empty());
}

#[test]
fn a_partition_that_comes_back_keeps_its_generations() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    host.start("v");
    host.member.assign(&["t-0"]);
    append(&group, "t-0", 1..=10);
    host.wait_marks("v", "t-0", 10);
    host.member.revoke(&["t-0"], PATIENT);
    // Swapped while no partition is here: the new transform begins where the partition comes back.
    host.flow.swap_view(host.view("v", &FakeComponent::adding(2, 0))).unwrap();
    append(&group, "t-0", 11..=12);
    host.member.assign(&["t-0"]);
    host.wait_marks("v", "t-0", 12);
    let newest: Vec<_> = host.store.rows("v").into_iter().map(|(_, value, number)| (value, number)).collect();
    assert!(newest.contains(&(Some(12), 2)) && newest.contains(&(Some(10), 1)), "{newest:?}");
}

#[test]
fn partitions_named_twice_do_no_harm() {
    let group = MemoryGroup::new(&["t-0"]);
    let host = Host::new(&group, 0);
    host.start("v");
    append(&group, "t-0", 1..=10);
    host.member.assign(&["t-0"]);
    host.member.assign(&["t-0"]);
    host.wait_marks("v", "t-0", 10);
    host.member.revoke(&["t-0"], PATIENT);
    host.member.revoke(&["t-0"], PATIENT);
    host.member.lose(&["t-0"]);
    assert_eq!(positions(&group, "v", "t-0"), (1..=10).collect::<Vec<u64>>());
}
