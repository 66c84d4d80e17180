//! The stream as the flow sees it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use futures_core::future::BoxFuture;
use model::error::Failure;
use model::output::{Emission, OutputStream};
use model::position::{Partition, Position};
use tokio::sync::oneshot;

use super::files::Files;
use super::positions::Key;
use super::queue::{Admission, Answer, Content, Queue};
use super::writer::{self, encode};

/// An output stream that is a file. Any number of views may share it.
///
/// Dropping it writes and syncs what waits, then returns.
pub struct FileOutput {
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl FileOutput {
    /// Opens or makes the file and `<path>.positions` beside it, cuts the file to what is recorded there, and starts the
    /// writer.
    ///
    /// Stops with words if the file is shorter than recorded, has content but no positions, is written by another host,
    /// or if the positions are damaged other than at their end.
    pub fn open(path: &Path) -> Result<Arc<Self>, Failure> {
        let (files, recorded) = Files::open(path)?;
        Self::start(files, Queue::new(recorded.positions)).map(Arc::new).map_err(|error| {
            Failure::stop(format!("start the writer of output file `{}`", path.display())).caused_by(error)
        })
    }

    pub(super) fn start(files: Files, queue: Queue) -> std::io::Result<Self> {
        let queue = Arc::new(queue);
        let theirs = Arc::clone(&queue);
        let writer =
            Builder::new().name("output-file".to_owned()).spawn(move || writer::run(&theirs, files))?;
        Ok(Self { queue, writer: Some(writer) })
    }
}

impl OutputStream for FileOutput {
    fn position(&self, view: &str, partition: &Partition) -> Option<Position> {
        self.queue.recorded(&Key { view: view.to_owned(), partition: partition.clone() })
    }

    /// Records are encoded here, before this returns; the future waits for the disk.
    ///
    /// The place in the file is that of the call, even if the future is dropped. A batch without rows is answered at once
    /// if nothing of its partition is under way: its position is recorded within 50 ms.
    fn emit(&self, emission: Emission) -> BoxFuture<'static, Answer> {
        let receiver = match self.queue.admit(emission) {
            Admission::Done => return Box::pin(std::future::ready(Ok(()))),
            Admission::Refused(failure) => return Box::pin(std::future::ready(Err(failure))),
            Admission::Queued(receiver) => receiver,
            Admission::Encode(emission, skip, number, receiver) => {
                let mut filling = Filling { queue: &self.queue, number, content: Content::Abandoned };
                filling.content = Content::Ready(encode(&emission, skip));
                drop(filling);
                receiver
            }
        };
        Box::pin(answer(receiver))
    }

    /// Blocks until the side file says so. The epoch is in the identities of what is emitted afterwards.
    fn rewind(
        &self,
        view: &str,
        partition: &Partition,
        to: Option<Position>,
        _epoch: u32,
    ) -> Result<(), Failure> {
        let key = Key { view: view.to_owned(), partition: partition.clone() };
        // A sender that went away without an answer: the writer ended.
        self.queue.rewind(key, to)?.recv().unwrap_or_else(|_| Err(writer_ended()))
    }
}

impl Drop for FileOutput {
    fn drop(&mut self) {
        self.queue.stop();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has told everybody who waited.
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for FileOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileOutput").finish_non_exhaustive()
    }
}

async fn answer(receiver: oneshot::Receiver<Answer>) -> Answer {
    receiver.await.unwrap_or_else(|_| Err(writer_ended()))
}

fn writer_ended() -> Failure {
    Failure::stop("write output records: the writer ended")
}

/// Fills the slot when it goes out of scope, also if encoding panics: the writer waits for it.
struct Filling<'a> {
    queue: &'a Queue,
    number: u64,
    content: Content,
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.queue.fill(self.number, std::mem::replace(&mut self.content, Content::Abandoned));
    }
}
