//! A load generator's HTTP client: one connection, kept open, bytes in and bytes out, nothing in between.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// One connection.
pub(super) struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    line: String,
}

impl Client {
    /// Connects.
    pub(super) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let writer = TcpStream::connect(address).context("cannot connect")?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { reader: BufReader::new(writer.try_clone()?), writer, line: String::new() })
    }

    /// GET.
    pub(super) fn get(&mut self, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())
    }

    /// Sends a whole request and reads the whole answer.
    pub(super) fn send(&mut self, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        self.writer.write_all(request)?;
        self.read_line()?;
        let status = self
            .line
            .split(' ')
            .nth(1)
            .and_then(|text| text.parse().ok())
            .context("no status in the answer")?;
        let mut length = 0;
        loop {
            self.read_line()?;
            if self.line == "\r\n" {
                break;
            }
            if let Some((name, value)) = self.line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().context("a bad length in the answer")?;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok((status, body))
    }

    fn read_line(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        if self.reader.read_line(&mut self.line)? == 0 {
            bail!("the host closed the connection");
        }
        Ok(())
    }
}

/// A POST request, ready to be sent.
pub(super) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// What a closed loop of several connections saw.
pub(super) struct Load {
    /// Requests that were answered with 200.
    pub(super) requests: u64,
    /// From the first to the last.
    pub(super) elapsed: Duration,
    /// Seconds that each request took.
    pub(super) latencies: Vec<f64>,
}

/// Sends requests on that many connections, each as soon as the one before is answered, for some time.
/// `request` makes the request of a connection and number.
pub(super) fn load(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    request: impl Fn(usize, u64) -> Vec<u8> + Sync,
) -> anyhow::Result<Load> {
    let started = Instant::now();
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|connection| {
                let request = &request;
                scope.spawn(move || -> anyhow::Result<Vec<f64>> {
                    let mut client = Client::connect(address)?;
                    let mut latencies = Vec::new();
                    let mut number = 0;
                    while started.elapsed() < time {
                        let request = request(connection, number);
                        let sent = Instant::now();
                        let (status, body) = client.send(&request)?;
                        if status != 200 {
                            bail!("the host answered {status}: {}", String::from_utf8_lossy(&body));
                        }
                        latencies.push(sent.elapsed().as_secs_f64());
                        number += 1;
                    }
                    Ok(latencies)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked")))
            .collect::<Vec<_>>()
    });
    let elapsed = started.elapsed();
    let latencies: Vec<f64> = results.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
    Ok(Load { requests: u64::try_from(latencies.len())?, elapsed, latencies })
}
