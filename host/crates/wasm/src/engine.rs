//! The one wasmtime engine of a host: its settings, its pool of instance slots, its ticker and its compile threads.
//!
//! Settings are narrowed to what the contract needs: synchronous calls, no threads, no component-model async.
//! What a single guest may use is not decided here but per call (`limits.rs`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use model::transform::{Component, Limits};
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::admit::DEFAULT_MAX_COMPONENT;
use crate::error::LoadError;
use crate::guest::Guest;
use crate::transform::Admitted;
use crate::{load, wasi};

/// Stack that a guest may use; deeper recursion is a trap. Threads that call guests need this and some more.
pub const GUEST_STACK: usize = 512 << 10;

/// Stack of compile threads: the compiler recurses over what it compiles.
const COMPILE_STACK: usize = 16 << 20;

/// Compile threads at most: compiling must not starve the threads that serve streams.
const COMPILE_THREADS: usize = 4;

/// Frames of a guest's back-trace that are kept.
pub(crate) const BACKTRACE_FRAMES: usize = 20;

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The largest component file taken, in bytes.
    pub max_component: usize,
    /// The largest memory that any guest may be granted, in bytes; `limits.memory` above it has no effect.
    pub max_memory: usize,
    /// Live instances at most, over all views. A call that finds no room fails with `capacity`. Each costs about 8 GiB
    /// of address space, not memory.
    pub max_instances: u32,
    /// Length of a tick. Time limits are rounded up to ticks; a shorter one wakes the host more often.
    pub tick: Duration,
    /// Whether instances come from slots that are set up beforehand: several times faster, but it reserves address space.
    pub pooling: Pooling,
    /// Bytes of a slot's memory that stay with the host when an instance ends: less work for the kernel, more memory.
    pub keep_resident: usize,
    /// Limits of the throw-away instance that a component is asked to describe itself on.
    pub describe_limits: Limits,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            max_component: DEFAULT_MAX_COMPONENT,
            max_memory: 1 << 30,
            max_instances: 500,
            tick: Duration::from_millis(5),
            pooling: Pooling::Auto,
            keep_resident: 1 << 20,
            describe_limits: Limits {
                memory: 256 << 20,
                time: Duration::from_secs(5),
                output: 4 << 20,
                ..Limits::default()
            },
        }
    }
}

/// Whether instances come from slots that are set up beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Yes, unless the machine does not give the address space.
    Auto,
    /// No: each instance maps and unmaps its own memory.
    Off,
}

/// The engine that compiles and runs all components of a host. Cloning is cheap and gives the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    engine: wasmtime::Engine,
    options: EngineOptions,
    pooled: bool,
    /// Links components that import nothing but our own interfaces.
    linker: Linker<Guest>,
    /// Links components that also import WASI; made when the first one comes.
    wasi_linker: OnceLock<Linker<Guest>>,
    compile_threads: rayon::ThreadPool,
    counters: Counters,
}

/// What an engine has done, counted since it was made.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) components: AtomicU64,
    pub(crate) instances: AtomicU64,
    pub(crate) dropped_messages: AtomicU64,
}

/// A reading of an engine's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineStats {
    /// Whether instances come from slots that are set up beforehand.
    pub pooled: bool,
    /// Components that were compiled.
    pub components: u64,
    /// Instances that were started.
    pub instances: u64,
    /// Messages of guests that were dropped for `limits.log`.
    pub dropped_messages: u64,
}

impl Engine {
    /// An engine with its ticker thread, which ends with the engine.
    pub fn new(options: EngineOptions) -> Result<Self, LoadError> {
        let (engine, pooled) = make_engine(&options)?;
        spawn_ticker(&engine, options.tick)?;
        let linker = wasi::plain_linker(&engine).map_err(|error| host_failure("link the log", &error))?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(COMPILE_THREADS);
        let compile_threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .stack_size(COMPILE_STACK)
            .thread_name(|index| format!("compile-{index}"))
            .build()
            .map_err(|error| LoadError::Host { detail: format!("cannot start compile threads: {error}") })?;
        let shared = Shared {
            engine,
            options,
            pooled,
            linker,
            wasi_linker: OnceLock::new(),
            compile_threads,
            counters: Counters::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Admits, compiles, links and describes a component. `name` is for messages: a path, as a rule.
    ///
    /// Takes milliseconds for a small component and seconds for an interpreter. It compiles on threads of its own; the
    /// caller's thread must not be one that drives async tasks.
    pub fn load(&self, name: &str, bytes: &[u8]) -> Result<Arc<dyn Component>, LoadError> {
        let admitted: Arc<dyn Component> = self.load_admitted(name, bytes)?;
        Ok(admitted)
    }

    /// [`Engine::load`] with the concrete type, which can do more: see [`Admitted`].
    pub fn load_admitted(&self, name: &str, bytes: &[u8]) -> Result<Arc<Admitted>, LoadError> {
        load::load(self, name, bytes).map(Arc::new)
    }

    /// What the engine has done so far.
    pub fn stats(&self) -> EngineStats {
        let counters = self.counters();
        EngineStats {
            pooled: self.shared.pooled,
            components: counters.components.load(Ordering::Relaxed),
            instances: counters.instances.load(Ordering::Relaxed),
            dropped_messages: counters.dropped_messages.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.shared.engine
    }

    pub(crate) fn options(&self) -> &EngineOptions {
        &self.shared.options
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub(crate) fn compile_threads(&self) -> &rayon::ThreadPool {
        &self.shared.compile_threads
    }

    pub(crate) fn linker(&self) -> &Linker<Guest> {
        &self.shared.linker
    }

    pub(crate) fn wasi_linker(&self) -> Result<&Linker<Guest>, LoadError> {
        if let Some(linker) = self.shared.wasi_linker.get() {
            return Ok(linker);
        }
        let linker =
            wasi::deny_all_linker(self.wasmtime()).map_err(|error| host_failure("link WASI", &error))?;
        Ok(self.shared.wasi_linker.get_or_init(|| linker))
    }

    /// Ticks after which a call that may take this long is interrupted: rounded up, and one more because the first
    /// tick may come at once.
    pub(crate) fn ticks(&self, time: Duration) -> u64 {
        let ticks = time.as_nanos().div_ceil(self.shared.options.tick.as_nanos().max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX / 2).saturating_add(1).min(u64::MAX / 2)
    }
}

/// Tries the pool first: whether the machine gives the address space can only be found out by asking for it.
fn make_engine(options: &EngineOptions) -> Result<(wasmtime::Engine, bool), LoadError> {
    if options.pooling == Pooling::Auto {
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(options)));
        match wasmtime::Engine::new(&config) {
            Ok(engine) => return Ok((engine, true)),
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "no address space for a pool of instances, mapping memory for each one: instances start more slowly");
            }
        }
    }
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    wasmtime::Engine::new(&config)
        .map(|engine| (engine, false))
        .map_err(|error| host_failure("set up wasmtime", &error))
}

/// Each setting that differs from wasmtime's default, or whose default we depend on.
fn config() -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        // The same bits of output on every machine: what makes online and offline agree.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .epoch_interruption(true)
        // Calls are synchronous: support for concurrent ones makes each several times dearer.
        .concurrency_support(false)
        .max_wasm_stack(GUEST_STACK)
        .wasm_memory64(false)
        .memory_init_cow(true)
        .parallel_compilation(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES))
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable);
    config
}

/// Slots for instances. Interpreters need larger tables and more of everything than wasmtime's defaults give.
fn pool(options: &EngineOptions) -> PoolingAllocationConfig {
    /// Core modules, memories and tables of a component, on average: a component with an adapter has three of each.
    const PARTS: u32 = 2;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(options.max_instances)
        .total_core_instances(options.max_instances.saturating_mul(4))
        .total_memories(options.max_instances.saturating_mul(PARTS))
        .total_tables(options.max_instances.saturating_mul(PARTS))
        .total_stacks(0)
        .max_component_instance_size(10 << 20)
        .max_core_instance_size(10 << 20)
        .max_tables_per_module(4)
        .max_memories_per_module(4)
        .table_elements(100_000)
        .max_memory_size(options.max_memory)
        .linear_memory_keep_resident(options.keep_resident)
        .table_keep_resident(options.keep_resident)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Counts time for all guests. It holds the engine weakly and ends with it.
fn spawn_ticker(engine: &wasmtime::Engine, tick: Duration) -> Result<(), LoadError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("guest-ticker".to_owned())
        .spawn(move || {
            loop {
                // Nobody unparks this thread; a wake-up without reason only makes one tick shorter.
                std::thread::park_timeout(tick);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })
        .map(drop)
        .map_err(|error| LoadError::Host {
            detail: format!("cannot start the thread that counts time: {error}"),
        })
}

fn host_failure(what: &str, error: &wasmtime::Error) -> LoadError {
    LoadError::Host { detail: format!("cannot {what}: {error:#}") }
}
