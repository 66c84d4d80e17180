//! What is in the topic after letters were written, against librdkafka's mock cluster.

use std::collections::BTreeMap;

use model::position::{Partition, Position};
use model::view::Digest;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use super::*;

const TOPIC: &str = "dead-letters";

fn open(mock: &MockCluster<'static, DefaultProducerContext>, max_message: usize) -> Arc<KafkaDeadLetters> {
    mock.create_topic(TOPIC, 1, 1).unwrap();
    let connection = Connection {
        name: "main".into(),
        bootstrap_servers: mock.bootstrap_servers(),
        tls: None,
        sasl: None,
        options: BTreeMap::new(),
    };
    KafkaDeadLetters::open(KafkaDeadLettersOptions {
        connection,
        topic: TOPIC.into(),
        create: None,
        max_message_bytes: Some(max_message),
        shared: Shared::for_tests(),
    })
    .unwrap()
}

fn letter<'a>(partition: &'a Partition, payload: &'a [u8]) -> DeadLetter<'a> {
    DeadLetter {
        view: "v",
        source: "ads",
        partition,
        position: Position::from_u64(7),
        code: "decode",
        reason: "not JSON",
        ingest_time: 1_654_562_168_832_793,
        digest: Digest([0xab; 32]),
        payload,
    }
}

/// Payloads and headers of the first records of the topic.
fn read(mock: &MockCluster<'static, DefaultProducerContext>, count: usize) -> Vec<(Vec<u8>, String)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", mock.bootstrap_servers())
        .set("group.id", "test")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let since = Instant::now();
    let mut records = Vec::new();
    while records.len() < count {
        assert!(since.elapsed() < WRITE_LIMIT, "the topic can be read");
        let Some(record) = consumer.poll(POLL).transpose().unwrap() else { continue };
        assert_eq!(record.key(), None);
        let headers = record
            .headers()
            .unwrap()
            .iter()
            .map(|header| format!("{}={}", header.key, String::from_utf8_lossy(header.value.unwrap())));
        records.push((record.payload().unwrap().to_vec(), headers.collect::<Vec<_>>().join(" ")));
    }
    records
}

#[test]
fn a_letter_is_the_payload_and_headers() {
    let mock = MockCluster::new(1).unwrap();
    let letters = open(&mock, DEFAULT_MAX_MESSAGE_BYTES);
    let partition = Partition::new("ads-3");
    letters.write(&[letter(&partition, b"{"), letter(&partition, b"\xff\0")]).unwrap();
    let headers = "view=v source=ads partition=ads-3 position=0000000000000007 code=decode reason=not JSON \
                   digest=abababababababab time=2022-06-07T00:36:08.832793Z";
    let expected = [(b"{".to_vec(), headers.to_owned()), (b"\xff\0".to_vec(), headers.to_owned())];
    assert_eq!(read(&mock, 2), expected);
}

#[test]
fn of_a_payload_that_is_too_large_the_beginning_is_kept() {
    let mock = MockCluster::new(1).unwrap();
    let letters = open(&mock, 2_000);
    let partition = Partition::new("ads-3");
    letters.write(&[letter(&partition, &[b'x'; 5_000])]).unwrap();
    let (payload, headers) = read(&mock, 1).remove(0);
    assert!((1_000..2_000).contains(&payload.len()), "{}", payload.len());
    assert!(headers.ends_with(" payload_bytes=5000"), "{headers}");
}

#[test]
fn a_failed_letter_fails_the_call_and_the_next_call_works() {
    let mock = MockCluster::new(1).unwrap();
    let letters = open(&mock, DEFAULT_MAX_MESSAGE_BYTES);
    let partition = Partition::new("ads-3");
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 1]);
    let failure = letters.write(&[letter(&partition, b"{")]).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry, "{failure}");
    letters.write(&[letter(&partition, b"{")]).unwrap();
    assert_eq!(read(&mock, 1).len(), 1);
}
