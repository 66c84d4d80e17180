//! Where the rows of a view go.

use super::{Context, Outcome};
use crate::connection::reference;
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::StorePlan;
use crate::raw::{RawView, Spanned};

/// The store of a view, if what is said of it is right.
pub(super) fn store(context: &Context<'_>, raw: &RawView, outcome: &mut Outcome) -> Option<StorePlan> {
    let is_online = raw.online.as_ref().is_none_or(|online| online.value);
    let Some(Spanned { value: store, spot }) = &raw.online_store else {
        // Without rows it makes no difference, and a default that changes should make none either.
        return Some(if is_online { context.host.default_store.clone() } else { StorePlan::Embedded });
    };
    if let Some(online) = raw.online.as_ref().filter(|online| !online.value) {
        outcome.report(
            Diagnostic::at(Code::StoreNeedsOnline, &online.spot, "an online store needs `online: true`")
                .related(spot, "the online store")
                .help("set `online: true`, or remove `online_store`"),
        );
    }
    match (&store.embedded, &store.redis) {
        (Some(_), None) => Some(StorePlan::Embedded),
        (None, Some(redis)) => {
            let connection =
                outcome.note(reference(&redis.connection, "redis", &context.host.connections))?;
            Some(StorePlan::Redis { connection })
        }
        _ => {
            outcome.report_absent(
                Diagnostic::at(Code::ChooseOne, spot, "`view.online_store` takes one of `embedded`, `redis`")
                    .help("write `redis: { connection: NAME }`, or `embedded: {}`"),
            );
            None
        }
    }
}
