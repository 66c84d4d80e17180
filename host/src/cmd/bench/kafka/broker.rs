//! The broker: one that runs already, or one of our own, started from Kafka's jars and ended with the measurement.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::cli::KafkaBenchArgs;
use crate::cmd::bench::child::{Killed, free_port, said};

/// A cluster's id: 16 bytes in base64.
const CLUSTER_ID: &str = "bWlsbHJhY2UtYmVuY2gtMQ";

/// A broker that is there.
pub(super) struct Broker {
    /// `host:port`.
    pub(super) bootstrap: String,
    /// Its process, if that is known: what it uses is reported.
    pub(super) process: Option<u32>,
    own: Option<Killed>,
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
        let mut format = java(libs);
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(&properties);
        let log = folder.join("format.log");
        let formatted = Killed::start(format, &log)?.0.wait()?;
        if !formatted.success() {
            bail!("cannot format the broker's folder:\n{}", said(&log));
        }
        let mut serve = java(libs);
        serve.arg("kafka.Kafka").arg(&properties);
        let log = folder.join("broker.log");
        let mut child = Killed::start(serve, &log)?;
        child.wait_until_listening("the broker", &bootstrap, &log)?;
        Ok(Self { bootstrap, process: Some(child.0.id()), own: Some(child) })
    }
}

fn java(libs: &Path) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xms1g", "-Xmx1g", "-Dlog4j2.level=WARN", "-cp"]).arg(format!("{}/*", libs.display()));
    command
}
