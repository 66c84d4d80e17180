//! A disk that takes nothing: checkpoints fail, writes go on while there is room, and all is well once the disk is.

use std::sync::atomic::Ordering;

use model::error::Disposition;
use model::position::Partition;
use testkit::contract::online::{self, TestRow};

use super::super::{EmbeddedOptions, EmbeddedStore};
use super::{options, subject};

#[test]
fn a_full_disk_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let view = online::counts_view("counts");
    {
        let options = EmbeddedOptions { checkpoint_bytes: 32 << 10, ..options(directory.path()) };
        let store = EmbeddedStore::open(options).unwrap();
        let subject = subject(&store);
        subject.write(online::batch(&view, "0", 1, &[TestRow::new(0, 0, 0, 0)]));
        subject.checkpoint();
        let free = store.core.disk.reserve.swap(u64::MAX / 2, Ordering::Relaxed);
        // Writes go on until too much is not on disk, then say why.
        let mut position = 0;
        let failure = loop {
            position += 1;
            assert!(position < 100_000, "writes end at twice the checkpoint size");
            let entity = u32::try_from(position % 1000).unwrap();
            let time = i64::try_from(position).unwrap();
            let batch = online::batch(&view, "0", 1, &[TestRow::new(entity, time, position, time)]);
            if let Err(failure) = online::block_on(subject.store.write(batch)) {
                break failure;
            }
        };
        assert_eq!(failure.disposition, Disposition::Retry);
        assert!(failure.to_string().contains("the disk is full"), "{failure}");
        assert!(online::block_on(subject.store.checkpoint()).is_err());
        let statistics = store.statistics();
        assert!(statistics.failing.is_some_and(|why| why.contains("the disk is full")));
        assert!(statistics.failed_checkpoints > 0);
        // Reads answer, positions have not moved.
        subject.check_count(&view, 1, Some((1, 1)));
        assert_eq!(store.core.ledger.durable("counts", &Partition::new("0")).unwrap().as_u64(), Some(0));
        // A view that was never seen cannot be given a number now; that is a reason to try again, too.
        let other = online::batch(&online::counts_view("other"), "0", 1, &[TestRow::new(1, 1, 1, 1)]);
        assert_eq!(store.core.apply(&other).unwrap_err().disposition, Disposition::Retry);

        store.core.disk.reserve.store(free, Ordering::Relaxed);
        subject.checkpoint();
        assert_eq!(store.statistics().failing, None);
        assert_eq!(store.statistics().dirty_rows, 0);
        subject.write(online::batch(&view, "0", 1, &[TestRow::new(1, 1 << 40, position, 7)]));
        subject.checkpoint();
    }
    let store = EmbeddedStore::open(options(directory.path())).unwrap();
    let subject = subject(&store);
    assert!(subject.get_count(&view, 1).is_some_and(|(version, _)| version.event_time == 1 << 40));
    subject.check_count(&view, 2, Some((2, 2)));
}
