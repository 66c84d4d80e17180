//! However events are cut into batches, and wherever reading begins again, each comes once.

use model::batch::RawBatch;
use model::position::Position;
use model::source::BatchBudget;
use proptest::collection::vec;
use proptest::prelude::*;

use super::fake::Fake;
use super::packing::{Part, pack};
use super::{Event, Rig, events, next};

/// What one record of the stream holds: by itself, or packed.
#[derive(Debug, Clone)]
enum Content {
    Plain(String),
    Packed(Vec<(u8, String)>),
}

fn content() -> impl Strategy<Value = Content> {
    let text = "[a-z]{0,12}";
    prop_oneof![text.prop_map(Content::Plain), vec((0..4_u8, text), 0..6).prop_map(Content::Packed),]
}

fn fill(fake: &Fake, contents: &[Content]) -> Vec<Event> {
    let mut expected = Vec::new();
    for content in contents {
        match content {
            Content::Plain(text) => {
                let sequence = fake.put("s-0", "plain", text.as_bytes());
                expected.push((super::fake::at(&sequence, 0), text.clone(), Some("plain".to_owned())));
            }
            Content::Packed(parts) => {
                let keys: Vec<String> = parts.iter().map(|(key, _)| format!("key {key}")).collect();
                let packed: Vec<Part<'_>> = parts
                    .iter()
                    .zip(&keys)
                    .map(|((_, text), key)| (key.as_str(), None, text.as_bytes()))
                    .collect();
                let sequence = fake.put("s-0", "packed", &pack(&packed));
                expected.extend(parts.iter().zip(&keys).enumerate().map(|(sub, ((_, text), key))| {
                    (super::fake::at(&sequence, sub as u64), text.clone(), Some(key.clone()))
                }));
            }
        }
    }
    expected
}

/// Reads everything, each batch with the next budget, and opens a new reader behind every `reopen`th batch.
fn read(rig: &Rig, budgets: &[(usize, usize)], reopen: usize) -> Result<Vec<Event>, TestCaseError> {
    let mut at: Option<Position> = None;
    let open = |at: Option<Position>| {
        let after: Vec<_> = at.map(|at| ("s-0", at)).into_iter().collect();
        rig.reader(&["s-0"], &after)
    };
    let mut reader = open(None);
    let mut seen = Vec::new();
    for round in 0.. {
        let (rows, bytes) = budgets[round % budgets.len()];
        let budget = BatchBudget { rows, bytes };
        let batch = next(&mut reader, budget).unwrap();
        if batch.attributes.at_end {
            break;
        }
        sound(&batch, budget, at)?;
        at = Some(batch.covers.through);
        seen.extend(events(&batch));
        if round % reopen == reopen - 1 {
            reader = open(at);
        }
    }
    Ok(seen)
}

fn sound(batch: &RawBatch, budget: BatchBudget, before: Option<Position>) -> Result<(), TestCaseError> {
    let bytes: usize = (0..batch.len()).map(|row| batch.payload(row).len()).sum();
    prop_assert!(batch.len() <= budget.rows && (bytes <= budget.bytes || batch.len() == 1));
    prop_assert!(before < Some(batch.covers.first) && batch.covers.first <= batch.covers.through);
    for row in 0..batch.len() {
        let position = batch.positions.at(row);
        prop_assert!(batch.covers.first <= position && position <= batch.covers.through);
        prop_assert!(row == 0 || batch.positions.at(row - 1) < position);
    }
    prop_assert_eq!(batch.ingest_times.len(), batch.len());
    Ok(())
}

proptest! {
    #![proptest_config(crate::kinesis::testing::cases(64))]

    #[test]
    fn each_event_comes_once(
        contents in vec(content(), 0..20),
        answer in 1..8_usize,
        budgets in vec((1..9_usize, 0..40_usize), 1..6),
        reopen in 1..5_usize,
    ) {
        let rig = Rig::new(&["s-0"]);
        let expected = fill(&rig.fake, &contents);
        rig.fake.give_at_most(answer);
        prop_assert_eq!(read(&rig, &budgets, reopen)?, expected);
    }
}
