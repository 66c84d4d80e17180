//! Clusters of one or three brokers, each also a controller, in a temporary folder.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Client;
use super::java::{run, start};
use crate::certs::Certificates;
use crate::launch::{Folder, launch, log};
use crate::ports::free_port;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::wait::LIMIT;

/// Memory of a broker.
const HEAP_MIB: u32 = 320;

/// How a cluster is to be.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Brokers; 0 counts as 1.
    pub brokers: usize,
    /// Listeners of the first broker that are reached through proxies.
    pub proxies: usize,
    /// Further lines of each broker's properties; `{certificates}` is the folder of certificates.
    pub properties: String,
    /// Whether certificates are made for it.
    pub certificates: bool,
    /// Further listeners: name, security protocol.
    pub listeners: Vec<(&'static str, &'static str)>,
    /// Further arguments when the log is formatted.
    pub format: Vec<String>,
}

/// A running cluster. Its brokers are killed when it is dropped, and when the test process goes without dropping it.
pub struct Cluster {
    settings: Settings,
    brokers: Vec<Option<Process>>,
    /// Goes after the brokers.
    folder: Folder,
    ports: Vec<Ports>,
    proxies: Vec<Proxy>,
    /// Which proxies are in use, for [`Cluster::proxy`].
    leased: Mutex<Vec<bool>>,
    returned: Condvar,
    /// Held by clusters of a test's own: one at a time.
    _turn: Option<Turn>,
}

#[derive(Debug, Clone)]
struct Ports {
    plain: u16,
    controller: u16,
    /// Behind the proxies.
    proxied: Vec<u16>,
    /// In the order of the settings.
    further: Vec<u16>,
}

/// The right to a cluster of a test's own.
struct Turn;

/// Whether some test has the right.
static TAKEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

impl Turn {
    fn take() -> Self {
        let taken = TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = TAKEN.1.wait_while(taken, |taken| *taken);
        *wait.unwrap_or_else(PoisonError::into_inner) = true;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
        TAKEN.1.notify_one();
    }
}

/// A proxy that is one test's until dropped.
pub struct Leased<'a> {
    cluster: &'a Cluster,
    index: usize,
}

impl std::ops::Deref for Leased<'_> {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.cluster.proxies[self.index]
    }
}

impl Drop for Leased<'_> {
    fn drop(&mut self) {
        self.mend();
        self.cut();
        self.cluster.leased.lock().unwrap_or_else(PoisonError::into_inner)[self.index] = false;
        self.cluster.returned.notify_one();
    }
}

/// The broker that ordinary tests of this process share. It stays until the process ends.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::lasting(Settings { proxies: 4, ..Settings::default() }))
}

/// A name that no other test uses, for topics and groups.
pub fn name(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Cluster {
    /// A cluster for one test. Waits while another test has one: brokers need memory and processors.
    #[track_caller]
    pub fn start(settings: Settings) -> Self {
        Self::launch(settings, Some(Turn::take()))
    }

    /// A cluster that stays until the process ends, for several tests.
    #[track_caller]
    pub fn lasting(settings: Settings) -> Self {
        Self::launch(settings, None)
    }

    #[track_caller]
    fn launch(settings: Settings, turn: Option<Turn>) -> Self {
        let count = settings.brokers.max(1);
        let proxies: Vec<Proxy> = (0..settings.proxies).map(|_| Proxy::new()).collect();
        let mut cluster = Self {
            leased: Mutex::new(vec![false; proxies.len()]),
            settings,
            brokers: Vec::new(),
            folder: Folder::new("kafka"),
            ports: Vec::new(),
            proxies,
            returned: Condvar::new(),
            _turn: turn,
        };
        launch("broker", || {
            // Before there are new ones, the old ones go, with what is in their folders.
            cluster.brokers.clear();
            cluster.ports = (0..count).map(|_| cluster.free_ports()).collect();
            if cluster.settings.certificates {
                Certificates::make(&cluster.certificates());
            }
            cluster.format();
            cluster.brokers = (0..count).map(|index| Some(cluster.spawn(index))).collect();
            for (proxy, port) in cluster.proxies.iter().zip(&cluster.ports[0].proxied) {
                proxy.lead_to(*port);
            }
            cluster.ready()
        });
        cluster
    }

    fn free_ports(&self) -> Ports {
        Ports {
            plain: free_port(),
            controller: free_port(),
            proxied: self.proxies.iter().map(|_| free_port()).collect(),
            further: self.settings.listeners.iter().map(|_| free_port()).collect(),
        }
    }

    /// Writes each broker's properties and formats its log; the brokers at the same time.
    fn format(&self) {
        let id = "bWlsbHJhY2UtdGVzdHMtMA";
        thread::scope(|scope| {
            for index in 0..self.ports.len() {
                let node = self.node(index);
                let properties = node.join("server.properties");
                fs::write(&properties, self.properties(index)).expect("the folder is ours");
                scope.spawn(move || {
                    let path = properties.display().to_string();
                    let mut arguments = vec!["kafka.tools.StorageTool", "format", "-t", id, "-c", &path];
                    arguments.extend(self.settings.format.iter().map(String::as_str));
                    run(&arguments);
                });
            }
        });
    }

    fn properties(&self, index: usize) -> String {
        let ports = &self.ports[index];
        let mut listeners = vec![
            format!("PLAINTEXT://127.0.0.1:{}", ports.plain),
            format!("CONTROLLER://127.0.0.1:{}", ports.controller),
        ];
        let mut advertised = vec![format!("PLAINTEXT://127.0.0.1:{}", ports.plain)];
        let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        for (number, (port, proxy)) in ports.proxied.iter().zip(&self.proxies).enumerate() {
            listeners.push(format!("PROXY{number}://127.0.0.1:{port}"));
            advertised.push(format!("PROXY{number}://127.0.0.1:{}", proxy.port()));
            protocols.push_str(&format!(",PROXY{number}:PLAINTEXT"));
        }
        for (port, (name, protocol)) in ports.further.iter().zip(&self.settings.listeners) {
            listeners.push(format!("{name}://127.0.0.1:{port}"));
            advertised.push(format!("{name}://localhost:{port}"));
            protocols.push_str(&format!(",{name}:{protocol}"));
        }
        let voters: Vec<String> = self
            .ports
            .iter()
            .enumerate()
            .map(|(index, ports)| format!("{}@127.0.0.1:{}", index + 1, ports.controller))
            .collect();
        let copies = self.ports.len().min(3);
        let in_sync = copies.div_ceil(2);
        let (listeners, advertised) = (listeners.join(","), advertised.join(","));
        let (voters, node) = (voters.join(","), index + 1);
        let further =
            self.settings.properties.replace("{certificates}", &self.certificates().display().to_string());
        format!(
            "process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners={listeners}
advertised.listeners={advertised}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map={protocols}
log.dirs={}
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=2
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
# Nothing waits for company, and failures are noticed fast.
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=6000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=5000
leader.imbalance.check.interval.seconds=5
# Compaction and deletion at once.
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=8388608
log.initial.task.delay.ms=500
# Events of tests are as old as they like.
log.retention.ms=-1
log.segment.delete.delay.ms=200
# Small: tests run side by side.
num.network.threads=1
num.io.threads=4
background.threads=2
log.index.size.max.bytes=1048576
{further}
",
            self.node(index).join("data").display(),
        )
    }

    fn node(&self, index: usize) -> PathBuf {
        self.folder.of(&format!("broker-{}", index + 1))
    }

    fn spawn(&self, index: usize) -> Process {
        let node = self.node(index);
        let properties = node.join("server.properties").display().to_string();
        start(&node, HEAP_MIB, &["kafka.Kafka", &properties])
    }

    /// Waits until all brokers that were started know each other, or gives the log of one that ended.
    fn ready(&self) -> Result<(), String> {
        let started = Instant::now();
        let client = self.client();
        let running = self.brokers.iter().flatten().count();
        while client.brokers() < running {
            for (index, broker) in self.brokers.iter().enumerate() {
                if broker.as_ref().is_some_and(|broker| !broker.runs()) || started.elapsed() > 2 * LIMIT {
                    return Err(self.log(index));
                }
            }
            thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What a broker has said.
    pub fn log(&self, index: usize) -> String {
        log(&self.node(index))
    }

    /// The folder of its certificates: see [`Certificates`].
    pub fn certificates(&self) -> PathBuf {
        // Within what goes with the first broker.
        self.node(0).join("tls")
    }

    /// Addresses of all brokers.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> =
            self.ports.iter().map(|ports| format!("127.0.0.1:{}", ports.plain)).collect();
        addresses.join(",")
    }

    /// The address of the first broker on a further listener.
    #[track_caller]
    pub fn listener(&self, name: &str) -> String {
        let index = self.settings.listeners.iter().position(|(known, _)| *known == name);
        format!("localhost:{}", self.ports[0].further[index.expect("the listener is in the settings")])
    }

    /// A client of the cluster, not through a proxy.
    pub fn client(&self) -> Client {
        Client::new(&self.bootstrap())
    }

    /// A proxy before the first broker; waits until one is free.
    pub fn proxy(&self) -> Leased<'_> {
        let mut leased = self.leased.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(index) = leased.iter().position(|used| !used) {
                leased[index] = true;
                return Leased { cluster: self, index };
            }
            leased = self.returned.wait(leased).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// kill -9 of a broker.
    pub fn kill(&mut self, index: usize) {
        self.brokers[index].take().expect("the broker runs").end("KILL");
    }

    /// SIGTERM of a broker, which hands its partitions over; waits until it is gone.
    pub fn stop(&mut self, index: usize) {
        self.brokers[index].take().expect("the broker runs").end("TERM");
    }

    /// Starts brokers again, with the same data on the same ports, and waits until the cluster lists all.
    #[track_caller]
    pub fn restart(&mut self, indexes: &[usize]) {
        for index in indexes {
            assert!(self.brokers[*index].is_none(), "broker {index} runs");
            self.brokers[*index] = Some(self.spawn(*index));
        }
        if let Err(log) = self.ready() {
            panic!("the brokers do not come back; one said:\n{log}");
        }
    }

    /// Sends a signal to a broker, as `STOP` or `CONT`.
    pub fn signal(&self, index: usize, signal: &str) {
        self.brokers[index].as_ref().expect("the broker runs").signal(signal);
    }
}
