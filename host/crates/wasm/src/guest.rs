//! What the host keeps for one live instance, and the one function that it offers to it.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::bindings::millrace::transform::log::{Host, Level};
use crate::limits::Meter;
use crate::log::LogSink;
use crate::wasi::Wasi;

/// The data of a store: one per instance, gone with it.
pub(crate) struct Guest {
    pub(crate) meter: Meter,
    pub(crate) log: Arc<LogSink>,
    /// Only for components that import WASI.
    pub(crate) wasi: Option<Box<Wasi>>,
}

impl Host for Guest {
    fn log(&mut self, level: Level, message: String) {
        self.log.write(level, &message);
    }
}

impl crate::bindings::millrace::transform::types::Host for Guest {}

impl Guest {
    pub(crate) fn wasi(&mut self) -> &mut Wasi {
        self.wasi.as_mut().expect("an instance that is linked with WASI has the state for it")
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { context, table, .. } = self.wasi();
        let (ctx, table): (&mut WasiCtx, &mut ResourceTable) = (context, table);
        WasiCtxView { ctx, table }
    }
}
