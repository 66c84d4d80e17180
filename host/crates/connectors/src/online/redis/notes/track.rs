//! Which acknowledged batches one mark stands for: what has to be read again if the mark turns out to be lower.
//!
//! Bounded for each view and partition: older batches are taken together, which never hides a loss, it only makes the way
//! back longer.

use std::collections::{BTreeMap, VecDeque};

use model::position::{Partition, Position};

/// Batches that are kept apart for each view and partition; beyond, the older half is taken together by twos.
const MOST_ENTRIES: usize = 1024;
/// As many are written to the file.
const MOST_IN_FILE: usize = 32;

/// A view and a partition of its source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lane {
    pub(super) view: String,
    pub(super) partition: Partition,
}

/// One or more batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The mark behind the last of them: at least so high, they are all there.
    pub(super) number: u64,
    /// Where to go back to if not; `None` = where the view began.
    pub(super) before: Option<Position>,
}

/// The batches of one mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Track {
    /// The highest mark that Redis has acknowledged.
    pub(super) acknowledged: u64,
    pub(super) lanes: BTreeMap<Lane, VecDeque<Entry>>,
}

impl Track {
    /// Notes a batch. One whose claim broke is sent again, so it may be noted with a higher number than the batch behind it;
    /// that one then counts as proven no earlier. So the numbers of a lane never fall, as [`Track::cut`] needs them.
    pub(super) fn note(&mut self, lane: &Lane, mut entry: Entry) {
        self.acknowledged = self.acknowledged.max(entry.number);
        if !self.lanes.contains_key(lane) {
            self.lanes.insert(lane.clone(), VecDeque::new());
        }
        let Some(entries) = self.lanes.get_mut(lane) else { return };
        entry.number = entries.back().map_or(entry.number, |last| last.number.max(entry.number));
        entries.push_back(entry);
        thin(entries, MOST_ENTRIES);
    }

    /// Redis holds only what is at or below `mark`. Returns where each view and partition that has lost something has to
    /// go back to, and forgets what was lost.
    pub(super) fn cut(&mut self, mark: u64) -> Vec<(Lane, Option<Position>)> {
        let mut lost = Vec::new();
        for (lane, entries) in &mut self.lanes {
            let kept = entries.partition_point(|entry| entry.number <= mark);
            if let Some(to) = entries.drain(kept..).map(|entry| entry.before).min() {
                lost.push((lane.clone(), to));
            }
        }
        self.lanes.retain(|_, entries| !entries.is_empty());
        self.acknowledged = self.acknowledged.min(mark);
        lost
    }

    /// As it is written to the file: fewer entries.
    pub(super) fn condensed(&self) -> Self {
        let mut track = self.clone();
        for entries in track.lanes.values_mut() {
            thin(entries, MOST_IN_FILE);
        }
        track
    }
}

/// Takes the older half together by twos until there are few enough.
fn thin(entries: &mut VecDeque<Entry>, most: usize) {
    while entries.len() > most.max(2) {
        let half = entries.len() / 4 * 2;
        let half = half.max(2);
        let together: Vec<Entry> = entries
            .drain(..half)
            .collect::<Vec<_>>()
            .chunks(2)
            .map(|pair| Entry {
                number: pair[pair.len() - 1].number,
                before: pair.iter().map(|entry| entry.before).min().flatten(),
            })
            .collect();
        for entry in together.into_iter().rev() {
            entries.push_front(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(partition: &str) -> Lane {
        Lane { view: "counts".into(), partition: Partition::new(partition) }
    }

    fn entry(number: u64) -> Entry {
        Entry { number, before: (number > 1).then(|| Position::from_u64((number - 1) * 10)) }
    }

    #[test]
    fn what_is_above_the_mark_is_lost_and_no_more() {
        let mut track = Track::default();
        for number in 1..=9 {
            track.note(&lane(if number % 3 == 0 { "1" } else { "0" }), entry(number));
        }
        assert_eq!(track.cut(9), []);
        assert_eq!(
            track.cut(6),
            [(lane("0"), Some(Position::from_u64(60))), (lane("1"), Some(Position::from_u64(80)))]
        );
        assert_eq!(track.acknowledged, 6);
        assert_eq!(track.cut(6), []);
        assert_eq!(track.cut(5), [(lane("1"), Some(Position::from_u64(50)))]);
        assert_eq!(track.cut(0), [(lane("0"), None), (lane("1"), Some(Position::from_u64(20)))]);
        assert_eq!(track, Track::default());
    }

    #[test]
    fn a_batch_that_was_sent_again_hides_no_loss() {
        let mut track = Track::default();
        for (number, before) in [(3, 20), (9, 30), (8, 40), (8, 50)] {
            track.note(&lane("0"), Entry { number, before: Some(Position::from_u64(before)) });
        }
        assert_eq!(track.acknowledged, 9);
        assert_eq!(track.cut(8), [(lane("0"), Some(Position::from_u64(30)))]);
        assert_eq!(track.cut(3), []);
    }

    #[test]
    fn taking_together_goes_back_further_and_hides_nothing() {
        let mut track = Track::default();
        for number in 1..=100_000 {
            track.note(&lane("0"), entry(number));
        }
        assert!(track.lanes[&lane("0")].len() <= MOST_ENTRIES);
        assert!(track.condensed().lanes[&lane("0")].len() <= MOST_IN_FILE);
        for mark in [0, 1, 17, 5_000, 77_777, 99_000, 99_999] {
            for mut track in [track.clone(), track.condensed()] {
                let (_, to) = track.cut(mark).remove(0);
                assert!(to <= Some(Position::from_u64(mark * 10)), "{mark}: {to:?}");
            }
        }
        assert_eq!(
            track.cut(99_990),
            [(lane("0"), Some(Position::from_u64(999_900)))],
            "exact for what was lately"
        );
        assert_eq!(track.cut(100_000), []);
    }
}
