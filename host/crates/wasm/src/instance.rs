//! One live instance: a store, its limits, and the three calls of the contract.
//!
//! After any error the instance is dead and must be dropped; the caller decides how long a healthy one is kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::transform::Limits;
use wasmtime::Store;

use crate::bindings::View;
use crate::bindings::millrace::transform::log::Level;
use crate::bindings::millrace::transform::types::{BatchParam, Context, Description, FieldParam, Output};
use crate::guest::Guest;
use crate::limits::{MAX_HANDLES, Meter};
use crate::log::LogSink;
use crate::transform::Compiled;
use crate::wasi::Wasi;

/// Bytes that a guest may pass to the host in one call beside the output: rejections, records, log messages.
const EXTRA_BYTES: usize = 64 << 10;
/// The same for each input row, which may be rejected with a reason.
const EXTRA_BYTES_PER_ROW: usize = 256;

/// A live instance.
pub(crate) struct Instance {
    store: Store<Guest>,
    view: View,
    /// Batches that it has served.
    pub(crate) batches: u32,
}

/// An instance that did not come to be.
pub(crate) struct StartError {
    pub(crate) error: wasmtime::Error,
    /// How often it was refused memory.
    pub(crate) refusals: u32,
    /// Whether it lives, but its functions are of other types than the contract's.
    pub(crate) types: bool,
}

/// What a call gave: wasmtime's error, or the guest's, or the answer.
pub(crate) type Answer<T> = wasmtime::Result<Result<T, String>>;

impl Instance {
    /// Starts an instance within `limits.time`.
    pub(crate) fn start(
        compiled: &Compiled,
        limits: &Limits,
        log: &Arc<LogSink>,
    ) -> Result<Self, StartError> {
        let engine = &compiled.engine;
        let guest = Guest {
            meter: Meter::new(limits.memory),
            log: Arc::clone(log),
            wasi: compiled.wasi.then(|| Box::new(Wasi::new(log))),
        };
        let mut store = Store::new(engine.wasmtime(), guest);
        store.limiter(|guest| &mut guest.meter);
        store.set_max_component_handles(MAX_HANDLES);
        store.set_hostcall_fuel(limits.output.saturating_add(EXTRA_BYTES));
        // Start functions and initializers are the guest's code too.
        store.set_epoch_deadline(engine.ticks(limits.time));
        let failed = |error, store: &Store<Guest>, types| StartError {
            error,
            refusals: store.data().meter.refusals(),
            types,
        };
        let instance = match compiled.linked.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(failed(error, &store, false)),
        };
        match compiled.exports.load(&mut store, &instance) {
            Ok(view) => {
                engine.counters().instances.fetch_add(1, Ordering::Relaxed);
                Ok(Self { store, view, batches: 0 })
            }
            Err(error) => Err(failed(error, &store, true)),
        }
    }

    pub(crate) fn describe(&mut self, ticks: u64) -> Answer<Description> {
        self.store.set_epoch_deadline(ticks);
        self.view.millrace_transform_transform().call_describe(&mut self.store)
    }

    /// `open` shares its deadline with the start.
    pub(crate) fn open(&mut self, parameters: &str, input: &[FieldParam<'_>], level: Level) -> Answer<()> {
        self.view.millrace_transform_transform().call_open(&mut self.store, parameters, input, level)
    }

    pub(crate) fn process(
        &mut self,
        batch: BatchParam<'_>,
        context: Context<'_>,
        ticks: u64,
        limits: &Limits,
    ) -> Answer<Output> {
        let rows = usize::try_from(batch.rows).unwrap_or(usize::MAX);
        let extra = rows.saturating_mul(EXTRA_BYTES_PER_ROW).saturating_add(EXTRA_BYTES);
        self.store.data_mut().meter.forget_refusals();
        self.store.set_hostcall_fuel(limits.output.saturating_add(extra));
        // Writing arguments runs the guest's allocator: the deadline covers it.
        self.store.set_epoch_deadline(ticks);
        self.batches += 1;
        self.view.millrace_transform_transform().call_process(&mut self.store, batch, context)
    }

    /// How often the guest was refused memory since the last call began.
    pub(crate) fn refusals(&self) -> u32 {
        self.store.data().meter.refusals()
    }

    /// Ends it: what it printed without ending the line is printed now. Gives [`Instance::refusals`].
    pub(crate) fn end(self) -> u32 {
        self.refusals()
    }

    /// Bytes of linear memory.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().meter.used()
    }

    /// Whether its memory is so near the limit that it is better replaced.
    pub(crate) fn is_high(&self) -> bool {
        self.store.data().meter.is_high()
    }
}
