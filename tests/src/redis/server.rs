//! One server in a temporary folder.

use std::fs;
use std::path::PathBuf;

use redis::{Connection, FromRedisValue};

use super::install::{binary, version};
use crate::certs::Certificates;
use crate::launch::{Folder, launch, log};
use crate::ports::free_port;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::wait::{LIMIT, eventually};

/// How a server is to be.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Further lines of its configuration, which win over ours: nothing is kept on disk unless they say so.
    /// `{certificates}` is the folder of certificates.
    pub lines: String,
    /// Whether it also listens with encryption, with certificates made for it: see [`Server::tls_address`].
    pub tls: bool,
    /// The default user's password.
    pub password: Option<String>,
}

/// A running server. It is killed when dropped, and when the test process goes without dropping it.
pub struct Server {
    settings: Settings,
    /// Words behind the configuration file, as `--sentinel`.
    arguments: Vec<&'static str>,
    port: u16,
    tls_port: u16,
    process: Option<Process>,
    /// Of its process.
    folder: PathBuf,
    /// Goes after the process.
    _around: Folder,
}

impl Server {
    /// A server on its own that keeps nothing on disk.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(Settings::default())
    }

    /// The same with settings.
    #[track_caller]
    pub fn start_with(settings: Settings) -> Self {
        Self::launch(settings, vec![])
    }

    /// A server that copies this one, in step when this returns.
    #[track_caller]
    pub fn replica(&self) -> Self {
        let replica = Self::start_with(self.settings.clone());
        replica.follow(self.port);
        replica
    }

    /// Starts it.
    #[track_caller]
    pub(super) fn launch(settings: Settings, arguments: Vec<&'static str>) -> Self {
        let around = Folder::new("redis");
        let folder = around.of("server");
        if settings.tls {
            Certificates::make(&folder.join("tls"));
        }
        let mut server =
            Self { settings, arguments, port: 0, tls_port: 0, process: None, folder, _around: around };
        launch("server", || {
            server.port = free_port();
            server.tls_port = if server.settings.tls { free_port() } else { 0 };
            fs::write(server.folder.join("redis.conf"), server.configuration()).expect("the folder is ours");
            server.process = Some(server.spawn());
            if server.ready() {
                return Ok(());
            }
            // Its folder is used again.
            server.kill();
            Err(server.log())
        });
        server
    }

    fn configuration(&self) -> String {
        let mut lines = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsave \"\"\nappendonly no\nrepl-diskless-sync-delay 0\n",
            self.port,
            self.folder.display()
        );
        // Older ones allow it without being told, and do not know the word.
        if version() >= (7, 0) && self.arguments.is_empty() {
            lines.push_str("enable-debug-command yes\n");
        }
        if self.settings.tls {
            lines.push_str(&format!(
                "tls-port {}\ntls-cert-file {{certificates}}/broker.pem\ntls-key-file {{certificates}}/broker.key\n\
                 tls-ca-cert-file {{certificates}}/ca.pem\ntls-auth-clients optional\n",
                self.tls_port
            ));
        }
        if let Some(password) = &self.settings.password {
            lines.push_str(&format!("requirepass \"{password}\"\nmasterauth \"{password}\"\n"));
        }
        lines.push_str(&self.settings.lines);
        lines.push('\n');
        lines.replace("{certificates}", &self.certificates().display().to_string())
    }

    fn spawn(&self) -> Process {
        let configuration = self.folder.join("redis.conf");
        let mut command = vec![binary().into_os_string(), configuration.into_os_string()];
        command.extend(self.arguments.iter().map(Into::into));
        Process::start(&self.folder, command)
    }

    /// Waits until it answers; `false` = it has ended.
    fn ready(&self) -> bool {
        let process = self.process.as_ref().expect("it was just started");
        // One that still loads its data says so.
        process.comes_up(|| {
            let connection = self.try_connection();
            connection
                .is_some_and(|mut connection| redis::cmd("PING").query::<String>(&mut connection).is_ok())
        })
    }

    /// Its port without encryption.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address without encryption.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its address with encryption, by the name that its certificate has.
    pub fn tls_address(&self) -> String {
        format!("localhost:{}", self.tls_port)
    }

    /// The folder of its certificates: see [`Certificates`].
    pub fn certificates(&self) -> PathBuf {
        self.folder.join("tls")
    }

    /// What it has said.
    pub fn log(&self) -> String {
        log(&self.folder)
    }

    /// A network of its own before it.
    pub fn proxy(&self) -> Proxy {
        Proxy::to(self.port)
    }

    /// A connection, not through a proxy.
    #[track_caller]
    pub fn connection(&self) -> Connection {
        eventually("the server takes a connection", || self.try_connection())
    }

    fn try_connection(&self) -> Option<Connection> {
        let password = self.settings.password.as_ref().map(|password| format!(":{password}@"));
        let url = format!("redis://{}{}/", password.unwrap_or_default(), self.address());
        let client = redis::Client::open(url).expect("that is an address");
        let connection = client.get_connection_with_timeout(LIMIT).ok()?;
        connection.set_read_timeout(Some(LIMIT)).ok()?;
        Some(connection)
    }

    /// Asks it something and gives the answer.
    #[track_caller]
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same, but the answer may be an error.
    #[track_caller]
    pub fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T, redis::RedisError> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.connection())
    }

    /// A field of `INFO`; nothing if it is not there.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        let all: String = self.ask(&["INFO", "everything"]);
        let value = all.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.take().expect("the server runs").end("KILL");
    }

    /// SIGTERM; waits until it is gone.
    pub fn stop(&mut self) {
        self.process.take().expect("the server runs").end("TERM");
    }

    /// Starts it again on the same port, with what its folder holds.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        self.process = Some(self.spawn());
        assert!(self.ready(), "the server does not come back; it said:\n{}", self.log());
    }

    /// Takes the last quarter off what it has noted of writes while it is down: what a power failure takes that was not
    /// synced. It must be one with `appendonly yes`.
    #[track_caller]
    pub fn lose_last_writes(&self) {
        assert!(self.process.is_none(), "the server runs");
        // Since Redis 7 there is a folder of files, of which this one grows.
        let folder = self.folder.join("appendonlydir");
        let folder = if folder.is_dir() { folder } else { self.folder.clone() };
        let files =
            fs::read_dir(folder).expect("the folder is ours").map(|entry| entry.expect("it is").path());
        let is_log = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name == "appendonly.aof" || name.ends_with(".incr.aof")
        };
        let log = files.into_iter().find(is_log).expect("it notes writes");
        let file = fs::OpenOptions::new().write(true).open(log).expect("the file is ours");
        let length = file.metadata().expect("the file is ours").len();
        file.set_len(length / 4 * 3).expect("the file is ours");
    }

    /// Sends a signal, as `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        self.process.as_ref().expect("the server runs").signal(signal);
    }

    /// Copies the server on that port from now on, which may be a proxy; waits until it is in step.
    #[track_caller]
    pub fn follow(&self, port: u16) {
        let _: String = self.ask(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
        self.in_step();
    }

    /// Waits until it is connected to what it copies.
    #[track_caller]
    pub fn in_step(&self) {
        eventually("the replica is in step", || (self.info("master_link_status") == "up").then_some(()));
    }

    /// Copies nobody any more: it is a master, with what it has.
    #[track_caller]
    pub fn promote(&self) {
        let _: String = self.ask(&["REPLICAOF", "NO", "ONE"]);
    }
}
