//! Kafka → WebAssembly → Kafka, against loops by hand and other engines: one broker, one machine, the same bytes.
//!
//! | run | what it does with each event |
//! |---|---|
//! | L1 | puts out a record that is ready, of the output's size and with one header like its own |
//! | L2 | decodes the event with `serde_json` into a struct, formats the record and its header by hand |
//! | null store | everything that `host run` does but for the online store, which forgets its rows |
//! | embedded store | `host run` |
//! | L2 + Redis | as L2, and before records go out, writes the same fields and bytes as the host to Redis |
//! | Redis store | `host run` with Redis as its online store |
//! | peers | commands that read the topic `KAFKA_INPUT` of the broker `KAFKA_BOOTSTRAP` and write `KAFKA_OUTPUT` |
//!
//! Each is a process of its own, this binary executed again: its processor time and memory are read from outside,
//! while the end of its output topic is watched. Rounds take turns, so that a change of the machine's speed touches all.

mod broker;
mod figures;
mod latency;
mod null_store;
mod part;
mod process;
mod runs;
mod soak;
pub(super) mod views;
mod watch;

use std::fs;
use std::path::PathBuf;

use connectors::kafka::limit::Cluster;
use tempfile::TempDir;

use super::Bench;
use super::figure::Figure;
use super::service::folder;

pub(super) use part::run_part;

use broker::Broker;
pub(super) use process::{Usage, processor_seconds};

/// Partitions of every topic.
const PARTITIONS: u16 = 4;

/// Where everything happens.
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    broker: Broker,
    folder: TempDir,
    /// The component of the ad-impression view.
    component: Vec<u8>,
    /// Topics to delete at the end.
    input: Vec<String>,
    /// Where `redis-server` is, if not on `PATH`.
    redis_server: Option<PathBuf>,
}

impl Stage {
    /// With the broker that the arguments name, or one of its own.
    pub(super) fn open(bench: &Bench) -> anyhow::Result<Self> {
        let folder = folder()?;
        let broker = Broker::find(&bench.kafka, folder.path())?;
        Ok(Self {
            cluster: Cluster::new(&broker.bootstrap),
            broker,
            folder,
            component: bench.guests.bytes("ad_impressions")?,
            input: Vec::new(),
            redis_server: bench.kafka.redis_server.clone(),
        })
    }

    /// The component of the ad-impression view.
    pub(super) fn component(&self) -> &[u8] {
        &self.component
    }

    /// An empty folder of that name.
    pub(super) fn empty(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Makes a topic for input.
    pub(super) fn make_input(&mut self, name: &str) -> anyhow::Result<String> {
        let topic = format!("{name}-{}", std::process::id());
        self.cluster.create(&topic, PARTITIONS)?;
        self.input.push(topic.clone());
        Ok(topic)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let topics: Vec<&str> = self.input.iter().map(String::as_str).collect();
        // A broker of our own goes with its folder.
        if self.broker.is_foreign() && !topics.is_empty() {
            drop(self.cluster.delete(&topics));
        }
    }
}

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut stage = Stage::open(bench)?;
    let wants =
        |name: &str| bench.kafka.only.is_empty() || bench.kafka.only.iter().any(|wanted| wanted == name);
    let mut figures = Vec::new();
    if wants("throughput") {
        let measured = runs::measure(bench, &mut stage)?;
        figures.extend(figures::throughput(&measured));
    }
    if wants("latency") {
        figures.extend(latency::measure(bench, &mut stage)?);
    }
    if bench.kafka.minutes > 0 {
        figures.extend(soak::measure(bench, &mut stage)?);
    }
    Ok(figures)
}
