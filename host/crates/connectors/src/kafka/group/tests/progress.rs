//! What is committed, and when.

use super::*;

#[test]
fn progress_is_committed_and_known_to_the_next_member() {
    let cluster = cluster(2);
    let (group, flow) = join(options(&cluster, "a"));
    flow.wait("assigned", 2);
    group.emitted("clicks", &partition(0), at(41));
    group.release(
        &partition(0),
        Some(&at(9)),
        &views(&[("clicks", Some(20)), ("late", Some(9)), ("empty", None)]),
    );
    let text = "1;*=2;clicks=42;empty=0;late=10".to_owned();
    until("committed", || committed(&cluster, 0) == Some((10, text.clone())));
    assert_eq!(committed(&cluster, 1), None);
    group.leave();

    let (group, flow) = join(options(&cluster, "b"));
    flow.wait("assigned", 2);
    let known = |view, is_new| Kept { group: Some(at(9)), view, epoch: 0, is_new };
    assert_eq!(group.kept("clicks", &partition(0)), known(Some(at(41)), false));
    assert_eq!(group.kept("empty", &partition(0)), known(None, true));
    assert_eq!(group.kept("other", &partition(0)), known(None, false));
    assert_eq!(group.kept("clicks", &partition(1)), Kept::default());
    // What other views have is kept.
    group.emitted("clicks", &partition(0), at(50));
    until("committed", || committed(&cluster, 0) == Some((10, "1;*=2;clicks=51;empty=0;late=10".to_owned())));
    group.leave();
}

#[test]
fn a_commit_that_fails_is_repeated_and_counted() {
    let cluster = cluster(1);
    let mut registry = Registry::default();
    let shared = Shared::new(KafkaMetrics::register(&mut registry), Arc::new(|_, _| {}));
    let (group, flow) = join(GroupOptions { shared, ..options(&cluster, "a") });
    flow.wait("assigned", 1);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[error, error]);
    group.release(&partition(0), Some(&at(9)), &views(&[("clicks", Some(9))]));
    until("committed", || committed(&cluster, 0) == Some((10, "1;*=1;clicks=10".to_owned())));
    let counted = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        text
    };
    until("counted", || {
        let text = counted();
        text.contains("millrace_kafka_commit_failures_total{source=\"ads\"} 2")
            && text.contains("millrace_kafka_commit_seconds_count{source=\"ads\"} 1")
            && text.contains("millrace_kafka_assigned_partitions{source=\"ads\"} 1")
    });
    group.leave();
}

#[test]
fn a_rewind_is_committed_on_return() {
    let cluster = cluster(1);
    let (group, flow) = join(options(&cluster, "a"));
    flow.wait("assigned", 1);
    group.release(&partition(0), Some(&at(9)), &views(&[("clicks", Some(9)), ("other", Some(9))]));
    group.rewind("clicks", &partition(0), Some(at(3)), 1).expect("rewinds");
    assert_eq!(committed(&cluster, 0), Some((4, "1;*=1;clicks=4,1;other=10".to_owned())));
    assert_eq!(group.kept("clicks", &partition(0)).epoch, 1);
    group.rewind("clicks", &partition(0), None, 2).expect("rewinds");
    assert_eq!(committed(&cluster, 0), Some((0, "1;*=1;clicks=0,2;other=10".to_owned())));
    let failure = group.rewind("clicks", &partition(7), None, 2).expect_err("is not ours");
    assert_eq!(failure.disposition, Disposition::Retry);
    group.leave();
}

#[test]
fn a_transaction_takes_the_place_of_commits() {
    let cluster = cluster(2);
    let (group, flow) = join(options(&cluster, "a"));
    flow.wait("assigned", 2);
    until("held", || group.holds(&partition(0)));
    let transaction = group.transaction("clicks", &[(partition(0), at(4))]).expect("may begin");
    let element = transaction.offsets.find_partition("ads", 0).expect("is in it");
    assert_eq!((element.offset(), element.metadata()), (Offset::Offset(5), "1;*=2;clicks=5"));
    // Nothing is committed meanwhile, and nobody waits for it: the member goes on.
    group.release(&partition(1), Some(&at(9)), &BTreeMap::new());
    assert!(group.holds(&partition(1)));
    assert_eq!(committed(&cluster, 1), None);
    transaction.committed();
    until("committed", || committed(&cluster, 1).is_some());
    assert_eq!(group.kept("clicks", &partition(0)).view, Some(at(4)));

    // One whose end is unknown: nothing is committed for it before the truth is read.
    drop(group.transaction("clicks", &[(partition(1), at(20))]).expect("may begin"));
    group.release(&partition(1), Some(&at(10)), &BTreeMap::new());
    group.release(&partition(0), Some(&at(10)), &BTreeMap::new());
    until("the other is", || committed(&cluster, 0).is_some());
    assert_eq!(committed(&cluster, 1).map(|(offset, _)| offset), Some(10));
    let failure = group.transaction("clicks", &[(partition(1), at(20))]).err().expect("is in doubt");
    assert_eq!(failure.disposition, Disposition::Retry);
    group.refresh(&[partition(1)], LIMIT).expect("reads");
    assert_eq!(group.kept("clicks", &partition(1)).view, None, "it was not committed after all");
    until("committed again", || committed(&cluster, 1).is_some_and(|(offset, _)| offset == 11));

    let failure = group.transaction("clicks", &[(partition(7), at(1))]).err().expect("is not ours");
    assert_eq!(failure.disposition, Disposition::Retry);
    group.leave();
}

#[test]
fn a_partition_that_came_into_being_since_is_new() {
    let cluster = cluster(2);
    // The mock cluster cannot add partitions: a commit that says that there was one stands for that.
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "millrace-test-ads");
    config.set("partition.assignment.strategy", "cooperative-sticky").set("session.timeout.ms", "6000");
    let client = BaseConsumer::from_config(&config).expect("makes a client");
    client.subscribe(&["ads"]).expect("subscribes");
    until("it joins", || {
        client.poll(Duration::from_millis(50));
        client.assignment().expect("answers").count() == 2
    });
    let mut list = TopicPartitionList::new();
    list.add_partition("ads", 0).set_metadata("1;*=1;clicks=10");
    list.set_partition_offset("ads", 0, Offset::Offset(10)).expect("is in it");
    client.commit(&list, CommitMode::Sync).expect("commits");
    drop(client);

    let (group, flow) = join(options(&cluster, "b"));
    flow.wait("assigned", 2);
    assert!(!group.kept("clicks", &partition(0)).is_new);
    assert!(group.kept("clicks", &partition(1)).is_new);
    // With its first commit it is like the others.
    group.release(&partition(1), Some(&at(4)), &views(&[("clicks", Some(4))]));
    until("committed", || committed(&cluster, 1) == Some((5, "1;*=1;clicks=5".to_owned())));
    assert!(!group.kept("clicks", &partition(1)).is_new);
    group.leave();
}
