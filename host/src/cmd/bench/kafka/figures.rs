//! What the runs mean: each against the limit or peer that it is held against.

use super::runs::{Results, Side};
use super::watch::Measured;
use crate::cmd::bench::figure::Figure;

/// MiB that the host may occupy beside the online store.
const MEMORY: f64 = 300.0;
/// MiB that the embedded store is bounded by.
const STORE_MEMORY: f64 = 512.0;

/// The figures of all runs.
pub(super) fn throughput(results: &Results) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (side, measured) in results {
        let name = side.name();
        let rate = format!(
            "{:.0} events/s, broker {:.2} s/M, others {:.2} cores",
            measured.rate, measured.broker_cpu, measured.others
        );
        figures.push(Figure::plain(format!("{name}: CPU"), measured.cpu, "s/M events", rate));
        figures.push(Figure::plain(format!("{name}: peak memory"), measured.peak, "MiB", ""));
    }
    let find = |wanted: fn(&Side) -> bool| {
        results.iter().find(|(side, _)| wanted(side)).map(|(_, measured)| *measured).unwrap_or_default()
    };
    let (l1, l2) = (find(|side| *side == Side::L1 { header: true }), find(|side| *side == Side::L2));
    let null = find(|side| *side == Side::Null);
    figures.push(Figure::times_at_most("null store: CPU", null.cpu, "s/M", "L2", l2.cpu, 1.0));
    figures.push(Figure::times_at_most("null store: CPU, the summit", null.cpu, "s/M", "L1", l1.cpu, 1.25));
    figures.push(Figure::at_most("null store: peak memory", null.peak, "MiB", MEMORY));
    for (side, measured) in results {
        match side {
            Side::Embedded { users } => {
                let times = if *users <= 50_000 { 1.4 } else { 2.0 };
                let name = format!("{}: CPU, checkpoints included", side.name());
                figures.push(Figure::times_at_most(name, measured.settled_cpu, "s/M", "L2", l2.cpu, times));
                let name = format!("{}: peak memory", side.name());
                figures.push(Figure::at_most(name, measured.peak, "MiB", MEMORY + STORE_MEMORY));
            }
            Side::JvmPeer { name, .. } => figures.extend(engine(name, measured, &null)),
            Side::PythonPeer { name, .. } => {
                figures.push(less(&format!("CPU, {name}"), measured.cpu, null.cpu, "s/M", 5.0))
            }
            Side::Redis => figures.extend(with_redis(measured, &find(|side| *side == Side::L2Redis))),
            Side::L1 { .. } | Side::L2 | Side::L2Redis | Side::Null => {}
        }
    }
    figures
}

fn with_redis(ours: &Measured, by_hand: &Measured) -> [Figure; 3] {
    let against = format!("L2 + Redis: {:.0} events/s", by_hand.rate);
    [
        Figure::times_at_least("Redis store: events/s", ours.rate, "events/s", against, by_hand.rate, 0.9),
        Figure::times_at_most("Redis store: CPU", ours.cpu, "s/M", "L2 + Redis", by_hand.cpu, 1.1),
        Figure::plain("Redis store: CPU of Redis", ours.store_cpu, "s/M", "L2 + Redis")
            .against("L2 + Redis", by_hand.store_cpu),
    ]
}

fn engine(name: &str, theirs: &Measured, ours: &Measured) -> [Figure; 3] {
    [
        less(&format!("CPU, {name} warm"), theirs.cpu, ours.cpu, "s/M", 3.0),
        Figure::times_at_least(
            format!("events/s, null store against {name} warm"),
            ours.rate,
            "events/s",
            format!("{:.0} events/s", theirs.rate),
            theirs.rate,
            2.0,
        ),
        less(&format!("peak memory, {name}"), theirs.peak, ours.peak, "MiB", 3.0),
    ]
}

/// How many times more a peer uses.
fn less(name: &str, theirs: f64, ours: f64, unit: &'static str, times: f64) -> Figure {
    Figure::times_at_least(name, theirs, unit, format!("null store {ours:.2} {unit}"), ours, times)
}
