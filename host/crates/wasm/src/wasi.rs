//! WASI for guests whose toolchain insists on it: everything is empty, denied or fixed, so that output cannot depend on it.
//!
//! There are no arguments, variables, files or sockets. Clocks start at the same instant in each fresh instance and move
//! with each reading; random numbers are the same in each fresh instance; sleeping takes no time. What a guest prints
//! goes to its log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use wasmtime::Engine;
use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamError, StreamResult, subscribe};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, async_trait};

use crate::bindings::View;
use crate::bindings::millrace::transform::log::Level;
use crate::guest::Guest;
use crate::log::LogSink;

/// What clocks show at first: 2000-01-01T00:00:00Z. Some runtimes refuse to start at zero.
const CLOCK_START: Duration = Duration::from_secs(946_684_800);
/// How far a clock moves with each reading, in nanoseconds.
const CLOCK_STEP: u64 = 1_000;
/// Objects that a guest may hold at a time; toolchains manage with 8.
const MAX_OBJECTS: usize = 64;
/// Random bytes in one call at most.
const MAX_RANDOM: u64 = 1 << 20;
/// Bytes of a printed line that are kept until its end comes.
const MAX_LINE: usize = 4 << 10;
/// Bytes that a guest may print in one call of the stream.
const PRINT_PERMIT: usize = 64 << 10;

/// The state of WASI for one instance.
pub(crate) struct Wasi {
    pub(crate) context: WasiCtx,
    pub(crate) table: ResourceTable,
    clock: VirtualClock,
}

impl Wasi {
    /// A fresh one: the same for each instance, but for the log that it prints to.
    pub(crate) fn new(log: &Arc<LogSink>) -> Self {
        let clock = VirtualClock(Arc::new(AtomicU64::new(CLOCK_STEP)));
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_OBJECTS);
        let context = WasiCtx::builder()
            .stdout(Printed { log: Arc::clone(log), level: Level::Info })
            .stderr(Printed { log: Arc::clone(log), level: Level::Warn })
            .wall_clock(clock.clone())
            .monotonic_clock(clock.clone())
            .secure_random(numbers(1))
            .insecure_random(numbers(2))
            .insecure_random_seed(0x6d69_6c6c_7261_6365)
            .max_random_size(MAX_RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        Self { context, table, clock }
    }
}

/// A linker with the contract's own imports.
pub(crate) fn plain_linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    View::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

/// A linker with the contract's own imports and WASI 0.2.
pub(crate) fn deny_all_linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = plain_linker(engine)?;
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    // The library's own clock sleeps in real time, and a deadline does not interrupt the host.
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<Guest, Clocks>(&mut linker, |guest| {
        let Wasi { table, clock, .. } = guest.wasi();
        ClockView { clock, table }
    })?;
    linker.allow_shadowing(false);
    Ok(linker)
}

/// Time that passes only when it is looked at: both the wall clock and the monotonic one.
#[derive(Clone)]
struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    fn read(&self) -> u64 {
        self.0.fetch_add(CLOCK_STEP, Ordering::Relaxed)
    }

    fn advance_to(&self, nanos: u64) {
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }
}

impl HostWallClock for VirtualClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(CLOCK_STEP)
    }

    fn now(&self) -> Duration {
        CLOCK_START.saturating_add(Duration::from_nanos(self.read()))
    }
}

impl HostMonotonicClock for VirtualClock {
    fn resolution(&self) -> u64 {
        CLOCK_STEP
    }

    fn now(&self) -> u64 {
        self.read()
    }
}

struct Clocks;

impl HasData for Clocks {
    type Data<'a> = ClockView<'a>;
}

/// The monotonic clock as guests see it; sleeping moves the clock and is over at once.
struct ClockView<'a> {
    clock: &'a VirtualClock,
    table: &'a mut ResourceTable,
}

impl monotonic_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.clock.read())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(CLOCK_STEP)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.clock.advance_to(when);
        let ready = self.table.push(Ready)?;
        subscribe(self.table, ready)
    }

    fn subscribe_duration(&mut self, nanos: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let when = self.clock.read().saturating_add(nanos);
        self.subscribe_instant(when)
    }
}

/// Something to wait for that has happened already.
struct Ready;

#[async_trait]
impl Pollable for Ready {
    async fn ready(&mut self) {}
}

/// Where standard output or standard error go: line by line to the log.
struct Printed {
    log: Arc<LogSink>,
    level: Level,
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one, and the engine refuses its components.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Lines { log: Arc::clone(&self.log), level: self.level, line: Vec::new() })
    }
}

/// One handle of a guest on its output.
struct Lines {
    log: Arc<LogSink>,
    level: Level,
    line: Vec<u8>,
}

impl Lines {
    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        let text = text.trim_end();
        if !text.is_empty() {
            if matches!(self.level, Level::Warn) {
                self.log.remember(text);
            }
            self.log.write(self.level, text);
        }
        self.line.clear();
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > PRINT_PERMIT {
            return Err(StreamError::trap("more was printed at once than the stream had offered to take"));
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PRINT_PERMIT)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end_line();
    }
}

/// Random numbers that are the same in each fresh instance: 4 KiB from a counter-based generator, over and over.
fn numbers(stream: u64) -> Deterministic {
    let bytes = (0..512_u64).flat_map(|index| {
        // SplitMix64 over the index.
        let mut mixed = (stream << 32 | index).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    });
    Deterministic::new(bytes.collect())
}
