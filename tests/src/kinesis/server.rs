//! One server in a temporary folder. Whatever it holds it holds in memory.

use std::net::TcpStream;
use std::path::Path;
use std::sync::OnceLock;

use super::client::Client;
use super::install::modules;
use super::proxy::Proxy;
use crate::launch::{Folder, launch, log};
use crate::ports::free_port;
use crate::process::Process;
use crate::workspace::checkout;

/// What takes half a second in `kinesis-local` unless it is told otherwise.
const CHANGES: [&str; 5] = [
    "CREATE_STREAM_DURATION",
    "DELETE_STREAM_DURATION",
    "SPLIT_SHARD_DURATION",
    "MERGE_SHARDS_DURATION",
    "UPDATE_SHARD_COUNT_DURATION",
];

/// By whom a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// `kinesis-local`: knows most, and slows with the records that a shard holds.
    Local,
    /// `kinesalite`: quick and strict. It always says that nothing is behind, and knows no ARN.
    Kinesalite,
}

/// A running server. It is killed when dropped, and when the test process goes without dropping it.
pub struct Server {
    port: u16,
    _process: Process,
    /// Goes after the process.
    _folder: Folder,
}

/// The server that ordinary tests of this process share. It stays until the process ends.
pub fn shared(make: Make) -> &'static Server {
    static LOCAL: OnceLock<Server> = OnceLock::new();
    static KINESALITE: OnceLock<Server> = OnceLock::new();
    match make {
        Make::Local => LOCAL.get_or_init(|| Server::start(make)),
        Make::Kinesalite => KINESALITE.get_or_init(|| Server::start(make)),
    }
}

impl Server {
    /// A server for one test.
    #[track_caller]
    pub fn start(make: Make) -> Self {
        let folder = Folder::new("kinesis");
        let within = folder.of("server");
        let (port, process) = launch("server", || {
            let port = free_port();
            let process = spawn(make, &within, port);
            if process.comes_up(|| TcpStream::connect(("127.0.0.1", port)).is_ok()) {
                return Ok((port, process));
            }
            // Its folder is used again.
            process.end("KILL");
            Err(log(&within))
        });
        Self { port, _process: process, _folder: folder }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A client of it, not through a proxy.
    pub fn client(&self) -> Client {
        Client::new(&self.endpoint())
    }

    /// A network of its own before it.
    pub fn proxy(&self) -> Proxy {
        Proxy::to(self.port)
    }
}

fn spawn(make: Make, folder: &Path, port: u16) -> Process {
    let modules = modules().expect("callers have asked whether Kinesis is there");
    let loopback = checkout().join("tests/kinesis/loopback.js").display().to_string();
    let script = |name: &str| modules.join(name).display().to_string();
    // Streams change at once: as long as AWS takes, nobody wants to wait.
    match make {
        Make::Local => {
            let command = ["node".to_owned(), "-r".to_owned(), loopback, script("kinesis-local/main.js")];
            let mut variables = vec![
                // Without it, it looks for one in its working folder, and ends.
                ("KINESIS_MOCK_CERT_PATH", script("kinesis-local/server.json")),
                ("KINESIS_MOCK_PLAIN_PORT", port.to_string()),
                ("KINESIS_MOCK_TLS_PORT", free_port().to_string()),
                ("SHARD_LIMIT", "1000".to_owned()),
                ("LOG_LEVEL", "ERROR".to_owned()),
            ];
            for change in CHANGES {
                variables.push((change, "10ms".to_owned()));
            }
            Process::start_with(folder, command, &variables)
        }
        Make::Kinesalite => {
            let port = port.to_string();
            let script = script("kinesalite/cli.js");
            let command = ["node", "-r", &loopback, &script, "--port", &port];
            let quick = ["--createStreamMs", "10", "--deleteStreamMs", "10", "--updateStreamMs", "10"];
            let wide = ["--shardLimit", "1000"];
            Process::start(folder, command.into_iter().chain(quick).chain(wide))
        }
    }
}
