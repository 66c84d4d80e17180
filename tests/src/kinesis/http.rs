//! As much of HTTP/1.1 as Kinesis' clients and the servers here use: bodies with a length, or in chunks.

use std::io::{self, BufRead, Read, Write};

/// A message larger than this is a fault of the test.
const MAX_BODY: usize = 64 << 20;

/// A request or an answer.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// The first line.
    pub(super) first: String,
    /// Names and values, but for those of framing.
    pub(super) headers: Vec<(String, String)>,
    /// The body, unframed.
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Reads one; `None` = the other side has ended the connection instead.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let first = line(from)?;
        if first.is_empty() {
            return Ok(None);
        }
        let (mut headers, mut length, mut chunked) = (Vec::new(), 0, false);
        loop {
            let line = line(from)?;
            let Some((name, value)) = line.split_once(':') else { break };
            let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
            match name.as_str() {
                "content-length" => length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?,
                "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
                "connection" | "keep-alive" => {}
                _ => headers.push((name, value)),
            }
        }
        let body = if chunked { chunks(from)? } else { exactly(from, length)? };
        Ok(Some(Self { first, headers, body }))
    }

    /// Writes it, framed by its length.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = format!("{}\r\n", self.first).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        to.write_all(&bytes)
    }

    /// A header.
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The status of an answer; 0 for a request.
    pub(super) fn status(&self) -> u16 {
        // HTTP/1.1 200 OK
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn exactly(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    if length > MAX_BODY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&line(from)?, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        body.extend(exactly(from, length)?);
        line(from)?;
        if length == 0 {
            return Ok(body);
        }
    }
}
