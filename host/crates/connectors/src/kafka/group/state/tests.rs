//! What the group knows and commits, without a broker.

use super::*;

fn partition() -> Partition {
    Partition::new("ads-0")
}

/// A state that holds one partition, of which the group knows this.
fn holding(committed: Option<(u64, &str)>) -> State {
    let mut state = State::new();
    state.arrive(partition());
    state.learn(&partition(), 0, 4, committed);
    state
}

/// What would be committed now.
#[track_caller]
fn check(state: &State, expected: Option<(u64, &str)>) {
    let (commits, _, failures) = state.commits(false, |_| true);
    assert!(failures.is_empty(), "{failures:?}");
    let found = commits.first().map(|commit| (commit.offset, commit.metadata.as_str()));
    assert_eq!(found, expected);
}

/// The broker has everything.
fn confirm(state: &mut State) {
    let (commits, sent, _) = state.commits(false, |_| true);
    for commit in commits {
        state.confirm(&sent, &commit.partition, commit.offset);
    }
}

fn view(next: u64, epoch: u32) -> ViewOffset {
    ViewOffset { next, epoch }
}

#[test]
fn nothing_is_committed_before_there_is_an_offset() {
    let mut state = holding(None);
    check(&state, None);
    state.emitted("v", &partition(), 8);
    check(&state, None);
    assert!(!state.provable());
    state.release(&partition(), 5);
    check(&state, Some((5, "1;*=4;v=8")));
    assert_eq!(state.dirty(|_| true), (true, true), "the first commit does not wait");
    confirm(&mut state);
    check(&state, None);
    assert_eq!(state.dirty(|_| true), (false, false));
    state.release(&partition(), 6);
    assert_eq!(state.dirty(|_| true), (true, false));
}

#[test]
fn what_changed_since_a_commit_was_sent_is_committed_again() {
    let mut state = holding(Some((5, "1;*=4;v=5")));
    state.release(&partition(), 6);
    let (_, sent, _) = state.commits(false, |_| true);
    state.release(&partition(), 7);
    state.confirm(&sent, &partition(), 6);
    assert_eq!(state.kept("v", &partition()).group, through(6));
    check(&state, Some((7, "1;*=4;v=5")));
}

#[test]
fn offsets_never_go_back_but_by_a_rewind() {
    let mut state = holding(Some((5, "1;v=5")));
    state.release(&partition(), 4);
    state.emitted("v", &partition(), 4);
    check(&state, None);
    state.advance("v", &partition(), view(9, 0));
    assert!(state.rewind("v", &partition(), view(2, 1)).is_some());
    check(&state, Some((2, "1;*=4;v=2,1")));
    assert_eq!(state.rewind("v", &Partition::new("ads-9"), view(2, 1)), None);
}

#[test]
fn the_offset_of_exact_views_is_the_least_of_theirs() {
    let mut state = holding(Some((5, "1;a=7;b=9")));
    let commits = state.transaction("a", &[(partition(), 20)]).expect("is held");
    assert_eq!(
        (commits[0].offset, commits[0].metadata.as_str()),
        (5, "1;*=4;a=20;b=9"),
        "b is not known to be exact"
    );
    state.transacted("a", &[(partition(), 20)], &[5]);
    confirm(&mut state);
    let commits = state.transaction("b", &[(partition(), 12)]).expect("is held");
    assert_eq!((commits[0].offset, commits[0].metadata.as_str()), (12, "1;*=4;a=20;b=12"));
}

#[test]
fn a_transaction_in_doubt_stops_commits_until_the_truth_is_known() {
    let mut state = holding(Some((5, "1;*=4;exact=5;loose=5")));
    state.transaction("exact", &[(partition(), 9)]).expect("is held");
    state.emitted("loose", &partition(), 30);
    state.doubt([partition()].iter());
    check(&state, None);
    assert!(!state.provable());
    assert!(state.transaction("exact", &[(partition(), 9)]).is_err());
    state.relearn(&partition(), Some((5, "1;*=4;exact=9;loose=5")));
    check(&state, Some((5, "1;*=4;exact=9;loose=30")));
    state.doubt([partition()].iter());
    state.relearn(&partition(), Some((5, "1;*=4;exact=5;loose=5")));
    check(&state, Some((5, "1;*=4;exact=5;loose=30")));
}

#[test]
fn only_partitions_beyond_those_of_the_beginning_are_new() {
    let is_new = |number, begun, committed| {
        let mut state = State::new();
        state.arrive(partition());
        state.learn(&partition(), number, begun, committed);
        state.kept("v", &partition()).is_new
    };
    assert!(!is_new(3, 4, None));
    assert!(is_new(4, 4, None));
    assert!(!is_new(4, 4, Some((7, "1;*=4;w=7"))));
    assert!(!is_new(4, 4, Some((7, "1;*=4;v=7"))));
    assert!(is_new(4, 4, Some((7, "1;*=4;v=0"))), "a view that has nothing begins at the beginning");
    assert!(!is_new(0, 4, Some((7, "of another tool"))));
}

#[test]
fn partitions_are_held_only_with_a_young_lease() {
    let session = Duration::from_secs(60);
    let mut state = State::new();
    state.arrive(partition());
    state.lease = Some(Instant::now());
    assert!(!state.holds(&partition(), session), "the flow does not know it yet");
    state.learn(&partition(), 0, 1, None);
    assert!(state.holds(&partition(), session));
    assert!(!state.holds(&partition(), Duration::ZERO));
    state.lease = None;
    assert!(!state.holds(&partition(), session));
}
