//! Commands as they go over the wire: arrays of bulk strings, appended to one buffer.

/// Appends `$length`, the bytes, and line ends.
#[inline]
pub(in crate::online::redis) fn append_bulk(bytes: &[u8], out: &mut Vec<u8>) {
    append_length(b'$', bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends a mark (`*` = so many parts follow, `$` = so many bytes), the number, and the line's end.
#[inline]
pub(in crate::online::redis) fn append_length(mark: u8, length: usize, out: &mut Vec<u8>) {
    out.push(mark);
    if length < 10 {
        // One digit.
        out.push(b'0' + length as u8);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a number as a bulk string.
pub(in crate::online::redis) fn append_number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    append_bulk(itoa::Buffer::new().format(number).as_bytes(), out);
}

/// Appends a whole command.
pub(in crate::online::redis) fn append_command(parts: &[&[u8]], out: &mut Vec<u8>) {
    append_length(b'*', parts.len(), out);
    for part in parts {
        append_bulk(part, out);
    }
}

/// A bulk string of its own.
pub(in crate::online::redis) fn bulk(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    append_bulk(bytes, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_the_client_makes() {
        let long = [b'x'; 300];
        let mut expected = redis::cmd("SET");
        expected.arg("k").arg(&long[..]).arg("").arg(1234);
        let mut found = Vec::new();
        append_length(b'*', 5, &mut found);
        append_bulk(b"SET", &mut found);
        found.extend_from_slice(&bulk(b"k"));
        append_bulk(&long, &mut found);
        append_bulk(b"", &mut found);
        append_number(1234, &mut found);
        assert_eq!(found, expected.get_packed_command());
        found.clear();
        append_command(&[b"GET", b"k"], &mut found);
        let mut expected = redis::cmd("GET");
        expected.arg("k");
        assert_eq!(found, expected.get_packed_command());
    }
}
