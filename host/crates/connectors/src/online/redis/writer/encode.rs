//! Rows → commands: the hot path of the store. One buffer for each request, nothing allocated for a row.

use model::error::Failure;

use super::claim::QUIET_SECONDS;
use super::known::Look;
use super::view::View;
use super::wire::{append_bulk, append_command, append_length, append_number};
use super::work::{Content, Work};
use crate::online::redis::expiry::Lifetime;
use crate::online::redis::layout::{ValueColumn, append_timestamp};
use crate::online::redis::scripts;

/// Rows of one request: for as long as they are written, Redis answers nobody else.
const MOST_ROWS: usize = 512;
/// And bytes of one request.
const MOST_BYTES: usize = 256 << 10;

/// What was encoded.
pub(super) struct Request {
    /// Names it among those of one writer; rises.
    pub(super) number: u64,
    /// Whether it asks for the claim.
    pub(super) asks: bool,
    /// Rows that one call of the script compares, in its order.
    pub(super) compared: Vec<u32>,
    /// Rows that are written without looking, in a transaction that is void if the claim is not ours.
    pub(super) blind: Vec<u32>,
    /// What the clock said, in microseconds: deadlines come from it.
    pub(super) now: i64,
}

/// Buffers that are used again and again.
#[derive(Default)]
pub(super) struct Buffers {
    /// The whole request, up to the point where it needs to be known that the claim stands.
    pub(super) out: Vec<u8>,
    keys: Vec<u8>,
    arguments: Vec<u8>,
    told: Vec<u8>,
    writes: Vec<u8>,
    scratch: Vec<u8>,
    /// The least event time of the rows that are compared, in microseconds.
    least: i64,
}

impl Buffers {
    /// Encodes the next rows of a work. Decides for each which way it goes, and notes what will be held.
    pub(super) fn encode(
        &mut self,
        work: &mut Work,
        view: &mut View,
        asks: bool,
        number: u64,
        now: i64,
    ) -> Result<Request, Failure> {
        let mut request = Request { number, asks, compared: Vec::new(), blind: Vec::new(), now };
        for buffer in [&mut self.out, &mut self.keys, &mut self.arguments, &mut self.told, &mut self.writes] {
            buffer.clear();
        }
        self.least = i64::MAX;
        let content = match &work.content {
            Content::Rows(batch) => Some(std::sync::Arc::clone(batch)),
            Content::Deletion(_) => None,
        };
        let shape = std::sync::Arc::clone(&view.shape);
        let columns = match &content {
            Some(batch) => shape
                .features
                .iter()
                .zip(&batch.rows.columns()[shape.keys.len()..])
                .map(|(feature, column)| ValueColumn::new(feature, column))
                .collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        let partition = view.known.partition(work.partition());
        // What is done again goes by itself, and first.
        let is_again = !work.again.is_empty();
        let is_claimed = view.claim.is_granted() && !is_again;
        let awaits = !view.claim.token().is_empty();
        let mut told = 0;
        for _ in 0..MOST_ROWS {
            if self.keys.len() + self.arguments.len() + self.writes.len() >= MOST_BYTES {
                break;
            }
            let next = if is_again { work.again.pop() } else { work.collapsed.rows.get(work.sent).copied() };
            let Some(row) = next else { break };
            work.sent += usize::from(!is_again);
            let entity = work.entities[row as usize];
            let version = work.version(row);
            if is_claimed && !work.is_deletion() {
                match view.known.look(entity, &version, partition) {
                    Look::Known(std::cmp::Ordering::Greater, _) => {
                        work.note_late(row);
                        continue;
                    }
                    Look::Known(_, deadline) if view.lifetime.suffices(deadline, version.event_time, now) => {
                        let known = &mut view.known;
                        let late: Vec<u32> = work
                            .collapsed
                            .replaced_by(row)
                            .filter(|replaced| {
                                let version = work.version(*replaced);
                                matches!(
                                    known.look(entity, &version, partition),
                                    Look::Known(std::cmp::Ordering::Greater, _)
                                )
                            })
                            .collect();
                        view.known.replace(entity, &version, partition);
                        self.append_write(view, &columns, work, row);
                        work.late.extend(late);
                        request.blind.push(row);
                        continue;
                    }
                    Look::Known(..) | Look::Unknown => {}
                }
            }
            if awaits {
                view.known.await_answer(entity, number);
            }
            self.append_compared(view, &columns, work, row, now);
            request.compared.push(row);
            if work.collapsed.replaced_by(row).next().is_some() {
                told += 1;
                append_number(request.compared.len(), &mut self.told);
            }
        }
        self.assemble(view, &request, work.is_deletion(), told);
        Ok(request)
    }

    /// `HSET`, whole.
    fn append_write(&mut self, view: &View, columns: &[ValueColumn<'_>], work: &Work, row: u32) {
        let out = &mut self.writes;
        append_length(b'*', 6 + 2 * columns.len(), out);
        out.extend_from_slice(b"$4\r\nHSET\r\n");
        append_bulk(work.keys.get(row as usize), out);
        let version = work.version(row);
        out.extend_from_slice(&view.version_bulk);
        self.scratch.clear();
        version.append(false, &mut self.scratch);
        append_bulk(&self.scratch, out);
        out.extend_from_slice(&view.time_bulk);
        self.scratch.clear();
        append_timestamp(version.event_time, &mut self.scratch);
        append_bulk(&self.scratch, out);
        for (field, column) in view.feature_bulks.iter().zip(columns) {
            out.extend_from_slice(field);
            column.append_bulk(row as usize, out);
        }
    }

    /// The arguments of one row of the script: version, time, deadline if rows have one, features.
    fn append_compared(&mut self, view: &View, columns: &[ValueColumn<'_>], work: &Work, row: u32, now: i64) {
        append_bulk(work.keys.get(row as usize), &mut self.keys);
        self.least = self.least.min(work.version(row).event_time);
        append_row(view, columns, work, row, now, &mut self.scratch, &mut self.arguments);
    }

    /// Puts the parts of the request together.
    fn assemble(&mut self, view: &View, request: &Request, is_deletion: bool, told: usize) {
        let Self { out, keys, arguments, told: told_rows, writes, least, .. } = self;
        let (claim, writers) = (view.claim_key.as_bytes(), view.writers_key.as_bytes());
        let (token, instance) = (view.claim.token().as_bytes(), view.claim.instance().as_bytes());
        if request.asks {
            let (hash, mut quiet) = (scripts::CLAIM.hash().as_bytes(), itoa::Buffer::new());
            let quiet = quiet.format(QUIET_SECONDS).as_bytes();
            append_command(&[b"EVALSHA", hash, b"2", claim, writers, token, instance, quiet], out);
        }
        if !request.compared.is_empty() {
            let features = view.feature_bulks.len();
            let width = features + 2 + usize::from(view.lifetime.is_limited());
            let rows = request.compared.len();
            append_length(b'*', 3 + 3 + rows + 9 + features + told + rows * width, out);
            append_bulk(b"EVALSHA", out);
            append_bulk(scripts::BATCH.hash().as_bytes(), out);
            append_number(3 + rows, out);
            append_bulk(claim, out);
            append_bulk(writers, out);
            append_bulk(view.history_key.as_bytes(), out);
            out.extend_from_slice(keys);
            append_bulk(token, out);
            append_bulk(instance, out);
            out.extend_from_slice(&view.version_bulk);
            out.extend_from_slice(&view.time_bulk);
            append_bulk(if view.lifetime.is_limited() { b"1" } else { b"0" }, out);
            append_bulk(if is_deletion { b"1" } else { b"0" }, out);
            append_number(least.div_euclid(1_000_000), out);
            append_number(features, out);
            append_number(told, out);
            view.feature_bulks.iter().for_each(|field| out.extend_from_slice(field));
            out.extend_from_slice(told_rows);
            out.extend_from_slice(arguments);
        }
        if !request.blind.is_empty() {
            append_command(&[b"WATCH", claim], out);
            append_command(&[b"GET", claim], out);
            append_command(&[b"MULTI"], out);
            out.extend_from_slice(writes);
        }
    }
}

/// Appends the arguments of one row of a script, each a bulk string: version, time, deadline if rows have one, features. A
/// deletion has a deadline in the place of its time.
fn append_row(
    view: &View,
    columns: &[ValueColumn<'_>],
    work: &Work,
    row: u32,
    now: i64,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    let version = work.version(row);
    let is_deletion = work.is_deletion();
    scratch.clear();
    version.append(is_deletion, scratch);
    append_bulk(scratch, out);
    if is_deletion {
        append_number(Lifetime::of_deletion(version.event_time, now), out);
    } else {
        scratch.clear();
        append_timestamp(version.event_time, scratch);
        append_bulk(scratch, out);
    }
    if view.lifetime.is_limited() {
        append_number(view.lifetime.deadline(version.event_time, now), out);
    }
    if is_deletion {
        view.feature_bulks.iter().for_each(|_| append_bulk(b"", out));
    } else {
        columns.iter().for_each(|column| column.append_bulk(row as usize, out));
    }
}

/// The same as `append_row` appends, each part by itself.
pub(super) fn row_parts(
    view: &View,
    columns: &[ValueColumn<'_>],
    work: &Work,
    row: u32,
    now: i64,
    parts: &mut Vec<Vec<u8>>,
) {
    let version = work.version(row);
    let is_deletion = work.is_deletion();
    let part = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut part = Vec::new();
        write(&mut part);
        part
    };
    parts.push(part(&|out| version.append(is_deletion, out)));
    parts.push(match is_deletion {
        true => Lifetime::of_deletion(version.event_time, now).to_string().into_bytes(),
        false => part(&|out| append_timestamp(version.event_time, out)),
    });
    if view.lifetime.is_limited() {
        parts.push(view.lifetime.deadline(version.event_time, now).to_string().into_bytes());
    }
    if is_deletion {
        parts.extend(view.feature_bulks.iter().map(|_| Vec::new()));
    } else {
        parts.extend(columns.iter().map(|column| part(&|out| column.append(row as usize, out))));
    }
}
