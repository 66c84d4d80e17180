//! Brokers that are away, and what operators have to mend.

use super::*;

#[test]
fn brokers_that_go_away_are_heard_of_once_and_partitions_come_back() {
    let cluster = cluster(2);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    let hook = move |name: &str, state: &BrokerState| {
        let back = matches!(state, BrokerState::Back);
        hearing.lock().unwrap().push(format!("{name} {}", if back { "back" } else { "away" }));
    };
    let metrics = KafkaMetrics::register(&mut Registry::default());
    let shared = Shared::new(metrics, Arc::new(hook));
    let (group, flow) = join(GroupOptions { shared, ..options(&cluster, "a") });
    flow.wait("assigned", 2);
    cluster.broker_down(1).expect("goes down");
    until("it is noticed", || heard.lock().unwrap().len() == 1);
    let trouble = group.trouble().expect("says so");
    assert_eq!(trouble.disposition, Disposition::Retry);
    assert!(trouble.message.contains("connection `main`"), "{trouble}");
    // Beyond the session the partitions may be another's.
    until("not held", || !group.holds(&partition(0)));
    flow.wait("lost", 2);
    cluster.broker_up(1).expect("comes up");
    flow.wait("assigned", 4);
    until("heard of", || *heard.lock().unwrap() == ["main away", "main back"]);
    assert!(group.trouble().is_none());
    group.leave();
}

#[test]
fn joining_waits_for_brokers() {
    let cluster = cluster(1);
    cluster.broker_down(1).expect("goes down");
    let (group, flow) = join(options(&cluster, "a"));
    until("it says so", || group.trouble().is_some());
    assert_eq!(group.partitions(), []);
    cluster.broker_up(1).expect("comes up");
    flow.wait("assigned", 1);
    group.leave();
}

#[test]
fn leaving_ends_while_brokers_are_away() {
    let cluster = cluster(1);
    let (group, flow) = join(options(&cluster, "a"));
    flow.wait("assigned", 1);
    cluster.broker_down(1).expect("goes down");
    group.release(&partition(0), Some(&at(9)), &BTreeMap::new());
    group.leave();
    flow.wait("revoked", 1);
}

#[test]
fn a_topic_that_does_not_exist_is_named_and_read_once_it_is_there() {
    let cluster = cluster(1);
    let topics = vec!["ads".to_owned(), "missing".to_owned()];
    let options = GroupOptions { topics, ..options(&cluster, "a") };
    let (group, flow) = join(GroupOptions {
        options: [("topic.metadata.refresh.interval.ms".to_owned(), "500".to_owned())].into(),
        ..options
    });
    until("it says which", || {
        group.trouble().is_some_and(|failure| failure.message.contains("topic `missing` does not exist"))
    });
    assert_eq!(group.trouble().expect("is there").disposition, Disposition::Retry);
    flow.wait("assigned", 1);
    cluster.create_topic("missing", 1, 1).expect("creates");
    flow.wait("assigned missing-0", 1);
    until("it is well", || group.trouble().is_none());
    group.leave();
}

#[test]
fn a_setting_that_makes_no_sense_is_refused_without_its_value() {
    let cluster = cluster(1);
    let mut options = options(&cluster, "a");
    options.connection.options.insert("socket.timeout.ms".to_owned(), "hunter2".to_owned());
    let failure = Group::open(options).err().expect("refused");
    assert_eq!(failure.disposition, Disposition::Stop);
    assert!(
        failure.message.contains("`socket.timeout.ms`") && !failure.to_string().contains("hunter2"),
        "{failure}"
    );
}

#[test]
fn a_vector_that_would_not_fit_is_refused_at_the_start_of_a_view() {
    let cluster = cluster(1);
    let (group, flow) = join(options(&cluster, "a"));
    flow.wait("assigned", 1);
    let many: Vec<String> = (0..80).map(|number| format!("view_{number}")).collect();
    let many: Vec<(&str, Option<u64>)> = many.iter().map(|name| (name.as_str(), Some(1))).collect();
    group.release(&partition(0), Some(&at(1)), &views(&many));
    let failure = (80..)
        .find_map(|number| {
            let name = format!("view_{number}");
            let refused = group.room_for(&name, &partition(0)).err();
            group.emitted(&name, &partition(0), at(1));
            refused
        })
        .expect("some view is too many");
    assert_eq!(failure.disposition, Disposition::Stop);
    assert!(failure.message.contains("of the 4096 that brokers keep"), "{failure}");
    group.leave();
}
