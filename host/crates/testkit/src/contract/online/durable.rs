//! Rows and positions become durable together, and what a ledger says survives a restart.

use model::online::{GenerationEntry, ViewLedger};
use model::position::{Partition, Position};
use model::source::Positions;
use model::view::{Digest, Generation};

use super::Place;
use super::rows::{TestRow, batch, counts_view};

/// After a restart rows are what a checkpoint made them, and the position is not ahead of them.
pub fn reopen(place: &dyn Place) {
    let view = counts_view("counts");
    let partition = Partition::new("0");
    let checkpointed = 40;
    {
        let subject = place.open();
        for position in 0..checkpointed {
            let entity = u32::try_from(position % 7).expect("small");
            let time = i64::try_from(position).expect("small");
            subject.write(batch(&view, "0", 1, &[TestRow::new(entity, time, position, time)]));
        }
        subject.checkpoint();
        subject.write(batch(&view, "0", 1, &[TestRow::new(0, 1000, 1000, 1000)]));
        if let Some(ledger) = &subject.ledger {
            let durable = ledger.durable(&view.name, &partition).expect("a checkpoint was made");
            assert!(durable >= Position::from_u64(checkpointed - 1), "{durable} is behind the checkpoint");
        }
    }
    let subject = place.open();
    let durable = subject.ledger.as_ref().and_then(|ledger| ledger.durable(&view.name, &partition));
    if subject.ledger.is_some() {
        assert!(durable >= Some(Position::from_u64(checkpointed - 1)), "the position is kept");
    }
    for entity in 1..7u32 {
        let last =
            (0..checkpointed).rev().find(|position| position % 7 == u64::from(entity)).expect("one in seven");
        subject.check_count(&view, entity, Some((last, i64::try_from(last).expect("small"))));
    }
    if durable >= Some(Position::from_u64(1000)) {
        subject.check_count(&view, 0, Some((1000, 1000)));
    }
    // What is on disk decides, also for entities that nobody has read since.
    assert_eq!(
        subject.write(batch(&view, "0", 1, &[TestRow::new(3, 3, 3, 3), TestRow::new(8, 3, 3, 3)])),
        [0]
    );
}

/// A batch without rows moves the position.
pub fn empty_batch(place: &dyn Place) {
    let view = counts_view("counts");
    let partition = Partition::new("0");
    {
        let subject = place.open();
        let Some(ledger) = &subject.ledger else { return };
        assert_eq!(ledger.durable(&view.name, &partition), None);
        let mut empty = std::sync::Arc::into_inner(batch(&view, "0", 1, &[])).expect("just made");
        empty.covers.through = Position::from_u64(99);
        subject.write(std::sync::Arc::new(empty));
        subject.checkpoint();
        assert_eq!(ledger.durable(&view.name, &partition), Some(Position::from_u64(99)));
        // A replay of something earlier does not move it back.
        subject.write(batch(&view, "0", 1, &[TestRow::new(1, 1, 5, 1)]));
        subject.checkpoint();
        assert_eq!(ledger.durable(&view.name, &partition), Some(Position::from_u64(99)));
    }
    let ledger = place.open().ledger.expect("it had one");
    assert_eq!(ledger.durable(&view.name, &partition), Some(Position::from_u64(99)));
    assert_eq!(ledger.durable(&view.name, &Partition::new("1")), None);
}

/// Views without online rows have positions too.
pub fn advance_without_rows(place: &dyn Place) {
    let partition = Partition::new("0");
    {
        let subject = place.open();
        let Some(ledger) = &subject.ledger else { return };
        ledger.advance("offline_only", &partition, &Position::from_u64(5));
        assert_eq!(ledger.durable("offline_only", &partition), None, "not before a checkpoint");
        subject.checkpoint();
        assert_eq!(ledger.durable("offline_only", &partition), Some(Position::from_u64(5)));
        ledger.advance("offline_only", &partition, &Position::from_u64(4));
        subject.checkpoint();
    }
    let ledger = place.open().ledger.expect("it had one");
    assert_eq!(ledger.durable("offline_only", &partition), Some(Position::from_u64(5)));
}

/// Generations and beginnings are durable when the call returns.
pub fn generations(place: &dyn Place) {
    let (first, second) = (Partition::new("shard-0"), Partition::new("shard-1"));
    let entry = |number: u32, after: &[(&Partition, u64)]| GenerationEntry {
        generation: Generation { number, digest: Digest([u8::try_from(number).expect("small"); 32]) },
        after: after
            .iter()
            .map(|(name, at)| ((*name).clone(), Position::from_u64(*at)))
            .collect::<Positions>(),
    };
    {
        let Some(ledger) = place.open().ledger else { return };
        assert_eq!(ledger.view("clicks").expect("reads"), ViewLedger::default());
        ledger.start("clicks", &first, Some(Position::from_u64(7))).expect("notes");
        ledger.start("clicks", &first, None).expect("a second note is ignored");
        ledger.start("clicks", &second, None).expect("notes");
        ledger.start("other", &first, None).expect("notes");
        ledger.begin_generation("clicks", &entry(1, &[])).expect("notes");
        ledger.begin_generation("clicks", &entry(2, &[(&first, 20)])).expect("notes");
        ledger.begin_generation("clicks", &entry(2, &[(&second, 30)])).expect("notes a further partition");
    }
    let expected = ViewLedger {
        epoch: 0,
        generations: vec![entry(1, &[]), entry(2, &[(&first, 20), (&second, 30)])],
        started: [(first.clone(), Some(Position::from_u64(7))), (second.clone(), None)].into(),
        online: Positions::new(),
    };
    {
        let ledger = place.open().ledger.expect("it had one");
        assert_eq!(ledger.view("clicks").expect("reads"), expected);
        ledger.forget_generations_before("clicks", 2).expect("forgets");
    }
    let ledger = place.open().ledger.expect("it had one");
    let view = ledger.view("clicks").expect("reads");
    assert_eq!(view.generations, expected.generations[1..]);
    assert_eq!(ledger.view("other").expect("reads").started, [(first, None)].into());
}
