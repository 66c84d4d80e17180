//! The whole way: file → WebAssembly → store and output file, all durable, against its slowest stage alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow_array::RecordBatch;
use connectors::codec::json::{JsonFormat, sample};
use connectors::online::embedded::{EmbeddedOptions, EmbeddedStore};
use connectors::output::file::FileOutput;
use connectors::source::file::{FileOptions, FileSource};
use futures_util::FutureExt;
use model::batch::Applied;
use model::codec::Format;
use model::online::OnlineStore;
use model::output::{Emission, OutputOptions, OutputStream, RecordVersion};
use model::source::{BatchBudget, ReadEvent, Source};
use model::transform::Limits;

use super::Bench;
use super::figure::{Figure, count};
use super::guests::{context, options};
use super::record::impressions;
use super::service::{Service, TO_FILE, ad_view, folder};
use crate::clock::SystemClock;

const BUDGET: BatchBudget = BatchBudget { rows: 8192, bytes: 1 << 20 };

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let events = bench.scaled(2_000_000).max(10_000);
    let folder = folder()?;
    let path = folder.path().join("events.ndjson");
    write_events(&path, events)?;
    let stages = [
        ("read and decode", read_and_decode(folder.path(), &path)?),
        ("transform", transform(bench)?),
        ("store", store(bench)?),
        ("output file", output(bench)?),
    ];
    let (slowest, limit) =
        stages.into_iter().min_by(|one, other| one.1.total_cmp(&other.1)).context("there are stages")?;
    let whole = whole(bench, &path, events)?;
    let others: Vec<String> =
        stages.iter().map(|(name, rate)| format!("{name} {:.2} M/s", rate / 1e6)).collect();
    Ok(vec![Figure::times_at_least(
        "file → WASM → store and output file, all durable",
        whole,
        "events/s",
        format!("slowest stage alone: {slowest} ({})", others.join(", ")),
        limit,
        0.5,
    )])
}

pub(super) fn write_events(path: &Path, events: u64) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut line = Vec::new();
    for number in 0..events {
        line.clear();
        sample::write_ad_event(&mut line, number, sample::USERS);
        line.push(b'\n');
        file.write_all(&line)?;
    }
    file.flush()?;
    Ok(())
}

/// From the moment that the file appears until its last record is in the output file.
fn whole(bench: &Bench, events_path: &Path, events: u64) -> anyhow::Result<f64> {
    let service = Service::start(None, |views| {
        fs::write(
            views.join("ads.yaml"),
            ad_view("file: { path: events.ndjson, follow: true }", Some(TO_FILE)),
        )?;
        fs::write(views.join("user_impression_counts.wasm"), bench.guests.bytes("ad_impressions")?)?;
        Ok(())
    })?;
    let started = Instant::now();
    fs::rename(events_path, service.path("events.ndjson"))?;
    loop {
        let done = service.views()?.first().and_then(|view| view["rows_out"].as_u64()).unwrap_or(0);
        if done >= events && lines(&service.path("out.ndjson"))? >= events {
            return Ok(count(events) / started.elapsed().as_secs_f64());
        }
        anyhow::ensure!(
            started.elapsed() < Duration::from_secs(600),
            "{done} of {events} events after ten minutes"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn lines(path: &Path) -> anyhow::Result<u64> {
    Ok(u64::try_from(fs::read(path)?.iter().filter(|byte| **byte == b'\n').count())?)
}

fn read_and_decode(folder: &Path, path: &Path) -> anyhow::Result<f64> {
    let source = FileSource::open(FileOptions {
        name: "bench".to_owned(),
        path: path.to_owned(),
        follow: false,
        state_directory: folder.join("state"),
        max_row_bytes: 1 << 20,
        clock: Arc::new(SystemClock),
    })?;
    let mut reader = source.read(&source.partitions()?, &BTreeMap::new())?;
    let mut decoder = JsonFormat::new(sample::ad_columns()).decoder();
    let (mut rows, started) = (0, Instant::now());
    while let ReadEvent::Batch(batch) = reader.next(BUDGET, Duration::from_millis(10))? {
        rows += decoder.decode(batch).columns.num_rows();
    }
    Ok(count(u64::try_from(rows)?) / started.elapsed().as_secs_f64())
}

fn transform(bench: &Bench) -> anyhow::Result<f64> {
    let engine = wasm::Engine::new(wasm::EngineOptions::default())?;
    let component = bench.guests.load(&engine, "ad_impressions")?;
    let events = JsonFormat::new(sample::ad_columns()).decoder().decode(sample::ad_batch(0, 1000)).columns;
    let columns: Vec<_> = component
        .description()
        .input
        .iter()
        .filter_map(|field| events.column_by_name(&field.name).cloned())
        .collect();
    let input = RecordBatch::try_new(model::schema::arrow_schema(&component.description().input), columns)?;
    let mut transform = component.transform(&options(Limits::default()));
    let (rounds, started) = (bench.scaled(5000), Instant::now());
    for _ in 0..rounds {
        transform.process(&input, &context())?;
    }
    Ok(count(rounds * 1000) / started.elapsed().as_secs_f64())
}

fn store(bench: &Bench) -> anyhow::Result<f64> {
    let folder = folder()?;
    let store =
        EmbeddedStore::open(EmbeddedOptions::new(folder.path().join("store"), Arc::new(SystemClock)))?;
    let batches = batches(bench)?;
    let started = Instant::now();
    for batch in &batches {
        store.write(Arc::clone(batch)).now_or_never().context("the embedded store answers at once")??;
    }
    let rate = count(batches.len() as u64 * 1000) / started.elapsed().as_secs_f64();
    store.close()?;
    Ok(rate)
}

fn output(bench: &Bench) -> anyhow::Result<f64> {
    let folder = folder()?;
    let output = FileOutput::open(&folder.path().join("out.ndjson"))?;
    let options = Arc::new(OutputOptions {
        version: RecordVersion::V1,
        include_features: true,
        producer: "millrace".to_owned(),
    });
    let batches = batches(bench)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let started = Instant::now();
    runtime.block_on(async {
        // As many in flight as a view has.
        let mut waiting = std::collections::VecDeque::new();
        for batch in &batches {
            waiting.push_back(output.emit(Emission {
                batch: Arc::clone(batch),
                applied: Applied::default(),
                options: Arc::clone(&options),
                epoch: 0,
            }));
            if waiting.len() >= 4
                && let Some(oldest) = waiting.pop_front()
            {
                oldest.await?;
            }
        }
        for rest in waiting {
            rest.await?;
        }
        anyhow::Ok(())
    })?;
    Ok(count(batches.len() as u64 * 1000) / started.elapsed().as_secs_f64())
}

fn batches(bench: &Bench) -> anyhow::Result<Vec<Arc<model::batch::FeatureBatch>>> {
    (0..bench.scaled(1000)).map(|number| impressions(number * 1000).map(Arc::new)).collect()
}
