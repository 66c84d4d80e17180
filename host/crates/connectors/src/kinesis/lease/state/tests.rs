//! Several hosts' states on one table in memory, with a clock that the test moves: what each host does, and when its
//! questions, answers and thoughts take place, is drawn at random.

use std::collections::BTreeMap;
use std::time::Duration;

use model::position::{Partition, Position};
use model::source::ViewProgress;
use proptest::prelude::*;

use super::*;
use crate::kinesis::lease::plan::Plan;
use crate::kinesis::lease::table::{Content, apply};

const DURATION: Duration = Duration::from_secs(10);
const BEAT: Duration = Duration::from_secs(1);
const VIEW: &str = "clicks";

impl std::ops::AddAssign<Duration> for Moment {
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

fn shard(number: usize, parents: &[usize]) -> Shard {
    let name = |number: &usize| format!("shardId-{number}");
    Shard {
        id: name(&number),
        parents: parents.iter().map(name).collect(),
        starting: "1".to_owned(),
        ending: None,
        hash_keys: (0, u128::MAX),
    }
}

fn partition(number: usize) -> Partition {
    Partition::new(format!("shardId-{number}"))
}

fn at(number: u64) -> Position {
    crate::kinesis::position::of_record(&(u128::from(number) + (1 << 64)).to_string(), 0).unwrap()
}

/// A host and what of it is under way.
struct Host {
    state: State,
    read: Option<Content>,
    /// Sent, and not done yet.
    sent: Option<(Plan, Moment)>,
    /// Done, and not answered yet.
    done: Option<(Plan, Vec<bool>, Moment)>,
    /// How far it is in each shard that its flow has.
    flow: BTreeMap<Partition, u64>,
}

struct World {
    now: Moment,
    table: Content,
    /// What the table was once.
    copy: Content,
    /// Tables so far, for their names.
    eras: usize,
    hosts: Vec<Host>,
    shards: usize,
    /// Hosts so far, for their names.
    born: usize,
    /// The greatest record of each shard that was emitted.
    emitted: BTreeMap<Partition, u64>,
    /// Emissions that had been made before.
    repeated: usize,
}

impl World {
    fn new(hosts: usize, shards: usize) -> Self {
        let mut world = Self {
            now: Moment::now(),
            table: Content::default(),
            copy: Content::default(),
            eras: 0,
            hosts: Vec::new(),
            shards,
            born: 0,
            emitted: BTreeMap::new(),
            repeated: 0,
        };
        for _ in 0..hosts {
            let host = world.bear();
            world.hosts.push(host);
        }
        world
    }

    fn bear(&mut self) -> Host {
        self.born += 1;
        let mut state = State::new(format!("host-{}", self.born), true, DURATION, BEAT);
        state.name((0..self.shards).map(|number| shard(number, &[])).collect());
        Host { state, read: None, sent: None, done: None, flow: BTreeMap::new() }
    }

    fn step(&mut self, step: &Step) {
        let count = self.hosts.len();
        match *step {
            Step::Wait(millis) => self.now += Duration::from_millis(millis),
            Step::Read(host) => self.hosts[host % count].read = Some(self.table.clone()),
            Step::Think(host) => self.think(host % count),
            Step::Do(host) => self.execute(host % count),
            Step::Answer(host) => self.answer(host % count),
            Step::LoseAnswer(host) => self.hosts[host % count].done = None,
            Step::Tell(host) => self.tell(host % count),
            Step::Work(host) => self.work(host % count),
            Step::Round(host) => self.round(host % count),
            Step::Crash(host) => self.hosts[host % count] = self.bear(),
            Step::Leave(host) => self.hosts[host % count].state.leaving = true,
            Step::Forget => self.set_back(BTreeMap::new()),
            Step::Open => {
                self.shards += 1;
                let shards: Vec<Shard> = (0..self.shards).map(|number| shard(number, &[])).collect();
                self.hosts.iter_mut().for_each(|host| host.state.name(shards.clone()));
            }
            Step::Copy => self.copy = self.table.clone(),
            Step::LoseLast(host) => {
                let rows = self.table.rows.clone();
                self.round(host % count);
                self.set_back(rows);
            }
            Step::SetBack => self.set_back(self.copy.rows.clone()),
            Step::Join => {
                let host = self.bear();
                self.hosts.push(host);
            }
            Step::All => (0..count).for_each(|host| self.round(host)),
        }
        self.check_holders();
    }

    /// The table is another one, with rows of earlier.
    fn set_back(&mut self, rows: BTreeMap<String, Row>) {
        self.eras += 1;
        self.table = Content { era: self.eras.to_string(), rows };
    }

    fn think(&mut self, host: usize) {
        let now = self.now;
        let host = &mut self.hosts[host];
        let (Some(content), None, None) = (host.read.take(), &host.sent, &host.done) else { return };
        host.state.expire(now);
        host.state.observe(content, now);
        host.sent = Some((host.state.plan(now), now));
    }

    fn execute(&mut self, host: usize) {
        let Some((plan, sent)) = self.hosts[host].sent.take() else { return };
        let is_same = plan.era == self.table.era;
        let changes = plan.changes.iter();
        let met = changes.map(|change| is_same && apply(&mut self.table.rows, change.clone())).collect();
        self.hosts[host].done = Some((plan, met, sent));
    }

    fn answer(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        let Some((plan, met, sent)) = host.done.take() else { return };
        host.state.settle(plan, &met, sent);
    }

    /// What the member thread does.
    fn tell(&mut self, host: usize) {
        let now = self.now;
        let host = &mut self.hosts[host];
        host.state.expire(now);
        if host.state.leaving {
            for held in host.state.held.values_mut() {
                held.phase = match held.phase {
                    Phase::Here => Phase::Leaving,
                    Phase::Arriving => Phase::Freed,
                    other => other,
                };
            }
        }
        for partition in host.state.in_phase(Phase::Lost) {
            host.flow.remove(&partition);
            host.state.forget(&partition);
        }
        for partition in host.state.in_phase(Phase::Leaving) {
            host.flow.remove(&partition);
            host.state.held.get_mut(&partition).unwrap().phase = Phase::Freed;
        }
        for partition in host.state.in_phase(Phase::Arriving) {
            host.state.held.get_mut(&partition).unwrap().phase = Phase::Here;
            let kept = host.state.kept(VIEW, &partition).unwrap();
            let through = kept.view.map_or(0, |through| (1..).find(|number| at(*number) == through).unwrap());
            host.flow.insert(partition, through);
        }
    }

    /// Emits one record of each shard, if the outputs allow.
    fn work(&mut self, host: usize) {
        let now = self.now;
        let host = &mut self.hosts[host];
        for (partition, through) in &mut host.flow {
            if !host.state.holds(partition, now) {
                continue;
            }
            *through += 1;
            let greatest = self.emitted.entry(partition.clone()).or_default();
            assert!(
                *through <= *greatest + 1,
                "{partition}: {through} was emitted behind {greatest}: records are lost"
            );
            self.repeated += usize::from(*through <= *greatest);
            *greatest = (*greatest).max(*through);
            host.state.emitted(VIEW, partition, at(*through));
            let progress = ViewProgress { through: Some(at(*through)), epoch: 0 };
            host.state.release(partition, Some(at(*through)), &[(VIEW.to_owned(), progress)].into());
        }
    }

    fn round(&mut self, host: usize) {
        self.hosts[host].sent = None;
        self.hosts[host].done = None;
        self.hosts[host].read = Some(self.table.clone());
        self.think(host);
        self.execute(host);
        self.answer(host);
        self.tell(host);
        self.work(host);
    }

    fn check_holders(&self) {
        for number in 0..self.shards {
            let partition = partition(number);
            let holders: Vec<&str> = self
                .hosts
                .iter()
                .filter(|host| host.state.holds(&partition, self.now))
                .map(|host| host.state.me.as_str())
                .collect();
            assert!(holders.len() <= 1, "{partition} is held by {holders:?}");
        }
    }

    /// All hosts that do not leave do their work for a while: then each shard has somebody, and all have the same.
    fn settle(&mut self) {
        for _ in 0..60 {
            self.now += BEAT;
            for host in 0..self.hosts.len() {
                self.round(host);
                self.check_holders();
            }
        }
        let hosts = self.hosts.iter().filter(|host| !host.state.leaving);
        let counts: Vec<usize> = hosts.map(|host| host.state.here().len()).collect();
        if counts.is_empty() {
            return;
        }
        assert_eq!(counts.iter().sum::<usize>(), self.shards, "{counts:?}");
        let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        assert!(most - least <= 1, "{counts:?}");
        assert!(self.hosts.iter().all(|host| !host.state.leaving || host.state.goodbye));
    }
}

/// What can happen. Hosts are drawn modulo how many there are.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Read(usize),
    Think(usize),
    Do(usize),
    Answer(usize),
    LoseAnswer(usize),
    Tell(usize),
    Work(usize),
    Round(usize),
    Crash(usize),
    Leave(usize),
    /// The table is emptied.
    Forget,
    /// A replica gets what the table is now, and later is the table.
    Copy,
    SetBack,
    /// So it does before it has what a host wrote last.
    LoseLast(usize),
    /// The stream has one more shard.
    Open,
    Join,
    All,
}

fn any_step() -> impl Strategy<Value = Step> {
    let host = || any::<usize>();
    prop_oneof![
        6 => (1..900_u64).prop_map(Step::Wait),
        1 => (900..20_000_u64).prop_map(Step::Wait),
        4 => host().prop_map(Step::Read),
        4 => host().prop_map(Step::Think),
        4 => host().prop_map(Step::Do),
        4 => host().prop_map(Step::Answer),
        1 => host().prop_map(Step::LoseAnswer),
        4 => host().prop_map(Step::Tell),
        4 => host().prop_map(Step::Work),
        12 => host().prop_map(Step::Round),
        1 => host().prop_map(Step::Crash),
        1 => host().prop_map(Step::Leave),
    ]
}

/// One host whose questions and answers are slow, and others that look each time they are asked to.
fn slow() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (100..4_000_u64).prop_map(Step::Wait),
        2 => Just(Step::Read(0)),
        2 => Just(Step::Think(0)),
        2 => Just(Step::Do(0)),
        2 => Just(Step::Answer(0)),
        1 => Just(Step::Tell(0)),
        1 => Just(Step::Work(0)),
        4 => (1..3_usize).prop_map(Step::Round),
    ]
}

/// Hosts that all look at the table each beat or so, and a table that forgets.
fn forgetful() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..400_u64).prop_map(Step::Wait),
        2 => Just(Step::All),
        8 => any::<usize>().prop_map(Step::Round),
        2 => any::<usize>().prop_map(Step::Work),
        2 => any::<usize>().prop_map(Step::Read),
        2 => any::<usize>().prop_map(Step::Think),
        2 => any::<usize>().prop_map(Step::Do),
        2 => any::<usize>().prop_map(Step::Answer),
        2 => Just(Step::Forget),
        3 => Just(Step::Open),
    ]
}

fn run(hosts: usize, shards: usize, steps: &[Step]) {
    let mut world = World::new(hosts, shards);
    steps.iter().for_each(|step| world.step(step));
    world.settle();
}

/// As [`run`], where each host looks at the table once a beat at least.
fn run_in_beats(steps: &[Step]) {
    let mut world = World::new(3, 2);
    world.step(&Step::All);
    let mut looked = world.now;
    for step in steps {
        world.step(step);
        if world.now.since(looked) >= BEAT {
            world.step(&Step::All);
            looked = world.now;
        }
    }
    world.settle();
}

proptest! {
    #![proptest_config(crate::kinesis::testing::cases(150))]

    #[test]
    fn a_shard_has_one_holder_and_no_record_is_lost(
        hosts in 1..5_usize,
        shards in 1..8_usize,
        steps in prop::collection::vec(any_step(), 0..250),
    ) {
        run(hosts, shards, &steps);
    }

    #[test]
    fn so_it_is_where_the_table_is_emptied(
        steps in prop::collection::vec(
            prop_oneof![40 => forgetful(), 1 => Just(Step::Join), 1 => any::<usize>().prop_map(Step::Leave)],
            0..150,
        ),
    ) {
        run_in_beats(&steps);
    }

    /// A new host cannot know that what is free in a table was taken in an earlier one: here all have looked before.
    #[test]
    fn so_it_is_where_the_table_is_set_back(
        steps in prop::collection::vec(
            prop_oneof![
                100 => forgetful(),
                10 => Just(Step::Copy),
                5 => Just(Step::SetBack),
                10 => any::<usize>().prop_map(Step::LoseLast),
                1 => any::<usize>().prop_map(Step::Leave),
            ],
            0..150,
        ),
    ) {
        run_in_beats(&steps);
    }

    #[test]
    fn so_it_is_where_questions_and_answers_are_slow(
        hosts in 2..4_usize,
        shards in 1..3_usize,
        steps in prop::collection::vec(slow(), 0..150),
    ) {
        run(hosts, shards, &steps);
    }
}

#[test]
fn leases_survive_a_table_that_forgets() {
    let mut world = World::new(2, 4);
    world.settle();
    let before: Vec<_> = world.hosts.iter().map(|host| host.state.here()).collect();
    world.step(&Step::Forget);
    world.settle();
    let after: Vec<_> = world.hosts.iter().map(|host| host.state.here()).collect();
    assert_eq!(before, after);
    assert_eq!(world.repeated, 0);
}

#[test]
fn what_was_taken_for_the_first_time_is_not_taken_twice_if_the_table_is_emptied() {
    let mut world = World::new(2, 1);
    // Long enough for both to know that nobody has it.
    for _ in 0..4 {
        for step in [Step::Read(0), Step::Think(0), Step::Read(1), Step::Think(1)] {
            world.step(&step);
        }
        world.hosts.iter_mut().for_each(|host| host.sent = None);
        world.now += BEAT;
    }
    world.round(0);
    assert_eq!(world.hosts[0].state.here(), [partition(0)]);
    // The other one has not looked since.
    world.step(&Step::Forget);
    world.round(1);
    world.check_holders();
    assert!(world.hosts[1].state.here().is_empty());
    world.settle();
    assert_eq!(world.repeated, 0);
}

#[test]
fn leases_move_without_repeating_anything() {
    let mut world = World::new(1, 9);
    world.settle();
    for _ in 0..3 {
        let host = world.bear();
        world.hosts.push(host);
        world.settle();
    }
    world.step(&Step::Leave(1));
    world.step(&Step::Leave(0));
    world.settle();
    assert_eq!(world.repeated, 0);
}

#[test]
fn a_dead_host_s_shards_are_taken_once_its_leases_have_run_out() {
    let mut world = World::new(2, 2);
    world.settle();
    world.hosts.remove(0);
    let began = world.now;
    while world.hosts[0].state.here().len() < 2 {
        world.now += BEAT / 2;
        world.round(0);
    }
    let took = world.now.since(began);
    assert!(took >= DURATION - BEAT && took <= DURATION + 2 * BEAT, "{took:?}");
}

#[test]
fn a_host_that_slept_holds_nothing_when_it_wakes() {
    let mut world = World::new(2, 2);
    world.settle();
    let slept = world.hosts[0].state.here();
    for _ in 0..13 {
        world.now += BEAT;
        world.round(1);
        world.check_holders();
    }
    assert_eq!(world.hosts[1].state.here().len(), 2);
    assert!(!world.hosts[0].state.holds(&slept[0], world.now));
    world.tell(0);
    assert!(world.hosts[0].flow.is_empty(), "the flow was told");
}

#[test]
fn a_lease_that_nobody_took_goes_on_from_what_was_done() {
    let mut world = World::new(1, 1);
    world.settle();
    // Emitted, and not written before the table went away for longer than the lease.
    world.work(0);
    world.now += 2 * DURATION;
    world.tell(0);
    assert!(world.hosts[0].flow.is_empty());
    world.settle();
    assert_eq!(world.repeated, 0);
}

fn alone(shards: Vec<Shard>) -> State {
    let mut state = State::new("a".to_owned(), false, DURATION, BEAT);
    state.name(shards);
    state
}

/// One round of a host that is alone with the table.
fn turn(state: &mut State, rows: &mut BTreeMap<String, Row>, now: Moment) {
    state.observe(Content { era: String::new(), rows: rows.clone() }, now);
    let plan = state.plan(now);
    let met: Vec<bool> = plan.changes.iter().map(|change| apply(rows, change.clone())).collect();
    state.settle(plan, &met, now);
    for held in state.held.values_mut() {
        held.phase = match held.phase {
            Phase::Arriving => Phase::Here,
            Phase::Leaving => Phase::Freed,
            other => other,
        };
    }
}

fn released(through: Position) -> BTreeMap<String, ViewProgress> {
    [(VIEW.to_owned(), ViewProgress { through: Some(through), epoch: 0 })].into()
}

#[test]
fn children_wait_for_their_parents_and_are_new_to_whom_the_parents_knew() {
    let now = Moment::now();
    let mut rows = BTreeMap::new();
    let mut state = alone(vec![shard(0, &[]), shard(1, &[0]), shard(2, &[1, 9])]);
    turn(&mut state, &mut rows, now);
    assert_eq!(state.here().len(), 3);
    let may = |state: &State| [0, 1, 2].map(|number| state.may_read(&partition(number)));
    assert_eq!(may(&state), [true, false, false]);
    assert!(!state.kept(VIEW, &partition(1)).unwrap().is_new);

    state.release(&partition(0), Some(at(7)), &released(at(7)));
    assert_eq!(state.kept(VIEW, &partition(0)).unwrap().group, None, "not written yet");
    turn(&mut state, &mut rows, now);
    let kept = state.kept(VIEW, &partition(0)).unwrap();
    assert_eq!((kept.group, kept.view, kept.is_new), (Some(at(7)), Some(at(7)), false));
    assert!(state.kept(VIEW, &partition(1)).unwrap().is_new);
    assert!(!state.kept("other", &partition(1)).unwrap().is_new);
    assert!(!state.kept(VIEW, &partition(2)).unwrap().is_new, "its own parents know nothing yet");

    let end = crate::kinesis::position::end();
    state.release(&partition(0), Some(end), &released(end));
    assert_eq!(may(&state), [true, false, false], "not written yet");
    turn(&mut state, &mut rows, now);
    assert_eq!(may(&state), [true, true, false]);

    let back = ViewProgress { through: Some(at(3)), epoch: 1 };
    assert!(state.rewind(VIEW, &partition(0), back).is_some());
    assert_eq!(may(&state), [true, false, false]);
    turn(&mut state, &mut rows, now);
    assert_eq!(state.kept(VIEW, &partition(0)).unwrap().epoch, 1);
    assert_eq!(may(&state), [true, false, false]);
    // The stream has dropped the parent: nobody waits for it any more.
    state.name(vec![shard(1, &[0]), shard(2, &[1, 9])]);
    state.name(vec![shard(1, &[0]), shard(2, &[1, 9])]);
    assert_eq!(may(&state), [false, true, false]);
}

#[test]
fn a_shard_that_is_named_no_more_goes_and_its_row_later() {
    let now = Moment::now();
    let mut rows = BTreeMap::new();
    let mut state = alone(vec![shard(0, &[]), shard(1, &[0])]);
    turn(&mut state, &mut rows, now);
    let after = vec![shard(1, &[0])];
    state.name(after.clone());
    turn(&mut state, &mut rows, now);
    assert_eq!(state.here().len(), 2, "one list may be wrong");
    state.name(after);
    turn(&mut state, &mut rows, now);
    assert_eq!(state.in_phase(Phase::Freed), [partition(0)]);
    turn(&mut state, &mut rows, now);
    assert_eq!(state.here(), [partition(1)]);
    let later = now + Duration::from_secs(3600);
    turn(&mut state, &mut rows, later);
    assert_eq!(rows.len(), 2, "a child may ask which views its parent knew");
    state.name(vec![shard(2, &[])]);
    state.name(vec![shard(2, &[])]);
    for _ in 0..3 {
        turn(&mut state, &mut rows, later);
    }
    assert_eq!(rows.len(), 3);
    turn(&mut state, &mut rows, later + Duration::from_secs(3600));
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["shardId-2"]);
}

#[test]
fn a_stream_that_was_made_anew_begins_anew() {
    let now = Moment::now();
    let mut rows = BTreeMap::new();
    let mut state = alone(vec![shard(0, &[])]);
    turn(&mut state, &mut rows, now);
    let end = crate::kinesis::position::end();
    state.release(&partition(0), Some(end), &released(end));
    turn(&mut state, &mut rows, now);
    assert!(state.is_finished(&partition(0)));

    let mut state = alone(vec![Shard { starting: "2".to_owned(), ..shard(0, &[]) }]);
    turn(&mut state, &mut rows, now);
    assert!(!state.is_finished(&partition(0)));
    let kept = state.kept(VIEW, &partition(0)).unwrap();
    assert_eq!((kept.group, kept.view, kept.is_new), (None, None, true));
}

#[test]
fn a_shard_whose_end_was_reached_has_one_or_the_stream_was_made_anew() {
    let now = Moment::now();
    let mut rows = BTreeMap::new();
    let mut state = alone(vec![shard(0, &[]), shard(1, &[])]);
    turn(&mut state, &mut rows, now);
    let check = |state: &mut State, number: usize, after: u64, expected: Option<u64>| {
        let since = state.has_no_end_since(&partition(number), now + Duration::from_secs(after));
        assert_eq!(since, expected.map(Duration::from_secs));
    };
    assert!(!state.is_in_hurry(now));
    check(&mut state, 0, 0, Some(0));
    assert!(state.is_in_hurry(now), "the list may be old");
    check(&mut state, 0, 20, Some(20));
    // A list that names its end, or a child.
    state.name(vec![Shard { ending: Some("9".to_owned()), ..shard(0, &[]) }, shard(1, &[])]);
    assert!(!state.is_in_hurry(now));
    check(&mut state, 0, 30, None);
    state.name(vec![shard(0, &[]), shard(1, &[]), shard(2, &[0])]);
    check(&mut state, 0, 30, None);
    // Somebody has written that it ended, or has seen it here.
    let end = crate::kinesis::position::end();
    check(&mut state, 1, 40, Some(0));
    state.release(&partition(1), Some(at(1)), &released(end));
    check(&mut state, 1, 50, None);
    turn(&mut state, &mut rows, now);
    check(&mut state, 2, 60, Some(0));
    state.end_reached(&partition(2), now);
    check(&mut state, 2, 70, None);
    // What was written of an earlier stream does not count for a later one.
    let mut state = alone(vec![Shard { starting: "2".to_owned(), ..shard(1, &[]) }]);
    turn(&mut state, &mut rows, now);
    check(&mut state, 1, 80, Some(0));
    check(&mut state, 9, 80, None);
}

#[test]
fn a_view_that_began_at_a_time_takes_of_children_what_came_from_then_on() {
    let now = Moment::now();
    let mut rows = BTreeMap::new();
    let end = crate::kinesis::position::end();
    let from = crate::kinesis::position::from_time;
    let mut state = alone(vec![shard(0, &[]), shard(1, &[]), shard(2, &[0]), shard(3, &[0, 1])]);
    turn(&mut state, &mut rows, now);
    let check = |state: &State, number: usize, view: Option<Position>, is_new: bool| {
        let kept = state.kept(VIEW, &partition(number)).unwrap();
        assert_eq!((kept.view, kept.is_new), (view, is_new), "{number}");
    };
    check(&state, 2, None, false);
    // Another host begins the view in the parent, which has ended long ago.
    state.release(&partition(0), Some(end), &released(from(70)));
    check(&state, 2, Some(from(70)), false);
    check(&state, 3, Some(from(70)), false);
    state.release(&partition(0), Some(end), &released(end));
    check(&state, 2, Some(from(70)), false);
    state.release(&partition(1), Some(from(50)), &released(from(50)));
    check(&state, 3, Some(from(50)), false);
    // What it has taken from a record on, or from the beginning, it takes all of.
    let back = |through| ViewProgress { through, epoch: 1 };
    assert!(state.rewind(VIEW, &partition(1), back(Some(at(3)))).is_some());
    check(&state, 3, None, true);
    check(&state, 2, Some(from(70)), false);
    assert!(state.rewind(VIEW, &partition(0), back(None)).is_some());
    check(&state, 2, None, true);
    // And so in the children of children.
    state.release(&partition(2), Some(from(90)), &released(from(90)));
    state.name(vec![shard(2, &[0]), shard(4, &[2])]);
    turn(&mut state, &mut rows, now);
    check(&state, 4, Some(from(90)), false);
    assert_eq!(state.kept("other", &partition(4)).unwrap(), Kept::default());
}

#[test]
fn children_are_looked_for_in_a_hurry() {
    let now = Moment::now();
    let mut state = alone(vec![shard(0, &[])]);
    assert!(!state.is_in_hurry(now));
    assert!(state.end_reached(&partition(0), now));
    assert!(!state.end_reached(&partition(0), now), "once is enough");
    assert!(state.is_in_hurry(now));
    assert!(!state.is_in_hurry(now + HURRY));
    state.name(vec![shard(0, &[]), shard(1, &[0])]);
    assert!(!state.is_in_hurry(now));
    assert!(!state.end_reached(&partition(0), now));
}

#[test]
fn a_table_that_is_set_back_is_written_again() {
    let mut world = World::new(2, 4);
    world.settle();
    let before: Vec<_> = world.hosts.iter().map(|host| host.state.here()).collect();
    let rows = world.table.rows.clone();
    for host in [0, 1, 0, 1] {
        world.now += BEAT;
        world.round(host);
    }
    // A replica took over that lacked the last writes.
    world.table.rows = rows;
    world.round(0);
    world.round(1);
    let written = |partition: &Partition| world.table.rows[partition.as_str()].progress.views[VIEW].through;
    for (partition, through) in &world.emitted {
        // One more was emitted behind the last write.
        assert_eq!(written(partition), Some(at(through - 1)));
    }
    world.settle();
    let after: Vec<_> = world.hosts.iter().map(|host| host.state.here()).collect();
    assert_eq!(before, after);
    assert_eq!(world.repeated, 0);
}

#[test]
fn a_view_of_a_later_epoch_sets_the_group_back() {
    let now = Moment::now();
    let mut rows = BTreeMap::new();
    let mut state = alone(vec![shard(0, &[])]);
    turn(&mut state, &mut rows, now);
    let views = |through, epoch| -> BTreeMap<String, ViewProgress> {
        [(VIEW.to_owned(), ViewProgress { through: Some(at(through)), epoch })].into()
    };
    let mut check = |through, epoch, group, view| {
        state.release(&partition(0), Some(at(through)), &views(through, epoch));
        turn(&mut state, &mut rows, now);
        let kept = state.kept(VIEW, &partition(0)).unwrap();
        assert_eq!((kept.group, kept.view), (Some(at(group)), Some(at(view))), "{through} {epoch}");
    };
    check(9, 0, 9, 9);
    check(7, 0, 9, 9);
    check(4, 1, 4, 4);
    check(9, 0, 9, 4);
    check(6, 1, 9, 6);
}

#[test]
fn a_view_that_was_rewound_to_the_beginning_sets_everything_back() {
    let now = Moment::now();
    let mut rows = BTreeMap::new();
    let mut state = alone(vec![shard(0, &[])]);
    turn(&mut state, &mut rows, now);
    let end = crate::kinesis::position::end();
    let mut views = released(end);
    views.insert("other".to_owned(), ViewProgress { through: Some(end), epoch: 0 });
    state.release(&partition(0), Some(end), &views);
    turn(&mut state, &mut rows, now);
    assert!(state.is_finished(&partition(0)));
    views.insert(VIEW.to_owned(), ViewProgress { through: None, epoch: 1 });
    state.release(&partition(0), None, &views);
    turn(&mut state, &mut rows, now);
    assert!(!state.is_finished(&partition(0)));
    let kept = state.kept(VIEW, &partition(0)).unwrap();
    assert_eq!((kept.group, kept.view, kept.epoch, kept.is_new), (None, None, 1, true));
    let kept = state.kept("other", &partition(0)).unwrap();
    assert_eq!((kept.view, kept.epoch), (Some(end), 0));
}

#[test]
fn a_lease_counts_from_the_question_and_not_from_its_answer() {
    let mut world = World::new(2, 1);
    world.settle();
    let (owner, other) = if world.hosts[0].state.here().is_empty() { (1, 0) } else { (0, 1) };
    world.now += DURATION / 2;
    for step in [Step::Read(owner), Step::Think(owner), Step::Do(owner), Step::Round(other)] {
        world.step(&step);
    }
    world.step(&Step::Wait(5_000));
    world.step(&Step::Answer(owner));
    assert_eq!(world.hosts[owner].state.here(), [partition(0)]);
    for _ in 0..70 {
        world.step(&Step::Wait(100));
        world.step(&Step::Round(other));
    }
    assert_eq!(world.hosts[other].state.here(), [partition(0)]);
}
