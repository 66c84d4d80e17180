//! A rewind sets positions, beginnings and generations back in one step, durably, and leaves the rows alone.

use model::online::{GenerationEntry, Starts, ViewLedger};
use model::position::{Partition, Position};
use model::source::Positions;
use model::view::{Digest, Generation};

use super::rows::{TestRow, batch, counts_view};
use super::{Place, Subject};

fn entry(number: u32, after: &[(&str, u64)]) -> GenerationEntry {
    let after = after.iter().map(|(name, at)| (Partition::new(name), Position::from_u64(*at)));
    let digest = Digest([u8::try_from(number).expect("small"); 32]);
    GenerationEntry { generation: Generation { number, digest }, after: after.collect() }
}

fn starts(starts: &[(&str, Option<u64>)]) -> Starts {
    starts.iter().map(|(name, after)| (Partition::new(name), after.map(Position::from_u64))).collect()
}

fn positions(positions: &[(&str, u64)]) -> Positions {
    positions.iter().map(|(name, through)| (Partition::new(name), Position::from_u64(*through))).collect()
}

/// That the ledger of `counts` is this one, as a whole and partition by partition.
#[track_caller]
fn check(subject: &Subject, expected: &ViewLedger) {
    let ledger = subject.ledger.as_ref().expect("it has one");
    assert_eq!(ledger.view("counts").expect("reads"), *expected);
    for name in ["0", "1", "2"] {
        let partition = Partition::new(name);
        let durable = ledger.durable("counts", &partition);
        assert_eq!(durable, expected.online.get(&partition).copied(), "partition {name}");
    }
}

/// After a rewind the view is where it was set, at once, after further checkpoints and after a restart; from there its
/// positions move on as before.
pub fn rewind(place: &dyn Place) {
    let view = counts_view("counts");
    let row = |position: u64, generation: u32, value: i64| {
        let time = i64::try_from(position).expect("small");
        batch(&view, "0", generation, &[TestRow::new(1, time, position, value)])
    };
    let mut expected = ViewLedger {
        generations: vec![entry(3, &[("0", 20), ("2", 0)])],
        started: starts(&[("0", Some(20)), ("1", Some(3)), ("2", None)]),
        online: positions(&[("0", 20), ("1", 9)]),
        epoch: 1,
    };
    {
        let subject = place.open();
        let Some(ledger) = &subject.ledger else { return };
        for (partition, after) in starts(&[("0", None), ("1", Some(3)), ("2", Some(5))]) {
            ledger.start("counts", &partition, after).expect("notes");
        }
        ledger.begin_generation("counts", &entry(1, &[])).expect("notes");
        ledger.begin_generation("counts", &entry(2, &[("0", 30)])).expect("notes");
        subject.write(row(50, 2, 50));
        ledger.advance("counts", &Partition::new("1"), &Position::from_u64(9));
        ledger.advance("counts", &Partition::new("2"), &Position::from_u64(9));
        ledger.advance("other", &Partition::new("0"), &Position::from_u64(9));
        subject.checkpoint();
        // What no checkpoint has is set back, too.
        subject.write(row(80, 2, 80));
        let to = starts(&[("0", Some(20)), ("2", None)]);
        ledger.rewind("counts", &to, &entry(3, &[("0", 20), ("2", 0)]), 1).expect("sets back");
        check(&subject, &expected);
        subject.check_count(&view, 1, Some((80, 80)));
        subject.checkpoint();
        check(&subject, &expected);
        assert_eq!(ledger.durable("other", &Partition::new("0")), Some(Position::from_u64(9)));
    }
    {
        let subject = place.open();
        check(&subject, &expected);
        subject.check_count(&view, 1, Some((80, 80)));
        let ledger = subject.ledger.as_ref().expect("it had one");
        // The same once more changes nothing.
        let to = starts(&[("0", Some(20)), ("2", None)]);
        ledger.rewind("counts", &to, &entry(3, &[("0", 20), ("2", 0)]), 1).expect("sets back");
        check(&subject, &expected);
        // The same event makes a newer row now: its generation decides.
        assert_eq!(subject.write(row(80, 3, 800)), []);
        ledger.advance("counts", &Partition::new("2"), &Position::from_u64(2));
        check(&subject, &expected);
        subject.checkpoint();
        expected.online = positions(&[("0", 80), ("1", 9), ("2", 2)]);
        check(&subject, &expected);
    }
    {
        // All of it, to the beginning, without a checkpoint or a proper end behind it.
        let subject = place.open();
        check(&subject, &expected);
        let ledger = subject.ledger.as_ref().expect("it had one");
        let to = starts(&[("0", None), ("1", None), ("2", None)]);
        ledger.rewind("counts", &to, &entry(4, &[]), 2).expect("sets back");
        expected =
            ViewLedger { generations: vec![entry(4, &[])], started: to, online: Positions::new(), epoch: 2 };
        check(&subject, &expected);
        // A note about a view of which nothing is known.
        let to = starts(&[("0", Some(4))]);
        ledger.rewind("counts#rewind", &to, &entry(4, &[("0", 4)]), 2).expect("notes");
    }
    let subject = place.open();
    check(&subject, &expected);
    subject.check_count(&view, 1, Some((80, 800)));
    let ledger = subject.ledger.expect("it had one");
    let noted = ViewLedger {
        generations: vec![entry(4, &[("0", 4)])],
        started: starts(&[("0", Some(4))]),
        online: positions(&[("0", 4)]),
        epoch: 2,
    };
    assert_eq!(ledger.view("counts#rewind").expect("reads"), noted);
}

/// After rows were lost the position is what the store still has, durably; it never goes forward by that, and generations,
/// beginnings and epoch stay.
pub fn set_back(place: &dyn Place) {
    let mut expected = ViewLedger {
        generations: vec![entry(1, &[])],
        started: starts(&[("0", None), ("1", Some(3))]),
        online: positions(&[("0", 20), ("1", 5)]),
        epoch: 0,
    };
    {
        let subject = place.open();
        let Some(ledger) = &subject.ledger else { return };
        for (partition, after) in starts(&[("0", None), ("1", Some(3))]) {
            ledger.start("counts", &partition, after).expect("notes");
        }
        ledger.begin_generation("counts", &entry(1, &[])).expect("notes");
        for (partition, through) in positions(&[("0", 50), ("1", 5), ("2", 9)]) {
            ledger.advance("counts", &partition, &through);
        }
        subject.checkpoint();
        // What no checkpoint has goes back, too.
        ledger.advance("counts", &Partition::new("0"), &Position::from_u64(80));
        let to = starts(&[("0", Some(20)), ("1", Some(7)), ("2", None)]);
        ledger.set_back("counts", &to).expect("sets back");
        check(&subject, &expected);
        subject.checkpoint();
        check(&subject, &expected);
        ledger.set_back("nobody", &to).expect("has nothing to set back");
        assert_eq!(ledger.view("nobody").expect("reads"), ViewLedger::default());
    }
    let subject = place.open();
    check(&subject, &expected);
    let ledger = subject.ledger.as_ref().expect("it had one");
    ledger.advance("counts", &Partition::new("0"), &Position::from_u64(30));
    subject.checkpoint();
    expected.online = positions(&[("0", 30), ("1", 5)]);
    check(&subject, &expected);
}
