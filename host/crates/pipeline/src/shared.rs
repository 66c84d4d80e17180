//! What all parts of one flow use: sinks, settings, threads.

use std::sync::Arc;

use model::dead_letter::DeadLetters;
use model::online::{Ledger, OnlineStore};
use model::time::Clock;

use crate::events::Metrics;
use crate::pool::Pool;
use crate::setup::FlowSettings;
use crate::timer::Timer;

/// What all parts of one flow use.
pub(crate) struct Shared {
    pub(crate) online: Arc<dyn OnlineStore>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: FlowSettings,
    pub(crate) metrics: Metrics,
    pub(crate) pool: Pool,
    pub(crate) timer: Arc<Timer>,
}
