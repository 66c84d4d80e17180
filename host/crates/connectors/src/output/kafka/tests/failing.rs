//! Failed deliveries: stop, never skip.

use model::error::Disposition;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::{Rig, emission};

#[test]
fn after_a_failed_delivery_the_same_batch_comes_first() {
    let rig = Rig::new(&[]);
    rig.emit(emission("p-0", 0, 9, 0..10)).unwrap();
    rig.mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 2]);
    let first = rig.stream.emit(emission("p-0", 10, 19, 10..20));
    let second = rig.stream.emit(emission("p-0", 20, 29, 20..30));
    assert_eq!(rig.wait(first).unwrap_err().disposition, Disposition::Retry);
    rig.wait(second).unwrap_err();
    assert_eq!(rig.position("p-0"), Some(9));
    rig.mock.clear_request_errors(RDKafkaApiKey::Produce);
    let refused = rig.emit(emission("p-0", 20, 29, 20..30)).unwrap_err();
    assert!(refused.to_string().contains("an earlier batch failed"), "{refused}");
    rig.emit(emission("p-0", 10, 19, 10..20)).unwrap();
    rig.emit(emission("p-0", 20, 29, 20..30)).unwrap();
    let mut all = rig.all();
    all.dedup();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
    assert_eq!(rig.position("p-0"), Some(29));
}

#[test]
fn other_partitions_fail_with_it_and_go_on_by_themselves() {
    let rig = Rig::new(&[("queue.buffering.max.messages", "7")]);
    rig.mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 8]);
    let batches = [emission("p-0", 0, 99, 0..100), emission("p-1", 1_000, 1_099, 1_000..1_100)];
    let futures = batches.clone().map(|batch| rig.stream.emit(batch));
    for outcome in rig.wait(futures_util::future::join_all(futures)) {
        assert_eq!(outcome.unwrap_err().disposition, Disposition::Retry);
    }
    rig.mock.clear_request_errors(RDKafkaApiKey::Produce);
    let futures = batches.map(|batch| rig.stream.emit(batch));
    rig.wait(futures_util::future::join_all(futures)).into_iter().collect::<Result<(), _>>().unwrap();
    let mut all = rig.all();
    all.dedup();
    assert_eq!(all, (0..100).chain(1_000..1_100).collect::<Vec<_>>());
}

#[test]
fn who_may_not_write_stops() {
    let rig = Rig::new(&[]);
    rig.mock.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 4],
    );
    let failure = rig.emit(emission("p-0", 0, 9, 0..10)).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Stop, "{failure}");
    assert!(failure.to_string().contains("topic `features`"), "{failure}");
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let rig = Rig::new(&[("reconnect.backoff.max.ms", "200")]);
    rig.emit(emission("p-0", 0, 9, 0..10)).unwrap();
    rig.mock.broker_down(-1).unwrap();
    let waiting = rig.stream.emit(emission("p-0", 10, 19, 10..20));
    rig.mock.broker_up(-1).unwrap();
    rig.wait(waiting).unwrap();
    assert_eq!(rig.all(), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_host_that_lost_the_partition_emits_nothing() {
    let rig = Rig::new(&[("reconnect.backoff.max.ms", "200")]);
    rig.mock.broker_down(-1).unwrap();
    let waiting = rig.stream.emit(emission("p-0", 0, 9, 0..10));
    rig.memory.lose(true);
    // Purged although no broker answers.
    let failure = rig.wait(waiting).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry);
    rig.mock.broker_up(-1).unwrap();
    assert_eq!(rig.emit(emission("p-0", 0, 9, 0..10)).unwrap_err().disposition, Disposition::Retry);
    rig.memory.lose(false);
    // Until there is a producer again, callers are told to retry.
    let since = std::time::Instant::now();
    while let Err(failure) = rig.emit(emission("p-0", 0, 9, 0..10)) {
        assert!(failure.disposition == Disposition::Retry && since.elapsed() < super::LIMIT, "{failure}");
        std::thread::yield_now();
    }
    assert_eq!(rig.all(), (0..10).collect::<Vec<_>>());
}
