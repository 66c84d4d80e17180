//! What the broker says to a member, written down for the member's loop.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;

use crate::kafka::Watched;

/// Everything that can happen to a member.
pub(super) enum Happening {
    /// These are assigned, and paused.
    Assigned(TopicPartitionList),
    /// These are to be given up; the loop has to say when.
    Revoked(TopicPartitionList),
    /// These were another's already when the client found out; given up.
    Lost(TopicPartitionList),
    /// A commit was answered.
    Committed(KafkaResult<()>, TopicPartitionList),
    /// The client could not do what a rebalance asks for, and must be made anew.
    Broken(KafkaError),
}

/// What a member's client has beside its watch.
#[derive(Default)]
pub(super) struct Callbacks {
    /// Grows with rebalances and commits, of which one is under way at a time.
    happenings: Mutex<VecDeque<Happening>>,
    /// Nobody listens any more: partitions are given up at once.
    closing: AtomicBool,
}

impl Callbacks {
    /// The next thing that happened.
    pub(super) fn next(&self) -> Option<Happening> {
        self.happenings.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// From now on nobody listens.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    fn note(&self, happening: Happening) {
        self.happenings.lock().unwrap_or_else(PoisonError::into_inner).push_back(happening);
    }
}

impl ConsumerContext for Watched<Callbacks> {
    fn rebalance(
        &self,
        member: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let closing = self.beside.closing.load(Ordering::SeqCst);
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // From the end and paused: nothing is ever fetched here.
            let assigned = partitions
                .set_all_offsets(rdkafka::Offset::End)
                .and_then(|()| member.incremental_assign(partitions))
                .and_then(|()| if partitions.count() == 0 { Ok(()) } else { member.pause(partitions) });
            match assigned {
                Ok(()) => self.beside.note(Happening::Assigned(partitions.clone())),
                Err(error) => self.beside.note(Happening::Broken(error)),
            }
        } else if closing || member.assignment_lost() {
            if let Err(error) = member.incremental_unassign(partitions) {
                self.beside.note(Happening::Broken(error));
            }
            self.beside.note(Happening::Lost(partitions.clone()));
        } else {
            self.beside.note(Happening::Revoked(partitions.clone()));
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        self.beside.note(Happening::Committed(result, offsets.clone()));
    }
}
