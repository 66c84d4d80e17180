//! A master with replicas, and three sentinels that put a replica in its place.

use std::collections::HashMap;

use super::server::{Server, Settings};
use crate::wait::eventually;

/// The name under which the sentinels know the master.
const SERVICE: &str = "main";
/// Sentinels; two must agree.
const COUNT: usize = 3;

/// Running servers and sentinels.
pub struct Sentinels {
    /// The servers; the first one begins as the master.
    pub servers: Vec<Server>,
    /// The sentinels.
    pub sentinels: Vec<Server>,
}

impl Sentinels {
    /// A master with so many replicas, and sentinels that know all of them and each other.
    #[track_caller]
    pub fn start(settings: &Settings, replicas: usize) -> Self {
        let master = Server::start_with(settings.clone());
        let mut servers = vec![master];
        servers.extend((0..replicas).map(|_| servers[0].replica()).collect::<Vec<Server>>());
        let mut lines = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {} 2\nsentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 5000\n",
            servers[0].port()
        );
        if let Some(password) = &settings.password {
            lines.push_str(&format!("sentinel auth-pass {SERVICE} {password}\n"));
        }
        let sentinels: Vec<Server> = (0..COUNT)
            .map(|_| {
                let settings = Settings { lines: lines.clone(), ..Settings::default() };
                Server::launch(settings, vec!["--sentinel"])
            })
            .collect();
        for sentinel in &sentinels {
            eventually("the sentinels know everybody", || {
                let state: HashMap<String, String> = sentinel.ask(&["SENTINEL", "MASTER", SERVICE]);
                let number = |field: &str| state.get(field)?.parse::<usize>().ok();
                (number("num-other-sentinels")? == COUNT - 1 && number("num-slaves")? == replicas)
                    .then_some(())
            });
        }
        Self { servers, sentinels }
    }

    /// The name under which the sentinels know the master.
    pub fn service(&self) -> &'static str {
        SERVICE
    }

    /// The sentinels' addresses.
    pub fn addresses(&self) -> String {
        let addresses: Vec<String> = self.sentinels.iter().map(Server::address).collect();
        addresses.join(",")
    }

    /// Which server the sentinels take for the master.
    #[track_caller]
    pub fn master(&self) -> usize {
        let (_, port): (String, u16) =
            self.sentinels[0].ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
        self.servers.iter().position(|server| server.port() == port).expect("all servers are ours")
    }

    /// Waits until another server than that one is the master and takes writes.
    #[track_caller]
    pub fn other_master(&self, than: usize) -> usize {
        eventually("the sentinels put a replica in the master's place", || {
            let master = self.master();
            (master != than && self.servers[master].info("role") == "master").then_some(master)
        })
    }
}
