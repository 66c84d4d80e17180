//! Tests of the file source: its contract, and all that may happen to a file that others write.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::error::Failure;
use model::position::{Partition, Position};
use model::source::{BatchBudget, Positions, ReadEvent, Reader, Source};
use model::time::{Clock, EventTime};
use proptest::prelude::*;
use tempfile::TempDir;
use testkit::contract::source::{SourceFixture, holds};

use super::{FileOptions, FileSource};

const AMPLE: BatchBudget = BatchBudget { rows: 1 << 20, bytes: 1 << 30 };
const LIMIT: Duration = Duration::from_secs(30);
/// Short, so that tests of rotation do not take long; nothing in here writes to a file that was moved away.
const GRACE: Duration = Duration::from_millis(20);

struct TestClock;

impl Clock for TestClock {
    fn now(&self) -> EventTime {
        EventTime(77)
    }
}

/// A directory with a file that is read.
struct Place {
    directory: TempDir,
    follow: bool,
    max_row_bytes: usize,
}

impl Place {
    fn new(follow: bool) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), follow, max_row_bytes: 10_000 }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("events.ndjson")
    }

    fn rotated(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("events.ndjson{suffix}"))
    }

    fn try_open(&self) -> Result<Arc<FileSource>, Failure> {
        let options = FileOptions {
            name: "ads".into(),
            path: self.path(),
            follow: self.follow,
            state_directory: self.directory.path().join("state"),
            max_row_bytes: self.max_row_bytes,
            clock: Arc::new(TestClock),
        };
        FileSource::open_with(options, GRACE)
    }

    fn open(&self) -> Arc<FileSource> {
        self.try_open().unwrap()
    }

    fn append(&self, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rotate(&self, suffix: &str) {
        fs::rename(self.path(), self.rotated(suffix)).unwrap();
    }
}

fn try_reader(source: &FileSource, after: Option<u64>) -> Result<Box<dyn Reader>, Failure> {
    let partition = Partition::new("0");
    let after: Positions =
        after.map(|after| (partition.clone(), Position::from_u64(after))).into_iter().collect();
    source.read(&[partition], &after)
}

fn reader(source: &FileSource, after: Option<u64>) -> Box<dyn Reader> {
    try_reader(source, after).unwrap()
}

fn end(source: &FileSource) -> Option<u64> {
    source.end(&Partition::new("0")).unwrap().map(|end| end.as_u64().unwrap())
}

fn at(ordinal: u64, offset: u64) -> u64 {
    ordinal << 40 | offset
}

/// The next `count` lines with their positions.
#[track_caller]
fn read(reader: &mut dyn Reader, count: usize) -> Vec<(u64, String)> {
    let deadline = Instant::now() + LIMIT;
    let mut lines = Vec::new();
    while lines.len() < count {
        assert!(Instant::now() < deadline, "only {lines:?}");
        match reader.next(AMPLE, Duration::from_millis(50)).unwrap() {
            ReadEvent::Batch(batch) => lines.extend((0..batch.len()).map(|row| {
                assert_eq!(batch.ingest_time(row), 77);
                let payload = String::from_utf8(batch.payload(row).to_vec()).unwrap();
                (batch.positions.at(row).as_u64().unwrap(), payload)
            })),
            ReadEvent::Idle => {}
            ReadEvent::End => panic!("ended after {lines:?}"),
        }
    }
    assert_eq!(lines.len(), count);
    lines
}

#[track_caller]
fn check_lines(reader: &mut dyn Reader, expected: &[(u64, &str)]) {
    let lines = read(reader, expected.len());
    assert_eq!(lines.iter().map(|(at, line)| (*at, line.as_str())).collect::<Vec<_>>(), expected);
}

#[track_caller]
fn check_idle(reader: &mut dyn Reader) {
    let event = reader.next(AMPLE, Duration::ZERO).unwrap();
    assert!(matches!(event, ReadEvent::Idle), "{event:?}");
}

#[track_caller]
fn check_end(reader: &mut dyn Reader) {
    let event = reader.next(AMPLE, Duration::ZERO).unwrap();
    assert!(matches!(event, ReadEvent::End), "{event:?}");
}

#[track_caller]
fn next_failure(reader: &mut dyn Reader) -> String {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Err(failure) = reader.next(AMPLE, Duration::from_millis(50)) {
            return failure.to_string();
        }
    }
    panic!("no failure came");
}

struct Fixture {
    place: Place,
    source: Option<Arc<FileSource>>,
}

impl Fixture {
    fn boxed(follow: bool) -> Box<dyn SourceFixture> {
        let place = Place::new(follow);
        File::create(place.path()).unwrap();
        let source = Some(place.open());
        Box::new(Self { place, source })
    }
}

impl SourceFixture for Fixture {
    fn source(&self) -> Arc<dyn Source> {
        self.source.clone().unwrap()
    }

    fn partition(&self) -> Partition {
        Partition::new("0")
    }

    fn append(&mut self, events: &[Vec<u8>]) {
        let lines = events.iter().flat_map(|event| [event, &b"\n"[..]].concat()).collect();
        self.place.append(&String::from_utf8(lines).unwrap());
    }

    fn reopen(&mut self) {
        self.source = None;
        self.source = Some(self.place.open());
    }
}

#[test]
fn keeps_the_contract_of_sources() {
    holds(|| Fixture::boxed(true));
}

#[test]
fn a_file_that_is_not_followed_ends() {
    let place = Place::new(false);
    let error = place.try_open().err().unwrap().to_string();
    assert!(error.contains("there is no file") && error.contains(place.path().to_str().unwrap()), "{error}");
    place.append("a\n\r\n\nb\r\nlast");
    let source = place.open();
    assert_eq!(end(&source), Some(at(0, 8)));
    let mut all = reader(&source, None);
    check_lines(&mut *all, &[(at(0, 0), "a"), (at(0, 5), "b"), (at(0, 8), "last")]);
    check_end(&mut *all);
    check_end(&mut *all);
    let mut rest = reader(&source, Some(at(0, 5)));
    check_lines(&mut *rest, &[(at(0, 8), "last")]);
    check_end(&mut *rest);
    check_end(&mut *reader(&source, Some(at(0, 8))));
}

#[test]
fn a_directory_is_no_file() {
    let place = Place::new(true);
    fs::create_dir(place.path()).unwrap();
    let error = place.try_open().err().unwrap().to_string();
    assert!(error.contains("it is not a regular file"), "{error}");
}

#[test]
fn a_followed_file_may_come_later() {
    let place = Place::new(true);
    let source = place.open();
    let mut reader = reader(&source, None);
    check_idle(&mut *reader);
    assert_eq!(end(&source), None);
    place.append("a\nb");
    check_lines(&mut *reader, &[(0, "a")]);
    check_idle(&mut *reader);
    assert_eq!(end(&source), Some(0), "a line without its end is not there yet");
    place.append("c");
    check_idle(&mut *reader);
    place.append("\r\nd\n");
    check_lines(&mut *reader, &[(2, "bc"), (6, "d")]);
}

#[test]
fn blank_lines_are_covered_by_the_next_batch() {
    let place = Place::new(true);
    place.append("\n\na\n\nb\n\n");
    let source = place.open();
    let mut reader = reader(&source, None);
    let mut covers = Vec::new();
    for _ in 0..2 {
        match reader.next(BatchBudget { rows: 1, bytes: 100 }, LIMIT).unwrap() {
            ReadEvent::Batch(batch) => {
                covers.push((batch.covers.first.as_u64().unwrap(), batch.covers.through.as_u64().unwrap()))
            }
            other => panic!("{other:?}"),
        }
    }
    check_idle(&mut *reader);
    assert_eq!(covers, [(0, 2), (4, 5)]);
    place.append("c\n");
    match reader.next(AMPLE, LIMIT).unwrap() {
        ReadEvent::Batch(batch) => assert_eq!(batch.covers.first.as_u64(), Some(7)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rotated_file_is_finished_first() {
    let place = Place::new(true);
    place.append("a\n");
    let source = place.open();
    let (mut eager, mut late) = (reader(&source, None), reader(&source, None));
    check_lines(&mut *eager, &[(0, "a")]);
    place.append("b\nunfinished");
    place.rotate(".1");
    check_lines(&mut *eager, &[(2, "b")]);
    check_idle(&mut *eager);
    place.append("new\n");
    check_lines(&mut *eager, &[(4, "unfinished"), (at(1, 0), "new")]);
    check_lines(&mut *late, &[(0, "a"), (2, "b"), (4, "unfinished"), (at(1, 0), "new")]);
    place.append("newer\n");
    check_lines(&mut *eager, &[(at(1, 4), "newer")]);
    // A later reader finds the old file under its new name.
    check_lines(
        &mut *reader(&source, Some(0)),
        &[(2, "b"), (4, "unfinished"), (at(1, 0), "new"), (at(1, 4), "newer")],
    );
    drop((eager, late, source));
    let source = place.open();
    check_lines(&mut *reader(&source, Some(2)), &[(4, "unfinished"), (at(1, 0), "new"), (at(1, 4), "newer")]);
    assert_eq!(end(&source), Some(at(1, 4)));
}

#[test]
fn files_that_came_and_went_unseen_are_read() {
    let place = Place::new(true);
    fs::write(place.rotated(".7"), "history\n").unwrap();
    fs::write(place.rotated(".bak"), "unrelated\n").unwrap();
    settle();
    place.append("a\n");
    let source = place.open();
    check_lines(&mut *reader(&source, None), &[(0, "a")]);
    drop(source);
    place.append("b\n");
    for number in 0..3 {
        place.rotate(&format!("-2026010{number}"));
        settle();
        place.append(&format!("unseen {number}\n"));
    }
    let source = place.open();
    let mut reader = reader(&source, Some(0));
    check_lines(
        &mut *reader,
        &[(2, "b"), (at(1, 0), "unseen 0"), (at(2, 0), "unseen 1"), (at(3, 0), "unseen 2")],
    );
    check_idle(&mut *reader);
}

/// Lets the clock of the file system move on, so that files have different times.
fn settle() {
    let directory = tempfile::tempdir().unwrap();
    let modified = |name: &str| {
        let path = directory.path().join(name);
        fs::write(&path, "x").unwrap();
        fs::metadata(&path).unwrap().modified().unwrap()
    };
    let first = modified("first");
    let deadline = Instant::now() + LIMIT;
    while modified("next") <= first {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn a_truncated_file_is_a_new_one() {
    let place = Place::new(true);
    place.append("first\nsecond\n");
    let source = place.open();
    let mut reader = reader(&source, None);
    check_lines(&mut *reader, &[(0, "first"), (6, "second")]);
    fs::write(place.path(), "x\n").unwrap();
    check_lines(&mut *reader, &[(at(1, 0), "x")]);
    // Rewritten to more than its length: only the beginning tells.
    fs::write(place.path(), "other\nlines\n").unwrap();
    check_lines(&mut *reader, &[(at(2, 0), "other"), (at(2, 6), "lines")]);
    // Shorter with the same beginning.
    fs::write(place.path(), "other\n").unwrap();
    check_lines(&mut *reader, &[(at(3, 0), "other")]);
    drop((reader, source));
    fs::write(place.path(), "while nobody looked\n").unwrap();
    let source = place.open();
    check_lines(&mut *self::reader(&source, Some(at(3, 0))), &[(at(4, 0), "while nobody looked")]);
    assert_eq!(end(&source), Some(at(4, 0)));
}

#[test]
fn what_a_truncated_file_held_is_found_in_its_copy() {
    let place = Place::new(true);
    place.append("a\nb\n");
    let source = place.open();
    let (mut eager, mut late) = (reader(&source, None), reader(&source, None));
    check_lines(&mut *eager, &[(0, "a"), (2, "b")]);
    check_idle(&mut *eager);
    place.append("c\n");
    fs::copy(place.path(), place.rotated(".1")).unwrap();
    fs::write(place.path(), "x\n").unwrap();
    let expected = [(0, "a"), (2, "b"), (4, "c"), (at(1, 0), "x")];
    check_lines(&mut *eager, &expected[2..]);
    check_lines(&mut *late, &expected);
    drop((eager, late, source));
    let source = place.open();
    check_lines(&mut *reader(&source, Some(0)), &expected[1..]);
}

#[test]
fn unread_lines_that_are_gone_stop_the_reader() {
    let place = Place::new(true);
    place.append("a\nb\nc\n");
    let source = place.open();
    let (mut eager, mut late) = (reader(&source, None), reader(&source, None));
    check_lines(&mut *eager, &[(0, "a"), (2, "b"), (4, "c")]);
    fs::write(place.path(), "x\n").unwrap();
    check_lines(&mut *eager, &[(at(1, 0), "x")]);
    let error = next_failure(&mut *late);
    assert!(
        error.contains("is gone or was written anew, but its lines behind its beginning up to byte 4"),
        "{error}"
    );
    drop((eager, late, source));
    let source = place.open();
    let error = try_reader(&source, Some(2)).err().unwrap().to_string();
    assert!(error.contains("lines behind byte 2 up to byte 4 were not read: put it back beside"), "{error}");
    // Whoever has read all of it misses nothing.
    check_lines(&mut *reader(&source, Some(4)), &[(at(1, 0), "x")]);
    // Nor does whoever begins anew.
    check_lines(&mut *reader(&source, None), &[(at(1, 0), "x")]);
}

#[test]
fn a_lost_state_directory_is_noticed() {
    let place = Place::new(true);
    place.append("a\n");
    let source = place.open();
    let error = try_reader(&source, Some(at(3, 0))).err().unwrap().to_string();
    assert!(error.contains("only 1 files of") && error.contains("state directory was emptied"), "{error}");
    drop(source);
    let state = place.directory.path().join("state").join("files.json");
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, text.replace("\"format\": 1", "\"format\": 9")).unwrap();
    let error = place.try_open().err().unwrap().to_string();
    assert!(error.contains("has format version 9, but this host reads version 1"), "{error}");
    fs::write(&state, "{").unwrap();
    let error = place.try_open().err().unwrap().to_string();
    assert!(error.contains("is damaged: restore it from a copy"), "{error}");
}

#[test]
fn released_files_are_forgotten() {
    let place = Place::new(true);
    place.append("a\n");
    let source = place.open();
    let mut reader = reader(&source, None);
    check_lines(&mut *reader, &[(0, "a")]);
    place.rotate(".1");
    place.append("b\n");
    check_lines(&mut *reader, &[(at(1, 0), "b")]);
    source
        .release(
            &Partition::new("0"),
            Some(&Position::from_u64(at(1, 0))),
            &std::collections::BTreeMap::new(),
        )
        .unwrap();
    drop((reader, source));
    let source = place.open();
    check_lines(&mut *self::reader(&source, None), &[(at(1, 0), "b")]);
    place.append("c\n");
    check_lines(&mut *self::reader(&source, Some(at(1, 0))), &[(at(1, 2), "c")]);
}

#[track_caller]
fn check_long(follow: bool, text: &str, max_row_bytes: usize, expected: &[(u64, &str)]) {
    let place = Place { max_row_bytes, ..Place::new(follow) };
    place.append(text);
    let source = place.open();
    check_lines(&mut *reader(&source, None), expected);
    for (row, (position, _)) in expected.iter().enumerate() {
        check_lines(&mut *reader(&source, Some(*position)), &expected[row + 1..]);
    }
}

#[test]
fn long_lines_are_cut_and_covered() {
    check_long(true, "a\n0123456789\nb\n", 4, &[(0, "a"), (2, "0123"), (13, "b")]);
    check_long(true, "0123\r\n01234\r\n", 4, &[(0, "0123"), (6, "0123")]);
    check_long(false, "a\n0123456789", 4, &[(0, "a"), (2, "0123")]);
    // Longer than what is read at once, in the middle and at the end.
    let long = "x".repeat(3 << 20);
    let text = format!("a\n{long}\nb\n{long}");
    let end = 2 + (3 << 20) + 1;
    check_long(true, &text, 7, &[(0, "a"), (2, "xxxxxxx"), (end, "b")]);
    check_long(false, &text, 7, &[(0, "a"), (2, "xxxxxxx"), (end, "b"), (end + 2, "xxxxxxx")]);
    check_long(true, &text, 4 << 20, &[(0, "a"), (2, &long), (end, "b")]);
}

#[test]
fn a_long_line_may_come_in_pieces() {
    let place = Place { max_row_bytes: 4, ..Place::new(true) };
    let source = place.open();
    let mut reader = reader(&source, None);
    for _ in 0..5 {
        place.append("abc");
        check_idle(&mut *reader);
    }
    place.append("\nz\n");
    check_lines(&mut *reader, &[(0, "abca"), (16, "z")]);
}

/// Lines as they should come: position, text.
fn reference(text: &str, with_partial: bool, most: usize) -> Vec<(u64, String)> {
    let mut lines = Vec::new();
    let mut start = 0;
    for piece in text.split_inclusive('\n') {
        let whole = piece.ends_with('\n');
        let line = piece.strip_suffix('\n').unwrap_or(piece);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if (whole || with_partial) && !line.is_empty() {
            lines.push((start as u64, line[..line.len().min(most)].to_owned()));
        }
        start += piece.len();
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_in_any_pieces_gives_its_lines(
        pieces in prop::collection::vec("[ab\r\n]{0,12}", 0..12),
        follow in any::<bool>(),
        most in 1_usize..9,
        rows in 1_usize..5,
        after in any::<prop::sample::Index>(),
    ) {
        let place = Place { max_row_bytes: most, ..Place::new(follow) };
        File::create(place.path()).unwrap();
        let source = place.open();
        let text = pieces.concat();
        let expected = reference(&text, !follow, most);
        let budget = BatchBudget { rows, bytes: 20 };
        let mut lines = Vec::new();
        let mut drain = |reader: &mut dyn Reader, through: &mut Option<Position>| {
            while let ReadEvent::Batch(batch) = reader.next(budget, Duration::ZERO).unwrap() {
                assert!(through.is_none_or(|through| through < batch.covers.first));
                assert!(batch.len() <= rows);
                *through = Some(batch.covers.through);
                lines.extend((0..batch.len()).map(|row| {
                    (batch.positions.at(row).as_u64().unwrap(), String::from_utf8(batch.payload(row).to_vec()).unwrap())
                }));
            }
        };
        let mut through = None;
        if follow {
            let mut reader = reader(&source, None);
            for piece in &pieces {
                place.append(piece);
                drain(&mut *reader, &mut through);
            }
        } else {
            place.append(&text);
            drain(&mut *reader(&source, None), &mut through);
        }
        prop_assert_eq!(&lines, &expected);
        prop_assert_eq!(end(&source), expected.last().map(|(at, _)| *at));
        if !expected.is_empty() {
            let from = after.index(expected.len());
            check_rest(&source, expected[from].0, &expected[from + 1..]);
        }
    }
}

#[track_caller]
fn check_rest(source: &FileSource, after: u64, expected: &[(u64, String)]) {
    assert_eq!(read(&mut *reader(source, Some(after)), expected.len()), expected);
}
