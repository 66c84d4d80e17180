//! A host without a flow: a clock that stands still, a store that is a map, sources that keep what they are given.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::future::BoxFuture;
use model::error::Failure;
use model::online::{Lookup, OnlineReader, StoredRow};
use model::position::{Partition, Position, RowVersion};
use model::source::{Point, Push, PushAck, PushError, PushRequest, RefusedRow};
use model::status::{Control, Overview, Rewound, ViewState, ViewStatus, WaitError};
use model::time::{Clock, EventTime};
use model::value::Value;
use model::view::ViewShape;

/// A clock that is set by hand.
pub(crate) struct FakeClock(pub(crate) AtomicI64);

impl Clock for FakeClock {
    fn now(&self) -> EventTime {
        EventTime(self.0.load(Ordering::Relaxed))
    }
}

/// Event time and features of a row, by view and key.
type StoredRows = HashMap<(String, String), (RowVersion, Vec<Value>)>;

/// A store that is a map.
#[derive(Default)]
pub(crate) struct FakeReader {
    rows: Mutex<StoredRows>,
    /// What the next read fails with.
    pub(crate) failure: Mutex<Option<Failure>>,
    /// How many views each read of several asked for.
    pub(crate) together: Mutex<Vec<usize>>,
}

impl FakeReader {
    /// Stores a row; `position` also tells it from others.
    pub(crate) fn put(
        &self,
        view: &str,
        key: &[Value],
        event_time: i64,
        position: u64,
        features: Vec<Value>,
    ) {
        let version = RowVersion {
            event_time,
            partition: Partition::new("0"),
            position: Position::from_u64(position),
            generation: 3,
            row: 0,
        };
        self.rows.lock().unwrap().insert((view.to_owned(), format!("{key:?}")), (version, features));
    }
}

impl OnlineReader for FakeReader {
    fn get(
        &self,
        view: &Arc<ViewShape>,
        keys: Vec<Vec<Value>>,
        features: Vec<usize>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredRow>>, Failure>> {
        let failure = self.failure.lock().unwrap().take();
        let rows = self.rows.lock().unwrap();
        let found = keys
            .iter()
            .map(|key| {
                assert!(!key.iter().any(Value::is_null), "a null key reached the store");
                let (version, values) = rows.get(&(view.name.clone(), format!("{key:?}")))?;
                let values = features.iter().map(|feature| values[*feature].clone()).collect();
                Some(StoredRow { version: version.clone(), values })
            })
            .collect();
        Box::pin(async move { failure.map_or(Ok(found), Err) })
    }

    fn get_all(
        &self,
        lookups: Vec<Lookup>,
    ) -> BoxFuture<'static, Result<Vec<Vec<Option<StoredRow>>>, Failure>> {
        self.together.lock().unwrap().push(lookups.len());
        let found: Vec<_> =
            lookups.into_iter().map(|one| self.get(&one.view, one.keys, one.features)).collect();
        Box::pin(futures_util::future::try_join_all(found))
    }
}

/// What a flow would say of itself.
#[derive(Default)]
pub(crate) struct FakeOverview {
    pub(crate) views: Mutex<BTreeMap<String, ViewStatus>>,
    /// What the next wait ends with.
    pub(crate) wait_error: Mutex<Option<WaitError>>,
    /// What was waited for.
    pub(crate) waits: Mutex<Vec<(String, Partition, Position)>>,
    /// What was rewound, and to where.
    pub(crate) rewinds: Mutex<Vec<(String, Point)>>,
    /// What the next rewind fails with.
    pub(crate) rewind_failure: Mutex<Option<Failure>>,
}

impl FakeOverview {
    /// Changes the state of a view.
    pub(crate) fn set_state(&self, view: &str, state: ViewState) {
        self.views.lock().unwrap().get_mut(view).unwrap().state = state;
    }
}

impl Overview for FakeOverview {
    fn views(&self) -> Vec<ViewStatus> {
        self.views.lock().unwrap().values().cloned().collect()
    }

    fn state(&self, view: &str) -> Option<ViewState> {
        self.views.lock().unwrap().get(view).map(|status| status.state.clone())
    }

    fn wait_applied(
        &self,
        source: &str,
        partition: &Partition,
        through: Position,
        _timeout: Duration,
    ) -> BoxFuture<'static, Result<(), WaitError>> {
        self.waits.lock().unwrap().push((source.to_owned(), partition.clone(), through));
        let error = self.wait_error.lock().unwrap().take();
        Box::pin(async move { error.map_or(Ok(()), Err) })
    }
}

impl Control for FakeOverview {
    fn rewind(&self, view: &str, to: &Point) -> Result<Rewound, Failure> {
        if let Some(failure) = self.rewind_failure.lock().unwrap().take() {
            return Err(failure);
        }
        let mut rewinds = self.rewinds.lock().unwrap();
        rewinds.push((view.to_owned(), to.clone()));
        let after = match to {
            Point::Numbers(numbers) => {
                let before = |number: &u64| number.checked_sub(1).map(Position::from_u64);
                numbers.iter().map(|(partition, number)| (partition.clone(), before(number))).collect()
            }
            _ => vec![(Partition::new("0"), None)],
        };
        Ok(Rewound { epoch: u32::try_from(rewinds.len()).unwrap(), partitions: after })
    }
}

/// A push source that keeps its events. Unless it is raw, an event must be a JSON object with the required columns.
pub(crate) struct FakePush {
    pub(crate) required: Vec<String>,
    pub(crate) raw: bool,
    pub(crate) taken: Mutex<Vec<String>>,
    /// What the next push fails with.
    pub(crate) error: Mutex<Option<PushError>>,
    producers: Mutex<HashMap<String, (u64, u32)>>,
}

impl FakePush {
    /// An empty source.
    pub(crate) fn new(required: &[&str], raw: bool) -> Self {
        Self {
            required: required.iter().map(|name| (*name).to_owned()).collect(),
            raw,
            taken: Mutex::default(),
            error: Mutex::default(),
            producers: Mutex::default(),
        }
    }

    fn check(&self, row: &[u8]) -> Result<(), String> {
        if self.raw {
            return Ok(());
        }
        let value: serde_json::Value = serde_json::from_slice(row).map_err(|error| error.to_string())?;
        let object = value.as_object().ok_or("not an object")?;
        match self.required.iter().find(|name| object.get(*name).is_none_or(serde_json::Value::is_null)) {
            Some(name) => {
                Err(format!("column `{name}` (string) is not nullable, but its value is missing or null"))
            }
            None => Ok(()),
        }
    }

    fn take(&self, request: &PushRequest) -> Result<PushAck, PushError> {
        if let Some(error) = self.error.lock().unwrap().take() {
            return Err(error);
        }
        let mut taken = self.taken.lock().unwrap();
        if let Some((producer, sequence)) = &request.producer {
            let mut producers = self.producers.lock().unwrap();
            if let Some((last, accepted)) = producers.get(producer) {
                if sequence == last {
                    return Ok(PushAck {
                        accepted: *accepted,
                        rejected: Vec::new(),
                        through: None,
                        repeated: true,
                    });
                }
                if sequence < last {
                    let (producer, sequence, last) = (producer.clone(), *sequence, *last);
                    return Err(PushError::OutOfSequence { producer, sequence, last });
                }
            }
            producers.insert(producer.clone(), (*sequence, u32::try_from(request.rows.len()).unwrap()));
        }
        let mut ack = PushAck { accepted: 0, rejected: Vec::new(), through: None, repeated: false };
        for (row, (start, end)) in (0..).zip(&request.rows) {
            let bytes = &request.body[*start as usize..*end as usize];
            match self.check(bytes) {
                Ok(()) => {
                    taken.push(String::from_utf8_lossy(bytes).into_owned());
                    ack.accepted += 1;
                    ack.through = Some(Position::from_u64(taken.len() as u64));
                }
                Err(message) => ack.rejected.push(RefusedRow { row, code: "decode", message }),
            }
        }
        Ok(ack)
    }
}

impl Push for FakePush {
    fn push(&self, request: PushRequest) -> BoxFuture<'static, Result<PushAck, PushError>> {
        let result = self.take(&request);
        Box::pin(async move { result })
    }

    fn partition(&self) -> Partition {
        Partition::new("0")
    }
}
