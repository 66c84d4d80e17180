//! What is in the file after appends, failures, restarts and cuts.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use model::batch::{Applied, FeatureBatch};
use model::error::{Disposition, Failure};
use model::output::{Emission, OutputOptions, OutputStream, RecordVersion};
use model::position::{Covers, Partition, Position, PositionColumn};
use model::schema::{DataType, Field, arrow_schema};
use model::view::{Digest, Generation, ViewShape};

use super::FileOutput;
use super::files::Files;
use super::positions;
use super::queue::Queue;

/// Patience of a test that waits for another thread.
const LIMIT: Duration = Duration::from_secs(30);

/// Makes writes of the data file fail as on a full disk.
#[derive(Debug, Default)]
pub(super) struct Faults {
    full: AtomicBool,
    failures: AtomicU32,
}

impl Faults {
    /// Writes half and fails, if the disk is full.
    pub(super) fn write(&self, data: &File, at: u64, lines: &[u8]) -> io::Result<()> {
        if !self.full.load(Ordering::SeqCst) {
            return Ok(());
        }
        data.write_all_at(&lines[..lines.len() / 2], at)?;
        self.failures.fetch_add(1, Ordering::SeqCst);
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
}

fn view(name: &str) -> Arc<ViewShape> {
    Arc::new(ViewShape {
        project: "default".into(),
        name: name.into(),
        source: "events".into(),
        id: "0".repeat(32),
        keys: vec![Field::required("id", DataType::Int64)],
        features: Vec::new(),
        ttl_micros: None,
        online: true,
    })
}

/// Rows at these positions, with their position as key, that cover `first..=through`.
fn emission(name: &str, partition: &str, first: u64, through: u64, rows: &[u64]) -> Emission {
    let view = view(name);
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| *row as i64).collect::<Int64Array>());
    let mut positions = PositionColumn::new(8);
    rows.iter().for_each(|row| positions.push_u64(*row));
    let batch = FeatureBatch {
        rows: RecordBatch::try_new(arrow_schema(&view.keys), vec![ids]).unwrap(),
        view,
        event_times: vec![0; rows.len()],
        partition: Partition::new(partition),
        positions,
        ordinals: Vec::new(),
        generation: Generation { number: 1, digest: Digest([1; 32]) },
        covers: Covers { first: Position::from_u64(first), through: Position::from_u64(through) },
    };
    let options =
        OutputOptions { version: RecordVersion::V1, include_features: false, producer: "millrace".into() };
    Emission { batch: Arc::new(batch), applied: Applied::default(), options: Arc::new(options), epoch: 0 }
}

fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut future = pin!(future);
    runtime.block_on(async { tokio::time::timeout(LIMIT, future.as_mut()).await }).expect("an answer in time")
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "the condition does not come true");
        std::thread::yield_now();
    }
}

fn emit(stream: &FileOutput, name: &str, rows: std::ops::RangeInclusive<u64>) -> Result<(), Failure> {
    let all: Vec<u64> = rows.clone().collect();
    wait(stream.emit(emission(name, "p", *rows.start(), *rows.end(), &all)))
}

fn position(stream: &FileOutput, name: &str) -> Option<u64> {
    stream.position(name, &Partition::new("p")).and_then(|position| position.as_u64())
}

/// View and key of each record; fails on a torn line.
fn records(path: &Path) -> Vec<(String, u64)> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line");
    let record = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = record["entity_keys"]["id"].as_str().unwrap().parse().unwrap();
        (record["feature_view_name"].as_str().unwrap().to_owned(), id)
    };
    text.lines().map(record).collect()
}

fn ids(path: &Path) -> Vec<u64> {
    records(path).into_iter().map(|(_, id)| id).collect()
}

fn side(path: &Path) -> PathBuf {
    path.with_extension("ndjson.positions")
}

/// A directory that goes away with the test, and the output file in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.ndjson");
    (directory, path)
}

/// A stream whose disk can be made full.
fn faulty(path: &Path) -> (FileOutput, Arc<Faults>) {
    let (files, recorded) = Files::open(path).unwrap();
    let faults = Arc::clone(&files.faults);
    (FileOutput::start(files, Queue::new(recorded.positions)).unwrap(), faults)
}

#[track_caller]
fn check_refused(path: &Path, expected: &str) {
    let failure = FileOutput::open(path).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Stop);
    assert!(failure.to_string().contains(expected), "{failure}");
}

#[test]
fn rows_are_written_once_whatever_is_repeated() {
    let (_directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    assert_eq!(position(&stream, "v"), None);
    emit(&stream, "v", 1..=3).unwrap();
    assert_eq!(position(&stream, "v"), Some(3));
    emit(&stream, "v", 1..=3).unwrap();
    emit(&stream, "v", 2..=5).unwrap();
    emit(&stream, "w", 1..=2).unwrap();
    drop(stream);
    let stream = FileOutput::open(&path).unwrap();
    assert_eq!((position(&stream, "v"), position(&stream, "w")), (Some(5), Some(2)));
    emit(&stream, "v", 4..=6).unwrap();
    assert_eq!(ids(&path), [1, 2, 3, 4, 5, 1, 2, 6]);
}

#[test]
fn records_stand_in_the_order_of_the_calls() {
    let (_directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    let batches: Vec<_> =
        (0..200).map(|number| stream.emit(emission("v", "p", number, number, &[number]))).collect();
    // Futures that nobody awaits count as well.
    for (index, batch) in batches.into_iter().enumerate().rev() {
        if index % 3 == 0 {
            wait(batch).unwrap();
        }
    }
    drop(stream);
    assert_eq!(ids(&path), (0..200).collect::<Vec<_>>());
}

#[test]
fn batches_without_rows_move_the_position() {
    let (_directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    wait(stream.emit(emission("v", "p", 1, 10, &[]))).unwrap();
    wait_until(|| position(&stream, "v") == Some(10));
    let rows = stream.emit(emission("v", "p", 11, 12, &[12]));
    let none = stream.emit(emission("v", "p", 13, 20, &[]));
    wait(none).unwrap();
    wait(rows).unwrap();
    assert_eq!(position(&stream, "v"), Some(20));
    wait(stream.emit(emission("v", "p", 21, 30, &[]))).unwrap();
    drop(stream);
    let stream = FileOutput::open(&path).unwrap();
    assert_eq!(position(&stream, "v"), Some(30));
    assert_eq!(ids(&path), [12]);
}

#[test]
fn a_crash_at_any_byte_leaves_a_prefix_that_fits_its_positions() {
    let (directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    let mut states = vec![(0, fs::metadata(side(&path)).unwrap().len())];
    for batch in 0..4_u64 {
        emit(&stream, "v", batch * 2 + 1..=batch * 2 + 2).unwrap();
        states.push((fs::metadata(&path).unwrap().len(), fs::metadata(side(&path)).unwrap().len()));
    }
    drop(stream);
    let (data, lines) = (fs::read(&path).unwrap(), fs::read(side(&path)).unwrap());
    let again = directory.path().join("again.ndjson");
    // The data is synced before its line is written: whatever of the line is there, all of the data is.
    for window in states.windows(2).skip(3) {
        let ((data_before, side_before), (data_after, side_after)) = (window[0], window[1]);
        let torn_data = (data_before..=data_after).map(|length| (length, side_before));
        let torn_line = (side_before..=side_after).map(|length| (data_after, length));
        for (data_length, side_length) in torn_data.chain(torn_line) {
            fs::write(&again, &data[..data_length as usize]).unwrap();
            fs::write(side(&again), &lines[..side_length as usize]).unwrap();
            let stream = FileOutput::open(&again).unwrap();
            let reached = position(&stream, "v").unwrap();
            assert_eq!(ids(&again), (1..=reached).collect::<Vec<_>>());
            if (data_length + side_length) % 16 == 0 {
                emit(&stream, "v", 1..=8).unwrap();
                drop(stream);
                assert_eq!(fs::read(&again).unwrap(), data);
            }
        }
    }
}

#[test]
fn a_full_disk_is_tried_again_and_nothing_overtakes() {
    let (_directory, path) = place();
    let (stream, faults) = faulty(&path);
    emit(&stream, "v", 1..=2).unwrap();
    faults.full.store(true, Ordering::SeqCst);
    let failure = emit(&stream, "v", 3..=4).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry);
    assert!(
        failure.to_string().starts_with(&format!("write output file `{}`: ", path.display())),
        "{failure}"
    );
    assert_eq!((ids(&path), position(&stream, "v")), (vec![1, 2], Some(2)));
    faults.full.store(false, Ordering::SeqCst);
    let failure = emit(&stream, "v", 5..=6).unwrap_err();
    assert!(
        failure.to_string().contains("an earlier batch failed and has to be emitted again first"),
        "{failure}"
    );
    let failure = wait(stream.emit(emission("v", "p", 5, 6, &[]))).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry);
    // Other views are not held up.
    emit(&stream, "w", 1..=1).unwrap();
    emit(&stream, "v", 3..=4).unwrap();
    emit(&stream, "v", 5..=6).unwrap();
    assert_eq!(ids(&path), [1, 2, 1, 3, 4, 5, 6]);
}

#[test]
fn all_that_waits_behind_a_failure_fails_and_is_written_in_order_later() {
    let (_directory, path) = place();
    let (stream, faults) = faulty(&path);
    faults.full.store(true, Ordering::SeqCst);
    let emit_all = || -> Vec<_> {
        (1..=50).map(|number| stream.emit(emission("v", "p", number, number, &[number]))).collect()
    };
    let results: Vec<_> = emit_all().into_iter().map(wait).collect();
    assert!(results.iter().all(Result::is_err));
    assert!(faults.failures.load(Ordering::SeqCst) >= 1);
    assert_eq!((ids(&path), position(&stream, "v")), (vec![], None));
    faults.full.store(false, Ordering::SeqCst);
    for batch in emit_all() {
        wait(batch).unwrap();
    }
    drop(stream);
    assert_eq!(ids(&path), (1..=50).collect::<Vec<_>>());
}

#[test]
fn files_that_do_not_fit_are_refused_in_words() {
    let (_directory, path) = place();
    fs::write(&path, "something\n").unwrap();
    check_refused(&path, "it has 10 bytes, but no positions in");
    fs::remove_file(&path).unwrap();

    let stream = FileOutput::open(&path).unwrap();
    check_refused(&path, "another host writes it");
    emit(&stream, "v", 1..=3).unwrap();
    drop(stream);
    let (data, lines) = (fs::read(&path).unwrap(), fs::read(side(&path)).unwrap());

    fs::write(&path, &data[..data.len() - 1]).unwrap();
    check_refused(&path, "restore it, or move both away to begin new ones");
    fs::remove_file(&path).unwrap();
    check_refused(&path, &format!("it has 0 bytes, but `{}` records {}", side(&path).display(), data.len()));
    assert!(!path.exists());

    fs::write(&path, &data).unwrap();
    let mut damaged = lines.clone();
    damaged[20] ^= 1;
    fs::write(side(&path), &damaged).unwrap();
    check_refused(&path, "line 1 has a wrong checksum, with good lines behind it");
    fs::write(side(&path), "").unwrap();
    check_refused(&path, "no positions in");
    fs::remove_file(side(&path)).unwrap();
    check_refused(&path, "no positions in");
    fs::write(side(&path), &lines).unwrap();
    assert_eq!(position(&FileOutput::open(&path).unwrap(), "v"), Some(3));
}

#[test]
fn files_that_change_under_way_stop_the_stream_in_words() {
    type Tamper = fn(&Path);
    let tampers: [(&str, Tamper); 4] = [
        ("was moved, removed or replaced", |path| fs::remove_file(path).unwrap()),
        ("was moved, removed or replaced", |path| {
            fs::rename(side(path), path.with_extension("old")).unwrap()
        }),
        ("something else writes it", |path| fs::write(path, "x").unwrap()),
        ("was moved, removed or replaced", |path| {
            fs::rename(path, path.with_extension("1")).unwrap();
            fs::write(path, "").unwrap();
        }),
    ];
    for (expected, tamper) in tampers {
        let (_directory, path) = place();
        let stream = FileOutput::open(&path).unwrap();
        emit(&stream, "v", 1..=3).unwrap();
        tamper(&path);
        for _ in 0..2 {
            let failure = emit(&stream, "v", 4..=5).unwrap_err();
            assert_eq!(failure.disposition, Disposition::Stop);
            assert!(failure.to_string().contains(expected), "{failure}");
        }
    }
}

#[test]
fn the_side_file_is_rewritten_when_it_has_grown() {
    let (_directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    let long = "p".repeat(300_000);
    for number in 1..=5 {
        wait(stream.emit(emission("v", &long, number, number, &[number]))).unwrap();
    }
    emit(&stream, "w", 1..=1).unwrap();
    drop(stream);
    assert!(fs::metadata(side(&path)).unwrap().len() < 1 << 20);
    let stream = FileOutput::open(&path).unwrap();
    assert_eq!(stream.position("v", &Partition::new(&long)), Some(Position::from_u64(5)));
    assert_eq!(position(&stream, "w"), Some(1));
    assert_eq!(ids(&path), [1, 2, 3, 4, 5, 1]);
}

#[test]
fn lines_of_the_side_file_name_what_was_written() {
    let (_directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    emit(&stream, "v", 1..=3).unwrap();
    drop(stream);
    let text = fs::read_to_string(side(&path)).unwrap();
    let line = text.lines().last().unwrap();
    let expected = format!(
        concat!(
            r#"{{"version":1,"length":{},"entries":[{{"view":"v","partition":"p","through":"0000000000000003","rows":3,"#,
            r#""first":"1;0;events;p;0000000000000001;0;1;0101010101010101;true","#,
            r#""last":"1;0;events;p;0000000000000003;0;1;0101010101010101;true"}}],"crc":""#,
        ),
        fs::metadata(&path).unwrap().len()
    );
    assert!(line.starts_with(&expected), "{line}");
    let recorded = positions::read(&side(&path)).unwrap().unwrap();
    assert_eq!(recorded.whole, text.len() as u64);
}

#[test]
fn many_callers_at_once_lose_and_repeat_nothing() {
    let (_directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let stream = &stream;
            scope.spawn(move || {
                for number in 1..=60 {
                    emit(stream, name, number * 10..=number * 10 + 9).unwrap();
                }
            });
        }
    });
    drop(stream);
    let records = records(&path);
    for name in ["a", "b", "c", "d"] {
        let ids: Vec<u64> = records.iter().filter(|(view, _)| view == name).map(|(_, id)| *id).collect();
        assert_eq!(ids, (10..=609).collect::<Vec<_>>());
    }
}

fn rewind(stream: &FileOutput, name: &str, to: Option<u64>) -> Result<(), Failure> {
    stream.rewind(name, &Partition::new("p"), to.map(Position::from_u64), 1)
}

#[test]
fn what_lies_behind_a_rewind_is_emitted_again() {
    let (_directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    emit(&stream, "v", 1..=4).unwrap();
    emit(&stream, "w", 1..=2).unwrap();
    rewind(&stream, "v", Some(2)).unwrap();
    assert_eq!((position(&stream, "v"), position(&stream, "w")), (Some(2), Some(2)));
    let again = |first: u64, through: u64| {
        let rows: Vec<u64> = (first..=through).collect();
        wait(stream.emit(Emission { epoch: 1, ..emission("v", "p", first, through, &rows) })).unwrap();
    };
    again(1, 3);
    again(1, 5);
    emit(&stream, "w", 1..=3).unwrap();
    assert_eq!(ids(&path), [1, 2, 3, 4, 1, 2, 3, 4, 5, 3]);
    let text = fs::read_to_string(side(&path)).unwrap();
    assert!(text.contains(r#""first":"1;1;events;p;0000000000000003;"#), "{text}");
    // To the beginning, which is no position.
    rewind(&stream, "v", None).unwrap();
    assert_eq!(position(&stream, "v"), None);
    again(1, 1);
    drop(stream);
    assert_eq!(ids(&path), [1, 2, 3, 4, 1, 2, 3, 4, 5, 3, 1]);
    let stream = FileOutput::open(&path).unwrap();
    assert_eq!((position(&stream, "v"), position(&stream, "w")), (Some(1), Some(3)));
}

#[test]
fn a_rewind_is_durable_when_it_returns() {
    let (directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    emit(&stream, "v", 1..=4).unwrap();
    emit(&stream, "w", 1..=4).unwrap();
    rewind(&stream, "v", Some(3)).unwrap();
    rewind(&stream, "w", None).unwrap();
    rewind(&stream, "never seen", Some(7)).unwrap();
    let copy = directory.path().join("copy.ndjson");
    fs::copy(&path, &copy).unwrap();
    fs::copy(side(&path), side(&copy)).unwrap();
    let after_crash = FileOutput::open(&copy).unwrap();
    for stream in [&stream, &after_crash] {
        let positions = ["v", "w", "never seen"].map(|name| position(stream, name));
        assert_eq!(positions, [Some(3), None, Some(7)].as_slice());
        assert_eq!(ids(&copy), [1, 2, 3, 4, 1, 2, 3, 4]);
    }
}

#[test]
fn progress_that_waits_to_be_recorded_is_set_back_too() {
    let (_directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    emit(&stream, "v", 1..=2).unwrap();
    // Recorded within 50 ms: before the rewind or never.
    wait(stream.emit(emission("v", "p", 3, 90, &[]))).unwrap();
    rewind(&stream, "v", Some(1)).unwrap();
    emit(&stream, "w", 1..=1).unwrap();
    assert_eq!(position(&stream, "v"), Some(1));
    emit(&stream, "v", 1..=3).unwrap();
    drop(stream);
    assert_eq!(ids(&path), [1, 2, 1, 2, 3]);
    assert_eq!(position(&FileOutput::open(&path).unwrap(), "v"), Some(3));
}

#[test]
fn a_rewind_that_cannot_be_recorded_changes_nothing() {
    let (_directory, path) = place();
    let stream = FileOutput::open(&path).unwrap();
    emit(&stream, "v", 1..=3).unwrap();
    fs::rename(side(&path), path.with_extension("old")).unwrap();
    let failure = rewind(&stream, "v", Some(1)).unwrap_err();
    assert!(failure.to_string().contains("was moved, removed or replaced"), "{failure}");
    assert_eq!(position(&stream, "v"), Some(3));
    fs::rename(path.with_extension("old"), side(&path)).unwrap();
    rewind(&stream, "v", Some(1)).unwrap();
    assert_eq!(position(&stream, "v"), Some(1));
}

#[test]
fn a_failed_batch_need_not_be_repeated_after_a_rewind() {
    let (_directory, path) = place();
    let (stream, faults) = faulty(&path);
    emit(&stream, "v", 1..=2).unwrap();
    faults.full.store(true, Ordering::SeqCst);
    emit(&stream, "v", 3..=4).unwrap_err();
    faults.full.store(false, Ordering::SeqCst);
    rewind(&stream, "v", Some(4)).unwrap();
    emit(&stream, "v", 5..=5).unwrap();
    drop(stream);
    assert_eq!(ids(&path), [1, 2, 5]);
}
