//! A command and where it goes.

use std::sync::Arc;

use redis::{Cmd, ToRedisArgs};

use super::script::Script;
use super::slot::slot;

/// One command with the key that decides which node gets it.
#[derive(Clone)]
pub struct Keyed {
    pub(super) slot: u16,
    pub(super) command: Cmd,
    /// Sent before the command where the server does not know it.
    pub(super) script: Option<Arc<Script>>,
    /// Never sent again when it may have been done.
    pub(super) is_once: bool,
}

impl Keyed {
    /// A command that touches `key`, and other keys of the same slot only.
    pub fn new(key: &[u8], command: Cmd) -> Self {
        Self { slot: slot(key), command, script: None, is_once: false }
    }

    /// A command as it goes over the wire: one array of bulk strings, whole.
    ///
    /// # Panics
    /// If `bytes` is anything else.
    pub fn packed(key: &[u8], bytes: &[u8]) -> Self {
        Self::new(key, parse(bytes).expect("the bytes are one whole command"))
    }

    /// A call of a script, whose first key decides.
    pub fn script(script: &Arc<Script>, keys: &[impl AsRef<[u8]>], arguments: impl ToRedisArgs) -> Self {
        let first = keys.first().map_or(&[][..], AsRef::as_ref);
        let command = script.call(keys, arguments);
        Self { script: Some(Arc::clone(script)), ..Self::new(first, command) }
    }

    /// Says that the command must not be sent again when it may have been done: the connection broke before its answer.
    /// It then fails, and the caller finds out.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.is_once = true;
        self
    }
}

fn parse(bytes: &[u8]) -> Option<Cmd> {
    let mut rest = bytes;
    let parts = header(&mut rest, b'*')?;
    let mut command = Cmd::with_capacity(parts, bytes.len());
    for _ in 0..parts {
        let length = header(&mut rest, b'$')?;
        let (part, behind) = rest.split_at_checked(length)?;
        command.arg(part);
        rest = behind.strip_prefix(b"\r\n")?;
    }
    (rest.is_empty() && parts > 0).then_some(command)
}

/// A number behind its mark, up to the end of the line.
fn header(rest: &mut &[u8], mark: u8) -> Option<usize> {
    let behind = rest.strip_prefix(&[mark])?;
    let end = memchr::memchr(b'\r', behind)?;
    let number = std::str::from_utf8(&behind[..end]).ok()?.parse().ok()?;
    *rest = behind[end..].strip_prefix(b"\r\n")?;
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, expected: Option<&[&str]>) {
        let command = parse(bytes.as_bytes());
        assert_eq!(command.is_some(), expected.is_some(), "{bytes:?}");
        let (Some(command), Some(expected)) = (command, expected) else { return };
        let mut same = Cmd::new();
        for part in expected {
            same.arg(part);
        }
        assert_eq!(command.get_packed_command(), same.get_packed_command());
        assert_eq!(command.get_packed_command(), bytes.as_bytes());
    }

    #[test]
    fn packed_commands_stay_what_they_are() {
        check("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", Some(&["GET", "k"]));
        check("*3\r\n$3\r\nSET\r\n$4\r\n\r\n\r\n\r\n$0\r\n\r\n", Some(&["SET", "\r\n\r\n", ""]));
        check("*2\r\n$3\r\nGET\r\n$1\r\nk", None);
        check("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*", None);
        check("*2\r\n$3\r\nGET\r\n$9\r\nk\r\n", None);
        check("*0\r\n", None);
        check("GET k\r\n", None);
        check("", None);
    }
}
