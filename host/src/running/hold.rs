//! Sources whose new declaration a running view cannot follow: they stay as they are, and their views with them.
//!
//! Only asks; what is to stay is put back into the target by the caller.

use std::collections::BTreeMap;

use spec::plan::{SourcePlan, ViewPlan};

use super::sources::format;
use crate::components::{Admitted, Library, Refusal, Stamp};

/// What was refused, so that the same is not tried and logged at every look.
#[derive(Default)]
pub(super) struct Holds {
    refused: BTreeMap<String, Refused>,
}

/// One refused change of a source.
struct Refused {
    source: SourcePlan,
    views: Vec<(ViewPlan, Option<Stamp>)>,
    reason: String,
}

/// Why a source stays as it is.
pub(super) struct Held {
    /// For people.
    pub(super) reason: String,
    /// A component was being written: the next look may find it whole.
    pub(super) incomplete: bool,
}

impl Holds {
    /// Asks whether these views, all running, could go on with a changed source. `admitted` keeps what was compiled
    /// for it, so that the change itself need not compile again.
    pub(super) fn examine(
        &mut self,
        library: &Library,
        source: &SourcePlan,
        views: &[&ViewPlan],
        admitted: &mut Vec<Admitted>,
    ) -> Option<Held> {
        let now: Vec<_> = views.iter().map(|view| ((*view).clone(), Stamp::of(&view.component))).collect();
        if let Some(known) = self.refused.get(&source.name)
            && known.source == *source
            && known.views == now
        {
            return Some(Held { reason: known.reason.clone(), incomplete: false });
        }
        self.refused.remove(&source.name);
        let refused = match format(source) {
            Ok(format) => {
                views.iter().find_map(|view| match library.admit(view, source, format.as_ref(), true) {
                    Ok(good) => {
                        admitted.push(good);
                        None
                    }
                    Err(refusal) => Some((
                        format!("view `{}`: {refusal}", view.name()),
                        matches!(refusal, Refusal::Incomplete(_)),
                    )),
                })
            }
            Err(failure) => Some((format!("failed to {failure}"), false)),
        };
        let (reason, incomplete) = refused?;
        let reason = format!("source `{}` stays as it was: {reason}", source.name);
        tracing::warn!(source = source.name, reason, "change refused");
        let held = Held { reason: reason.clone(), incomplete };
        self.refused.insert(source.name.clone(), Refused { source: source.clone(), views: now, reason });
        Some(held)
    }
}
