//! The greatest version wins: in any order, in any split, as often as it comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::position::{Partition, Position, RowVersion};
use model::value::Value;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Place;
use super::rows::{TestRow, batch, counts_view};

const ENTITIES: u32 = 4;

/// A row with everything that decides. Its feature follows from its version, as for a deterministic transform.
#[derive(Debug, Clone)]
struct AnyRow {
    partition: &'static str,
    generation: u32,
    row: TestRow,
}

impl AnyRow {
    fn version(&self) -> RowVersion {
        RowVersion {
            event_time: self.row.event_time,
            partition: Partition::new(self.partition),
            position: Position::from_u64(self.row.position),
            generation: self.generation,
            row: self.row.ordinal,
        }
    }
}

fn any_row() -> impl Strategy<Value = AnyRow> {
    let partition = prop_oneof![Just("0"), Just("1"), Just("10")];
    (partition, 1..3u32, 0..ENTITIES, -2..2i64, 0..300u64, 0..2u32).prop_map(
        |(partition, generation, entity, event_time, position, ordinal)| {
            // Few and distant positions: ties are likely, and their bytes differ in more than the last.
            let position = position / 100 * 200;
            let value = event_time * 1_000_000
                + i64::try_from(position).unwrap_or(0) * 1_000
                + i64::from(generation * 100 + ordinal * 10)
                + i64::try_from(partition.len()).unwrap_or(0)
                + partition.bytes().map(i64::from).sum::<i64>();
            let row = TestRow { entity, event_time, position, ordinal, value: Some(value) };
            AnyRow { partition, generation, row }
        },
    )
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<AnyRow>),
    Checkpoint,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // A batch has one partition and generation.
        6 => proptest::collection::vec(any_row(), 1..12).prop_map(|mut rows| {
            let (partition, generation) = (rows[0].partition, rows[0].generation);
            rows.retain(|row| row.partition == partition && row.generation == generation);
            Step::Write(rows)
        }),
        1 => Just(Step::Checkpoint),
    ]
}

/// The greatest version of each entity is kept, and each row that came after a greater one is reported as late.
pub fn newer_wins(place: &dyn Place) {
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let steps = proptest::collection::vec(any_step(), 1..24);
    let subject = place.open();
    let case = AtomicUsize::new(0);
    let result = runner.run(&steps, |steps| {
        // A view of its own for each case.
        let view = counts_view(&format!("counts_{}", case.fetch_add(1, Ordering::Relaxed)));
        let mut newest: HashMap<u32, AnyRow> = HashMap::new();
        for step in &steps {
            let Step::Write(rows) = step else {
                subject.checkpoint();
                continue;
            };
            let mut late = Vec::new();
            for (index, row) in (0..).zip(rows) {
                match newest.get(&row.row.entity) {
                    Some(held) if held.version() > row.version() => late.push(index),
                    _ => {
                        newest.insert(row.row.entity, row.clone());
                    }
                }
            }
            let plain: Vec<TestRow> = rows.iter().map(|row| row.row).collect();
            let found = subject.write(batch(&view, rows[0].partition, rows[0].generation, &plain));
            prop_assert_eq!(found, late);
        }
        for entity in 0..ENTITIES {
            let expected =
                newest.get(&entity).map(|row| (row.version(), row.row.value.map_or(Value::Null, Value::Int)));
            prop_assert_eq!(subject.get_count(&view, entity), expected);
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}\n{runner}");
    }
}

/// A batch that is written again changes nothing, and its last row of each entity is no late one.
pub fn replay(place: &dyn Place) {
    let subject = place.open();
    let view = counts_view("counts");
    let rows = [TestRow::new(1, 10, 0, 100), TestRow::new(2, 11, 1, 200), TestRow::new(1, 12, 2, 300)];
    assert_eq!(subject.write(batch(&view, "0", 1, &rows)), []);
    for _ in 0..3 {
        assert_eq!(subject.write(batch(&view, "0", 1, &rows)), [0], "u1 has moved on since its first row");
        subject.checkpoint();
        subject.check_count(&view, 1, Some((2, 300)));
        subject.check_count(&view, 2, Some((1, 200)));
    }
}

/// Late rows are named by their index, in ascending order, within a batch and between batches.
pub fn late_rows(place: &dyn Place) {
    let subject = place.open();
    let view = counts_view("counts");
    subject.write(batch(&view, "0", 1, &[TestRow::new(1, 50, 7, 1)]));
    let rows = [
        TestRow::new(1, 49, 8, 2),
        TestRow::new(2, 10, 9, 3),
        TestRow::new(1, 51, 10, 4),
        TestRow::new(2, 9, 11, 5),
        TestRow::new(1, 50, 12, 6),
    ];
    assert_eq!(subject.write(batch(&view, "0", 1, &rows)), [0, 3, 4]);
    subject.check_count(&view, 1, Some((10, 4)));
    subject.check_count(&view, 2, Some((9, 3)));
    subject.check_count(&view, 3, None);
}

/// A deletion is a version like a row: what is older stays away, what is newer comes back.
pub fn tombstones(place: &dyn Place) {
    let view = counts_view("counts");
    let keys = |entity: u32| vec![vec![Value::String(format!("u{entity}"))]];
    let at = |event_time: i64| RowVersion {
        event_time,
        partition: Partition::new("0"),
        position: Position::from_u64(0),
        generation: 1,
        row: 0,
    };
    {
        let subject = place.open();
        let Some(delete) = &subject.delete else { return };
        subject.write(batch(&view, "0", 1, &[TestRow::new(1, 10, 1, 1), TestRow::new(2, 30, 2, 2)]));
        assert_eq!(
            delete(&view, &[keys(1), keys(2), keys(3)].concat(), &at(20)).expect("deletes"),
            [true, false, true]
        );
        subject.check_count(&view, 1, None);
        subject.check_count(&view, 2, Some((2, 2)));
        assert_eq!(
            subject.write(batch(&view, "0", 1, &[TestRow::new(1, 15, 3, 3), TestRow::new(3, 19, 4, 4)])),
            [0, 1]
        );
        subject.checkpoint();
    }
    let subject = place.open();
    assert_eq!(
        subject.write(batch(&view, "0", 1, &[TestRow::new(1, 16, 5, 5), TestRow::new(3, 21, 6, 6)])),
        [0]
    );
    subject.check_count(&view, 1, None);
    subject.check_count(&view, 3, Some((6, 6)));
    subject.write(batch(&view, "0", 1, &[TestRow::new(1, 22, 7, 7)]));
    subject.check_count(&view, 1, Some((7, 7)));
}
