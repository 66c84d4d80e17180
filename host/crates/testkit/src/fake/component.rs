//! A component without WebAssembly: a function over rows.
//!
//! Like a guest, it takes a whole batch or fails it; what it does with a row depends on that row alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use model::schema::{DataType, Field};
use model::transform::{
    CallContext, Component, Description, Fault, FaultKind, Limits, Transform, TransformOptions,
    TransformOutput,
};
use model::view::{Digest, ViewRef, ViewShape};

use super::format::{Row, columns};
use super::trouble::lock;

/// What becomes of a row.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// These output rows; none is allowed.
    Rows(Vec<Row>),
    /// The guest refuses the row.
    Reject(&'static str),
    /// The call fails.
    Fail(FaultKind),
    /// A bug of the host.
    Panic,
}

/// What the component does with a row.
pub type Behavior = Arc<dyn Fn(&Row) -> Reaction + Send + Sync>;

/// A component without WebAssembly.
pub struct FakeComponent {
    description: Description,
    digest: Digest,
    behavior: Behavior,
    counts: Arc<Counts>,
}

/// What has happened to a component.
#[derive(Debug, Default)]
pub struct Counts {
    /// Calls.
    pub calls: AtomicUsize,
    /// Rows in all calls.
    pub rows: AtomicUsize,
    /// Times that an instance was let go.
    pub rests: AtomicUsize,
    /// Calls that wait while the door is closed.
    door: Mutex<Door>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Door {
    is_closed: bool,
    waiting: usize,
}

impl Counts {
    /// Lets calls wait inside of the guest.
    pub fn close(&self) {
        lock(&self.door).is_closed = true;
    }

    /// Lets them go on.
    pub fn open(&self) {
        lock(&self.door).is_closed = false;
        self.moved.notify_all();
    }

    /// Calls that wait.
    pub fn waiting(&self) -> usize {
        lock(&self.door).waiting
    }

    fn pass(&self) {
        let mut door = lock(&self.door);
        door.waiting += 1;
        while door.is_closed {
            let waited = self.moved.wait_timeout(door, Duration::from_secs(1));
            door = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        door.waiting -= 1;
    }
}

impl FakeComponent {
    /// A component whose digest is made of `version`.
    pub fn new(version: u8, behavior: impl Fn(&Row) -> Reaction + Send + Sync + 'static) -> Arc<Self> {
        let fields = || {
            vec![
                Field::nullable("key", DataType::String),
                Field::nullable("value", DataType::Int64),
                Field::nullable("at", DataType::Timestamp),
            ]
        };
        let description = Description {
            name: "fake".to_owned(),
            version: version.to_string(),
            input: fields(),
            output: fields(),
            parameters: Vec::new(),
        };
        let digest = Digest([version; 32]);
        Arc::new(Self { description, digest, behavior: Arc::new(behavior), counts: Arc::default() })
    }

    /// A component that hands rows through.
    pub fn identity(version: u8) -> Arc<Self> {
        Self::new(version, |row| Reaction::Rows(vec![row.clone()]))
    }

    /// A component that adds a number to each value.
    pub fn adding(version: u8, number: i64) -> Arc<Self> {
        Self::new(version, move |(key, value, at)| {
            Reaction::Rows(vec![(key.clone(), value.map(|value| value + number), *at)])
        })
    }

    /// What has happened to it.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Component for FakeComponent {
    fn description(&self) -> &Description {
        &self.description
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn transform(&self, _options: &TransformOptions) -> Box<dyn Transform> {
        Box::new(FakeTransform { behavior: Arc::clone(&self.behavior), counts: Arc::clone(&self.counts) })
    }
}

struct FakeTransform {
    behavior: Behavior,
    counts: Arc<Counts>,
}

impl Transform for FakeTransform {
    fn process(&mut self, input: &RecordBatch, _context: &CallContext) -> Result<TransformOutput, Fault> {
        self.counts.calls.fetch_add(1, Ordering::SeqCst);
        self.counts.rows.fetch_add(input.num_rows(), Ordering::SeqCst);
        self.counts.pass();
        let (mut keys, mut values, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let (mut input_rows, mut rejected) = (Vec::new(), Vec::new());
        for (row, number) in (0..input.num_rows()).zip(0..) {
            match (self.behavior)(&row_of(input, row)) {
                Reaction::Rows(rows) => {
                    for (key, value, at) in rows {
                        keys.push(key);
                        values.push(value);
                        times.push(at);
                        input_rows.push(number);
                    }
                }
                Reaction::Reject(reason) => rejected.push((number, reason.to_owned())),
                Reaction::Fail(kind) => {
                    return Err(Fault { kind, message: format!("a fake {}", kind.code()) });
                }
                Reaction::Panic => panic!("a fake panic"),
            }
        }
        let one_to_one =
            input_rows.iter().copied().eq(0..u32::try_from(input.num_rows()).unwrap_or(u32::MAX));
        if one_to_one {
            input_rows.clear();
        }
        Ok(TransformOutput { columns: columns(keys, values, times), input_rows, rejected })
    }

    fn rest(&mut self) {
        self.counts.rests.fetch_add(1, Ordering::SeqCst);
    }
}

fn row_of(input: &RecordBatch, row: usize) -> Row {
    let keys = input.column(0).as_string::<i32>();
    let values = input.column(1).as_primitive::<Int64Type>();
    let times = input.column(2).as_primitive::<TimestampMicrosecondType>();
    (
        keys.is_valid(row).then(|| keys.value(row).to_owned()),
        values.is_valid(row).then(|| values.value(row)),
        times.is_valid(row).then(|| times.value(row)),
    )
}

/// A view that fits the fakes: join key `key`, feature `value`.
pub fn shape(view: &str, source: &str) -> ViewRef {
    Arc::new(ViewShape {
        project: "test".to_owned(),
        name: view.to_owned(),
        source: source.to_owned(),
        id: "0".repeat(32),
        keys: vec![Field::required("key", DataType::String)],
        features: vec![Field::nullable("value", DataType::Int64)],
        ttl_micros: None,
        online: true,
    })
}

/// Options that fit the fakes.
pub fn options(view: &str) -> TransformOptions {
    TransformOptions { view: view.into(), params: "{}".to_owned(), limits: Limits::default() }
}
