//! Saving the file of a view, changed or not, is how an operator says that what stopped it is mended.

use std::collections::BTreeSet;

use super::Running;
use crate::components::Stamp;
use crate::running::parts::Parts;

impl Running {
    /// Views whose files were saved since the last look. What was refused of them is tried again.
    pub(super) fn saved(&mut self) -> BTreeSet<String> {
        let mut saved = BTreeSet::new();
        for view in self.plan.views.values() {
            let Some(known) = self.views.get_mut(view.name()) else { continue };
            let stamp = Stamp::of(view.file());
            let before = std::mem::replace(&mut known.file, stamp);
            if before.is_some() && stamp.is_some() && before != stamp {
                known.refused = None;
                saved.insert(view.name().to_owned());
            }
        }
        saved
    }

    /// Lets those go on that wait for an operator, unless they have changed and go on anyway.
    pub(super) fn resume(&self, saved: &BTreeSet<String>, changed: &BTreeSet<String>) {
        saved
            .difference(changed)
            .filter(|view| self.is_started(view))
            .for_each(|view| resume(&self.parts, view));
    }
}

/// Lets a paused view go on as it is.
pub(super) fn resume(parts: &Parts, view: &str) {
    match parts.flow.resume_view(view) {
        Ok(true) => tracing::info!(view, "its file was saved: the view goes on"),
        Ok(false) => {}
        Err(failure) => tracing::warn!(view, "failed to {failure}"),
    }
}
