//! A network that does what networks do: it is slow, it stalls, it breaks, it garbles. Between a client and a server.
//!
//! Every byte goes through threads of this process. Between a client and a Kafka broker they go frame by frame, so that
//! single kinds of requests can be held back: Kafka's frames begin with their size; those of requests go on with the
//! API key, those of both with the number that a reply repeats. Encrypted streams have no such frames and cannot go
//! through. To any other server bytes go as they come, and each piece of them is [`api::BYTES`].

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::wait::LIMIT;

/// Kafka's numbers for kinds of requests.
pub mod api {
    /// Bytes of whatever kind, for servers other than Kafka's.
    pub const BYTES: i16 = i16::MIN;
    /// Produce records.
    pub const PRODUCE: i16 = 0;
    /// Fetch records.
    pub const FETCH: i16 = 1;
    /// Commit offsets.
    pub const OFFSET_COMMIT: i16 = 8;
    /// Stay in a group.
    pub const HEARTBEAT: i16 = 12;
    /// Begin to produce in transactions.
    pub const INIT_PRODUCER_ID: i16 = 22;
    /// Send offsets within a transaction to their coordinator.
    pub const ADD_OFFSETS: i16 = 25;
    /// Commit or abort a transaction.
    pub const END_TXN: i16 = 26;
}

/// A frame larger than this is a fault of the test, not a frame.
const MAX_FRAME: usize = 128 << 20;
/// The most bytes that go through at once where there are no frames.
const PIECE: usize = 64 << 10;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Requests.
    ToBroker,
    /// Replies.
    ToClient,
}

/// What happens to frames of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// It waits, and all behind it, until [`Proxy::mend`].
    Hold,
    /// It does not arrive.
    Swallow,
    /// One byte of it arrives changed.
    Corrupt,
}

/// A proxy on a port of its own. Passes everything on until it is told otherwise.
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    broker: u16,
    /// Whether bytes are to go as they come.
    frameless: bool,
    /// Each frame waits this long.
    latency: Duration,
    /// Bytes a second to the broker, of one connection; 0 = as they come.
    rate: u64,
    stalled: bool,
    refused: bool,
    /// What to do with the next so many frames of a kind.
    rules: Vec<(Way, i16, Action, u64)>,
    /// How many frames of each kind met a rule, until it was mended.
    met: BTreeMap<(Way, i16), u64>,
    /// Counts the calls of [`Proxy::mend`]: whoever waits sees that its rule is gone.
    epoch: u64,
    open: Vec<TcpStream>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

impl Proxy {
    /// Listens on a free port. Leads nowhere yet.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        thread::spawn({
            let shared = shared.clone();
            move || {
                for client in listener.incoming().flatten() {
                    connect(&shared, &client);
                }
            }
        });
        Self { shared, port }
    }

    /// Listens on a free port, and leads to a server on loopback that need not be one of Kafka's.
    pub fn to(port: u16) -> Self {
        let proxy = Self::new();
        proxy.shared.change(|state| state.frameless = true);
        proxy.lead_to(port);
        proxy
    }

    /// Leads to another port from now on; connections that are there stay as they are.
    pub fn lead_to(&self, broker: u16) {
        self.shared.change(|state| state.broker = broker);
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, as clients want it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Every frame takes this much longer, either way.
    pub fn latency(&self, latency: Duration) {
        self.shared.change(|state| state.latency = latency);
    }

    /// Each connection sends at most so many bytes a second to the broker.
    pub fn limit(&self, rate: u64) {
        self.shared.change(|state| state.rate = rate);
    }

    /// Nothing arrives any more, and nobody is told.
    pub fn stall(&self) {
        self.shared.change(|state| state.stalled = true);
    }

    /// Ends every connection; new ones are taken.
    pub fn cut(&self) {
        self.shared.change(|state| {
            for socket in state.open.drain(..) {
                // Its threads end, and close it.
                drop(socket.shutdown(Shutdown::Both));
            }
        });
    }

    /// Ends every connection, new ones too.
    pub fn refuse(&self) {
        self.shared.change(|state| state.refused = true);
        self.cut();
    }

    /// Frames of this kind wait until [`Proxy::mend`], and everything behind them on their connection. What is held
    /// arrives after the mending even if its sender has gone.
    pub fn hold(&self, way: Way, api: i16) {
        self.rule(way, api, Action::Hold, u64::MAX);
    }

    /// The next so many frames of this kind do not arrive.
    pub fn swallow(&self, way: Way, api: i16, count: u64) {
        self.rule(way, api, Action::Swallow, count);
    }

    /// The next so many frames of this kind arrive with a byte changed: within the records of requests, in the number
    /// of replies.
    pub fn corrupt(&self, way: Way, api: i16, count: u64) {
        self.rule(way, api, Action::Corrupt, count);
    }

    fn rule(&self, way: Way, api: i16, action: Action, count: u64) {
        self.shared.change(|state| {
            state.met.remove(&(way, api));
            state.rules.push((way, api, action, count));
        });
    }

    /// Waits until so many frames of a kind have met their rule.
    #[track_caller]
    pub fn met(&self, way: Way, api: i16, count: u64) {
        let started = Instant::now();
        let mut state = self.shared.state();
        while state.met.get(&(way, api)).copied().unwrap_or_default() < count {
            let left = LIMIT.saturating_sub(started.elapsed());
            assert!(!left.is_zero(), "no frame with API key {api} came {way:?}");
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends every fault. Connections that were ended stay so.
    pub fn mend(&self) {
        self.shared.change(|state| {
            state.latency = Duration::ZERO;
            state.rate = 0;
            state.stalled = false;
            state.refused = false;
            state.rules.clear();
            state.epoch += 1;
        });
    }
}

/// Joins a client to the broker, with a thread for each way.
fn connect(shared: &Arc<Shared>, client: &TcpStream) {
    let (broker, frameless) = {
        let state = shared.state();
        if state.refused {
            return;
        }
        (state.broker, state.frameless)
    };
    // A broker that is not there is a closed connection to the client.
    let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)) else { return };
    // Waiting for more to send would be a latency that nobody asked for.
    drop((client.set_nodelay(true), broker.set_nodelay(true)));
    let sockets = || Some((client.try_clone().ok()?, broker.try_clone().ok()?));
    let (Some(ours), Some((client_in, broker_out)), Some((client_out, broker_in))) =
        (sockets(), sockets(), sockets())
    else {
        return;
    };
    {
        let mut state = shared.state();
        // Refused meanwhile: nobody would cut it.
        if state.refused {
            return;
        }
        state.open.extend([ours.0, ours.1]);
    }
    // API keys of requests that have no reply yet, by their number.
    let pending = Arc::new(Mutex::new(HashMap::new()));
    for (way, from, to) in [(Way::ToBroker, client_in, broker_out), (Way::ToClient, broker_in, client_out)] {
        let (shared, pending) = (shared.clone(), pending.clone());
        thread::spawn(move || {
            // Ends when either side does; the other is told.
            drop(if frameless {
                pour(&shared, way, &from, &to)
            } else {
                pump(&shared, way, &from, &to, &pending)
            });
            drop((from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write)));
        });
    }
}

fn pump(
    shared: &Shared,
    way: Way,
    mut from: &TcpStream,
    mut to: &TcpStream,
    pending: &Mutex<HashMap<i32, i16>>,
) -> io::Result<()> {
    loop {
        let mut size = [0; 4];
        from.read_exact(&mut size)?;
        let length = usize::try_from(i32::from_be_bytes(size)).ok().filter(|length| *length <= MAX_FRAME);
        let mut frame = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
        from.read_exact(&mut frame)?;
        let api = kind(way, &frame, pending);
        if !weather(shared, way, api, &mut frame) {
            continue;
        }
        to.write_all(&size)?;
        to.write_all(&frame)?;
    }
}

/// The same for bytes without frames.
fn pour(shared: &Shared, way: Way, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let piece = &mut buffer[..count];
        if weather(shared, way, api::BYTES, piece) {
            to.write_all(piece)?;
        }
    }
}

/// The API key of a frame; -1 for one that is none.
fn kind(way: Way, frame: &[u8], pending: &Mutex<HashMap<i32, i16>>) -> i16 {
    let number = |from: usize| {
        frame.get(from..from + 4).and_then(|bytes| Some(i32::from_be_bytes(bytes.try_into().ok()?)))
    };
    let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
    match way {
        Way::ToBroker => {
            let Some(&[high, low]) = frame.get(..2) else { return -1 };
            let api = i16::from_be_bytes([high, low]);
            if let Some(number) = number(4) {
                pending.insert(number, api);
            }
            api
        }
        Way::ToClient => number(0).and_then(|number| pending.remove(&number)).unwrap_or(-1),
    }
}

/// What the network makes of a frame: it may take time or change it; `false` = it is lost.
fn weather(shared: &Shared, way: Way, api: i16, frame: &mut [u8]) -> bool {
    let mut state = shared.state();
    let epoch = state.epoch;
    let rule = state.rules.iter().position(|(w, a, _, count)| (*w, *a) == (way, api) && *count > 0);
    let action = rule.map(|index| {
        let rule = &mut state.rules[index];
        rule.3 = rule.3.saturating_sub(u64::from(rule.3 != u64::MAX));
        rule.2
    });
    if action.is_some() {
        *state.met.entry((way, api)).or_default() += 1;
        shared.changed.notify_all();
    }
    match action {
        Some(Action::Swallow) => return false,
        Some(Action::Corrupt) => {
            let at = match way {
                // Records stand at the end, and a checksum is over them.
                Way::ToBroker => frame.len().saturating_sub(2),
                Way::ToClient => 0,
            };
            if let Some(byte) = frame.get_mut(at) {
                *byte ^= 0x55;
            }
        }
        Some(Action::Hold) => {
            while state.epoch == epoch {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        None => {}
    }
    let mut wait = state.latency;
    if way == Way::ToBroker && state.rate > 0 {
        wait += Duration::from_micros(frame.len() as u64 * 1_000_000 / state.rate);
    }
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if state.stalled {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        } else if left.is_zero() || state.epoch != epoch {
            return true;
        } else {
            state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
