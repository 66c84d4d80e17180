//! How much of each source is this host's, where several hosts share its partitions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use connectors::source::kafka::KafkaSource;
use connectors::source::kinesis::KinesisSource;
use model::error::Failure;
use model::source::Source;
use serve::Share;

/// How often the partitions of a source are counted. Seldom: it may be a question to a broker, and they are seldom added.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// A source whose partitions hosts share.
pub(super) trait Counted: Source {
    /// How many partitions there are, whoever reads them.
    fn count(&self) -> Result<usize, Failure>;
}

impl Counted for KafkaSource {
    fn count(&self) -> Result<usize, Failure> {
        self.count_partitions()
    }
}

impl Counted for KinesisSource {
    fn count(&self) -> Result<usize, Failure> {
        self.count_partitions()
    }
}

/// Sources that are open, and how much of them is this host's.
#[derive(Default)]
pub(crate) struct Shares(Mutex<Vec<Followed>>);

/// A source, and how much of it is this host's.
struct Followed {
    source: Weak<dyn Counted>,
    share: Arc<Share>,
    /// When its partitions were counted last.
    counted: Option<Instant>,
}

impl Shares {
    /// How much of a source is this host's, from now on.
    pub(super) fn follow<S: Counted + 'static>(&self, source: &Arc<S>) -> Arc<Share> {
        let share = Arc::new(Share::default());
        let source: Weak<S> = Arc::downgrade(source);
        self.lock().push(Followed { source, share: Arc::clone(&share), counted: None });
        share
    }

    /// Looks how much of each source is this host's. May ask brokers, and wait for them.
    pub(crate) fn refresh(&self) {
        let mut known = std::mem::take(&mut *self.lock());
        known.retain_mut(|followed| {
            let Some(source) = followed.source.upgrade() else { return false };
            let read = source.partitions().map_or(0, |partitions| partitions.len());
            let (_, mut all) = followed.share.get();
            let is_due = followed.counted.is_none_or(|counted| COUNT_EVERY <= counted.elapsed());
            if is_due || usize::try_from(all).is_ok_and(|all| all < read) {
                followed.counted = Some(Instant::now());
                // What cannot be asked now stays as it was.
                if let Ok(counted) = source.count() {
                    all = u32::try_from(counted).unwrap_or(u32::MAX);
                }
            }
            followed.share.set(read, usize::try_from(all).unwrap_or(usize::MAX));
            true
        });
        // Sources may have been opened meanwhile.
        self.lock().append(&mut known);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Followed>> {
        // A list of references is whole whatever its holder was doing when it panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
