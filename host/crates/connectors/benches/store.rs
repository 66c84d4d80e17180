//! Newer-wins upserts into the embedded store, against the storage engine alone, in one run.
//!
//! `cargo bench -p connectors --bench store [ROWS]`; 6,000,000 rows and a checkpoint every 2,000,000 by default.

use connectors::online::embedded::bench::{Workload, fjall_baseline, upsert};

const ROWS: usize = 6_000_000;
const ROWS_PER_CHECKPOINT: usize = 2_000_000;

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() {
    let rows = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(ROWS);
    println!(
        "{:>10} {:>14} {:>14} {:>8} {:>6}",
        "entities", "store rows/s", "engine rows/s", "ratio", "goal"
    );
    for (entities, goal) in [(1_000_000, 2.5), (50_000, 8.0)] {
        let workload = Workload::prepare(entities);
        let fresh = || tempfile::tempdir_in(".").expect("a directory on the disk of the checkout");
        let (ours, theirs) = (fresh(), fresh());
        let store =
            upsert(ours.path(), &workload, rows, ROWS_PER_CHECKPOINT, &mut |_| {}).expect("the store writes");
        let engine = fjall_baseline(theirs.path(), &workload, rows, &mut |_| {}).expect("the engine writes");
        let ratio = store.rate() / engine.rate();
        println!("{entities:>10} {:>14.0} {:>14.0} {ratio:>8.2} {goal:>6}", store.rate(), engine.rate());
    }
}
