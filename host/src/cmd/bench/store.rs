//! Newer-wins upserts into the embedded store, against its storage engine written in batches of 1,000.

use connectors::online::embedded::bench::{Workload, fjall_baseline, upsert};

use super::Bench;
use super::figure::Figure;
use super::service::folder;

pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (entities, name, times) in [(1_000_000, "1 M", 2.5), (50_000, "50 k", 8.0)] {
        let workload = Workload::prepare(entities);
        let rows = usize::try_from(bench.scaled(6_000_000))?;
        let ours = folder()?;
        let measured = upsert(ours.path(), &workload, rows, rows / 3, &mut |_| {})?;
        let theirs = folder()?;
        // A third of the rows is enough to see the engine's steady rate.
        let baseline = fjall_baseline(theirs.path(), &workload, rows / 3, &mut |_| {})?;
        figures.push(Figure::times_at_least(
            format!("newer-wins upserts, {name} entities, checkpoint each third included"),
            measured.rate(),
            "rows/s",
            format!("fjall in batches of 1,000: {:.0} rows/s", baseline.rate()),
            baseline.rate(),
            times,
        ));
    }
    Ok(figures)
}
