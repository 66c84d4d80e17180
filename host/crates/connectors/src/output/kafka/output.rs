//! The stream as the flow sees it, in either mode.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use model::error::{Disposition, Failure};
use model::output::{Emission, OutputStream};
use model::position::{Partition, Position};

use super::options::KafkaOutputOptions;
use super::session::Session;
use super::stream::Stream;
use super::transactions::Transactions;

/// An output stream that is a Kafka topic, for one view.
///
/// Dropping it waits a few seconds for what is under way.
#[derive(Debug)]
pub struct KafkaOutput {
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    AtLeastOnce(Stream),
    ExactlyOnce(Transactions),
}

impl KafkaOutput {
    /// Looks at the topic, makes it if the options say so, and starts. While no broker answers, it starts all the same, and
    /// what is emitted fails until one does; only with [`super::Progress::Topic`] it fails then, for it would not know any
    /// position. Blocks.
    ///
    /// Stops with words if the topic is missing, may not be written, or settings are wrong.
    pub fn open(options: KafkaOutputOptions) -> Result<Arc<Self>, Failure> {
        let watch = options.shared.watch(&options.connection);
        let mode = if options.exactly_once {
            Mode::ExactlyOnce(Transactions::start(options, watch)?)
        } else {
            let keeper = options.keeper()?;
            // Known to be away: nobody needs to wait for that again.
            let away = watch.trouble().filter(|failure| failure.disposition == Disposition::Retry);
            let session = match away.map_or_else(|| Session::open(&options, &watch, None), Err) {
                Err(failure) if failure.disposition == Disposition::Stop => return Err(failure),
                session => session,
            };
            Mode::AtLeastOnce(Stream::start(options, watch, keeper, session)?)
        };
        Ok(Arc::new(Self { mode }))
    }
}

impl OutputStream for KafkaOutput {
    fn position(&self, _view: &str, partition: &Partition) -> Option<Position> {
        match &self.mode {
            Mode::AtLeastOnce(stream) => stream.position(partition),
            Mode::ExactlyOnce(transactions) => transactions.position(partition),
        }
    }

    /// Records are encoded and handed to librdkafka here, before this returns, as far as there is room; the future waits
    /// for their acknowledgement, and hands over the rest.
    fn emit(&self, emission: Emission) -> BoxFuture<'static, Result<(), Failure>> {
        match &self.mode {
            Mode::AtLeastOnce(stream) => stream.emit(emission),
            Mode::ExactlyOnce(transactions) => transactions.emit(&emission),
        }
    }

    fn rewind(
        &self,
        _view: &str,
        partition: &Partition,
        to: Option<Position>,
        epoch: u32,
    ) -> Result<(), Failure> {
        match &self.mode {
            Mode::AtLeastOnce(stream) => stream.rewind(partition, to, epoch),
            Mode::ExactlyOnce(transactions) => transactions.rewind(partition, to, epoch),
        }
    }
}
