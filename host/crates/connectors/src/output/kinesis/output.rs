//! The stream as the flow sees it.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use model::error::{Disposition, Failure};
use model::output::{Emission, OutputStream};
use model::position::{Partition, Position};

use super::options::KinesisOutputOptions;
use super::sender;
use super::stream::{self, Queueing};
use super::summary::{self, Summary};
use crate::output::emitter::{CLOSING, Emitter, Slot};
use crate::output::keeper::Keeper;

/// How long opening waits for the stream to say what it is. Afterwards the sender asks on.
const OPENING: Duration = Duration::from_secs(3);

/// An output stream that is a Kinesis stream, for one view.
///
/// Dropping it waits a few seconds for what is under way.
#[derive(Debug)]
pub struct KinesisOutput {
    emitter: Arc<Emitter<Queueing>>,
    /// Disconnected when the sender has ended.
    ended: Mutex<Receiver<()>>,
}

impl KinesisOutput {
    /// Looks at the stream and starts. While Kinesis does not answer, it starts all the same, and what is emitted fails
    /// until the stream was seen. Blocks, for some seconds; not to be called where a runtime has one thread only.
    ///
    /// Stops with words if the stream is missing, may not be used, or ignores partition keys that order rests on.
    pub fn open(options: KinesisOutputOptions) -> Result<Arc<Self>, Failure> {
        let keeper = options.keeper()?;
        Self::start(options, keeper)
    }

    pub(super) fn start(
        options: KinesisOutputOptions,
        keeper: Box<dyn Keeper>,
    ) -> Result<Arc<Self>, Failure> {
        let slot = match first_look(&options) {
            Ok(summary) => Slot::Open(summary),
            Err(failure) if failure.disposition == Disposition::Stop => return Err(failure),
            Err(failure) => Slot::closed(&failure),
        };
        let runtime = options.shared.runtime.clone();
        let emitter = stream::emitter(options, keeper, slot);
        let (ending, ended) = sync_channel(0);
        let theirs = Arc::clone(&emitter);
        runtime.spawn(async move {
            sender::run(theirs).await;
            drop(ending);
        });
        Ok(Arc::new(Self { emitter, ended: Mutex::new(ended) }))
    }
}

/// Looks at the stream, unless its connection is known to be away: nobody needs to wait for that again.
fn first_look(options: &KinesisOutputOptions) -> Result<Summary, Failure> {
    if let Some(trouble) = options.shared.contact(&options.connection).trouble() {
        return Err(Failure::retry(format!("{}: {trouble}", options.doing())));
    }
    let (answer, answered) = sync_channel(1);
    let theirs = options.clone();
    options.shared.runtime.spawn(async move {
        let looked = tokio::time::timeout(OPENING, summary::look(&theirs)).await;
        // Whoever opens may have gone on.
        let _ = answer.send(looked.unwrap_or_else(|_| Err(no_answer(&theirs))));
    });
    // The time limit is the task's; this one is for a runtime that does not get to it.
    answered.recv_timeout(2 * OPENING).unwrap_or_else(|_| Err(no_answer(options)))
}

fn no_answer(options: &KinesisOutputOptions) -> Failure {
    Failure::retry(format!("{}: Kinesis does not answer", options.doing()))
}

impl OutputStream for KinesisOutput {
    fn position(&self, _view: &str, partition: &Partition) -> Option<Position> {
        self.emitter.keeper.position(partition)
    }

    /// Records are encoded here, before this returns, as far as there is room; the future waits for their acknowledgement,
    /// and encodes the rest.
    fn emit(&self, emission: Emission) -> BoxFuture<'static, Result<(), Failure>> {
        self.emitter.emit(emission)
    }

    fn rewind(
        &self,
        _view: &str,
        partition: &Partition,
        to: Option<Position>,
        epoch: u32,
    ) -> Result<(), Failure> {
        self.emitter.rewind(partition, to, epoch)
    }
}

impl Drop for KinesisOutput {
    fn drop(&mut self) {
        self.emitter.stopping.store(true, Ordering::Release);
        self.emitter.carrier.news.notify_one();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.emitter.carrier.queue().len() > 0 {
            // It ends either way; what is not acknowledged by then is emitted again after the next start.
            let _ = ended.recv_timeout(CLOSING);
        }
    }
}
