//! Components and transforms as the flow knows them: [`model::transform::Component`] and [`model::transform::Transform`].
//!
//! A transform owns at most one live instance. An instance is replaced after `limits.batches_per_instance` batches,
//! after any failure, and when its memory nears the limit; by default each batch gets a fresh one.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use model::transform::{
    CallContext, Component, Description, Fault, FaultKind, Limits, Transform, TransformOptions,
    TransformOutput,
};
use model::view::Digest;
use wasmtime::component::InstancePre;

use crate::bindings::ViewIndices;
use crate::bindings::millrace::transform::types::{BatchParam, Context, FieldParam};
use crate::engine::Engine;
use crate::fault::{Blame, Phase, batch_time};
use crate::guest::Guest;
use crate::instance::{Instance, StartError};
use crate::lift::lift;
use crate::log::LogSink;
use crate::lower::{LowerError, lower};

/// A compiled component: what all its transforms share.
pub(crate) struct Compiled {
    pub(crate) engine: Engine,
    /// For messages.
    pub(crate) name: Arc<str>,
    pub(crate) linked: InstancePre<Guest>,
    /// Where its exports are.
    pub(crate) exports: ViewIndices,
    /// Whether it imports WASI.
    pub(crate) wasi: bool,
    pub(crate) digest: Digest,
    pub(crate) description: Description,
    pub(crate) output_schema: SchemaRef,
}

impl Compiled {
    /// A component whose description is still to come.
    pub(crate) fn undescribed(
        engine: Engine,
        name: &str,
        (linked, exports): (InstancePre<Guest>, ViewIndices),
        wasi: bool,
        digest: Digest,
    ) -> Self {
        let description = Description {
            name: String::new(),
            version: String::new(),
            input: Vec::new(),
            output: Vec::new(),
            parameters: Vec::new(),
        };
        let output_schema = Arc::new(arrow_schema::Schema::empty());
        Self { engine, name: Arc::from(name), linked, exports, wasi, digest, description, output_schema }
    }
}

/// An admitted component.
pub struct Admitted {
    compiled: Arc<Compiled>,
}

impl Admitted {
    pub(crate) fn new(compiled: Compiled) -> Self {
        Self { compiled: Arc::new(compiled) }
    }

    /// [`Component::transform`] with the concrete type.
    pub fn sandbox(&self, options: &TransformOptions) -> Sandbox {
        let compiled = Arc::clone(&self.compiled);
        let engine = &compiled.engine;
        let mut limits = options.limits.clone();
        limits.memory = limits.memory.min(engine.options().max_memory);
        let log = Arc::new(LogSink::new(engine, &options.view, &compiled.name, limits.log));
        let types = compiled.description.input.iter().map(|field| field.data_type.to_string()).collect();
        Sandbox {
            view: Arc::clone(&options.view),
            params: options.params.clone(),
            limits,
            types,
            log,
            live: None,
            opened_with: Vec::new(),
            compiled,
        }
    }
}

impl Component for Admitted {
    fn description(&self) -> &Description {
        &self.compiled.description
    }

    fn digest(&self) -> Digest {
        self.compiled.digest
    }

    fn transform(&self, options: &TransformOptions) -> Box<dyn Transform> {
        Box::new(self.sandbox(options))
    }
}

/// A component at work for one work unit.
pub struct Sandbox {
    compiled: Arc<Compiled>,
    view: Arc<str>,
    params: String,
    limits: Limits,
    /// The types of the input columns, as texts for `open`.
    types: Vec<String>,
    log: Arc<LogSink>,
    live: Option<Instance>,
    /// The nullability that the live instance was opened with.
    opened_with: Vec<bool>,
}

impl Transform for Sandbox {
    fn process(&mut self, input: &RecordBatch, context: &CallContext) -> Result<TransformOutput, Fault> {
        self.log.begin_call();
        // Taken out: whatever goes wrong from here on, the instance is gone.
        let mut instance = self.ready(input)?;
        let rows = input.num_rows();
        let compiled = &*self.compiled;
        let lowered = match lower(&compiled.description.input, input) {
            Ok(lowered) => lowered,
            Err(error) => {
                // The guest was not called: it is as good as before.
                self.live = Some(instance);
                return Err(refused_input(&self.view, &error));
            }
        };
        let columns = lowered.columns();
        let batch = BatchParam { rows: lowered.rows, columns: &columns };
        let context = Context {
            view: &context.view,
            generation: context.generation,
            partition: &context.partition,
            first_position: &context.first_position,
            attempt: context.attempt,
        };
        let blame = Blame {
            view: &self.view,
            component: &compiled.name,
            limits: &self.limits,
            rows,
            phase: Phase::Process,
        };
        let ticks = compiled.engine.ticks(batch_time(&self.limits, rows));
        let output = match instance.process(batch, context, ticks, &self.limits) {
            Ok(Ok(output)) => output,
            Ok(Err(text)) => return Err(blame.guest_error(&text, instance.refusals())),
            Err(error) => return Err(blame.fault(&error, instance.end(), &self.log.last_words())),
        };
        let output = lift(&compiled.description.output, &compiled.output_schema, output, rows, &self.limits)
            .map_err(|error| blame.bad_output(&error.to_string()))?;
        if instance.batches < self.limits.batches_per_instance && !instance.is_high() {
            self.live = Some(instance);
        }
        Ok(output)
    }

    fn rest(&mut self) {
        self.live = None;
        self.log.settle();
    }
}

impl Sandbox {
    /// Starts an instance and drops it without a call: a measuring aid for benchmarks.
    pub fn instantiate_once(&self) -> Result<(), Fault> {
        self.start().map(drop)
    }

    /// Bytes of linear memory of the live instance; 0 without one.
    pub fn memory(&self) -> usize {
        self.live.as_ref().map_or(0, Instance::memory)
    }

    /// The live instance, or a fresh one that is opened.
    fn ready(&mut self, input: &RecordBatch) -> Result<Instance, Fault> {
        let schema = input.schema_ref();
        let nullable = |index: usize| schema.fields().get(index).is_none_or(|field| field.is_nullable());
        if let Some(live) = self.live.take()
            && self.opened_with.iter().enumerate().all(|(index, known)| nullable(index) == *known)
        {
            return Ok(live);
        }
        let mut instance = self.start()?;
        let described = &self.compiled.description.input;
        self.opened_with = (0..described.len()).map(nullable).collect();
        let fields: Vec<FieldParam<'_>> = described
            .iter()
            .zip(&self.types)
            .zip(&self.opened_with)
            .map(|((field, data_type), nullable)| FieldParam {
                name: &field.name,
                data_type,
                nullable: *nullable,
            })
            .collect();
        let level = self.log.choose_level();
        let blame = self.blame(Phase::Open, 0);
        match instance.open(&self.params, &fields, level) {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(text)) => Err(blame.guest_error(&text, instance.refusals())),
            Err(error) => Err(blame.fault(&error, instance.end(), &self.log.last_words())),
        }
    }

    fn start(&self) -> Result<Instance, Fault> {
        Instance::start(&self.compiled, &self.limits, &self.log).map_err(
            |StartError { error, refusals, .. }| {
                self.blame(Phase::Start, 0).fault(&error, refusals, &self.log.last_words())
            },
        )
    }

    fn blame(&self, phase: Phase, rows: usize) -> Blame<'_> {
        Blame { view: &self.view, component: &self.compiled.name, limits: &self.limits, rows, phase }
    }
}

/// A batch that cannot be given to the guest: a null where the component takes none is the row's fault, anything else
/// the host's, and then nothing is dead-lettered for it.
fn refused_input(view: &str, error: &LowerError) -> Fault {
    let kind = match error {
        LowerError::Null { .. } => FaultKind::GuestError,
        LowerError::Mismatch { .. } => FaultKind::Capacity,
    };
    Fault { kind, message: format!("view `{view}` cannot pass its batch on: {error}") }
}
