//! One connection to a single server, and the requests on it: while Redis works on one, the next is encoded and sent.
//!
//! What one request looks like, and who waits for what:
//!
//! ```text
//! EVALSHA claim                 where the claim is asked for
//! EVALSHA batch …               the rows that are compared
//! WATCH claim, GET claim        ┐
//! MULTI, HSET, HSET, …          │ the rows that are not; the answer to GET is waited for before
//! EXEC (or DISCARD)             ┘
//! GETSET mark n
//! ```
//!
//! The answers of the request before are read between `HSET …` and `EXEC`, so Redis always has something to do. Those of the
//! script are read with the rest, where neither a claim nor rows that need one wait for them.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use model::error::Failure;
use model::position::RowVersion;
use redis::{RedisError, Value};

use super::answer::{self, Outcome};
use super::claim::ASK_AGAIN;
use super::common::Common;
use super::encode::{Buffers, Request};
use super::view::View;
use super::wire::append_command;
use super::work::Work;
use crate::online::redis::expiry::NOTHING_KNOWN;
use crate::online::redis::scripts;
use crate::redis::error::{Trouble, told, trouble};
use crate::redis::is_lost;

/// Under which name trouble with memory is noted.
const MEMORY: &str = "memory";

/// A connection, and what is known as long as it lasts.
pub(super) struct Pipe {
    connection: redis::Connection,
    /// Key of this writer's mark.
    mark_key: String,
    /// The last mark that was sent.
    sent: u64,
    /// The last mark that is known to stand in Redis.
    stands: u64,
    /// Of the request under way.
    flying: Option<Flying>,
    buffers: Buffers,
    requests: u64,
    /// Whether the server has forgotten our scripts.
    wants_scripts: bool,
}

struct Flying {
    /// The work's number.
    work: u64,
    request: Request,
    mark: u64,
    /// Whether the answers of the scripts are still to come.
    is_compared: bool,
    since: Instant,
}

/// Works in the order in which they came; the first has this number.
pub(super) struct Works {
    pub(super) first: u64,
    pub(super) queue: VecDeque<Work>,
}

impl Works {
    fn get(&mut self, number: u64) -> &mut Work {
        let index = usize::try_from(number - self.first).expect("a work is there as long as it has requests");
        &mut self.queue[index]
    }
}

impl Pipe {
    /// Over a connection whose marks were looked at: `mark` stands there, and `most` was the highest ever sent.
    pub(super) fn new(connection: redis::Connection, mark_key: String, mark: u64, most: u64) -> Self {
        Self {
            connection,
            mark_key,
            sent: most.max(mark),
            stands: mark,
            flying: None,
            buffers: Buffers::default(),
            requests: 0,
            wants_scripts: true,
        }
    }

    /// The connection, while nothing is under way.
    pub(super) fn idle(&mut self) -> Option<&mut redis::Connection> {
        self.flying.is_none().then_some(&mut self.connection)
    }

    /// The highest mark that was sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends the next request, or takes the answers of the last. Returns whether there was anything to do. An error is one
    /// of the connection; whatever is under way has an unknown end then.
    pub(super) fn step(
        &mut self,
        works: &mut Works,
        views: &mut HashMap<String, View>,
        common: &Common,
    ) -> Result<bool, RedisError> {
        if self.wants_scripts {
            if let Some(flying) = self.flying.take() {
                self.finish(flying, works, views, common)?;
            }
            self.load_scripts()?;
        }
        let next = works.queue.iter().position(Work::has_more);
        let Some(index) = next else {
            let Some(flying) = self.flying.take() else { return Ok(false) };
            self.finish(flying, works, views, common)?;
            return Ok(true);
        };
        let number = works.first + index as u64;
        let work = &mut works.queue[index];
        let Some(view) = views.get_mut(&work.view.name) else {
            work.failure =
                Some(Failure::stop(format!("write rows of view `{}`: it is not known", work.view.name)));
            return Ok(true);
        };
        let now = common.options.clock.now().0;
        let asks = view.claim.ask(Instant::now());
        self.requests += 1;
        let request = match self.buffers.encode(work, view, asks, self.requests, now) {
            Ok(request) => request,
            Err(failure) => {
                work.failure = Some(failure);
                view.lose_claim(Instant::now(), ASK_AGAIN);
                return Ok(true);
            }
        };
        if request.compared.is_empty() && request.blind.is_empty() && !asks {
            return Ok(true);
        }
        work.open += 1;
        self.sent += 1;
        work.mark = self.sent;
        let mut flying =
            Flying { work: number, request, mark: self.sent, is_compared: false, since: Instant::now() };
        let is_blind = !flying.request.blind.is_empty();
        if !is_blind {
            self.append_mark(flying.mark);
        }
        self.connection.send_packed_command(&self.buffers.out)?;
        if let Some(before) = self.flying.take() {
            self.finish(before, works, views, common)?;
        }
        if is_blind || asks {
            self.settle_compared(&mut flying, works, views, common)?;
        }
        if is_blind {
            let is_ours = self.check_claim(&flying, works, views)?;
            self.buffers.out.clear();
            append_command(&[if is_ours { b"EXEC" } else { b"DISCARD" }], &mut self.buffers.out);
            self.append_mark(flying.mark);
            self.connection.send_packed_command(&self.buffers.out)?;
        }
        self.flying = Some(flying);
        Ok(true)
    }

    fn append_mark(&mut self, mark: u64) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(mark).as_bytes();
        append_command(&[b"GETSET", self.mark_key.as_bytes(), digits], &mut self.buffers.out);
    }

    /// Takes the answers of the scripts.
    fn settle_compared(
        &mut self,
        flying: &mut Flying,
        works: &mut Works,
        views: &mut HashMap<String, View>,
        common: &Common,
    ) -> Result<(), RedisError> {
        flying.is_compared = true;
        let work = works.get(flying.work);
        let name = work.view.name.clone();
        let Some(view) = views.get_mut(&name) else { return Ok(()) };
        if flying.request.asks {
            match self.answer()? {
                Ok(Value::Int(1)) => view.claim.grant(),
                Ok(_) => view.lose_claim(Instant::now(), ASK_AGAIN),
                Err(error) => {
                    view.lose_claim(Instant::now(), ASK_AGAIN);
                    self.refused(error, flying, work, view, common)?;
                }
            }
        }
        if flying.request.compared.is_empty() {
            return Ok(());
        }
        match self.answer()? {
            Ok(answer) => take_compared(&answer, &flying.request, work, view),
            Err(error) => self.refused(error, flying, work, view, common),
        }
    }

    /// Whether the claim is ours as of `WATCH`.
    fn check_claim(
        &mut self,
        flying: &Flying,
        works: &mut Works,
        views: &mut HashMap<String, View>,
    ) -> Result<bool, RedisError> {
        let watched = self.answer()?;
        let claim = self.answer()?;
        let name = &works.get(flying.work).view.name;
        let Some(view) = views.get_mut(name) else { return Ok(false) };
        let is_ours = watched.is_ok()
            && view.claim.is_granted()
            && matches!(&claim, Ok(Value::BulkString(token)) if token == view.claim.token().as_bytes());
        if !is_ours && view.claim.is_granted() {
            tracing::debug!(view = name, "another host writes the view: its rows are compared from now on");
            view.lose_claim(Instant::now(), ASK_AGAIN);
        }
        Ok(is_ours)
    }

    /// Takes the rest of a request's answers.
    fn finish(
        &mut self,
        mut flying: Flying,
        works: &mut Works,
        views: &mut HashMap<String, View>,
        common: &Common,
    ) -> Result<(), RedisError> {
        if !flying.is_compared {
            self.settle_compared(&mut flying, works, views, common)?;
        }
        let blind = flying.request.blind.len();
        let mut refused = None;
        let mut is_void = false;
        if blind > 0 {
            // `MULTI` and each write say that they were heard.
            for _ in 0..=blind {
                if let Err(error) = self.answer()? {
                    refused.get_or_insert(error);
                }
            }
            match self.answer()? {
                Ok(Value::Array(answers)) => {
                    for answer in answers {
                        if let Err(error) = told(answer) {
                            refused.get_or_insert(error);
                        }
                    }
                }
                // `EXEC` was void, or it was `DISCARD`.
                Ok(_) => is_void = true,
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        let mark = self.answer()?;
        let work = works.get(flying.work);
        work.open -= 1;
        let name = work.view.name.clone();
        let Some(view) = views.get_mut(&name) else { return Ok(()) };
        if is_void && refused.is_none() {
            if view.claim.is_granted() {
                tracing::debug!(
                    view = name,
                    "another host writes the view: its rows are compared from now on"
                );
                view.lose_claim(Instant::now(), ASK_AGAIN);
            }
            work.again.extend_from_slice(&flying.request.blind);
        } else {
            view.metrics.claimed.inc_by(blind as u64);
        }
        if let Some(error) = refused {
            self.refused(error, &flying, work, view, common)?;
        }
        let before = match mark {
            Ok(Value::BulkString(digits)) => {
                std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok())
            }
            Ok(_) => None,
            Err(error) => {
                return self.refused(error, &flying, work, view, common);
            }
        };
        let before: u64 = before.unwrap_or(0);
        if before < self.stands {
            // Somebody took our place and lost what we had written, or it was emptied.
            common.notes.lose(&self.mark_key, before);
            return Err(std::io::Error::other("rows that were acknowledged are gone").into());
        }
        self.stands = flying.mark;
        if work.failure.is_none() {
            common.nodes.fine(MEMORY);
            common.nodes.metrics().write_seconds.observe(flying.since.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// The server has refused something. Errors that the connection does not outlive are returned.
    fn refused(
        &mut self,
        error: RedisError,
        flying: &Flying,
        work: &mut Work,
        view: &mut View,
        common: &Common,
    ) -> Result<(), RedisError> {
        let trouble = trouble(&error);
        if trouble == Trouble::NoScript {
            // Learned in `answer`: what was to be compared is sent again.
            for row in &flying.request.compared {
                if !work.again.contains(row) {
                    work.again.push(*row);
                }
            }
            self.wants_scripts = true;
            return Ok(());
        }
        // What was noted as written is not.
        view.known.clear();
        if is_lost(&error) {
            return Err(error);
        }
        if trouble == Trouble::OutOfMemory {
            common.nodes.trouble(MEMORY, "it has reached its `maxmemory`");
        }
        let doing = format!("write rows of view `{}`", view.name());
        work.failure.get_or_insert_with(|| common.nodes.failure(&doing, error));
        Ok(())
    }

    /// The next answer: outside, errors of the connection; inside, of the server.
    fn answer(&mut self) -> Result<Result<Value, RedisError>, RedisError> {
        match self.connection.recv_response() {
            Ok(value) => Ok(told(value)),
            Err(error) if is_of_server(&error) => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// Teaches the server our scripts.
    fn load_scripts(&mut self) -> Result<(), RedisError> {
        for script in [&*scripts::BATCH, &*scripts::CLAIM] {
            self.connection.send_packed_command(&script.load().get_packed_command())?;
            self.answer()??;
        }
        self.wants_scripts = false;
        Ok(())
    }
}

fn is_of_server(error: &RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(_) | redis::ErrorKind::Extension)
}

/// Takes what the script says of the rows that were compared.
fn take_compared(
    answer: &Value,
    request: &Request,
    work: &mut Work,
    view: &mut View,
) -> Result<(), RedisError> {
    let (stands, told) = answer::batch(answer)?;
    if !stands && !view.claim.token().is_empty() {
        view.lose_claim(Instant::now(), ASK_AGAIN);
    }
    let mut told = told.into_iter().peekable();
    // Rows that were not written.
    let mut late = 0;
    for (place, row) in request.compared.iter().enumerate() {
        let found = told.next_if(|told| told.row == place);
        let entity = work.entities[*row as usize];
        match found {
            Some(found) if found.outcome == Outcome::Late => {
                late += 1;
                if stands && let Some(held) = &found.held {
                    let held = (&held.version).into();
                    view.known.learn(entity, request.number, &held, NOTHING_KNOWN);
                }
                work.note_late(*row);
            }
            Some(found) if found.outcome == Outcome::Damaged => {
                late += 1;
                work.note_damaged(*row);
            }
            found => {
                if let Some(held) = found.as_ref().and_then(|found| found.held.as_ref()) {
                    work.note_replaced(*row, |replaced| held.version > RowVersion::from(*replaced));
                }
                if stands {
                    let version = work.version(*row);
                    let is_set = found.is_none_or(|found| found.outcome == Outcome::Taken);
                    let deadline = match work.is_deletion() {
                        false if is_set => view.lifetime.deadline(version.event_time, request.now),
                        false => view.lifetime.of_same(),
                        true => NOTHING_KNOWN,
                    };
                    view.known.learn(entity, request.number, &version, deadline);
                }
            }
        }
    }
    view.metrics.compared.inc_by(request.compared.len() as u64 - late);
    Ok(())
}
