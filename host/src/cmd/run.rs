//! `host run`: everything, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serve::{Phase, ServeSettings, ServeState, Server, Trouble};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::RunArgs;
use crate::project::Project;
use crate::report::Stopped;
use crate::running::{Online, Parts, Reload, Running, Waker, Watch, spawn};

/// Threads that serve HTTP. Transforms run on threads of their own.
const SERVE_THREADS: usize = 2;

/// Free bytes on the data directory's disk below which the host is not ready. With less, the online store writes no
/// checkpoint.
pub(crate) const DISK_RESERVE: u64 = 128 << 20;

/// How often free space is looked at.
const DISK_POLL: Duration = Duration::from_secs(2);

/// How often the host looks which partitions are its own. Longer, and answers are silent for longer about what they lack.
const SHARES_POLL: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) fn run(args: &RunArgs) -> Result<(), Stopped> {
    run_with(args, |store| Arc::clone(store) as _)
}

/// Runs with rows that are not in Redis going to what `online` makes of the embedded store.
pub(crate) fn run_with(args: &RunArgs, online: Online) -> Result<(), Stopped> {
    let mut project = Project::read(&args.views, args.config.config.as_deref())?;
    if let Some(data_dir) = &args.data_dir {
        project.settings.data_dir.clone_from(data_dir);
    }
    let listen = listen_address(args, &project)?;
    project.print(&project.report.diagnostics);
    if args.require_healthy && project.report.has_errors() {
        return Err(Stopped::Configuration("there are problems, and --require-healthy is set".to_owned()));
    }
    if project.report.plan.views.is_empty() && !args.allow_empty && !project.report.has_errors() {
        return Err(Stopped::Configuration(format!(
            "{} declares no view; make one with `host new view NAME`, or start without one by --allow-empty",
            args.views.display()
        )));
    }
    if project.report.plan.views.is_empty() && project.report.has_errors() {
        return Err(Stopped::Configuration("no view can run".to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVE_THREADS)
        .thread_name("serve")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Before anything answers: whoever sees the host alive may stop it.
    let signals = runtime.block_on(async { Signals::new() }).context("cannot listen to signals")?;
    let server = Server::bind(listen).map_err(|error| Stopped::Unavailable(error.to_string()))?;
    let parts = Arc::new(Parts::open(project.settings.clone(), online, runtime.handle())?);
    // Served from now on, so that probes are told that the host is starting.
    let (stop, stopped) = oneshot::channel::<()>();
    let address = server.local_addr();
    let serving = runtime.spawn(serve(server, Arc::clone(&parts), stopped));
    let result = follow_and_wait(args, &project, &parts, &runtime, address, signals, stop);
    let served = runtime.block_on(serving).context("the server panicked")?;
    let drained = parts.close()?;
    result?;
    served?;
    if !drained {
        return Err(Stopped::Failed(anyhow::anyhow!(
            "not everything was finished within {:?}; the rest is replayed at the next start",
            parts.settings.shutdown_grace
        )));
    }
    tracing::info!("stopped");
    Ok(())
}

/// Starts the views, follows their files, and waits for a signal. Dropping `stop` ends the server.
fn follow_and_wait(
    args: &RunArgs,
    project: &Project,
    parts: &Arc<Parts>,
    runtime: &Runtime,
    address: SocketAddr,
    signals: Signals,
    stop: oneshot::Sender<()>,
) -> Result<(), Stopped> {
    // Watched before the first look, so that nothing that changes from now on is missed.
    let watch = Watch::new(&args.views, !args.no_watch);
    // Signals that came meanwhile count: a stop during a long start must not be lost.
    let signals = runtime.spawn(follow_signals(Arc::clone(parts), watch.waker(), signals));
    let mut running = Running::new(Arc::clone(parts));
    let pending = running.follow(project, true);
    if args.require_healthy && !running.failed().is_empty() {
        let failed = running.failed().join(", ");
        return Err(Stopped::Configuration(format!(
            "--require-healthy is set, and these views cannot start: {failed}"
        )));
    }
    let poll = if args.no_watch { Duration::from_secs(86_400) } else { Duration::from_secs(args.watch_poll) };
    let reload = Reload { views: args.views.clone(), parts: Arc::clone(parts), poll };
    let (waker, thread) = spawn(reload, running, watch, pending)?;
    let disk = runtime.spawn(watch_disk(Arc::clone(parts)));
    let shares = runtime.spawn(watch_shares(Arc::clone(parts)));
    if parts.health.phase() == Phase::Starting {
        parts.health.set_phase(Phase::Ready);
        tracing::info!(
            %address,
            project = parts.settings.project,
            data = %parts.settings.data_dir.display(),
            "ready"
        );
    }
    let signaled = runtime.block_on(signals).context("the signal task panicked")?;
    waker.stop();
    if thread.join().is_err() {
        tracing::error!("the thread that follows the files panicked");
    }
    disk.abort();
    shares.abort();
    // Intake ends with the server; what it has acknowledged is drained by the caller.
    drop(stop);
    Ok(signaled?)
}

fn listen_address(args: &RunArgs, project: &Project) -> Result<SocketAddr, Stopped> {
    match args.listen {
        Some(address) => Ok(address),
        None => project.settings.listen.parse().map_err(|_| {
            Stopped::Configuration(format!(
                "`listen: {}` of the settings is not an address and a port, such as `127.0.0.1:6566`",
                project.settings.listen
            ))
        }),
    }
}

/// Serves until told to stop.
async fn serve(server: Server, parts: Arc<Parts>, stopped: oneshot::Receiver<()>) -> Result<(), Stopped> {
    let state = ServeState {
        reader: parts.stores.reader(),
        overview: Arc::clone(&parts.flow) as _,
        control: Arc::clone(&parts.flow) as _,
        directory: Arc::clone(&parts.directory),
        clock: Arc::clone(&parts.clock),
        registry: Arc::clone(&parts.registry),
        health: Arc::clone(&parts.health),
        settings: ServeSettings {
            max_body_bytes: parts.settings.push.max_body_bytes,
            serve_while_recovering: parts.settings.serve_while_recovering,
            ..ServeSettings::default()
        },
    };
    let result = server
        .run(state, async {
            // Whether it was sent or dropped: it is time to stop.
            let _told = stopped.await;
        })
        .await;
    result.map_err(|error| Stopped::Failed(anyhow::Error::new(error)))
}

/// The signals that the host listens to. They are kept from the moment at which this is made.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// To be made within the runtime.
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Returns at the first signal to stop; a second one does not wait for what has begun.
async fn follow_signals(parts: Arc<Parts>, waker: Waker, signals: Signals) -> anyhow::Result<()> {
    let Signals { mut terminate, mut interrupt, mut hangup } = signals;
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                tracing::info!("looking at the files");
                waker.look();
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping: finishing what has begun; a second signal does not wait");
    parts.health.set_phase(Phase::Draining);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("stopped by a second signal; what had begun is replayed at the next start");
        std::process::exit(70);
    });
    Ok(())
}

/// Answers say how much of a stream this host reads, where others read the rest.
async fn watch_shares(parts: Arc<Parts>) {
    let mut interval = tokio::time::interval(SHARES_POLL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let parts = Arc::clone(&parts);
        // Asks brokers now and then, which may be away.
        if let Err(error) = tokio::task::spawn_blocking(move || parts.shares.refresh()).await {
            tracing::error!(%error, "cannot look how much of each source is this host's");
        }
    }
}

/// A full disk makes the host unready before anything fails.
async fn watch_disk(parts: Arc<Parts>) {
    let subject = parts.settings.data_dir.display().to_string();
    let mut interval = tokio::time::interval(DISK_POLL);
    loop {
        interval.tick().await;
        match rustix::fs::statvfs(&parts.settings.data_dir) {
            Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < DISK_RESERVE => {
                let message = format!("less than {} MiB are free; make room", DISK_RESERVE >> 20);
                parts.health.raise(Trouble::DiskFull, &subject, message);
            }
            Ok(_) => parts.health.clear(Trouble::DiskFull, &subject),
            Err(error) => {
                parts.health.raise(Trouble::DiskFull, &subject, format!("cannot be asked: {error}"))
            }
        }
    }
}
