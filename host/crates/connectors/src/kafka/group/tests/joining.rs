//! Partitions come and go.

use super::*;

#[test]
fn a_member_gets_all_partitions_and_frees_them_when_it_leaves() {
    let cluster = cluster(4);
    let (group, flow) = join(options(&cluster, "a"));
    flow.wait("assigned", 4);
    assert_eq!(group.partitions(), (0..4).map(partition).collect::<Vec<_>>());
    until("held", || group.holds(&partition(2)));
    assert!(!group.holds(&partition(4)));
    assert!(group.trouble().is_none());
    assert_eq!(group.kept("clicks", &partition(0)), Kept::default());
    group.leave();
    flow.wait("revoked", 4);
    assert_eq!(group.partitions(), []);
    assert!(!group.holds(&partition(2)));
    group.leave();

    let (group, flow) = join(options(&cluster, "b"));
    flow.wait("assigned", 4);
    group.leave();
}

#[test]
fn partitions_move_to_a_second_member_with_their_progress() {
    let cluster = cluster(4);
    let (first, first_flow) = join(options(&cluster, "a"));
    first_flow.wait("assigned", 4);
    let releasing = Arc::downgrade(&first);
    *first_flow.at_revoke.lock().unwrap() = Some(Box::new(move |partitions| {
        let Some(group) = releasing.upgrade() else { return };
        for partition in partitions {
            assert!(group.holds(partition), "what has begun may be finished");
            assert!(!group.partitions().contains(partition));
            group.emitted("clicks", partition, at(20));
        }
    }));
    for number in 0..4 {
        first.release(&partition(number), Some(&at(9)), &views(&[("clicks", Some(12))]));
    }
    until("committed", || (0..4).all(|number| committed(&cluster, number).is_some()));
    let (second, second_flow) = join(options(&cluster, "b"));
    second_flow.wait("assigned", 2);
    first_flow.wait("revoked", 2);
    until("both have half", || first.partitions().len() == 2 && second.partitions().len() == 2);
    for partition in second.partitions() {
        assert!(!first.holds(&partition));
        let kept = second.kept("clicks", &partition);
        // Unlike a real broker the mock cluster refuses commits while the next rebalance is under way already: then what
        // was committed before counts.
        assert_eq!((kept.group, kept.is_new), (Some(at(9)), false));
        assert!(kept.view == Some(at(20)) || kept.view == Some(at(12)), "{kept:?}");
    }
    // The second one leaves, which the first one hears of at once and not after a session.
    second.leave();
    first_flow.wait("assigned", 6);
    assert_eq!(first.partitions().len(), 4);
    assert!(!first_flow.told().iter().any(|line| line.starts_with("lost")));
    first.leave();
}

#[test]
fn a_member_whose_instance_id_is_used_elsewhere_gives_up_and_says_why() {
    let cluster = cluster(2);
    let (group, flow) = join(options(&cluster, "a"));
    flow.wait("assigned", 2);
    cluster.request_errors(RDKafkaApiKey::Heartbeat, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID]);
    flow.wait("lost", 2);
    assert!(!group.holds(&partition(0)));
    until("it says why", || {
        group.trouble().is_some_and(|failure| {
            failure.disposition == Disposition::Stop && failure.message.contains("instance id")
        })
    });
    group.leave();
    assert_eq!(flow.told().len(), 4, "it does not join again");
}

#[test]
fn a_member_that_the_group_has_dropped_loses_its_partitions_and_joins_again() {
    let cluster = cluster(2);
    let (group, flow) = join(options(&cluster, "a"));
    flow.wait("assigned", 2);
    cluster.request_errors(RDKafkaApiKey::Heartbeat, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    flow.wait("lost", 2);
    flow.wait("assigned", 4);
    until("held", || group.holds(&partition(0)));
    group.leave();
}
