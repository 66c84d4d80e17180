//! Transactions: what is answered, skipped and repeated. Whether aborted records are seen is for a real broker to say:
//! the mock cluster keeps them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::error::Disposition;
use model::output::OutputStream;
use model::position::{Partition, Position};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::super::KafkaOutput;
use super::super::transactions::Transactions;
use super::{LIMIT, Letters, TOPIC, emission, options, read, wide};

struct Rig {
    output: Arc<KafkaOutput>,
    mock: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    letters: Arc<Letters>,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    fn new() -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(TOPIC, 2, 1).unwrap();
        mock.create_topic("millrace-progress", 1, 1).unwrap();
        let letters = Arc::new(Letters::default());
        let output = open(&mock, &letters);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { output, mock, letters, runtime }
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let timed = async { tokio::time::timeout(LIMIT, future).await };
        self.runtime.block_on(timed).expect("the stream answers")
    }

    /// Emits, again and again while told to, as the flow does.
    fn emit(&self, emission: &model::output::Emission) {
        let since = Instant::now();
        while let Err(failure) = self.wait(self.output.emit(emission.clone())) {
            assert!(failure.disposition == Disposition::Retry && since.elapsed() < LIMIT, "{failure}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn position(&self, partition: &str) -> Option<u64> {
        self.output.position("v", &Partition::new(partition))?.as_u64()
    }

    fn all(&self) -> Vec<u64> {
        let records = read(&self.mock.bootstrap_servers(), TOPIC, 2);
        let mut numbers: Vec<u64> = records.iter().map(|record| record.key.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }
}

fn open(
    mock: &MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    letters: &Arc<Letters>,
) -> Arc<KafkaOutput> {
    let mut options = options(&mock.bootstrap_servers(), [].into(), Arc::clone(letters));
    options.exactly_once = true;
    KafkaOutput::open(options).unwrap()
}

#[test]
fn what_waits_is_committed_together_and_positions_survive() {
    let rig = Rig::new();
    assert_eq!(rig.position("p-0"), None);
    let batches =
        (0..8).map(|batch| emission("p-0", batch * 10, batch * 10 + 9, batch * 10..batch * 10 + 10));
    let other = emission("p-1", 1_000, 1_009, 1_000..1_010);
    let futures: Vec<_> = batches.chain([other]).map(|batch| rig.output.emit(batch)).collect();
    rig.wait(futures_util::future::join_all(futures)).into_iter().collect::<Result<(), _>>().unwrap();
    assert_eq!((rig.position("p-0"), rig.position("p-1")), (Some(79), Some(1_009)));
    assert_eq!(rig.all(), (0..80).chain(1_000..1_010).collect::<Vec<_>>());
    // The next one reads the progress topic, and skips what is there.
    let Rig { mock, letters, output, runtime } = rig;
    drop(output);
    let output = open(&mock, &letters);
    let rig = Rig { mock, letters, output, runtime };
    assert_eq!((rig.position("p-0"), rig.position("p-1")), (Some(79), Some(1_009)));
    rig.emit(&emission("p-0", 75, 84, 75..85));
    assert_eq!(rig.all(), (0..85).chain(1_000..1_010).collect::<Vec<_>>());
}

#[test]
fn an_idle_view_commits_its_position_by_and_by() {
    let rig = Rig::new();
    rig.emit(&emission("p-0", 0, 99, 0..0));
    let since = Instant::now();
    while rig.position("p-0") != Some(99) {
        assert!(since.elapsed() < LIMIT);
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(rig.all().is_empty());
}

#[test]
fn too_large_a_record_is_put_aside_and_the_rest_is_committed() {
    let rig = Rig::new();
    rig.emit(&wide("p-0", 0, 0, 0..1, 2_000_000));
    rig.emit(&emission("p-0", 1, 1, 1..2));
    assert_eq!(rig.all(), [1]);
    assert_eq!(rig.letters.written()[0].0, "record_too_large");
    assert_eq!(rig.position("p-0"), Some(1));
}

#[test]
fn a_batch_that_cannot_be_queued_does_not_touch_those_before_it() {
    let rig = Rig::new();
    rig.emit(&emission("p-0", 0, 0, 0..1));
    rig.mock.broker_round_trip_time(-1, Duration::from_millis(100)).unwrap();
    rig.letters.fill(true);
    let first = rig.output.emit(emission("p-0", 1, 9, 1..10));
    let large = wide("p-0", 10, 10, 10..11, 2_000_000);
    let failure = rig.wait(rig.output.emit(large.clone())).unwrap_err();
    assert!(failure.to_string().contains("the disk is full"), "{failure}");
    // Behind what failed nothing is taken; what was before it is committed, and told so.
    rig.wait(rig.output.emit(emission("p-0", 11, 19, 11..20))).unwrap_err();
    rig.wait(first).unwrap();
    assert_eq!(rig.position("p-0"), Some(9));
    rig.letters.fill(false);
    rig.emit(&large);
    rig.emit(&emission("p-0", 11, 19, 11..20));
    assert_eq!(rig.all(), (0..10).chain(11..20).collect::<Vec<_>>());
    assert_eq!(rig.letters.written().len(), 1);
}

#[test]
fn a_rewind_waits_for_what_is_under_way() {
    let rig = Rig::new();
    rig.emit(&emission("p-0", 0, 4, 0..5));
    rig.mock.broker_round_trip_time(-1, Duration::from_millis(100)).unwrap();
    let waiting = rig.output.emit(emission("p-0", 5, 9, 5..10));
    let (partition, to) = (Partition::new("p-0"), Some(Position::from_u64(2)));
    let failure = rig.output.rewind("v", &partition, to, 1).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry, "{failure}");
    rig.wait(waiting).unwrap();
    assert_eq!(rig.position("p-0"), Some(9));
    rig.output.rewind("v", &partition, to, 1).unwrap();
    assert_eq!(rig.position("p-0"), Some(2));
}

#[test]
fn nothing_is_left_of_a_batch_that_is_done() {
    let rig = Rig::new();
    let mut options = options(&rig.mock.bootstrap_servers(), [].into(), Arc::clone(&rig.letters));
    options.exactly_once = true;
    options.view = "w".into();
    let watch = options.shared.watch(&options.connection);
    let transactions = Transactions::start(options, watch).unwrap();
    for batch in 0..5 {
        let emission = emission("p-0", batch * 10, batch * 10 + 9, batch * 10..batch * 10 + 10);
        rig.wait(transactions.emit(&emission)).unwrap();
    }
    // Each batch points to its lane.
    let lane = transactions.shared.lanes.of(&Partition::new("p-0"));
    let since = Instant::now();
    while Arc::strong_count(&lane) > 2 {
        assert!(since.elapsed() < LIMIT, "{} are left", Arc::strong_count(&lane) - 2);
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_rewind_is_committed_and_emits_again() {
    let rig = Rig::new();
    rig.emit(&emission("p-0", 0, 4, 0..5));
    rig.output.rewind("v", &Partition::new("p-0"), Some(Position::from_u64(2)), 1).unwrap();
    assert_eq!(rig.position("p-0"), Some(2));
    rig.emit(&emission("p-0", 3, 4, 3..5));
    assert_eq!(rig.all(), [0, 1, 2, 3, 3, 4, 4]);
    rig.output.rewind("v", &Partition::new("p-0"), None, 2).unwrap();
    assert_eq!(rig.position("p-0"), None);
}

/// A transaction whose requests of this kind are answered with these errors: whatever came of it, all is there in the end,
/// and nothing behind a batch that failed is taken before it.
#[track_caller]
fn check(kind: RDKafkaApiKey, errors: &[RDKafkaRespErr]) {
    let rig = Rig::new();
    rig.emit(&emission("p-0", 0, 9, 0..10));
    rig.mock.request_errors(kind, errors);
    let (first, second) = (emission("p-0", 10, 19, 10..20), emission("p-0", 20, 29, 20..30));
    let futures = [rig.output.emit(first.clone()), rig.output.emit(second.clone())];
    let outcomes = rig.wait(futures_util::future::join_all(futures));
    if outcomes[0].is_err() {
        outcomes[1].as_ref().unwrap_err();
    }
    rig.mock.clear_request_errors(kind);
    rig.emit(&first);
    rig.emit(&second);
    assert_eq!(rig.position("p-0"), Some(29));
    let mut all = rig.all();
    all.dedup();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
}

#[test]
fn a_failed_delivery_aborts() {
    // Also that of the progress: the mock cluster would show it though it was aborted.
    check(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 16]);
}

#[test]
fn a_fenced_producer_is_replaced() {
    check(RDKafkaApiKey::EndTxn, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH]);
    check(RDKafkaApiKey::AddPartitionsToTxn, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
}

#[test]
fn an_unknown_end_is_read_from_the_broker() {
    check(RDKafkaApiKey::EndTxn, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN]);
    check(RDKafkaApiKey::EndTxn, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT; 2]);
}

#[test]
fn who_may_not_write_transactions_stops() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(TOPIC, 2, 1).unwrap();
    mock.create_topic("millrace-progress", 1, 1).unwrap();
    let mut options = options(&mock.bootstrap_servers(), [].into(), Arc::default());
    options.exactly_once = true;
    mock.request_errors(
        RDKafkaApiKey::InitProducerId,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED; 3],
    );
    let failure = KafkaOutput::open(options).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Stop, "{failure}");
}
