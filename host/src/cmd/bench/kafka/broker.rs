//! The broker: one that runs already, or one of our own, started from Kafka's jars and ended with the measurement.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::said;
use crate::cli::KafkaBenchArgs;

/// A cluster's id: 16 bytes in base64.
const CLUSTER_ID: &str = "bWlsbHJhY2UtYmVuY2gtMQ";

/// A broker that is there.
pub(super) struct Broker {
    /// `host:port`.
    pub(super) bootstrap: String,
    /// Its process, if that is known: what it uses is reported.
    pub(super) process: Option<u32>,
    own: Option<Child>,
}

impl Broker {
    /// The broker that the arguments name, or a new one in `folder`.
    pub(super) fn find(args: &KafkaBenchArgs, folder: &Path) -> anyhow::Result<Self> {
        match (&args.bootstrap, &args.kafka_libs) {
            (Some(bootstrap), _) => {
                Ok(Self { bootstrap: bootstrap.clone(), process: args.broker_pid, own: None })
            }
            (None, Some(libs)) => Self::start(libs, &folder.join("broker")),
            (None, None) => bail!(
                "name a broker with --bootstrap and --broker-pid, or a folder of Kafka's jars with --kafka-libs"
            ),
        }
    }

    /// Whether somebody else started it.
    pub(super) fn is_foreign(&self) -> bool {
        self.own.is_none()
    }

    fn start(libs: &Path, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir(folder)?;
        let (port, controller) = (free_port()?, free_port()?);
        let bootstrap = format!("127.0.0.1:{port}");
        let properties = folder.join("server.properties");
        fs::write(
            &properties,
            format!(
                "process.roles=broker,controller\n\
                 node.id=1\n\
                 controller.quorum.voters=1@127.0.0.1:{controller}\n\
                 listeners=PLAINTEXT://{bootstrap},CONTROLLER://127.0.0.1:{controller}\n\
                 advertised.listeners=PLAINTEXT://{bootstrap}\n\
                 controller.listener.names=CONTROLLER\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                 log.dirs={}\n\
                 log.segment.delete.delay.ms=1000\n\
                 offsets.topic.replication.factor=1\n\
                 offsets.topic.num.partitions=4\n\
                 transaction.state.log.replication.factor=1\n\
                 transaction.state.log.min.isr=1\n\
                 share.coordinator.state.topic.replication.factor=1\n\
                 share.coordinator.state.topic.min.isr=1\n\
                 group.initial.rebalance.delay.ms=0\n",
                fs::canonicalize(folder)?.join("data").display()
            ),
        )?;
        let java = |log: &str| -> anyhow::Result<Command> {
            let mut command = Command::new("java");
            let log = fs::File::create(folder.join(log))?;
            command.args(["-Xms1g", "-Xmx1g", "-Dlog4j2.level=WARN", "-cp"]);
            command.arg(format!("{}/*", libs.display()));
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            Ok(command)
        };
        let formatted = java("format.log")?
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(&properties)
            .status()
            .context("cannot start java")?;
        if !formatted.success() {
            bail!("cannot format the broker's folder:\n{}", said(&folder.join("format.log")));
        }
        let child = java("broker.log")?.arg("kafka.Kafka").arg(&properties).spawn()?;
        let mut broker = Self { bootstrap, process: Some(child.id()), own: Some(child) };
        broker.wait_until_listening(&folder.join("broker.log"))?;
        Ok(broker)
    }

    fn wait_until_listening(&mut self, log: &Path) -> anyhow::Result<()> {
        let started = Instant::now();
        while TcpStream::connect(&self.bootstrap).is_err() {
            let ended = self.own.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || started.elapsed() > Duration::from_secs(60) {
                bail!("the broker does not listen; it said:\n{}", said(log));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.own {
            // Its folder goes too, so nothing has to be finished.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A port that is free now.
pub(in crate::cmd::bench) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
