//! A host that reads a stream by itself.

use std::path::Path;

use model::error::Disposition;

use super::*;

fn open(directory: &Path, stream: &Arc<Stream>) -> Arc<Leases> {
    let place = LeasePlace::Alone { directory: directory.to_owned() };
    let options = LeaseOptions { place, ..options("a", LONG) };
    Leases::open(options, Arc::clone(stream) as _).unwrap()
}

/// A flow that does nothing.
struct Idle;

impl Assignee for Idle {
    fn assigned(&self, _partitions: &[Partition]) {}

    fn revoked(&self, _partitions: &[Partition], _deadline: Instant) {}

    fn lost(&self, _partitions: &[Partition]) {}
}

fn started(directory: &Path, stream: &Arc<Stream>) -> Arc<Leases> {
    let leases = open(directory, stream);
    leases.join(Arc::new(Idle));
    until("it has all", || leases.partitions().len() == stream.shards().len());
    leases
}

fn views(entries: &[(&str, u64, u32)]) -> BTreeMap<String, ViewProgress> {
    let entry = |(view, through, epoch): &(&str, u64, u32)| {
        ((*view).to_owned(), ViewProgress { through: Some(at(*through)), epoch: *epoch })
    };
    entries.iter().map(entry).collect()
}

#[test]
fn nothing_is_waited_for_and_a_stream_that_does_not_answer_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::with(3);
    stream.refuses.store(true, Ordering::Release);
    let leases = open(folder.path(), &stream);
    assert!(leases.partitions().is_empty() && leases.trouble().is_none());
    let failure = leases.count().unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry);
    assert!(failure.to_string().contains("`clicks`: the stream has not answered yet"), "{failure}");
    leases.join(Arc::new(Idle));
    until("it says why", || leases.trouble().is_some());
    let trouble = leases.trouble().unwrap();
    assert_eq!(trouble.disposition, Disposition::Stop);
    assert_eq!(trouble.to_string(), "list the shards: there is no such stream");
    assert!(leases.count().unwrap_err().to_string().contains("there is no such stream"));
    stream.refuses.store(false, Ordering::Release);
    until("it has all", || leases.partitions().len() == 3);
    assert!(leases.trouble().is_none());
    assert_eq!(leases.count().unwrap(), 3);
    leases.leave();
    assert!(leases.partitions().is_empty());
}

#[test]
fn progress_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::with(2);
    let leases = started(folder.path(), &stream);
    let (first, second) = (partition(0), partition(1));
    assert_eq!(leases.kept("clicks", &first).unwrap(), Kept::default());
    assert!(leases.holds(&first) && !leases.holds(&partition(9)));
    let failure = leases.kept("clicks", &partition(9)).unwrap_err();
    assert!(failure.to_string().contains("`shardId-9`"), "{failure}");
    leases.release(&first, Some(&at(5)), &views(&[("clicks", 9, 0), ("views", 5, 2)]));
    leases.emitted("views", &first, at(6));
    leases.release(&second, Some(&position::end()), &BTreeMap::new());
    let seen = Tip { at: 1_000_000_000, last: Some(at(9)) };
    leases.note_seen(&first, seen);
    leases.note_seen(&first, Tip { at: seen.at + 1, last: Some(at(10)) });
    assert_eq!(leases.seen(&first), Some(seen), "not each moment is worth a write");
    leases.leave();
    drop(leases);

    stream.shards().get_mut(&second).unwrap().shard.ending = Some("9".to_owned());
    let leases = started(folder.path(), &stream);
    let kept = leases.kept("clicks", &first).unwrap();
    assert_eq!(kept, Kept { group: Some(at(5)), view: Some(at(9)), epoch: 0, is_new: false });
    let kept = leases.kept("views", &first).unwrap();
    assert_eq!((kept.view, kept.epoch), (Some(at(6)), 2));
    assert_eq!(leases.kept("other", &first).unwrap().view, None);
    assert_eq!(leases.seen(&first), Some(seen));
    // A reader that began behind the record has not seen it.
    let later = Tip { at: seen.at + 60_000_000, last: None };
    leases.note_seen(&first, later);
    assert_eq!(leases.seen(&first), Some(Tip { last: seen.last, ..later }));
    assert!(leases.is_finished(&second) && !leases.is_finished(&first));
}

#[test]
fn a_rewind_is_written_on_return() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::with(1);
    let leases = started(folder.path(), &stream);
    let shard = partition(0);
    leases.release(&shard, Some(&position::end()), &views(&[("clicks", 9, 0), ("views", 9, 0)]));
    until("it is written", || leases.is_finished(&shard));
    leases.rewind("clicks", &shard, Some(at(3)), 1).unwrap();
    assert!(!leases.is_finished(&shard));
    let failure = leases.rewind("clicks", &partition(9), None, 1).unwrap_err();
    assert!(failure.to_string().contains("`shardId-9`"), "{failure}");
    // As if the host had been killed: it neither leaves nor writes anything more.
    let again = open(folder.path(), &stream);
    again.join(Arc::new(Idle));
    until("it has all", || again.partitions().len() == 1);
    let kept = again.kept("clicks", &shard).unwrap();
    assert_eq!(kept, Kept { group: Some(at(3)), view: Some(at(3)), epoch: 1, is_new: false });
    assert_eq!(again.kept("views", &shard).unwrap().view, Some(at(9)));
    leases.rewind("clicks", &shard, None, 2).unwrap();
    let kept = leases.kept("clicks", &shard).unwrap();
    assert_eq!(kept, Kept { group: None, view: None, epoch: 2, is_new: true });
}

#[test]
fn a_damaged_file_is_said_when_the_leases_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("leases-clicks.json"), "{").unwrap();
    let place = LeasePlace::Alone { directory: folder.path().to_owned() };
    let options = LeaseOptions { place, ..options("a", LONG) };
    let failure = Leases::open(options, Stream::with(1)).unwrap_err();
    assert!(failure.to_string().contains("leases-clicks.json"), "{failure}");
}

#[test]
fn a_source_that_is_never_joined_is_left_at_once() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), &Stream::with(1)).leave();
}
