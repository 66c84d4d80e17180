//! Views whose rows are in a store that all hosts of their source share.

use pipeline::setup::ViewSetup;
use testkit::fake::component::FakeComponent;
use testkit::fake::group::MemoryGroup;

use crate::hosts::{Host, PATIENT, append, positions};

/// Events that a host takes of a partition that was another host's in between. Both take 50 that are theirs alone.
#[track_caller]
fn check_taken(rows_are_shared: bool, parallel_emit: bool, expected: u64) {
    let group = MemoryGroup::new(&["t-0"]);
    let (one, other) = (Host::new(&group, 0), Host::new(&group, 1));
    for host in [&one, &other] {
        let setup = host.view("v", &FakeComponent::identity(1));
        host.flow.start_view(ViewSetup { rows_are_shared, parallel_emit, ..setup }).unwrap();
    }
    append(&group, "t-0", 1..=50);
    one.member.assign(&["t-0"]);
    one.wait_marks("v", "t-0", 50);
    one.member.revoke(&["t-0"], PATIENT);
    append(&group, "t-0", 51..=100);
    other.member.assign(&["t-0"]);
    other.wait_marks("v", "t-0", 100);
    other.member.revoke(&["t-0"], PATIENT);
    one.member.assign(&["t-0"]);
    one.wait_marks("v", "t-0", 100);
    append(&group, "t-0", [101]);
    one.wait_marks("v", "t-0", 101);
    assert_eq!(positions(&group, "v", "t-0"), (1..=101).collect::<Vec<u64>>());
    let taken = format!("millrace_view_rows_in_total{{view=\"v\"}} {expected}\n");
    assert!(one.metrics().contains(&taken), "not {taken}: {}", one.metrics());
}

#[test]
fn what_another_host_has_written_is_not_taken_again() {
    check_taken(true, false, 51);
}

#[test]
fn with_parallel_emission_what_every_sink_of_the_other_host_has_is_not_taken_again() {
    check_taken(true, true, 51);
}

#[test]
fn rows_of_a_store_of_its_own_are_taken_again() {
    check_taken(false, false, 101);
}
