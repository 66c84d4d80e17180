//! What Kafka's errors mean here: try again, or stop until somebody mends it, and what to mend.
//!
//! librdkafka repeats by itself what can be repeated; what comes up to us is either away for longer or wrong for good. Values
//! of settings never go into a message: some of them are passwords.

use model::error::Failure;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// The failure behind an error of the client. `doing` reads after "failed to" and names topic and partition.
pub fn failure(connection: &str, doing: &str, error: &KafkaError) -> Failure {
    if let Some(code) = code(error) {
        return code_failure(connection, doing, code, None);
    }
    let stop = |what: String| Failure::stop(format!("{doing} through connection `{connection}`: {what}"));
    match error {
        // The text of the error would show the value.
        KafkaError::ClientConfig(_, _, key, _) => stop(format!(
            "librdkafka refuses the value of its setting `{key}`; correct it among the connection's settings"
        )),
        KafkaError::ClientCreation(reason) => {
            stop(format!("{reason}; correct the connection's settings, such as the files named under `tls`"))
        }
        KafkaError::AdminOpCreation(reason)
        | KafkaError::PauseResume(reason)
        | KafkaError::Seek(reason)
        | KafkaError::Subscription(reason) => {
            Failure::retry(format!("{doing} through connection `{connection}`: {reason}"))
        }
        KafkaError::Nul(_) => stop("a name has a NUL character in it; choose another".to_owned()),
        other => Failure::retry(format!("{doing} through connection `{connection}`: {other}")),
    }
}

/// The failure behind a code. `reason`: what a broker or the network said, if more is known than the code.
pub fn code_failure(connection: &str, doing: &str, code: Code, reason: Option<&str>) -> Failure {
    let (stop, what, mend) = meaning(code);
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let mend = if mend.is_empty() { String::new() } else { format!("; {mend}") };
    let message = format!("{doing} through connection `{connection}`: {what}{reason}{mend}");
    if stop { Failure::stop(message) } else { Failure::retry(message) }
}

/// The code of an error, also of those that the client library keeps apart.
pub fn code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// The stable name of a code, for labels and fields.
pub fn name(code: Code) -> String {
    format!("{code:?}")
}

/// Nobody answered, or not in time: says nothing of why.
pub fn is_silence(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::WaitingForCoordinator
            | Code::CoordinatorNotAvailable
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
    )
}

/// The cluster does not let us in at all.
pub fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::SSL
    )
}

/// The group has gone on without this member: what it was assigned is another's.
pub fn is_expelled(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::FencedInstanceId
            | Code::Fenced
            | Code::AssignmentLost
            | Code::Fatal
    )
}

/// The topic or partition does not exist.
pub fn is_unknown_topic(code: Code) -> bool {
    matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition)
}

/// Whether only an operator can mend it, what happened, and how to mend it.
fn meaning(code: Code) -> (bool, String, &'static str) {
    const STOP: bool = true;
    const RETRY: bool = false;
    let (stop, what, mend) = match code {
        Code::Authentication | Code::SaslAuthenticationFailed => (
            STOP,
            "the broker refuses the credentials",
            "correct user, password and mechanism under `security.sasl`",
        ),
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState => (
            STOP,
            "the broker does not offer this SASL mechanism",
            "choose one that the listener has in `security.sasl.mechanism`",
        ),
        Code::SSL => (
            STOP,
            "the encrypted connection cannot be made",
            "check that `security.tls.ca` signed the broker's certificate, that the certificate names the host in \
             `bootstrap_servers` and has not expired, and that the listener speaks TLS",
        ),
        Code::TopicAuthorizationFailed => (
            STOP,
            "this user may not use the topic",
            "give it READ and DESCRIBE for sources, WRITE and DESCRIBE for outputs",
        ),
        Code::GroupAuthorizationFailed => {
            (STOP, "this user may not use the consumer group", "give it READ for the group")
        }
        Code::TransactionalIdAuthorizationFailed => (
            STOP,
            "this user may not use the transactional id",
            "give it WRITE and DESCRIBE for transactional ids that begin with `millrace-`",
        ),
        Code::ClusterAuthorizationFailed => (
            STOP,
            "this user may not do that in the cluster",
            "give it IDEMPOTENT_WRITE, or CREATE where topics are to be created",
        ),
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            (STOP, "the topic or partition does not exist", "create it, or correct its name")
        }
        Code::InvalidTopic => (
            STOP,
            "that is no name for a topic",
            "use at most 249 letters, digits, dots, hyphens and underscores",
        ),
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => (
            STOP,
            "a record is larger than the broker takes",
            "raise the topic's `max.message.bytes`, and `message.max.bytes` under `options`",
        ),
        Code::OffsetMetadataTooLarge => (
            STOP,
            "the progress of all views is more than the broker keeps with an offset",
            "raise the broker's `offset.metadata.max.bytes` to 4096, or divide the views among several sources",
        ),
        Code::OffsetOutOfRange | Code::AutoOffsetReset => (
            STOP,
            "the records at this offset are gone, or the topic was made anew",
            "rewind the view, or set `out_of_range` to `earliest` or `latest`",
        ),
        Code::FencedInstanceId => (
            STOP,
            "another host took part in the group under this host's instance id",
            "give each host a data directory of its own: the id lies in it",
        ),
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => (
            RETRY,
            "a newer producer with the same transactional id has taken over",
            "if this repeats, two hosts share an instance id: give each a data directory of its own",
        ),
        Code::UnknownMemberId | Code::IllegalGeneration | Code::AssignmentLost => {
            (RETRY, "the consumer group has gone on without this host", "")
        }
        Code::RebalanceInProgress => (RETRY, "the consumer group is rebalancing", ""),
        Code::InconsistentGroupProtocol => (
            STOP,
            "other members of the consumer group divide partitions in another way",
            "use another `group`, or stop what else reads with this one",
        ),
        Code::InvalidGroupId => (STOP, "that is no name for a consumer group", "choose another `group`"),
        Code::GroupMaxSizeReached => {
            (STOP, "the consumer group is full", "raise the broker's `group.max.size`")
        }
        Code::InvalidSessionTimeout => (
            STOP,
            "the broker does not allow this session timeout",
            "choose one between its `group.min.session.timeout.ms` and `group.max.session.timeout.ms`",
        ),
        Code::UnsupportedVersion | Code::UnsupportedFeature => (
            STOP,
            "the broker is too old for this or has it switched off",
            "use Kafka 2.5 or later, and 4.0 for `group_protocol: consumer`",
        ),
        Code::InvalidTransactionTimeout => (
            STOP,
            "the broker does not allow this transaction timeout",
            "raise its `transaction.max.timeout.ms` to 10000 at least",
        ),
        Code::InvalidReplicationFactor => (
            STOP,
            "the cluster has fewer brokers than the replication asks for",
            "lower `create.replication`",
        ),
        Code::PolicyViolation => (STOP, "the cluster's policy forbids it", "ask who runs the cluster"),
        Code::InvalidConfig | Code::InvalidPartitions | Code::InvalidRequest | Code::InvalidRequiredAcks => {
            (STOP, "the broker refuses the request", "check the settings under `options` and `create`")
        }
        Code::UnsupportedCompressionType => {
            (STOP, "the broker does not know this compression", "choose another `compression.type`")
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            (RETRY, "too few replicas of the partition are in sync", "")
        }
        Code::KafkaStorageError => (RETRY, "the broker's disk has failed", ""),
        Code::ThrottlingQuotaExceeded => (RETRY, "a quota of the cluster is used up", ""),
        Code::UnstableOffsetCommit => (RETRY, "a transaction with these offsets is still open", ""),
        Code::ConcurrentTransactions => (RETRY, "the last transaction is still being completed", ""),
        Code::Resolve => (RETRY, "the broker's name cannot be resolved", "check `bootstrap_servers`"),
        Code::AllBrokersDown | Code::BrokerTransportFailure => {
            (RETRY, "no broker answers", "check `bootstrap_servers` and that the brokers run")
        }
        Code::OperationTimedOut | Code::TimedOutQueue | Code::MessageTimedOut | Code::RequestTimedOut => {
            (RETRY, "the broker did not answer in time", "")
        }
        Code::Fatal => (RETRY, "the client cannot go on and is made anew", ""),
        other => return (RETRY, other.to_string(), ""),
    };
    (stop, what.to_owned(), mend)
}

#[cfg(test)]
mod tests {
    use model::error::Disposition;
    use rdkafka::types::RDKafkaConfRes;

    use super::*;

    #[track_caller]
    fn check(error: &KafkaError, disposition: Disposition, message: &str) {
        let failure = failure("main", "read topic `ads`", error);
        assert_eq!((failure.disposition, failure.to_string().as_str()), (disposition, message));
    }

    #[test]
    fn errors_say_what_to_do() {
        check(
            &KafkaError::MetadataFetch(Code::BrokerTransportFailure),
            Disposition::Retry,
            "read topic `ads` through connection `main`: no broker answers; check `bootstrap_servers` and that the \
             brokers run",
        );
        check(
            &KafkaError::MessageConsumption(Code::GroupAuthorizationFailed),
            Disposition::Stop,
            "read topic `ads` through connection `main`: this user may not use the consumer group; give it READ for \
             the group",
        );
        check(
            &KafkaError::AdminOp(Code::UnknownTopicOrPartition),
            Disposition::Stop,
            "read topic `ads` through connection `main`: the topic or partition does not exist; create it, or correct \
             its name",
        );
        check(
            &KafkaError::ConsumerCommit(Code::IllegalGeneration),
            Disposition::Retry,
            "read topic `ads` through connection `main`: the consumer group has gone on without this host",
        );
    }

    #[test]
    fn values_of_settings_are_not_shown() {
        let error = KafkaError::ClientConfig(
            RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "bad".into(),
            "sasl.password".into(),
            "hunter2".into(),
        );
        check(
            &error,
            Disposition::Stop,
            "read topic `ads` through connection `main`: librdkafka refuses the value of its setting `sasl.password`; \
             correct it among the connection's settings",
        );
    }
}
