//! Memory over minutes: a steady stream, and what the host occupies early and late.

use std::time::{Duration, Instant};

use connectors::kafka::limit::{Load, generate};

use super::{PARTITIONS, Stage, views};
use crate::cmd::bench::Bench;
use crate::cmd::bench::figure::Figure;

/// Events a second.
const RATE: u64 = 20_000;
/// The part of the time after which memory should not grow any more.
const EARLY: f64 = 0.2;

pub(super) fn measure(bench: &Bench, stage: &mut Stage) -> anyhow::Result<Vec<Figure>> {
    let time = Duration::from_secs(bench.kafka.minutes * 60);
    let (input, output) = (stage.make_input("soak-in")?, stage.make_input("soak-out")?);
    let (mut running, port) = views::start(stage, &output, views::Store::Null, &input, &output)?;
    views::wait_until_ready(&mut running, port)?;
    let load = Load { events: time.as_secs() * RATE, users: 50_000, rate: Some(RATE) };
    let ends = stage.cluster.ends(&output, PARTITIONS)?;
    let (cluster, started) = (stage.cluster.clone(), Instant::now());
    let (early, late) = std::thread::scope(|scope| {
        let load = scope.spawn(|| generate(&cluster, &input, load));
        let mut early = 0.0;
        let mut late: f64 = 0.0;
        while !load.is_finished() || ends.sum()? < time.as_secs() * RATE {
            std::thread::park_timeout(Duration::from_secs(1));
            running.check()?;
            let resident = running.usage().resident_bytes / f64::from(1 << 20);
            if started.elapsed().as_secs_f64() < time.as_secs_f64() * EARLY {
                early = f64::max(early, resident);
            } else {
                late = late.max(resident);
            }
            anyhow::ensure!(
                started.elapsed() < time * 2 + Duration::from_secs(60),
                "the host does not keep up"
            );
        }
        load.join()
            .unwrap_or_else(|_| Err(model::error::Failure::stop("write events: the thread panicked")))?;
        anyhow::Ok((early, late))
    })?;
    let minutes = bench.kafka.minutes;
    Ok(vec![Figure::times_at_most(
        format!("memory over {minutes} min at {RATE} events/s, null store: the most after the first fifth"),
        late,
        "MiB",
        format!("in the first fifth {early:.0} MiB"),
        early,
        1.1,
    )])
}
