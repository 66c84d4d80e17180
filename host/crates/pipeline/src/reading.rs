//! The thread that reads a source: read, decode, hand over, again.
//!
//! It knows no view. What it may not do is lose its place: after a failure it opens the source again behind the last
//! batch that it handed over.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use model::codec::Decoder;
use model::error::{Disposition, Failure};
use model::position::Partition;
use model::source::{ReadEvent, Reader};

use crate::events::{SourceFailed, SourceRecovered, SourceRetries};
use crate::intake::{Halt, Intake};
use crate::pool::panic_message;
use crate::retry::{Pauses, Retry};

/// Starts the thread.
pub(crate) fn spawn(intake: Arc<Intake>, epoch: u64) -> io::Result<()> {
    let builder = thread::Builder::new().name(format!("read-{}", intake.name));
    builder.spawn(move || run(&intake, epoch)).map(drop)
}

fn run(intake: &Intake, epoch: u64) {
    let outcome = catch_unwind(AssertUnwindSafe(|| read(intake, epoch)));
    let reason = match outcome {
        Ok(Err(Stop::Failed(failure))) => failure.to_string(),
        Ok(Ok(())) | Ok(Err(Stop::Halted(_))) => return,
        Err(panic) => format!("a panic while reading: {}", panic_message(panic.as_ref())),
    };
    SourceFailed { metrics: &intake.metrics, reason: &reason }.emit();
    intake.fail(epoch, &reason);
}

/// Why the thread ends.
enum Stop {
    /// Nobody needs it, or not for these partitions.
    Halted(Halt),
    /// The source cannot be read.
    Failed(Failure),
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Self {
        Self::Halted(halt)
    }
}

struct Reading<'a> {
    intake: &'a Intake,
    epoch: u64,
    decoder: Box<dyn Decoder>,
    retry: Retry,
    /// All that there were at the last look, and those that came since.
    partitions: BTreeSet<Partition>,
    looked: Instant,
}

fn read(intake: &Intake, epoch: u64) -> Result<(), Stop> {
    let pauses = Pauses { first: intake.settings.retry_first, max: intake.settings.retry_max };
    let mut reading = Reading {
        intake,
        epoch,
        decoder: intake.format.decoder(),
        retry: Retry::new(pauses),
        partitions: BTreeSet::new(),
        looked: Instant::now(),
    };
    loop {
        match reading.open_and_read() {
            Ok(Again::OtherPartitions) | Err(Stop::Halted(Halt::Reopen)) => {}
            Err(Stop::Failed(failure)) if failure.disposition == Disposition::Retry => {
                let (again, first) = reading.retry.failed(Instant::now());
                SourceRetries { metrics: &intake.metrics, failure: &failure, first }.emit();
                intake.set_trouble(epoch, Some(failure.to_string()));
                match intake.pause_reader(epoch, again) {
                    Ok(()) | Err(Halt::Reopen) => {}
                    Err(ended) => return Err(ended.into()),
                }
            }
            Err(stop) => return Err(stop),
        }
    }
}

/// Why the source is opened again.
enum Again {
    OtherPartitions,
}

impl Reading<'_> {
    fn open_and_read(&mut self) -> Result<Again, Stop> {
        self.intake.opening(self.epoch)?;
        let partitions = self.intake.source.partitions().map_err(Stop::Failed)?;
        self.looked = Instant::now();
        self.partitions = partitions.into_iter().collect();
        let partitions: Vec<Partition> = self.partitions.iter().cloned().collect();
        for partition in &partitions {
            if !self.intake.has_lane(partition) {
                (self.intake.partition_found)(partition);
            }
        }
        let (wanted, after) = self.intake.open(self.epoch, &partitions)?;
        if wanted.is_empty() {
            self.intake.pause_reader(self.epoch, self.looked + self.intake.settings.partition_poll)?;
            return Ok(Again::OtherPartitions);
        }
        let mut reader = self.intake.source.read(&wanted, &after).map_err(Stop::Failed)?;
        self.read_on(reader.as_mut())
    }

    fn read_on(&mut self, reader: &mut dyn Reader) -> Result<Again, Stop> {
        let (intake, settings) = (self.intake, &self.intake.settings);
        loop {
            let event = reader.next(intake.budget(), settings.read_wait).map_err(Stop::Failed)?;
            if let Some((attempts, after)) = self.retry.worked(Instant::now()) {
                intake.set_trouble(self.epoch, None);
                SourceRecovered { metrics: &intake.metrics, attempts, after }.emit();
            }
            match event {
                ReadEvent::Batch(raw) => {
                    intake.metrics.rows.inc_by(raw.len() as u64);
                    intake.metrics.bytes.inc_by(raw.data.len() as u64);
                    if self.partitions.insert(raw.partition.clone()) {
                        (intake.partition_found)(&raw.partition);
                        intake.open(self.epoch, std::slice::from_ref(&raw.partition))?;
                    }
                    intake.append(self.epoch, self.decoder.decode(raw))?;
                }
                ReadEvent::Idle => intake.check(self.epoch)?,
                ReadEvent::End => intake.pause_reader(self.epoch, self.looked + settings.partition_poll)?,
            }
            if settings.partition_poll <= self.looked.elapsed() {
                self.looked = Instant::now();
                let now = intake.source.partitions().map_err(Stop::Failed)?;
                if now.iter().any(|partition| !self.partitions.contains(partition)) {
                    return Ok(Again::OtherPartitions);
                }
            }
        }
    }
}
