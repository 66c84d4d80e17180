//! From the plan of a view to what the flow is told of it.

use std::sync::Arc;

use model::output::OutputStream;
use model::position::Partition;
use model::source::Point;
use pipeline::setup::{Adjustment, OlderComponent, OlderComponents, ViewSetup};
use spec::plan::{SourceKind, SourcePlan, Start, StorePlan, ViewPlan};

use crate::components::{Admitted, Library};

/// Everything that the flow needs to run a view.
pub(super) fn setup(
    library: &Arc<Library>,
    view: &ViewPlan,
    source: &SourcePlan,
    admitted: &Admitted,
    output: Option<Arc<dyn OutputStream>>,
) -> ViewSetup {
    let options = view.output.as_ref().map(|output| Arc::new(output.options.clone()));
    ViewSetup {
        shape: Arc::clone(&view.shape),
        component: Arc::clone(&admitted.component),
        digest: admitted.digest,
        options: admitted.options.clone(),
        event_time_column: view.timestamp_column.clone(),
        earliest: source.bounds.earliest,
        max_future: source.bounds.max_future,
        start: point(&view.start, source),
        output: output.zip(options),
        parallel_emit: view.output.as_ref().is_some_and(|output| output.parallel),
        rows_are_shared: matches!(view.store, StorePlan::Redis { .. }),
        failures_to_pause: view.failures_to_pause,
        older: older(library, view.name()),
    }
}

/// A place as the source knows it.
fn point(start: &Start, source: &SourcePlan) -> Point {
    match start {
        Start::Latest => Point::Latest,
        Start::Earliest => Point::Earliest,
        Start::Committed => Point::Committed,
        Start::Time(time) => Point::Time(time.0),
        Start::Offsets(offsets) => {
            let topic = match &source.kind {
                SourceKind::Kafka(kafka) => kafka.topics.first().map_or("", String::as_str),
                SourceKind::Push | SourceKind::File { .. } | SourceKind::Kinesis(_) => "",
            };
            let named =
                |(partition, offset): (&u32, &u64)| (Partition::new(format!("{topic}-{partition}")), *offset);
            Point::Numbers(offsets.iter().map(named).collect())
        }
    }
}

/// What changes without a new transform.
pub(super) fn adjustment(view: &ViewPlan, source: &SourcePlan, admitted: &Admitted) -> Adjustment {
    let mut options = admitted.options.clone();
    options.limits = view.limits.clone();
    Adjustment {
        shape: Arc::clone(&view.shape),
        options,
        earliest: source.bounds.earliest,
        max_future: source.bounds.max_future,
        failures_to_pause: view.failures_to_pause,
    }
}

fn older(library: &Arc<Library>, view: &str) -> OlderComponents {
    let (library, view) = (Arc::clone(library), view.to_owned());
    Arc::new(move |digest| match library.older(&view, *digest) {
        Ok(found) => found.map(|(component, options)| OlderComponent { component, options }),
        Err(error) => {
            tracing::error!(
                view,
                digest = digest.short(),
                error = format!("{error:#}"),
                "cannot use a kept component"
            );
            None
        }
    })
}

/// Whether the flow can go from one plan of a view to the other by replacing its transform alone.
pub(super) fn is_swap(old: &ViewPlan, new: &ViewPlan) -> bool {
    let shape = |view: &ViewPlan| {
        let mut shape = (*view.shape).clone();
        shape.ttl_micros = None;
        shape
    };
    shape(old) == shape(new)
        && old.source == new.source
        && old.store == new.store
        && old.output == new.output
        && old.timestamp_column == new.timestamp_column
}
