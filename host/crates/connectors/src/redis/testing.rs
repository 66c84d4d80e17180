//! Real servers for tests: each test starts its own, in a directory of its own, and they end with it.
//!
//! Without `redis-server` on the PATH nothing is started: the test says that it is skipped, or fails where services are
//! required.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Connection, Mode};

/// The longest wait for anything that has to happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// How often another port is tried when somebody took it first.
const PORTS_TRIED: usize = 8;

/// One server. Killed when dropped.
pub(crate) struct Server {
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
    child: RefCell<Child>,
}

/// Six servers as a cluster: three masters, then three replicas.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Connection {
    /// The same, taken for a cluster.
    pub(crate) fn into_cluster(self) -> Self {
        Self { mode: Mode::Cluster, ..self }
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Whether servers can be started. Says that the test is skipped if not.
#[track_caller]
pub(crate) fn is_installed(test: &str) -> bool {
    let runs =
        Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if runs.is_ok_and(|status| status.success()) {
        return true;
    }
    let required = std::env::var_os("MILLRACE_REQUIRE_SERVICES").is_some();
    assert!(!required, "`redis-server` is not on the PATH, and MILLRACE_REQUIRE_SERVICES is set");
    eprintln!("SKIPPED {test}: `redis-server` is not on the PATH");
    false
}

impl Server {
    /// Starts a server with further arguments, such as `["--maxmemory", "4mb"]`; `None` = not installed.
    #[track_caller]
    pub(crate) fn start(test: &str, arguments: &[&str]) -> Option<Self> {
        is_installed(test).then(|| Self::start_installed(arguments))
    }

    #[track_caller]
    fn start_installed(arguments: &[&str]) -> Self {
        for _ in 0..PORTS_TRIED {
            let directory = tempfile::tempdir().unwrap();
            let port = free_port();
            let arguments: Vec<String> = arguments
                .iter()
                .map(|argument| {
                    let bus = || free_port().to_string();
                    argument.replace("{port}", &port.to_string()).replace("{bus}", &bus())
                })
                .collect();
            let child = spawn(port, &arguments, directory.path());
            let server = Self { port, arguments, directory, child: RefCell::new(child) };
            if server.comes_up() {
                return server;
            }
        }
        panic!("no redis-server came up");
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// How a host would name it.
    pub(crate) fn connection(&self, name: &str) -> Connection {
        Connection::new(name, vec![self.address()])
    }

    /// A connection of the test's own.
    #[track_caller]
    pub(crate) fn client(&self) -> redis::Connection {
        let client = redis::Client::open(format!("redis://{}", self.address())).unwrap();
        client.get_connection_with_timeout(LIMIT).unwrap()
    }

    /// Runs one command, such as `["CONFIG", "SET", "maxmemory", "1mb"]`, on a connection of its own.
    #[track_caller]
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    pub(crate) fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://{}", self.address()))?;
        let mut connection = client.get_connection_with_timeout(LIMIT)?;
        connection.set_read_timeout(Some(LIMIT))?;
        let mut all = Cmd::new();
        for part in command {
            all.arg(part);
        }
        all.query(&mut connection)
    }

    /// One line of `INFO`.
    pub(crate) fn info(&self, name: &str) -> Option<String> {
        let text: String = self.try_ask(&["INFO", "all"]).ok()?;
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    /// kill -9.
    pub(crate) fn kill(&self) {
        let mut child = self.child.borrow_mut();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again as it was, at the same address, with the files that it has left.
    #[track_caller]
    pub(crate) fn start_again(&self) {
        for _ in 0..PORTS_TRIED {
            let child = spawn(self.port, &self.arguments, self.directory.path());
            *self.child.borrow_mut() = child;
            if self.comes_up() {
                return;
            }
        }
        panic!("redis-server does not come up again at {}", self.address());
    }

    /// SIGSTOP: it takes connections, and says nothing.
    pub(crate) fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Makes it a replica and waits until it is in step.
    #[track_caller]
    pub(crate) fn follow(&self, master: &Self) {
        self.ask::<()>(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
        until("in step with the master", || self.info("master_link_status").as_deref() == Some("up"));
    }

    /// Makes a replica a master.
    #[track_caller]
    pub(crate) fn promote(&self) {
        self.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child.borrow())
    }

    /// Whether it listens; `false` = it has ended, perhaps because of its port.
    fn comes_up(&self) -> bool {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            if self.child.borrow_mut().try_wait().unwrap().is_some() {
                return false;
            }
            if self.says_something() {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        false
    }

    /// With encryption or passwords it says something else than PONG, or ends the connection.
    fn says_something(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let is_silence =
            |error: std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let said = stream.write_all(b"PING\r\n").and_then(|()| stream.read(&mut [0]));
        !said.is_err_and(is_silence)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Cluster {
    /// Starts six servers and waits until all slots are held and all replicas are in step; `None` = not installed.
    #[track_caller]
    pub(crate) fn start(test: &str) -> Option<Self> {
        if !is_installed(test) {
            return None;
        }
        let arguments = [
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            "{bus}",
            "--cluster-node-timeout",
            "2000",
            // A replica that was never in step does not take over.
            "--repl-diskless-sync-delay",
            "0",
        ];
        let servers: Vec<_> = (0..6).map(|_| Server::start_installed(&arguments)).collect();
        let bus = |server: &Server| {
            let place = server.arguments.iter().position(|argument| argument == "--cluster-port").unwrap();
            server.arguments[place + 1].clone()
        };
        for (server, slots) in servers.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
            server.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]);
        }
        for (epoch, server) in (1..).zip(&servers) {
            server.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &format!("{epoch}")]);
        }
        for server in &servers[1..] {
            let port = servers[0].port.to_string();
            server.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus(&servers[0])]);
        }
        let cluster = Self { servers };
        cluster.until_all("know each other", |server| cluster_info(server, "cluster_known_nodes") == "6");
        for (replica, master) in cluster.servers[3..].iter().zip(&cluster.servers[..3]) {
            let id = master.ask::<String>(&["CLUSTER", "MYID"]);
            // The replica may not have heard yet that the other is a master.
            until("takes a master", || replica.try_ask::<()>(&["CLUSTER", "REPLICATE", &id]).is_ok());
        }
        cluster.until_all("are well", |server| cluster_info(server, "cluster_state") == "ok");
        for replica in &cluster.servers[3..] {
            until("in step with the master", || replica.info("master_link_status").as_deref() == Some("up"));
        }
        for master in &cluster.servers[..3] {
            until("has a replica", || master.info("connected_slaves").as_deref() == Some("1"));
        }
        cluster.until_all("know who is whose", |server| {
            server.ask::<String>(&["CLUSTER", "NODES"]).lines().filter(|line| line.contains("slave")).count()
                == 3
        });
        Some(cluster)
    }

    /// How a host would name it: by two of its nodes.
    pub(crate) fn connection(&self, name: &str) -> Connection {
        let addresses = self.servers[..2].iter().map(Server::address).collect();
        Connection::new(name, addresses).into_cluster()
    }

    /// The server that holds a slot, as the first one that answers sees it.
    #[track_caller]
    pub(crate) fn owner(&self, slot: u16) -> &Server {
        for server in &self.servers {
            let Ok(nodes) = server.try_ask::<String>(&["CLUSTER", "NODES"]) else { continue };
            let found = self.servers.iter().find(|server| {
                let port = format!(":{}@", server.port);
                nodes.lines().filter(|line| line.contains(&port)).any(|line| {
                    line.split(' ').skip(8).filter(|part| !part.starts_with('[')).any(|part| {
                        let (from, to) = part.split_once('-').unwrap_or((part, part));
                        (from.parse().unwrap()..=to.parse().unwrap()).contains(&slot)
                    })
                })
            });
            if let Some(found) = found {
                return found;
            }
        }
        panic!("nobody holds slot {slot}");
    }

    fn until_all(&self, what: &str, mut is_so: impl FnMut(&Server) -> bool) {
        for server in &self.servers {
            until(what, || is_so(server));
        }
    }
}

fn cluster_info(server: &Server, name: &str) -> String {
    let text: String = server.ask(&["CLUSTER", "INFO"]);
    let value = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| *key == name);
    value.map(|(_, value)| value.to_owned()).unwrap_or_default()
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn spawn(port: u16, arguments: &[String], directory: &Path) -> Child {
    let mut command = Command::new("redis-server");
    // A file of settings of its own, as sentinels rewrite theirs.
    command.current_dir(directory);
    if arguments.iter().any(|argument| argument == "--sentinel") {
        let settings = directory.join("sentinel.conf");
        if !settings.exists() {
            std::fs::write(&settings, format!("port {port}\nbind 127.0.0.1\n")).unwrap();
        }
        command.arg(settings);
    } else {
        command.arg("--port").arg(port.to_string());
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    }
    let log = std::fs::File::create(directory.join("log")).unwrap();
    command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn().unwrap()
}
