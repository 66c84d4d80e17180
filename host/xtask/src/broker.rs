//! One Kafka broker on loopback, from jars, for as long as the demo or the tests run.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::demo_host::wait;
use crate::server::free_port;

/// How long a broker may take to listen: a cold Java on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    /// `host:port`.
    pub(crate) address: String,
}

impl Broker {
    /// Formats a folder, starts a broker in it, and waits until it listens.
    pub(crate) fn start(libs: &Path, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (port, controller) = (free_port()?, free_port()?);
        let settings = folder.join("server.properties");
        fs::write(&settings, properties(folder, port, controller))
            .context("cannot write the broker's settings")?;
        let id = java(libs, "OFF").args(["kafka.tools.StorageTool", "random-uuid"]).output();
        let id = String::from_utf8(id.context("cannot start Java")?.stdout)?.trim().to_owned();
        let formatted = java(libs, "OFF")
            .args(["kafka.tools.StorageTool", "format", "-t", &id, "-c"])
            .arg(&settings)
            .stdout(Stdio::null())
            .status()
            .context("cannot start Java")?;
        if !formatted.success() {
            bail!("the broker's folder cannot be formatted: {formatted}");
        }
        let log = folder.join("log");
        let output = fs::File::create(&log).context("cannot make the broker's log")?;
        let child = java(libs, "WARN")
            .arg("kafka.Kafka")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share the broker's log")?)
            .stderr(output)
            .spawn()
            .context("cannot start the broker")?;
        let mut broker = Self { child, address: format!("127.0.0.1:{port}") };
        let listening = wait(START_LIMIT, || {
            if let Some(status) = broker.child.try_wait()? {
                bail!("the broker stopped at once: {status}");
            }
            Ok(TcpStream::connect(&broker.address).is_ok().then_some(()))
        });
        listening.with_context(|| {
            format!("the broker did not start; it said:\n{}", fs::read_to_string(&log).unwrap_or_default())
        })?;
        Ok(broker)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its data are of no further use: nothing is lost by ending it at once.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn java(libs: &Path, level: &str) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg(format!("-Dlog4j2.level={level}"))
        .arg("-cp")
        .arg(libs.join("*"));
    java
}

/// One node that is broker and controller, with single copies of everything.
fn properties(folder: &Path, port: u16, controller: u16) -> String {
    let data = folder.join("data");
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n",
        data.display()
    )
}
