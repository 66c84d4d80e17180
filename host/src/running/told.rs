//! What the log has been told of the files: each problem once, when it appears. What becomes of it is for others.

use std::collections::BTreeSet;

use spec::diagnostic::Diagnostic;

/// The problems of the last look.
#[derive(Default)]
pub(super) struct Told {
    problems: BTreeSet<String>,
}

impl Told {
    /// Logs problems that are new. `printed`: somebody has shown these already.
    pub(super) fn tell(&mut self, problems: &[Diagnostic], printed: bool) {
        let now: BTreeSet<String> = problems.iter().map(ToString::to_string).collect();
        if !printed {
            for problem in now.difference(&self.problems) {
                tracing::warn!(problem, "the files have a problem; what ran before goes on");
            }
            if now.is_empty() && !self.problems.is_empty() {
                tracing::info!("the files have no problem any more");
            }
        }
        self.problems = now;
    }
}
