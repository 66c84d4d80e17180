//! What a server and a connection allow: rows written without any comparison, as a plain pipelined client writes them.
//! Benchmarks hold the store against it; the flow does not use it.

use std::time::{Duration, Instant};

use model::error::Failure;
use redis::{Cmd, ConnectionLike, RedisError, RedisResult, Value};

use super::{Connection, Nodes, Shared, error, layout};

/// Rows of one pipeline.
pub const ROWS_PER_PIPELINE: usize = 512;

/// Rows as they go over the wire: `HSET` by `HSET`, in pipelines.
#[derive(Debug, Default)]
pub struct Pipelines {
    /// Bytes and rows of each.
    pipelines: Vec<(Vec<u8>, usize)>,
    rows: usize,
}

/// What writing has cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Rows that were written.
    pub rows: usize,
    /// Bytes that were sent.
    pub bytes: usize,
    /// From the first byte to the last answer.
    pub elapsed: Duration,
    /// What the server's main thread and its helpers worked meanwhile, for whomever; `None` if it does not say.
    pub server_cpu: Option<Duration>,
}

impl Pipelines {
    /// Of rows that are ready: a key, then fields and values in turn.
    pub fn new<'a, R>(rows: impl IntoIterator<Item = (&'a [u8], R)>) -> Self
    where
        R: IntoIterator<Item = (&'a [u8], &'a [u8])>,
    {
        let mut all = Self::default();
        for (key, fields) in rows {
            if all.pipelines.last().is_none_or(|(_, rows)| *rows == ROWS_PER_PIPELINE) {
                all.pipelines.push((Vec::new(), 0));
            }
            let mut command = Cmd::new();
            command.arg("HSET").arg(key);
            for (field, value) in fields {
                command.arg(field).arg(value);
            }
            if let Some((bytes, rows)) = all.pipelines.last_mut() {
                command.write_packed_command(bytes);
                *rows += 1;
            }
            all.rows += 1;
        }
        all
    }

    /// Of the hashes that a server holds now, at most so many: the very bytes that somebody has written. Blocks.
    ///
    /// `views`: how many views of as many fields share each hash, one written after the other when it was new. Each is a row.
    pub fn stored(
        connection: &Connection,
        shared: &Shared,
        most: usize,
        views: usize,
    ) -> Result<Self, Failure> {
        let mut master = Nodes::open(connection, shared)?.master()?.connection;
        let failed = |error: RedisError| error::failure("read what is stored", &connection.name, error);
        let mut cursor = Vec::from(*b"0");
        let mut rows: Vec<(Vec<u8>, Vec<Vec<u8>>)> = Vec::new();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("COUNT").arg(1000).arg("TYPE").arg("hash");
            let (next, keys): (Vec<u8>, Vec<Vec<u8>>) = scan.query(&mut master).map_err(failed)?;
            for key in keys.into_iter().filter(|key| !key.starts_with(b"millrace:")) {
                let fields = redis::cmd("HGETALL").arg(&key).query(&mut master).map_err(failed)?;
                rows.push((key, fields));
            }
            if next == b"0" || most <= rows.len() {
                break;
            }
            cursor = next;
        }
        // Fields of small hashes come as they were made: field, value, and so on.
        let views = views.max(1);
        let rows = (0..views).flat_map(|view| rows.iter().map(move |(key, fields)| (view, key, fields)));
        Ok(Self::new(rows.map(|(view, key, fields)| {
            let (pairs, _) = fields.as_chunks::<2>();
            let each = pairs.len() / views;
            let row = pairs.iter().skip(view * each).take(each);
            (key.as_slice(), row.map(|[field, value]| (field.as_slice(), value.as_slice())))
        })))
    }

    /// How many rows there are.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Writes them on one connection to the master. `under_way`: pipelines that are sent before the first of them is
    /// answered; with 1 the server waits for the client between two, with 2 hardly any more. Blocks.
    pub fn write(&self, connection: &Connection, shared: &Shared, under_way: usize) -> Result<Cost, Failure> {
        let mut master = Nodes::open(connection, shared)?.master()?.connection;
        let failed = |error: RedisError| error::failure("write rows plainly", &connection.name, error);
        let before = server_cpu(&mut master);
        let start = Instant::now();
        let mut unanswered = 0;
        let mut asked = self.pipelines.iter();
        for (sent, (bytes, rows)) in self.pipelines.iter().enumerate() {
            if sent >= under_way.max(1) {
                let answered = asked.next().map_or(0, |(_, rows)| *rows);
                answers(&mut master, answered).map_err(failed)?;
                unanswered -= answered;
            }
            master.send_packed_command(bytes).map_err(failed)?;
            unanswered += rows;
        }
        answers(&mut master, unanswered).map_err(failed)?;
        let elapsed = start.elapsed();
        let after = server_cpu(&mut master);
        Ok(Cost {
            rows: self.rows,
            bytes: self.pipelines.iter().map(|(bytes, _)| bytes.len()).sum(),
            elapsed,
            server_cpu: before.zip(after).map(|(before, after)| after.saturating_sub(before)),
        })
    }
}

impl Cost {
    /// Rows of a second.
    pub fn rows_per_second(&self) -> f64 {
        // Exact up to 2^53 rows.
        #[expect(clippy::cast_precision_loss, reason = "no benchmark writes that many rows")]
        let rows = self.rows as f64;
        rows / self.elapsed.as_secs_f64()
    }
}

/// What a server has worked since it began.
pub fn server_cpu(connection: &mut redis::Connection) -> Option<Duration> {
    let mut command = redis::cmd("INFO");
    command.arg("cpu");
    let info = connection.req_command(&command).ok()?;
    let seconds = |name| layout::info(&info, name).and_then(|seconds| seconds.parse::<f64>().ok());
    Duration::try_from_secs_f64(seconds("used_cpu_user")? + seconds("used_cpu_sys")?).ok()
}

fn answers(connection: &mut redis::Connection, count: usize) -> RedisResult<()> {
    for _ in 0..count {
        if let Value::ServerError(refused) = connection.recv_response()? {
            return Err(refused.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::testing::Server;

    #[test]
    fn all_rows_arrive() {
        let Some(server) = Server::start("all_rows_arrive", &[]) else { return };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Shared::for_tests(runtime.handle().clone());
        let keys: Vec<_> = (0..2 * ROWS_PER_PIPELINE + 1).map(|n| format!("key:{n}")).collect();
        let fields = || [(&b"f"[..], &b"1"[..]), (&b"g"[..], &b"2"[..])];
        let pipelines = Pipelines::new(keys.iter().map(|key| (key.as_bytes(), fields())));
        for under_way in [0, 1, 2, 9] {
            server.ask::<()>(&["FLUSHALL"]);
            let cost = pipelines.write(&server.connection("cache"), &shared, under_way).unwrap();
            assert_eq!((cost.rows, pipelines.rows()), (1025, 1025));
            assert_eq!(server.ask::<usize>(&["DBSIZE"]), 1025);
            assert_eq!(server.ask::<String>(&["HGET", "key:1024", "g"]), "2");
            assert!(cost.server_cpu.is_some() && cost.rows_per_second() > 0.0);
        }
    }
}
