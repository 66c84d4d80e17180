//! What is said of the views: to whoever watches them, and to the server. What becomes of them is for the parent.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::online::Ledger;
use serve::{Directory, Service};
use spec::diagnostic::Diagnostic;
use spec::diff::{Change, ViewChange};
use spec::plan::{DeadLetterPlan, LeasesPlan, SourceKind, SourcePlan, StorePlan, ViewPlan};

use super::{Attempt, INCOMPLETE_PAUSE, Pending, Running, UNAVAILABLE_PAUSE, UNMET_PAUSE};
use crate::components::{Refusal, Stamp};
use crate::running::place;

impl Running {
    /// Shows what is wrong with the files of views; those that run go on.
    pub(super) fn note_broken(&mut self, broken: &BTreeMap<String, Vec<Diagnostic>>) {
        self.broken.retain(|name| {
            let still = broken.contains_key(name);
            if !still {
                self.parts.flow.forget_view(name);
            }
            still
        });
        for (name, problems) in broken {
            let text = problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string);
            let text = text.collect::<Vec<_>>().join("; ");
            if self.is_started(name) {
                self.parts.flow.note_error(name, &text);
            } else {
                self.broken.insert(name.clone());
                self.parts.flow.mark_failed(name, "", &text);
            }
        }
        for (name, view) in &self.views {
            if view.refused.is_none() && view.admitted.is_some() && !broken.contains_key(name) {
                self.parts.flow.clear_error(name);
            }
        }
    }

    /// Shows why a view cannot follow; whatever runs goes on. `stamp`: of the component before the attempt, so that a
    /// file that was written to meanwhile is another one.
    pub(super) fn refuse(
        &mut self,
        view: &ViewPlan,
        stamp: Option<Stamp>,
        refusal: &Refusal,
        pending: &mut Pending,
    ) {
        let name = view.name();
        let started = self.is_started(name);
        let text = match refusal {
            Refusal::Missing(_) if started => format!("{refusal}; the running version goes on"),
            _ => refusal.to_string(),
        };
        let attempt = Attempt { view: view.clone(), component: stamp };
        let known = self.views.entry(name.to_owned()).or_default();
        if matches!(refusal, Refusal::Incomplete(_)) && known.incomplete.as_ref() != Some(&attempt) {
            // Whoever writes it will write on; the next look finds it whole, or the same half again.
            pending.within(INCOMPLETE_PAUSE);
            known.incomplete = Some(attempt);
            if !started {
                self.parts.flow.mark_failed(name, &view.source, &text);
            }
            return;
        }
        let repeated = known.refused.as_ref() == Some(&attempt);
        // What is no fault of the view is tried again: a full disk, or a source that could not be opened.
        let pause = match refusal {
            Refusal::Unavailable(_) => Some(UNAVAILABLE_PAUSE),
            Refusal::Unmet(_) => Some(UNMET_PAUSE),
            _ => None,
        };
        known.again = pause.is_some();
        if let Some(pause) = pause {
            pending.within(pause);
        }
        known.refused = Some(attempt);
        if started {
            self.parts.flow.note_error(name, &text);
        } else {
            self.parts.flow.mark_failed(name, &view.source, &text);
        }
        if !repeated {
            if started {
                tracing::warn!(view = name, reason = text, "change refused; what ran before goes on");
            } else {
                tracing::warn!(view = name, reason = text, "the view cannot start");
            }
        }
    }

    /// Tells the server what exists, and lets go of components that no replay needs.
    pub(super) fn publish(&self) {
        let services = self.plan.services.values().map(|service| Service {
            name: service.name.clone(),
            features: service.features.iter().map(|part| (part.view.clone(), part.feature.clone())).collect(),
        });
        let sources = self.sources.iter().filter_map(|(name, open)| {
            let plan = self.plan.sources.get(name)?;
            Some((name.clone(), open.entry(plan)))
        });
        self.forget_connections();
        let shared = self.send_reads();
        let views = self.plan.views.values().map(|view| Arc::clone(&view.shape));
        let directory = Directory::new(views, services, sources).with_shared_rows(shared);
        self.parts.directory.store(Arc::new(directory));
        for (name, view) in &self.views {
            if view.admitted.is_some() {
                self.prune(name);
            }
        }
    }

    /// Has rows read where they are, also of views that do not run here, and names the views whose rows hosts share.
    fn send_reads(&self) -> Vec<String> {
        let mut shared = Vec::new();
        for view in self.plan.views.values().filter(|view| view.shape.online) {
            let noted = place::noted(self.parts.store.as_ref(), view.name());
            // A view that never ran here has its rows where its file says.
            let store = noted.ok().flatten().unwrap_or_else(|| view.store.clone());
            match self.parts.stores.send(view.name(), &store) {
                Ok(()) if store != StorePlan::Embedded => shared.push(view.name().to_owned()),
                Ok(()) => {}
                // The view does not start either, and says why.
                Err(failure) => tracing::debug!(view = view.name(), %failure, "rows cannot be read"),
            }
        }
        shared
    }

    /// Views and sources that are gone take their series of connectors along.
    pub(super) fn forget_series(&self, views: &[ViewChange], sources: &[Change<SourcePlan>]) {
        let parts = &self.parts;
        for change in views {
            let ViewChange::Removed(view) = change else { continue };
            parts.kafka.shared.metrics().forget_output(view);
            parts.kinesis.shared.metrics().forget_output(view);
            parts.redis.shared.metrics.forget_view(view);
        }
        for change in sources {
            let Change::Removed(source) = change else { continue };
            parts.kafka.shared.metrics().forget_source(source);
            parts.kinesis.shared.metrics().forget_source(source);
        }
    }

    /// Connections that nothing uses any more are nobody's trouble.
    fn forget_connections(&self) {
        let mut used: Vec<&str> = self.outputs.connections().collect();
        used.extend(self.plan.sources.values().flat_map(|source| connections_of(&source.kind)));
        used.extend(self.plan.views.values().filter_map(|view| view.store.connection()));
        let stores = self.parts.stores.connections();
        used.extend(stores.iter().map(String::as_str));
        if let DeadLetterPlan::Kafka { connection, .. } = &self.parts.settings.dead_letter {
            used.push(connection);
        }
        self.parts.kafka.connections.forget_unused(&used);
        self.parts.kinesis.connections.forget_unused(&used);
        self.parts.redis.connections.forget_unused(&used);
    }

    fn prune(&self, name: &str) {
        let ledger = match self.parts.store.view(name) {
            Ok(ledger) => ledger,
            Err(error) => return tracing::warn!(view = name, %error, "cannot look up generations"),
        };
        let mut needed: Vec<_> = ledger.generations.iter().map(|entry| entry.generation.digest).collect();
        needed.extend(
            self.views.get(name).and_then(|view| view.admitted.as_ref()).map(|admitted| admitted.digest),
        );
        if let Err(error) = self.parts.library.keep_only(name, &needed) {
            tracing::warn!(
                view = name,
                error = format!("{error:#}"),
                "cannot remove components that are not needed"
            );
        }
    }
}

/// The connections that a source needs: where it reads, and where its leases are.
fn connections_of(source: &SourceKind) -> impl Iterator<Item = &str> {
    let leases = match source {
        SourceKind::Kinesis(kinesis) => match &kinesis.leases {
            LeasesPlan::Alone => None,
            LeasesPlan::Redis { connection } => Some(connection.as_str()),
        },
        SourceKind::Push | SourceKind::File { .. } | SourceKind::Kafka(_) => None,
    };
    source.connection().into_iter().chain(leases)
}
