//! How far everybody is in one shard: what a lease carries from host to host. Plain data; talks to nobody.
//!
//! Written as JSON, the same in a file and in Redis:
//! `{"starting":"4959…","parents":["shardId-…"],"group":"<hex>","views":{"clicks":{"through":"<hex>","epoch":1,"began":"<hex>"}},"seen":{"at":1700000000000000,"last":"<hex>"}}`,
//! where what is absent or `null` says that nothing is known.

use std::collections::BTreeMap;

use model::position::Position;
use model::source::ViewProgress;
use serde::{Deserialize, Serialize};

use crate::kinesis::position::{self, ShardPosition};

/// When a reader was at the tip of a shard, and behind which record.
///
/// Records behind `last` came after `at`. So while records of that time are kept, a reader that is not before `last` has
/// missed none; one that is before it may have, whoever read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Microseconds since the epoch.
    pub at: i64,
    /// The last record that there was then, if that is known.
    pub last: Option<Position>,
}

/// How far everybody is in one shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// The sequence number at which the shard began when it was first leased; another one says that the stream was made
    /// anew, and that the positions mean other records.
    pub(super) starting: Option<String>,
    /// What the shard was split or merged from.
    pub(super) parents: Vec<String>,
    /// Through where every view has everything.
    pub(super) group: Option<Position>,
    /// Each view that is known here, also those that no host runs at the moment.
    pub(super) views: BTreeMap<String, ViewProgress>,
    /// From which time on each view takes what there is, of those that began here at a time: so it does in children.
    pub(super) began: BTreeMap<String, Position>,
    /// When a reader was at the tip.
    pub(super) seen: Option<Tip>,
}

impl Progress {
    /// Whether every view has everything that the shard will ever have.
    pub(super) fn is_finished(&self) -> bool {
        self.group == Some(position::end())
    }

    /// A view is this far. Whether that says anything new.
    pub(super) fn advance(&mut self, view: &str, to: ViewProgress) -> bool {
        match self.views.get_mut(view) {
            Some(known) if (to.epoch, to.through) > (known.epoch, known.through) => {
                let begins = known.epoch < to.epoch;
                *known = to;
                if begins {
                    self.note_began(view, to.through);
                }
            }
            Some(_) => return false,
            None => self.begin(view, to),
        }
        true
    }

    /// A view begins here, or anew.
    pub(super) fn begin(&mut self, view: &str, at: ViewProgress) {
        self.views.insert(view.to_owned(), at);
        self.note_began(view, at.through);
    }

    fn note_began(&mut self, view: &str, at: Option<Position>) {
        match at.filter(|at| matches!(position::parse(at), Some(ShardPosition::From(_)))) {
            Some(at) => self.began.insert(view.to_owned(), at),
            None => self.began.remove(view),
        };
    }

    /// Whether a view or all were at the shard's end.
    pub(super) fn knows_end(&self) -> bool {
        let mut views = self.views.values();
        self.is_finished() || views.any(|view| view.through == Some(position::end()))
    }

    /// As JSON.
    pub(super) fn encode(&self) -> String {
        serde_json::to_string(&Written::from(self)).expect("texts and numbers are always JSON")
    }

    /// Reads what [`Progress::encode`] wrote. Fails with what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str::<Written>(text).map_err(|error| error.to_string())?.try_into()
    }
}

/// The form on disk and in Redis.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    starting: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parents: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default)]
    views: BTreeMap<String, WrittenView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<WrittenTip>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTip {
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenView {
    through: Option<String>,
    #[serde(default)]
    epoch: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<String>,
}

impl From<&Progress> for Written {
    fn from(progress: &Progress) -> Self {
        let hex = |position: Position| position.to_string();
        let views = progress.views.iter().map(|(view, known)| {
            let began = progress.began.get(view).copied().map(hex);
            (view.clone(), WrittenView { through: known.through.map(hex), epoch: known.epoch, began })
        });
        Self {
            starting: progress.starting.clone(),
            parents: progress.parents.clone(),
            group: progress.group.map(hex),
            views: views.collect(),
            seen: progress.seen.map(|tip| WrittenTip { at: tip.at, last: tip.last.map(hex) }),
        }
    }
}

impl TryFrom<Written> for Progress {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (mut views, mut began) = (BTreeMap::new(), BTreeMap::new());
        for (view, WrittenView { through, epoch, began: from }) in written.views {
            let through = through.map(position_of).transpose()?;
            if let Some(from) = from.map(position_of).transpose()? {
                began.insert(view.clone(), from);
            }
            views.insert(view, ViewProgress { through, epoch });
        }
        let group = written.group.map(position_of).transpose()?;
        let seen = match written.seen {
            Some(WrittenTip { at, last }) => Some(Tip { at, last: last.map(position_of).transpose()? }),
            None => None,
        };
        Ok(Self { starting: written.starting, parents: written.parents, group, views, began, seen })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "callers map options of owned texts")]
fn position_of(hex: String) -> Result<Position, String> {
    Position::from_hex(&hex)
        .filter(|read| position::parse(read).is_some())
        .ok_or_else(|| format!("`{hex}` is no position in a shard"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let through = position::of_record("49590338271490256608559692538361571095921575989136588898", 3);
        let progress = Progress {
            starting: Some("495".to_owned()),
            parents: vec!["shardId-0".to_owned(), "shardId-1".to_owned()],
            group: Some(position::end()),
            views: [
                ("clicks".to_owned(), ViewProgress { through, epoch: 2 }),
                ("new".to_owned(), ViewProgress { through: None, epoch: 0 }),
            ]
            .into(),
            began: [("clicks".to_owned(), position::from_time(1_700_000_000_000_000))].into(),
            seen: Some(Tip { at: 1_700_000_000_000_000, last: through }),
        };
        assert_eq!(Progress::parse(&progress.encode()), Ok(progress.clone()));
        assert!(progress.is_finished());
        assert_eq!(Progress::parse(&Progress::default().encode()), Ok(Progress::default()));
    }

    #[test]
    fn what_a_view_began_with_stays_until_it_is_rewound() {
        let from = |time| Some(position::from_time(time));
        let record = position::of_record("49590338271490256608559692538361571095921575989136588898", 0);
        let mut progress = Progress::default();
        let mut check = |through, epoch, began: Option<Position>| {
            progress.advance("clicks", ViewProgress { through, epoch });
            assert_eq!(progress.began.get("clicks").copied(), began, "{through:?} {epoch}");
        };
        check(from(5), 0, from(5));
        check(from(7), 0, from(5));
        check(record, 0, from(5));
        check(Some(position::end()), 0, from(5));
        check(record, 1, None);
        check(from(9), 2, from(9));
        check(None, 3, None);
    }

    #[track_caller]
    fn check_refused(text: &str, part: &str) {
        let why = Progress::parse(text).unwrap_err();
        assert!(why.contains(part), "{why}");
    }

    #[test]
    fn what_is_something_else_is_refused() {
        check_refused("{", "EOF");
        check_refused(r#"{"views":{},"color":"red"}"#, "color");
        check_refused(r#"{"group":"0001"}"#, "`0001` is no position");
        check_refused(r#"{"views":{"clicks":{"through":"zz"}}}"#, "`zz` is no position");
    }

    #[test]
    fn a_view_goes_on_within_its_epoch_and_anywhere_in_a_later_one() {
        let at = |through: i64, epoch| ViewProgress { through: Some(position::from_time(through)), epoch };
        let mut progress = Progress::default();
        assert!(progress.advance("clicks", at(7, 0)));
        assert!(!progress.advance("clicks", at(5, 0)));
        assert!(progress.advance("clicks", at(5, 1)));
        assert!(!progress.advance("clicks", at(9, 0)));
        assert_eq!(progress.views["clicks"], at(5, 1));
    }
}
