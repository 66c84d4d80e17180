//! Transforms: all that the flow knows of WebAssembly.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;

use crate::schema::Field;
use crate::view::Digest;

/// What a component says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The component's name.
    pub name: String,
    /// The component's version.
    pub version: String,
    /// The input columns it needs.
    pub input: Vec<Field>,
    /// The output columns it produces.
    pub output: Vec<Field>,
    /// The parameters it takes.
    pub parameters: Vec<Parameter>,
}

/// A parameter of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Key in the view's `params`.
    pub name: String,
    /// JSON type: `bool`, `integer`, `number`, `string`, `list`, `object` or `any`.
    pub kind: String,
    /// Whether it must be given.
    pub required: bool,
    /// One line for people.
    pub doc: String,
}

/// What a guest may use. Every limit has a default and a key in the view file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory in bytes (`limits.memory`).
    pub memory: usize,
    /// Time for a batch (`limits.time`).
    pub time: Duration,
    /// Further time for each row (`limits.time_per_row`).
    pub time_per_row: Duration,
    /// Output rows for each input row, on average over a batch (`limits.rows_per_row`).
    pub rows_per_row: usize,
    /// Output bytes of a batch (`limits.output`).
    pub output: usize,
    /// Log bytes a second (`limits.log`).
    pub log: usize,
    /// Batches that one instance serves before it is replaced; 1 = a fresh instance for each batch (`limits.batches_per_instance`).
    pub batches_per_instance: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            time: Duration::from_millis(100),
            time_per_row: Duration::from_micros(100),
            rows_per_row: 64,
            output: 64 << 20,
            log: 64 << 10,
            batches_per_instance: 1,
        }
    }
}

/// For messages of the guest only: a transform must not let its output depend on it.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The view.
    pub view: Arc<str>,
    /// The transform's generation.
    pub generation: u32,
    /// The source partition.
    pub partition: Arc<str>,
    /// Position of the first row, in hex.
    pub first_position: String,
    /// 1 for the first try of a batch, more when it is repeated in parts.
    pub attempt: u32,
}

/// What a guest made of a batch; validated, so consumers need not distrust it.
#[derive(Debug)]
pub struct TransformOutput {
    /// The output columns, exactly as described.
    pub columns: RecordBatch,
    /// Input row of each output row, ascending; empty = one to one.
    pub input_rows: Vec<u32>,
    /// Input rows that the guest refused, with its reason.
    pub rejected: Vec<(u32, String)>,
}

/// Why a call into a guest failed. The instance is gone; the next call gets a new one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of failure.
    pub kind: FaultKind,
    /// For people: what happened, the limit and the key that changes it, the guest's back-trace.
    pub message: String,
}

/// Kinds of failure of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped: a panic, a bad access, a full stack.
    Trap,
    /// The guest took longer than allowed.
    Timeout,
    /// The guest asked for more memory than allowed, and failed for want of it.
    Memory,
    /// The guest answered with an error for the whole batch.
    GuestError,
    /// The guest's answer does not hold what it promised, or is too large.
    BadOutput,
    /// The host has no room for another instance; not the guest's fault.
    Capacity,
}

impl FaultKind {
    /// The stable code for dead letters and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::GuestError => "guest_error",
            Self::BadOutput => "bad_output",
            Self::Capacity => "capacity",
        }
    }
}

/// An admitted component: compiled, linked, described, shared by all work units of a view.
pub trait Component: Send + Sync {
    /// What it says of itself.
    fn description(&self) -> &Description;

    /// SHA-256 of its bytes.
    fn digest(&self) -> Digest;

    /// A transform with these parameters (one JSON text) and limits. No instance lives until the first call.
    fn transform(&self, options: &TransformOptions) -> Box<dyn Transform>;
}

/// What a transform is made with.
#[derive(Debug, Clone)]
pub struct TransformOptions {
    /// For messages and the guest's log.
    pub view: Arc<str>,
    /// One JSON object.
    pub params: String,
    /// What the guest may use.
    pub limits: Limits,
}

/// A component at work for one work unit. Owned by one thread at a time.
pub trait Transform: Send {
    /// Calls the guest with exactly the columns that it asked for, in that order.
    fn process(&mut self, input: &RecordBatch, context: &CallContext) -> Result<TransformOutput, Fault>;

    /// Lets go of a live instance: the unit is idle.
    fn rest(&mut self);
}
