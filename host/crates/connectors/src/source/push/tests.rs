//! Tests of the push log: its contract, crashes at every byte, failures of the disk, and a model that it must agree with.

use std::fs::{self, OpenOptions};
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use bytes::Bytes;
use model::batch::{EventBatch, RawBatch, Rejected};
use model::codec::{Decoder, Format, SourceColumn, TimestampUnit};
use model::position::{Partition, Position};
use model::schema::{DataType, Field, arrow_schema};
use model::source::{BatchBudget, Positions, Push, PushAck, PushError, PushRequest, ReadEvent, Source};
use model::time::{Clock, EventTime};
use proptest::prelude::*;
use tempfile::TempDir;
use testkit::contract::source::{SourceFixture, holds};

use super::faults::Faults;
use super::{PushLog, PushOptions};

const AMPLE: BatchBudget = BatchBudget { rows: 1 << 20, bytes: 1 << 30 };
/// 2022-06-07T00:36:08Z
const NOW: i64 = 1_654_562_168_000_000;

/// Rows are `bad…`, `null`, `@` and a number of milliseconds, or anything else, which happens now.
struct TestFormat(Vec<SourceColumn>);

impl TestFormat {
    fn new() -> Arc<Self> {
        let field = Field::nullable("at", DataType::Timestamp);
        Arc::new(Self(vec![SourceColumn { field, unit: TimestampUnit::Millis }]))
    }
}

impl Format for TestFormat {
    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(TestDecoder)
    }

    fn columns(&self) -> &[SourceColumn] {
        &self.0
    }
}

struct TestDecoder;

impl Decoder for TestDecoder {
    fn decode(&mut self, raw: RawBatch) -> EventBatch {
        let (mut times, mut raw_rows, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..u32::try_from(raw.len()).unwrap() {
            let payload = std::str::from_utf8(raw.payload(row as usize)).unwrap();
            if payload.starts_with("bad") {
                rejected.push(Rejected { row, code: "decode", message: format!("`{payload}` is bad") });
                continue;
            }
            raw_rows.push(row);
            times.push(match payload.strip_prefix('@') {
                Some(millis) => Some(millis.parse::<i64>().unwrap() * 1000),
                None if payload == "null" => None,
                None => Some(NOW),
            });
        }
        if rejected.is_empty() {
            raw_rows.clear();
        }
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
        let schema = arrow_schema(&[Field::nullable("at", DataType::Timestamp)]);
        EventBatch { raw, columns: RecordBatch::try_new(schema, vec![column]).unwrap(), raw_rows, rejected }
    }
}

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> EventTime {
        EventTime(self.0.load(Ordering::SeqCst))
    }
}

fn options(directory: &Path) -> PushOptions {
    PushOptions {
        name: "ads".into(),
        directory: directory.join("log"),
        format: TestFormat::new(),
        timestamp_column: "at".into(),
        earliest: EventTime::DEFAULT_EARLIEST.0,
        max_future: 600_000_000,
        max_log_bytes: 1 << 20,
        segment_bytes: 1 << 16,
        max_row_bytes: 10_000,
        memory_bytes: 1 << 16,
        clock: Arc::new(TestClock(AtomicI64::new(NOW))),
    }
}

/// Small files and next to no memory, so that everything happens soon.
fn small(directory: &Path) -> PushOptions {
    PushOptions { segment_bytes: 600, memory_bytes: 300, ..options(directory) }
}

/// Wakes the thread that waits for a push.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn request<T: AsRef<[u8]>>(rows: &[T], producer: Option<(&str, u64)>) -> PushRequest {
    let mut body = Vec::new();
    let mut places = Vec::new();
    for row in rows {
        let start = u32::try_from(body.len()).unwrap();
        body.extend_from_slice(row.as_ref());
        places.push((start, u32::try_from(body.len()).unwrap()));
        body.push(b'\n');
    }
    let producer = producer.map(|(name, sequence)| (name.to_owned(), sequence));
    PushRequest { body: Bytes::from(body), rows: places, producer }
}

fn push<T: AsRef<[u8]>>(log: &PushLog, rows: &[T]) -> Result<PushAck, PushError> {
    wait_for(log.push(request(rows, None)))
}

fn push_as(log: &PushLog, rows: &[&str], name: &str, sequence: u64) -> Result<PushAck, PushError> {
    wait_for(log.push(request(rows, Some((name, sequence)))))
}

/// Everything behind a sequence, with each row's sequence.
fn read_all(log: &PushLog, after: Option<u64>) -> Vec<(u64, String)> {
    let partition = Partition::new("0");
    let after: Positions =
        after.map(|after| (partition.clone(), Position::from_u64(after))).into_iter().collect();
    let mut reader = log.read(&[partition], &after).unwrap();
    let mut rows = Vec::new();
    while let ReadEvent::Batch(batch) =
        reader.next(BatchBudget { rows: 7, bytes: 1 << 20 }, Duration::ZERO).unwrap()
    {
        for row in 0..batch.len() {
            let payload = String::from_utf8(batch.payload(row).to_vec()).unwrap();
            rows.push((batch.positions.at(row).as_u64().unwrap(), payload));
        }
    }
    rows
}

fn payloads(log: &PushLog) -> Vec<String> {
    read_all(log, None).into_iter().map(|(_, payload)| payload).collect()
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(directory.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

struct Fixture {
    directory: TempDir,
    log: Option<Arc<PushLog>>,
    small: bool,
}

impl Fixture {
    fn boxed(small: bool) -> Box<dyn SourceFixture> {
        let mut fixture = Self { directory: tempfile::tempdir().unwrap(), log: None, small };
        fixture.reopen();
        Box::new(fixture)
    }
}

impl SourceFixture for Fixture {
    fn source(&self) -> Arc<dyn Source> {
        self.log.clone().unwrap()
    }

    fn partition(&self) -> Partition {
        self.log.as_ref().unwrap().partition()
    }

    fn append(&mut self, events: &[Vec<u8>]) {
        let ack = push(self.log.as_ref().unwrap(), events).unwrap();
        assert_eq!(ack.accepted as usize, events.len());
    }

    fn reopen(&mut self) {
        if let Some(log) = self.log.take() {
            log.close();
        }
        let path = self.directory.path();
        let options = if self.small { small(path) } else { options(path) };
        self.log = Some(PushLog::open(options).unwrap());
    }
}

#[test]
fn keeps_the_contract_of_sources_from_memory() {
    holds(|| Fixture::boxed(false));
}

#[test]
fn keeps_the_contract_of_sources_from_files() {
    holds(|| Fixture::boxed(true));
}

#[track_caller]
fn check_refused(row: &str, code: &str, message: &str) {
    let directory = tempfile::tempdir().unwrap();
    let log = PushLog::open(PushOptions { max_row_bytes: 20, ..options(directory.path()) }).unwrap();
    let ack = push(&log, &["first", row, "last"]).unwrap();
    let refused: Vec<_> = ack.rejected.iter().map(|row| (row.row, row.code, row.message.as_str())).collect();
    assert_eq!(refused, [(1, code, message)]);
    assert_eq!((ack.accepted, ack.through), (2, Some(Position::from_u64(1))));
    assert_eq!(payloads(&log), ["first", "last"], "what is refused is not logged");
}

#[test]
fn bad_rows_are_refused_by_index() {
    check_refused("bad row", "decode", "`bad row` is bad");
    check_refused("null", "event_time", "`at` is null: every event needs an event time");
    check_refused(
        "@-1",
        "event_time",
        "`at` is 1969-12-31T23:59:59.999000Z, before 2000-01-01T00:00:00.000000Z (the source's `earliest_event_time`)",
    );
    check_refused(
        "@1654562168",
        "event_time",
        "`at` is 1970-01-20T03:36:02.168000Z, before 2000-01-01T00:00:00.000000Z (the source's `earliest_event_time`): are these seconds? declare `timestamp_s`",
    );
    check_refused(
        "@1654562168000000",
        "event_time",
        "`at` is +54400-12-27T02:13:20.000000Z, after 2022-06-07T00:46:08.000000Z (now and the source's `max_future`): are these microseconds? declare `timestamp_us`",
    );
    check_refused(
        "0123456789012345678901234",
        "too_large",
        "the event has 25 bytes, more than the 20 of `max_row_bytes`: send less in one event",
    );
}

#[test]
fn refused_rows_keep_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let log = PushLog::open(PushOptions { max_row_bytes: 20, ..options(directory.path()) }).unwrap();
    let rows = ["a", "too large by a few bytes", "bad", "null", "b", "@0", "c", "bad"];
    let ack = push(&log, &rows).unwrap();
    let refused: Vec<_> = ack.rejected.iter().map(|row| (row.row, row.code)).collect();
    let expected = [(1, "too_large"), (2, "decode"), (3, "event_time"), (5, "event_time"), (7, "decode")];
    assert_eq!(refused, expected);
    assert_eq!(payloads(&log), ["a", "b", "c"]);
    let ack = push(&log, &["bad", "null"]).unwrap();
    assert_eq!((ack.accepted, ack.rejected.len(), ack.through), (0, 2, None));
    assert_eq!(push(&log, &[""; 0]).unwrap().accepted, 0);
    let outside =
        PushRequest { body: Bytes::from_static(b"ab"), rows: vec![(0, 1), (1, 3), (2, 1)], producer: None };
    assert_eq!(wait_for(log.push(outside)).unwrap().rejected.len(), 2);
}

#[test]
fn a_schema_without_the_event_time_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = PushLog::open(PushOptions { timestamp_column: "ts".into(), ..options(directory.path()) })
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "open the push log of source `ads`: find the event time: no column `ts` among `at`"
    );
    let ingest = PushOptions { timestamp_column: "_ingest_time".into(), ..options(directory.path()) };
    assert_eq!(push(&PushLog::open(ingest).unwrap(), &["@0"]).unwrap().accepted, 1);
}

#[test]
fn repeats_get_the_first_answer() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock(AtomicI64::new(NOW)));
    let open = || {
        PushLog::open(PushOptions { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..small(directory.path()) })
            .unwrap()
    };
    let mut log = open();
    let soon = format!("@{}", NOW / 1000 + 660_000);
    let rows = ["a", &soon, "b"];
    let first = push_as(&log, &rows, "p", 7).unwrap();
    assert_eq!((first.accepted, first.rejected.len(), first.repeated), (2, 1, false));
    push_as(&log, &["other"], "q", 1).unwrap();
    for reopened in [false, true, true] {
        if reopened {
            log.close();
            log = open();
        }
        // A minute later the row that was too far ahead would be taken, but the first answer stands.
        clock.0.fetch_add(61_000_000, Ordering::SeqCst);
        let again = push_as(&log, &rows, "p", 7).unwrap();
        assert_eq!(again, PushAck { repeated: true, ..first.clone() });
        let early = push_as(&log, &["c"], "p", 6).unwrap_err();
        assert_eq!(early.to_string(), "producer `p` sent sequence 6 after 7");
        // Released files take nothing along that is remembered.
        for _ in 0..30 {
            push(&log, &["filler"]).unwrap();
        }
        log.release(
            &Partition::new("0"),
            log.end(&Partition::new("0")).unwrap().as_ref(),
            &std::collections::BTreeMap::new(),
        )
        .unwrap();
        assert!(segments(directory.path()).len() < 3);
    }
    assert!(!push_as(&log, &rows, "p", 8).unwrap().repeated);
    let long = push_as(&log, &rows, &"n".repeat(300), 1).unwrap_err();
    assert_eq!(long.to_string(), "use a producer name of 300 bytes: at most 256 are allowed");
}

#[test]
fn a_full_log_refuses_until_something_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let log = PushLog::open(PushOptions { max_log_bytes: 4_000, ..small(directory.path()) }).unwrap();
    let mut accepted = 0_u64;
    let error = loop {
        match push(&log, &["0123456789"]) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), "the log of source `ads` is full: its views have to catch up first");
    assert!(log.unreleased_bytes() >= 4_000, "{}", log.unreleased_bytes());
    let partition = Partition::new("0");
    log.release(&partition, Some(&Position::from_u64(accepted / 2)), &std::collections::BTreeMap::new())
        .unwrap();
    assert!(log.unreleased_bytes() < 4_000);
    push(&log, &["more"]).unwrap();
    log.release(&partition, Some(&Position::from_u64(accepted)), &std::collections::BTreeMap::new()).unwrap();
    assert_eq!(log.unreleased_bytes(), 0);
    assert_eq!(segments(directory.path()).len(), 1);
}

#[test]
fn a_closed_log_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let log = PushLog::open(options(directory.path())).unwrap();
    push(&log, &["a"]).unwrap();
    log.close();
    assert!(matches!(push(&log, &["b"]), Err(PushError::Stopping)));
    assert_eq!(payloads(&log), ["a"]);
}

#[test]
fn pushes_at_once_are_all_taken() {
    let directory = tempfile::tempdir().unwrap();
    let log = PushLog::open(small(directory.path())).unwrap();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let push_one = |count| {
                    let row = format!("{thread} {count}");
                    push(&log, &[row.as_str()])
                        .unwrap()
                        .through
                        .and_then(|through| through.as_u64())
                        .map(|at| (at, row))
                };
                (0..50).filter_map(push_one).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut expected: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    expected.sort();
    assert_eq!(read_all(&log, None), expected);
    log.close();
    let log = PushLog::open(small(directory.path())).unwrap();
    assert_eq!(read_all(&log, None), expected);
}

#[test]
fn a_log_that_is_cut_anywhere_in_its_last_frame_goes_on_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let log = PushLog::open(options(directory.path())).unwrap();
    push(&log, &["a", "b"]).unwrap();
    log.close();
    let path = segments(directory.path()).pop().unwrap();
    let whole = fs::metadata(&path).unwrap().len();
    let log = PushLog::open(options(directory.path())).unwrap();
    push_as(&log, &["last", "row"], "p", 1).unwrap();
    log.close();
    let bytes = fs::read(&path).unwrap();
    for cut in usize::try_from(whole).unwrap()..bytes.len() {
        // What was not written may be missing or zero: space is reserved ahead.
        for reserved in [0, 5_000] {
            let mut torn = bytes[..cut].to_vec();
            torn.resize(torn.len() + reserved, 0);
            fs::write(&path, torn).unwrap();
            let log = PushLog::open(options(directory.path())).unwrap();
            assert_eq!(payloads(&log), ["a", "b"], "cut at {cut}");
            assert!(!push_as(&log, &["again"], "p", 1).unwrap().repeated);
            assert_eq!(read_all(&log, Some(1)), [(2, "again".to_owned())]);
            log.close();
            let log = PushLog::open(options(directory.path())).unwrap();
            assert_eq!(payloads(&log), ["a", "b", "again"], "cut at {cut}, opened again");
        }
    }
}

fn damage(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn damage_before_whole_frames_is_no_torn_frame() {
    let directory = tempfile::tempdir().unwrap();
    let log = PushLog::open(options(directory.path())).unwrap();
    for row in ["a", "b", "c"] {
        push(&log, &[row]).unwrap();
    }
    log.close();
    let path = segments(directory.path()).pop().unwrap();
    let sound = fs::read(&path).unwrap();
    // The second of three frames of one size behind a header of 32 bytes.
    let frame = (sound.len() as u64 - 32) / 3;
    for at in 32 + frame..32 + 2 * frame {
        fs::write(&path, &sound).unwrap();
        damage(&path, at);
        let error = PushLog::open(options(directory.path()))
            .err()
            .unwrap_or_else(|| panic!("damage at {at}"))
            .to_string();
        let place = format!("at byte {}", 32 + frame);
        assert!(error.contains(&place) && error.contains(path.to_str().unwrap()), "{at}: {error}");
    }
    // In the last frame the same damage is a torn write.
    fs::write(&path, &sound).unwrap();
    damage(&path, 32 + 2 * frame + 9);
    assert_eq!(payloads(&PushLog::open(options(directory.path())).unwrap()), ["a", "b"]);
}

#[test]
fn damage_in_an_older_file_stops_its_readers_there() {
    let directory = tempfile::tempdir().unwrap();
    let log = PushLog::open(small(directory.path())).unwrap();
    for row in 0..40 {
        push(&log, &[row.to_string()]).unwrap();
    }
    log.close();
    let files = segments(directory.path());
    assert!(files.len() > 3);
    damage(&files[1], 40);
    let log = PushLog::open(small(directory.path())).unwrap();
    let partition = Partition::new("0");
    let mut reader = log.read(std::slice::from_ref(&partition), &Positions::new()).unwrap();
    let error = loop {
        match reader.next(AMPLE, Duration::ZERO) {
            Ok(event) => assert!(matches!(event, ReadEvent::Batch(_))),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains(files[1].to_str().unwrap()) && error.contains("at byte 32"), "{error}");
    // A missing file is noticed too.
    fs::remove_file(&files[1]).unwrap();
    drop(log);
    let log = PushLog::open(small(directory.path())).unwrap();
    let mut reader = log.read(&[partition], &Positions::new()).unwrap();
    let error = std::iter::repeat_with(|| reader.next(AMPLE, Duration::ZERO))
        .find_map(Result::err)
        .unwrap()
        .to_string();
    assert!(error.contains("a file of the log is missing"), "{error}");
}

#[test]
fn another_format_version_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    PushLog::open(options(directory.path())).unwrap().close();
    let path = segments(directory.path()).pop().unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[9], 8).unwrap();
    let error = PushLog::open(options(directory.path())).err().unwrap().to_string();
    assert!(error.contains("has format version 9, but this host reads version 1"), "{error}");
}

#[test]
fn a_position_behind_the_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = PushLog::open(options(directory.path())).unwrap();
    let partition = Partition::new("0");
    let after = Positions::from([(partition.clone(), Position::from_u64(5))]);
    let error = log.read(&[partition], &after).err().unwrap().to_string();
    assert!(error.contains("behind event 5: its log ends before event 0"), "{error}");
}

#[test]
fn a_full_disk_fails_pushes_until_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let log = PushLog::open_with(options(directory.path()), faults.clone()).unwrap();
    push(&log, &["a"]).unwrap();
    faults.fail_write(true);
    let error = push_as(&log, &["lost"], "p", 1).unwrap_err().to_string();
    assert!(error.contains("the disk is full: free some space where"), "{error}");
    assert_eq!(log.trouble(), Some(error));
    faults.fail_write(false);
    assert!(!push_as(&log, &["b"], "p", 1).unwrap().repeated);
    assert_eq!(log.trouble(), None);
    assert_eq!(payloads(&log), ["a", "b"]);
    log.close();
    assert_eq!(payloads(&PushLog::open(options(directory.path())).unwrap()), ["a", "b"]);
}

#[test]
fn after_a_failed_sync_another_file_is_begun() {
    for has_rows in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let log = PushLog::open_with(options(directory.path()), faults.clone()).unwrap();
        let mut expected = Vec::new();
        if has_rows {
            push_as(&log, &["a"], "p", 1).unwrap();
            expected.push("a");
        }
        faults.fail_sync(true);
        push(&log, &["unsure", "unsure too"]).unwrap_err();
        faults.fail_create(true);
        push(&log, &["lost"]).unwrap_err();
        faults.fail_sync(false);
        push(&log, &["lost too"]).unwrap_err();
        faults.fail_create(false);
        push(&log, &["b"]).unwrap();
        expected.push("b");
        assert_eq!(payloads(&log), expected);
        assert_eq!(segments(directory.path()).len(), expected.len());
        log.close();
        let log = PushLog::open(options(directory.path())).unwrap();
        assert_eq!(payloads(&log), expected);
        assert_eq!(push_as(&log, &["a"], "p", 1).unwrap().repeated, has_rows);
    }
}

#[test]
fn rows_behind_a_failed_sync_do_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let log = PushLog::open_with(options(directory.path()), faults.clone()).unwrap();
    push(&log, &["a"]).unwrap();
    let path = segments(directory.path()).pop().unwrap();
    faults.fail_sync(true);
    push(&log, &["ghost"]).unwrap_err();
    faults.fail_sync(false);
    push(&log, &["b"]).unwrap();
    log.close();
    // As if cutting the old file had failed: a whole frame of the same sequence is still there.
    let newer = fs::read(segments(directory.path()).pop().unwrap()).unwrap();
    let mut older = fs::read(&path).unwrap();
    older.extend_from_slice(&newer[32..]);
    fs::write(&path, older).unwrap();
    assert_eq!(payloads(&PushLog::open(options(directory.path())).unwrap()), ["a", "b"]);
}

#[test]
fn rows_come_with_the_time_at_which_they_were_taken() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock(AtomicI64::new(NOW)));
    let log =
        PushLog::open(PushOptions { clock: Arc::clone(&clock) as _, ..options(directory.path()) }).unwrap();
    push(&log, &["a", "b"]).unwrap();
    push(&log, &["c"]).unwrap();
    let read = |rows| {
        let mut reader = log.read(&[Partition::new("0")], &Positions::new()).unwrap();
        match reader.next(BatchBudget { rows, bytes: 1 << 20 }, Duration::ZERO).unwrap() {
            ReadEvent::Batch(batch) => {
                (batch.ingest_times.clone(), (0..batch.len()).map(|row| batch.ingest_time(row)).collect())
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(3), (vec![], vec![NOW; 3]), "one time for all is said once");
    clock.0.store(NOW + 5, Ordering::SeqCst);
    push(&log, &["d"]).unwrap();
    assert_eq!(read(9).1, [NOW, NOW, NOW, NOW + 5]);
    assert_eq!(read(2).1, [NOW, NOW]);
}

/// What may happen to a log.
#[derive(Debug, Clone)]
enum Happening {
    Push { rows: Vec<u16>, producer: Option<(u8, u8)> },
    Release { share: u8 },
    Reopen,
    Tear { bytes: u8 },
    FailWrite,
    FailSync,
    Read { share: u8, rows: u8 },
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let rows = prop::collection::vec(0_u16..200, 1..6);
    let producer = prop::option::of((0_u8..3, 0_u8..6));
    prop::collection::vec(
        prop_oneof![
            8 => (rows, producer).prop_map(|(rows, producer)| Happening::Push { rows, producer }),
            2 => any::<u8>().prop_map(|share| Happening::Release { share }),
            1 => Just(Happening::Reopen),
            1 => any::<u8>().prop_map(|bytes| Happening::Tear { bytes }),
            1 => Just(Happening::FailWrite),
            1 => Just(Happening::FailSync),
            4 => (any::<u8>(), 1_u8..50).prop_map(|(share, rows)| Happening::Read { share, rows }),
        ],
        1..40,
    )
}

/// What a log must do, in the simplest terms.
#[derive(Default)]
struct LogModel {
    rows: Vec<String>,
    last: std::collections::HashMap<u8, (u8, PushAck)>,
}

impl LogModel {
    fn push(&mut self, log: &PushLog, rows: &[u16], producer: Option<(u8, u8)>) {
        let start = self.rows.len();
        let texts: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(at, size)| format!("{start}.{at} {}", "x".repeat(usize::from(*size))))
            .collect();
        let name = producer.map(|(name, _)| name.to_string());
        let named = producer.zip(name.as_deref()).map(|((_, sequence), name)| (name, u64::from(sequence)));
        let answer = wait_for(log.push(request(&texts, named)));
        if let Some((name, sequence)) = producer
            && let Some((last, ack)) = self.last.get(&name)
            && sequence <= *last
        {
            if sequence < *last {
                assert!(matches!(answer, Err(PushError::OutOfSequence { .. })), "{answer:?}");
            } else {
                assert_eq!(answer.unwrap(), PushAck { repeated: true, ..ack.clone() });
            }
            return;
        }
        let ack = answer.unwrap();
        self.rows.extend(texts);
        let through = Position::from_u64(self.rows.len() as u64 - 1);
        let accepted = u32::try_from(rows.len()).unwrap();
        assert_eq!(ack, PushAck { accepted, rejected: vec![], through: Some(through), repeated: false });
        if let Some((name, sequence)) = producer {
            self.last.insert(name, (sequence, ack));
        }
    }

    fn check_read(&self, log: &PushLog, share: u8, rows: u8) {
        let partition = Partition::new("0");
        let after = (self.rows.len() * usize::from(share) / 256).checked_sub(1);
        let positions =
            after.map(|after| (partition.clone(), Position::from_u64(after as u64))).into_iter().collect();
        let mut reader = log.read(&[partition], &positions).unwrap();
        let mut next = None;
        let budget = BatchBudget { rows: usize::from(rows), bytes: 1_000 };
        while let ReadEvent::Batch(batch) = reader.next(budget, Duration::ZERO).unwrap() {
            for row in 0..batch.len() {
                let at = usize::try_from(batch.positions.at(row).as_u64().unwrap()).unwrap();
                // Released rows may be gone at the beginning, nowhere else.
                assert!(next.is_none_or(|next| next == at) && after.is_none_or(|after| at > after));
                assert_eq!(batch.payload(row), self.rows[at].as_bytes());
                next = Some(at + 1);
            }
        }
        if after.is_none_or(|after| after + 1 < self.rows.len()) && !self.rows.is_empty() {
            assert!(next.is_none_or(|next| next == self.rows.len()), "read to the end");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_list(happenings in happenings()) {
        let directory = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let open = || PushLog::open_with(small(directory.path()), faults.clone()).unwrap();
        let mut log = open();
        let mut model = LogModel::default();
        let partition = Partition::new("0");
        for happening in happenings {
            match happening {
                Happening::Push { rows, producer } => model.push(&log, &rows, producer),
                Happening::Release { share } => {
                    let through = model.rows.len() * usize::from(share) / 256;
                    log.release(&partition, Some(&Position::from_u64(through as u64)), &std::collections::BTreeMap::new()).unwrap();
                }
                Happening::Reopen => {
                    log.close();
                    log = open();
                }
                Happening::Tear { bytes } => {
                    // A crash during a write: something unfinished stands behind the last frame.
                    log.close();
                    let path = segments(directory.path()).pop().unwrap();
                    let mut torn = fs::read(&path).unwrap();
                    let start = torn.len().min(32);
                    let garbage: Vec<_> = torn[start..].iter().copied().chain([0xf7, b'm', b'r', b'f', 1]).take(usize::from(bytes)).collect();
                    // A beginning of a frame that was there before is never a whole frame of the next sequence.
                    torn.extend(garbage.into_iter().take(40));
                    fs::write(&path, torn).unwrap();
                    log = open();
                }
                Happening::FailWrite => {
                    faults.fail_write(true);
                    push(&log, &["lost"]).unwrap_err();
                    faults.fail_write(false);
                }
                Happening::FailSync => {
                    faults.fail_sync(true);
                    push(&log, &["unsure"]).unwrap_err();
                    faults.fail_sync(false);
                }
                Happening::Read { share, rows } => model.check_read(&log, share, rows),
            }
            let end = model.rows.len().checked_sub(1).map(|end| Position::from_u64(end as u64));
            prop_assert_eq!(log.end(&partition).unwrap(), end);
        }
        model.check_read(&log, 0, 50);
    }
}
