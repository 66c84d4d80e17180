//! Sends commands to the nodes that hold their keys, and goes on until each has an answer or the time is over.
//!
//! In rounds: what is open is grouped by node and goes out to all nodes at the same time, in the order given. Redirects
//! are followed in the next round; what passes (a server that loads, slots on the move, another master) is sent again
//! after a pause. A command whose connection broke is sent again too, unless it says [`Keyed::once`]: it may then be done
//! twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use model::error::Failure;
use redis::{Cmd, Pipeline, RedisError, Value};

use super::error::{self, Trouble, failure_at};
use super::keyed::Keyed;
use super::layout;
use super::link::{Link, Unanswered};
use super::nodes::{Core, Nodes, SLOTS, WHOLE};
use super::script::Script;
use super::topology::Topology;

/// The first pause before a command is sent again; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(200);
/// Rounds of redirects that need no pause: more are nodes that send us to each other.
const QUICK_REDIRECTS: u32 = 4;

const DOING: &str = "run commands";

type Answer = Result<Value, Failure>;

impl Nodes {
    /// Runs commands, each at the master that holds its key, and answers in their order. Takes the time that an answer
    /// may take at most; afterwards what has no answer is a [`Failure::retry`], and may or may not have been done.
    ///
    /// Commands for one node are done in their order as long as nothing has to be sent again. Fails as a whole only if
    /// nothing could be sent. Works on any executor; dropping the future does not take back what was sent.
    pub async fn run(&self, commands: Vec<Keyed>) -> Result<Vec<Answer>, Failure> {
        let limit = self.core.connection().response_timeout;
        self.run_within(commands, limit).await
    }

    /// As [`Nodes::run`], with another limit.
    pub async fn run_within(&self, commands: Vec<Keyed>, wait: Duration) -> Result<Vec<Answer>, Failure> {
        let mut answers: Vec<Option<Answer>> = Vec::new();
        answers.resize_with(commands.len(), || None);
        let mut run = Run {
            core: &self.core,
            deadline: Instant::now() + wait,
            answers,
            redirects: 0,
            pause: FIRST_PAUSE,
        };
        let mut open: Vec<Open> =
            commands.into_iter().enumerate().map(|(index, keyed)| Open::new(index, keyed)).collect();
        while !open.is_empty() {
            open = run.round(open).await?;
        }
        Ok(run.answers.into_iter().map(|answer| answer.expect("each command ends with an answer")).collect())
    }
}

/// A command that has no answer yet.
struct Open {
    index: usize,
    keyed: Keyed,
    /// Whom to ask instead of the slot's owner, once.
    ask: Option<Arc<Link>>,
    /// Whether the node does not know the script.
    loads: bool,
    /// Why it is open still.
    why: Option<(Arc<str>, RedisError)>,
}

impl Open {
    fn new(index: usize, keyed: Keyed) -> Self {
        Self { index, keyed, ask: None, loads: false, why: None }
    }
}

/// What goes to one node in one round.
struct Parcel {
    link: Arc<Link>,
    commands: Pipeline,
    /// For each command of the pipeline whose it is; `None` = one that only prepares the next.
    sent: Vec<Option<Open>>,
    loaded: Vec<Arc<Script>>,
}

/// What the next round needs.
#[derive(Default)]
struct Next {
    open: Vec<Open>,
    moved: BTreeMap<u16, Arc<Link>>,
    asks: bool,
    /// Whether something was answered where it is not expected to be: by a node that has no slots of its own, or, of what
    /// is to be done once, by another than its slot's owner.
    strays: bool,
    looks: bool,
    pauses: bool,
}

struct Run<'a> {
    core: &'a Arc<Core>,
    deadline: Instant,
    answers: Vec<Option<Answer>>,
    redirects: u32,
    pause: Duration,
}

impl Run<'_> {
    /// Sends what is open, and returns what still is.
    async fn round(&mut self, open: Vec<Open>) -> Result<Vec<Open>, Failure> {
        let core = self.core;
        let seen = core.looks();
        let topology = match core.topology() {
            Some(topology) => topology,
            None => match core.look(seen, self.deadline).await {
                Ok(topology) => topology,
                Err(why) => {
                    if Instant::now() + self.pause < self.deadline && core.may_pass(&why) {
                        self.wait().await;
                        return Ok(open);
                    }
                    return Err(core.give_up(why));
                }
            },
        };
        let mut next = Next::default();
        let parcels = self.pack(open, &topology, &mut next);
        let deadline = self.deadline;
        let sending = parcels.into_iter().map(|parcel| async move {
            let answers = parcel.link.send(&core.lines, &parcel.commands, deadline).await;
            (parcel, answers)
        });
        for (parcel, answers) in join_all(sending).await {
            match answers {
                Ok(answers) => self.open_parcel(parcel, answers, &mut next),
                Err(why) => self.return_parcel(parcel, why, &mut next),
            }
        }
        self.prepare(next, seen).await
    }

    /// Groups commands by node.
    fn pack(&self, open: Vec<Open>, topology: &Topology, next: &mut Next) -> Vec<Parcel> {
        let mut parcels: Vec<Parcel> = Vec::with_capacity(topology.masters.len());
        for mut command in open {
            let ask = command.ask.take();
            let asks = ask.is_some();
            let Some(link) = ask.or_else(|| topology.link(command.keyed.slot).cloned()) else {
                let error = error::cluster_down(command.keyed.slot);
                command.why.get_or_insert((Arc::default(), error));
                next.looks = true;
                next.pauses = true;
                next.open.push(command);
                continue;
            };
            let known = parcels.iter().position(|parcel| Arc::ptr_eq(&parcel.link, &link));
            let place = known.unwrap_or_else(|| {
                parcels.push(Parcel {
                    link,
                    commands: Pipeline::new(),
                    sent: Vec::new(),
                    loaded: Vec::new(),
                });
                parcels.len() - 1
            });
            parcels[place].add(command, asks);
        }
        parcels
    }

    /// Takes a node's answers.
    fn open_parcel(&mut self, parcel: Parcel, answers: Vec<Value>, next: &mut Next) {
        let Parcel { link, commands, sent, .. } = parcel;
        let mut is_fine = false;
        let mut not_taught = None;
        for ((answer, command), sent) in answers.into_iter().zip(commands.cmd_iter()).zip(sent) {
            let Some(mut open) = sent else {
                if let Value::ServerError(refused) = answer {
                    not_taught = Some(RedisError::from(refused));
                }
                continue;
            };
            let Value::ServerError(refused) = answer else {
                is_fine = true;
                self.answers[open.index] = Some(Ok(answer));
                continue;
            };
            let mut error = RedisError::from(refused);
            if error::trouble(&error) == Trouble::NoScript
                && let Some(why) = &not_taught
            {
                error = why.clone();
            }
            let trouble = error::trouble(&error);
            let goes_on = match trouble {
                Trouble::Moved | Trouble::Ask if self.core.is_cluster() => {
                    match layout::redirect(error.redirect_node(), &link.address) {
                        Some((slot, address)) => {
                            let to = self.core.link(&address);
                            if trouble == Trouble::Moved {
                                next.moved.insert(slot, to);
                                next.looks = true;
                            } else {
                                next.asks = true;
                                next.strays |= open.keyed.is_once || !self.core.holds_slots(&to);
                                open.ask = Some(to);
                            }
                            true
                        }
                        None => false,
                    }
                }
                Trouble::Moved | Trouble::Ask => {
                    self.answers[open.index] = Some(Err(self.not_a_single_server(&link)));
                    continue;
                }
                Trouble::NoScript if open.keyed.script.is_some() => {
                    // Twice: somebody flushes scripts all the time.
                    next.pauses |= open.loads;
                    open.loads = true;
                    true
                }
                _ => {
                    next.pauses |= trouble.is_passing();
                    next.looks |= trouble.wants_look();
                    trouble.is_passing()
                }
            };
            is_fine |= trouble.is_redirect() || !(goes_on || trouble == Trouble::OutOfMemory);
            if goes_on {
                self.core.lines.metrics.again(trouble, 1);
                open.keyed.command = command.clone();
                open.why = Some((Arc::clone(&link.address), error));
                next.open.push(open);
            } else {
                let failure = failure_at(DOING, &self.core.connection().name, Some(&link.address), error);
                self.answers[open.index] = Some(Err(failure));
            }
        }
        if is_fine {
            self.core.presence.fine(&link.address);
            self.core.presence.fine(WHOLE);
        }
    }

    /// Takes back what a node did not answer.
    fn return_parcel(&mut self, parcel: Parcel, why: Unanswered, next: &mut Next) {
        let Parcel { link, commands, sent, .. } = parcel;
        let is_unknown = matches!(why, Unanswered::Unknown(_));
        let error = why.into_error();
        let trouble = error::trouble(&error);
        let again = matches!(trouble, Trouble::Cut | Trouble::Timeout) || trouble.is_passing();
        next.looks |= trouble.wants_look();
        next.pauses = true;
        if trouble.is_of_connection() {
            self.core.unlearn(&link);
        }
        if !again {
            self.core.trouble_at(&link.address, &error);
        }
        let mut count = 0;
        for (command, sent) in commands.cmd_iter().zip(sent) {
            let Some(mut open) = sent else { continue };
            if again && !(is_unknown && open.keyed.is_once) {
                count += 1;
                open.keyed.command = command.clone();
                open.why = Some((Arc::clone(&link.address), error.clone()));
                next.open.push(open);
            } else {
                let name = &self.core.connection().name;
                self.answers[open.index] =
                    Some(Err(failure_at(DOING, name, Some(&link.address), error.clone())));
            }
        }
        if count > 0 {
            self.core.lines.metrics.again(trouble, count);
        }
    }

    /// Does what the next round needs, or ends what is open if the time is over.
    async fn prepare(&mut self, next: Next, seen: u64) -> Result<Vec<Open>, Failure> {
        let Next { open, moved, asks, strays, looks, pauses } = next;
        let core = self.core;
        if !moved.is_empty() {
            core.learn(&moved);
        } else if strays {
            core.note_change();
        }
        if open.is_empty() {
            return Ok(open);
        }
        let is_redirected = asks || !moved.is_empty();
        self.redirects += u32::from(is_redirected);
        if pauses || self.redirects > QUICK_REDIRECTS {
            if Instant::now() + self.pause >= self.deadline {
                if looks {
                    // For those who come next.
                    self.look_in_background(seen);
                }
                self.end(open);
                return Ok(Vec::new());
            }
            self.wait().await;
        }
        if looks && is_redirected {
            // Redirects say enough for now.
            self.look_in_background(seen);
        } else if looks {
            // Without success the old picture is as good as any; it is asked again.
            let _ = core.look(seen, self.deadline).await;
        }
        Ok(open)
    }

    fn look_in_background(&self, seen: u64) {
        let core = Arc::clone(self.core);
        let deadline = core.look_limit();
        let runtime = core.lines.runtime.clone();
        drop(runtime.spawn(async move { core.look(seen, deadline).await.map(drop) }));
    }

    /// Ends what is open: the time is over.
    fn end(&mut self, open: Vec<Open>) {
        for open in open {
            let (address, error) = open.why.unwrap_or_else(|| (Arc::default(), error::timeout()));
            let trouble = error::trouble(&error);
            // The others say nothing about a node.
            if !trouble.is_redirect() && !matches!(trouble, Trouble::NoScript | Trouble::TryAgain) {
                match address.is_empty() {
                    true => self.core.presence.trouble(SLOTS, &error::words(&error)),
                    false => self.core.trouble_at(&address, &error),
                }
            }
            let address = (!address.is_empty()).then_some(&address);
            self.answers[open.index] =
                Some(Err(failure_at(DOING, &self.core.connection().name, address, error)));
        }
    }

    async fn wait(&mut self) {
        self.core.lines.pause(self.pause).await;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }

    fn not_a_single_server(&self, link: &Link) -> Failure {
        let (name, address) = (&self.core.connection().name, &link.address);
        Failure::stop(format!(
            "{DOING} in Redis at connection `{name}`: {address} is a node of a cluster; set `cluster: true`"
        ))
    }
}

impl Parcel {
    fn add(&mut self, mut open: Open, asks: bool) {
        if let Some(script) = open.keyed.script.as_ref().filter(|_| open.loads)
            && !self.loaded.iter().any(|loaded| Arc::ptr_eq(loaded, script))
        {
            self.commands.add_command(script.load());
            self.sent.push(None);
            self.loaded.push(Arc::clone(script));
        }
        if asks {
            self.commands.add_command(redis::cmd("ASKING"));
            self.sent.push(None);
        }
        self.commands.add_command(std::mem::replace(&mut open.keyed.command, Cmd::new()));
        self.sent.push(Some(open));
    }
}

impl Core {
    /// Whether looking again may help within one call: a server that comes up, another that takes over.
    fn may_pass(&self, why: &super::find::NotFound) -> bool {
        match why {
            super::find::NotFound::Redis(_, error) => {
                let trouble = error::trouble(error);
                trouble.is_passing() || matches!(trouble, Trouble::Cut | Trouble::Timeout)
            }
            super::find::NotFound::NoMaster(_) => true,
        }
    }
}
