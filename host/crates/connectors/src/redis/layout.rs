//! Who holds what, as nodes tell it: pure reading of their answers.

use std::ops::RangeInclusive;

use redis::Value;

/// A master and its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// The node's id in the cluster; empty if it tells none.
    pub(super) id: String,
    /// `host:port`.
    pub(super) address: String,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Master {
        /// Replicas that are connected.
        replicas: usize,
        /// How much it has written.
        offset: i64,
    },
    Replica {
        /// Whose replica.
        master: String,
    },
    Sentinel,
}

/// The masters that `CLUSTER SLOTS` names, and the addresses of their replicas. `asked` is the address that answered:
/// a node may leave out its own.
pub(super) fn slots(answer: &Value, asked: &str) -> Option<(Vec<Held>, Vec<String>)> {
    let Value::Array(entries) = answer else { return None };
    let (mut masters, mut replicas): (Vec<Held>, Vec<String>) = (Vec::new(), Vec::new());
    for entry in entries {
        let Value::Array(parts) = entry else { return None };
        let [from, to, master, others @ ..] = &parts[..] else { return None };
        let range = slot(from)?..=slot(to)?;
        if range.is_empty() {
            return None;
        }
        let (id, address) = node(master, asked)?;
        match masters.iter_mut().find(|held| held.address == address) {
            Some(held) => held.slots.push(range),
            None => masters.push(Held { id, address, slots: vec![range] }),
        }
        for other in others {
            if let Some((_, address)) = node(other, asked)
                && !replicas.contains(&address)
            {
                replicas.push(address);
            }
        }
    }
    Some((masters, replicas))
}

/// What `ROLE` answers.
pub(super) fn role(answer: &Value) -> Option<Role> {
    let Value::Array(parts) = answer else { return None };
    match text(parts.first()?)? {
        "master" => {
            let [_, offset, replicas, ..] = &parts[..] else { return None };
            let replicas = if let Value::Array(replicas) = replicas { replicas.len() } else { 0 };
            Some(Role::Master { replicas, offset: number(offset)? })
        }
        "slave" => {
            let [_, host, port, ..] = &parts[..] else { return None };
            Some(Role::Replica { master: join(text(host)?, number(port)?) })
        }
        "sentinel" => Some(Role::Sentinel),
        _ => None,
    }
}

/// The address in a sentinel's answer.
pub(super) fn named(answer: &Value) -> Option<String> {
    let Value::Array(parts) = answer else { return None };
    let [host, port, ..] = &parts[..] else { return None };
    Some(join(text(host)?, number(port)?))
}

/// One line of `INFO` or `CLUSTER INFO`.
pub(super) fn info<'a>(answer: &'a Value, name: &str) -> Option<&'a str> {
    let lines = text(answer)?.lines();
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_end())
}

/// The slot and the address of a MOVED or ASK. `asked`: who said it, for an address without a host.
pub(super) fn redirect(detail: Option<(&str, u16)>, asked: &str) -> Option<(u16, String)> {
    let (address, slot) = detail?;
    let (host, port) = address.rsplit_once(':')?;
    let host = if host.is_empty() { host_of(asked) } else { host };
    Some((slot, join(host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?)))
}

fn node(value: &Value, asked: &str) -> Option<(String, String)> {
    let Value::Array(parts) = value else { return None };
    let [host, port, rest @ ..] = &parts[..] else { return None };
    // No host = that of whoever was asked; `?` = the node does not know its own.
    let host = text(host).filter(|host| !host.is_empty() && *host != "?").unwrap_or_else(|| host_of(asked));
    let id = rest.first().and_then(text).unwrap_or_default().to_owned();
    Some((id, join(host, number(port)?)))
}

fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn join(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn slot(value: &Value) -> Option<u16> {
    number(value).and_then(|number| u16::try_from(number).ok()).filter(|&slot| slot < super::slot::SLOTS)
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        other => text(other)?.parse().ok(),
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Value {
        redis::parse_redis_value(lines.replace('\n', "\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn slots_are_read_with_and_without_hosts() {
        let answer = parse(
            "*3\n*4\n:0\n:5460\n*3\n$9\n127.0.0.1\n:7001\n$2\nid\n*3\n$9\n127.0.0.1\n:7004\n$2\nxx\n\
             *3\n:5461\n:5461\n*4\n$-1\n:7002\n$2\nme\n*0\n*3\n:5462\n:5470\n*2\n$9\n127.0.0.1\n:7001\n",
        );
        let (masters, replicas) = slots(&answer, "cache:7002").unwrap();
        assert_eq!(replicas, ["127.0.0.1:7004"]);
        let first =
            Held { id: "id".into(), address: "127.0.0.1:7001".into(), slots: vec![0..=5460, 5462..=5470] };
        let second = Held { id: "me".into(), address: "cache:7002".into(), slots: vec![5461..=5461] };
        assert_eq!(masters, [first, second]);
        assert_eq!(slots(&parse("*1\n*3\n:0\n:16384\n*2\n$1\na\n:1\n"), "a:1"), None);
        assert_eq!(slots(&parse("*1\n*3\n:9\n:7\n*2\n$1\na\n:1\n"), "a:1"), None, "backwards");
        assert_eq!(slots(&parse("+OK\n"), "a:1"), None);
    }

    #[test]
    fn roles_are_read() {
        let master = parse("*3\n$6\nmaster\n:77\n*1\n*3\n$9\n127.0.0.1\n$4\n9001\n$2\n77\n");
        assert_eq!(role(&master), Some(Role::Master { replicas: 1, offset: 77 }));
        let replica = parse("*5\n$5\nslave\n$3\n::1\n:9000\n$9\nconnected\n:77\n");
        assert_eq!(role(&replica), Some(Role::Replica { master: "[::1]:9000".into() }));
        assert_eq!(role(&parse("*2\n$8\nsentinel\n*0\n")), Some(Role::Sentinel));
        assert_eq!(role(&parse("+OK\n")), None);
    }

    #[test]
    fn info_and_names_are_read() {
        let answer = Value::BulkString(b"# Server\r\nrun_id:abc\r\nredis_version:7.0.15\r\n".to_vec());
        assert_eq!(info(&answer, "run_id"), Some("abc"));
        assert_eq!(info(&answer, "redis_version"), Some("7.0.15"));
        assert_eq!(info(&answer, "version"), None);
        assert_eq!(named(&parse("*2\n$9\n127.0.0.1\n$4\n9001\n")).as_deref(), Some("127.0.0.1:9001"));
        assert_eq!(named(&parse("*-1\n")), None);
    }

    #[test]
    fn redirects_are_read() {
        assert_eq!(redirect(Some(("10.0.0.1:6379", 7)), "a:1"), Some((7, "10.0.0.1:6379".into())));
        assert_eq!(redirect(Some((":6379", 7)), "a:1"), Some((7, "a:6379".into())));
        assert_eq!(redirect(Some(("::1:6379", 7)), "a:1"), Some((7, "[::1]:6379".into())));
        assert_eq!(redirect(None, "a:1"), None);
    }
}
