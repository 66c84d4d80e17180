//! Errors as servers tell them.

use super::*;

/// The error as the client reads it.
fn error(line: &str) -> RedisError {
    match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()) {
        Ok(Value::ServerError(error)) => error.into(),
        other => panic!("no error: {other:?}"),
    }
}

#[track_caller]
fn check(line: &str, expected: Trouble, disposition: Disposition) {
    let error = error(line);
    assert_eq!(trouble(&error), expected, "{line}");
    let failure = failure("write rows", "cache", error);
    assert_eq!(failure.disposition, disposition, "{line}");
    assert_eq!(trouble_of(&failure), Some(expected), "{line}");
    let text = failure.to_string();
    assert!(text.starts_with("write rows in Redis at connection `cache`: "), "{text}");
    assert!(text.ends_with(line), "{text}");
}

#[test]
fn each_error_of_a_server_has_its_meaning() {
    use Disposition::{Retry, Stop};
    check("MOVED 3999 127.0.0.1:6381", Trouble::Moved, Retry);
    check("ASK 3999 127.0.0.1:6381", Trouble::Ask, Retry);
    check("TRYAGAIN Multiple keys request during rehashing of slot", Trouble::TryAgain, Retry);
    check("CLUSTERDOWN The cluster is down", Trouble::ClusterDown, Retry);
    check("LOADING Redis is loading the dataset in memory", Trouble::Loading, Retry);
    check("MASTERDOWN Link with MASTER is down", Trouble::MasterDown, Retry);
    check("READONLY You can't write against a read only replica.", Trouble::ReadOnly, Retry);
    check("NOSCRIPT No matching script. Please use EVAL.", Trouble::NoScript, Retry);
    check("OOM command not allowed when used memory > 'maxmemory'.", Trouble::OutOfMemory, Retry);
    check("MISCONF Redis is configured to save RDB snapshots", Trouble::Refuses, Retry);
    check("NOREPLICAS Not enough good replicas to write.", Trouble::Refuses, Retry);
    check("EXECABORT Transaction discarded because of previous errors.", Trouble::Refuses, Retry);
    check("BUSY Redis is busy running a script.", Trouble::Busy, Retry);
    check("NOAUTH Authentication required.", Trouble::Login, Retry);
    check("WRONGPASS invalid username-password pair or user is disabled.", Trouble::Login, Retry);
    check("NOPERM User a has no permissions to run the 'hset' command", Trouble::Rights, Retry);
    check("ERR max number of clients reached", Trouble::TooManyClients, Retry);
    check("WRONGTYPE Operation against a key holding the wrong kind of value", Trouble::WrongType, Stop);
    check("ERR unknown command 'HSET'", Trouble::Other, Stop);
    let in_script = |told| format!("ERR Error running script (call to f_0): @user_script:9: {told}");
    check(
        &in_script("-OOM command not allowed when used memory > 'maxmemory'."),
        Trouble::OutOfMemory,
        Retry,
    );
    check(&in_script("-READONLY You can't write against a read only replica."), Trouble::ReadOnly, Retry);
    check(&in_script("-MISCONF Redis is configured to save RDB snapshots"), Trouble::Refuses, Retry);
    check(&in_script("-NOREPLICAS Not enough good replicas to write."), Trouble::Refuses, Retry);
    check(
        &in_script("-WRONGTYPE Operation against a key holding the wrong kind of value"),
        Trouble::WrongType,
        Stop,
    );
    check(
        &in_script("The user executing the script can't run this command or subcommand"),
        Trouble::Rights,
        Retry,
    );
    check("CROSSSLOT Keys in request don't hash to the same slot", Trouble::Other, Stop);
}

#[test]
fn what_the_network_does_is_repeated() {
    let of = |kind| RedisError::from(std::io::Error::from(kind));
    for (kind, expected) in [
        (std::io::ErrorKind::TimedOut, Trouble::Timeout),
        (std::io::ErrorKind::WouldBlock, Trouble::Timeout),
        (std::io::ErrorKind::ConnectionRefused, Trouble::Cut),
        (std::io::ErrorKind::BrokenPipe, Trouble::Cut),
        (std::io::ErrorKind::UnexpectedEof, Trouble::Cut),
    ] {
        assert_eq!(trouble(&of(kind)), expected, "{kind:?}");
        assert_eq!(failure("read rows", "cache", of(kind)).disposition, Disposition::Retry, "{kind:?}");
    }
}
