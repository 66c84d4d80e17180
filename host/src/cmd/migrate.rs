//! `host migrate-store`: rows of views from the embedded store to Redis, while the host is stopped.
//!
//! The data directory's lock keeps a running host out, and this command out of a running host's data.

use std::sync::Arc;

use anyhow::Context;
use connectors::online::embedded::{EmbeddedOptions, EmbeddedStore};
use connectors::online::migrate::{self, Moved};
use connectors::online::redis::{RedisStore, RedisStoreOptions};
use connectors::redis::{RedisMetrics, Shared};
use indicatif::ProgressBar;
use model::error::Failure;
use model::online::{GenerationEntry, Ledger, OnlineStore, Starts, ViewLedger};
use model::position::{Partition, Position};
use model::time::Clock;
use serde_json::{Value, json};
use spec::plan::{HostPlan, StorePlan, ViewPlan};
use tokio::runtime::Handle;

use crate::cli::{Format, MigrateStoreArgs};
use crate::clock::SystemClock;
use crate::project::Project;
use crate::report::Stopped;
use crate::results;
use crate::running::{instance, note_store, noted_store, redis_connections, store_in_words, unavailable};

/// Runs the command.
pub(crate) fn migrate(args: &MigrateStoreArgs) -> Result<(), Stopped> {
    let mut project = Project::read(&args.views, args.config.config.as_deref())?;
    if let Some(data_dir) = &args.data_dir {
        project.settings.data_dir.clone_from(data_dir);
    }
    let views = views(&project, &args.only)?;
    let to = destination(&project.settings, args)?;
    let embedded = open_embedded(&project.settings)?;
    let done = if args.note_only {
        views.iter().map(|view| (view.name().to_owned(), Moved::default())).collect()
    } else {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        move_all(&project.settings, &embedded, &views, &to, runtime.handle())?
    };
    for view in &views {
        note_store(embedded.as_ref(), view.name(), &to).map_err(unavailable)?;
    }
    embedded.close().map_err(unavailable)?;
    show(&done, &to, args.format)?;
    for view in views.iter().filter(|view| view.store != to) {
        tracing::warn!(
            view = view.name(),
            "its file, or `online_store` of host.yaml, still says {}; name {} there before the host starts",
            store_in_words(&view.store),
            store_in_words(&to)
        );
    }
    if done.iter().any(|(_, moved)| moved.unnamed > 0) { Err(Stopped::Findings) } else { Ok(()) }
}

/// The views, each once.
fn views<'a>(project: &'a Project, names: &[String]) -> Result<Vec<&'a ViewPlan>, Stopped> {
    let known = &project.report.plan.views;
    let mut views: Vec<&ViewPlan> = Vec::new();
    for name in names {
        let Some(view) = known.get(name) else {
            project.print(&project.report.diagnostics);
            let names = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Stopped::Usage(format!("there is no view `{name}` without errors; known: {names}")));
        };
        if !view.shape.online {
            return Err(Stopped::Usage(format!("view `{name}` is not online: it has no rows")));
        }
        if !views.iter().any(|other| other.name() == name) {
            views.push(view);
        }
    }
    Ok(views)
}

fn destination(settings: &HostPlan, args: &MigrateStoreArgs) -> Result<StorePlan, Stopped> {
    if redis_connections(&settings.connections).contains_key(&args.to) {
        return Ok(StorePlan::Redis { connection: args.to.clone() });
    }
    if args.to == "embedded" && args.note_only {
        return Ok(StorePlan::Embedded);
    }
    Err(Stopped::Usage(match settings.connections.get(&args.to) {
        None if args.to == "embedded" => "rows are not copied from Redis to the embedded store; with --note-only the view \
             begins again with what this host's embedded store has, and `host rewind VIEW --to earliest` reads the events again"
            .to_owned(),
        Some(other) => format!("connection `{}` is one to `{}`, not to `redis`", args.to, other.kind()),
        None => {
            format!("host.yaml has no connection `{}`; `host list connections` shows those it has", args.to)
        }
    }))
}

/// Opens the store of a host that is stopped. One that never ran has nothing to move.
fn open_embedded(settings: &HostPlan) -> Result<Arc<EmbeddedStore>, Stopped> {
    let directory = settings.data_dir.join("online");
    if !directory.is_dir() {
        return Err(Stopped::Unavailable(format!(
            "there is no data of a host in {}; name its data directory with --data-dir",
            settings.data_dir.display()
        )));
    }
    EmbeddedStore::open(EmbeddedOptions {
        directory,
        memory_bytes: settings.online_store.memory,
        checkpoint_interval: settings.online_store.checkpoint_interval,
        checkpoint_bytes: settings.online_store.checkpoint_bytes,
        clock: Arc::new(SystemClock),
    })
    .map_err(unavailable)
}

fn move_all(
    settings: &HostPlan,
    embedded: &Arc<EmbeddedStore>,
    views: &[&ViewPlan],
    to: &StorePlan,
    runtime: &Handle,
) -> Result<Vec<(String, Moved)>, Stopped> {
    for view in views {
        let noted = noted_store(embedded.as_ref(), view.name()).map_err(unavailable)?;
        if let Some(elsewhere @ StorePlan::Redis { .. }) = noted.filter(|noted| noted != to) {
            return Err(Stopped::Usage(format!(
                "the rows of view `{}` are in {}, not in the embedded store; once they are in {} as well, say so with \
                 --note-only",
                view.name(),
                store_in_words(&elsewhere),
                store_in_words(to)
            )));
        }
    }
    let store = open_redis(settings, embedded, to, runtime)?;
    let mut done = Vec::new();
    for view in views {
        let bar = ProgressBar::new_spinner();
        bar.set_message(format!("{}: 0 rows", view.name()));
        let moved = migrate::migrate(embedded, store.as_ref(), &view.shape, runtime, &mut |rows| {
            bar.set_message(format!("{}: {rows} rows", view.name()));
            bar.tick();
        });
        bar.finish_and_clear();
        done.push((view.name().to_owned(), moved.map_err(unavailable)?));
    }
    runtime.block_on(store.checkpoint()).map_err(unavailable)?;
    store.close().map_err(unavailable)?;
    Ok(done)
}

/// Opens the store as the host does, but for positions: rows that are moved do not move them.
fn open_redis(
    settings: &HostPlan,
    embedded: &Arc<EmbeddedStore>,
    to: &StorePlan,
    runtime: &Handle,
) -> Result<Arc<RedisStore>, Stopped> {
    let name = to.connection().unwrap_or_default();
    let connection = redis_connections(&settings.connections).remove(name);
    let connection = connection.with_context(|| format!("there is no connection `{name}`"))?;
    let directory = settings.data_dir.join("redis").join(name);
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make the folder {}", directory.display()))?;
    let hook = Arc::new(|connection: &str, away: Option<&str>| {
        tracing::debug!(connection, away, "contact");
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = RedisStore::open(RedisStoreOptions {
        project: settings.project.clone(),
        connection,
        ledger: Arc::new(Unmoved(Arc::clone(embedded))),
        directory,
        instance: instance(&settings.data_dir)?,
        memory_bytes: settings.redis_stores.memory,
        writers: settings.redis_stores.writers,
        clock,
        shared: Shared::new(runtime.clone(), RedisMetrics::detached(), hook),
    })
    .map_err(unavailable)?;
    store.on_loss(Box::new(|losses| {
        for loss in losses {
            let (view, partition) = (loss.view, loss.partition);
            tracing::warn!(view, %partition, "Redis has lost rows that it had acknowledged; the host makes them again");
        }
    }));
    Ok(store)
}

fn show(done: &[(String, Moved)], to: &StorePlan, format: Format) -> Result<(), Stopped> {
    let text = match format {
        Format::Json => {
            let list: Vec<Value> = done
                .iter()
                .map(|(view, moved)| {
                    json!({
                        "view": view, "store": to.to_string(), "rows": moved.rows, "newer_there": moved.late,
                        "deleted": moved.deleted, "unnamed": moved.unnamed,
                    })
                })
                .collect();
            format!("{:#}\n", Value::Array(list))
        }
        Format::Table => {
            let rows: Vec<Vec<String>> = done
                .iter()
                .map(|(view, moved)| {
                    let numbers = [moved.rows, moved.late, moved.deleted, moved.unnamed];
                    let numbers = numbers.into_iter().map(|number| number.to_string());
                    [view.clone(), to.to_string()].into_iter().chain(numbers).collect()
                })
                .collect();
            results::table(&["VIEW", "STORE", "ROWS", "NEWER THERE", "DELETED", "LEFT BEHIND"], &rows)
        }
    };
    Ok(results::print(&text)?)
}

/// The positions of the host, which stay what they are: rows that are moved say nothing of them.
struct Unmoved(Arc<EmbeddedStore>);

impl Ledger for Unmoved {
    fn view(&self, view: &str) -> Result<ViewLedger, Failure> {
        Ledger::view(self.0.as_ref(), view)
    }

    fn start(&self, _: &str, _: &Partition, _: Option<Position>) -> Result<(), Failure> {
        Ok(())
    }

    fn begin_generation(&self, _: &str, _: &GenerationEntry) -> Result<(), Failure> {
        Ok(())
    }

    fn forget_generations_before(&self, _: &str, _: u32) -> Result<(), Failure> {
        Ok(())
    }

    fn durable(&self, view: &str, partition: &Partition) -> Option<Position> {
        self.0.durable(view, partition)
    }

    fn advance(&self, _: &str, _: &Partition, _: &Position) {}

    fn set_back(&self, _: &str, _: &Starts) -> Result<(), Failure> {
        Ok(())
    }

    fn rewind(&self, _: &str, _: &Starts, _: &GenerationEntry, _: u32) -> Result<(), Failure> {
        Ok(())
    }
}
