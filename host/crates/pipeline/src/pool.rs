//! Threads that run work units, one turn at a time, and the states of a unit between them.
//!
//! Guest calls and blocking notes in the ledger happen here, never on the async runtime's threads. A unit never waits
//! in a turn for another party: it hands its waker to whatever it waits for and gives the thread back. The queue holds
//! each unit at most once, so it is bounded by the number of units.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

/// After how long without work a thread ends. New ones cost some ten microseconds, idle ones a stack.
const THREAD_REST: Duration = Duration::from_secs(10);

/// What a unit wants after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Another turn, behind the others that are ready.
    Again,
    /// A turn once its waker is called.
    Wait,
    /// None: it is finished and is dropped.
    Done,
}

/// Something that is run in turns.
pub(crate) trait Work: Send {
    /// One turn. `task` is what wakes this work up again.
    fn turn(&mut self, task: &Arc<Task>) -> Turn;

    /// A turn panicked: nothing of its state can be trusted except what is published.
    fn panicked(&mut self, message: &str) -> Turn;
}

/// Locks a mutex. A panic in a turn is caught inside of the lock, so that no guard is ever poisoned half-way.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing to do until somebody wakes it.
const IDLE: u8 = 0;
/// In the queue.
const QUEUED: u8 = 1;
/// On a thread.
const RUNNING: u8 = 2;
/// On a thread, and woken meanwhile: it has to run again.
const WOKEN: u8 = 3;
/// Finished.
const DONE: u8 = 4;

/// Work and its place in the pool.
pub(crate) struct Task {
    state: AtomicU8,
    /// `None` once it is done.
    work: Mutex<Option<Box<dyn Work>>>,
    pool: Arc<Shared>,
}

impl Task {
    /// Makes sure that the work gets a turn that begins after this call.
    pub(crate) fn schedule(self: &Arc<Self>) {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let next = match state {
                IDLE => QUEUED,
                RUNNING => WOKEN,
                _ => return,
            };
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(IDLE) => return self.pool.push(Arc::clone(self)),
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }

    fn run(self: Arc<Self>) {
        self.state.store(RUNNING, Ordering::Release);
        let mut work = lock(&self.work);
        let turn = match work.as_mut() {
            Some(work) => one_turn(work.as_mut(), &self),
            None => Turn::Done,
        };
        if turn == Turn::Done {
            self.state.store(DONE, Ordering::Release);
            *work = None;
            return;
        }
        drop(work);
        let idle = turn == Turn::Wait
            && self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !idle {
            self.state.store(QUEUED, Ordering::Release);
            let pool = Arc::clone(&self.pool);
            pool.push_back_own(self);
        }
    }
}

fn one_turn(work: &mut dyn Work, task: &Arc<Task>) -> Turn {
    catch_unwind(AssertUnwindSafe(|| work.turn(task))).unwrap_or_else(|panic| {
        let message = panic_message(panic.as_ref());
        // A second panic, in the clean-up, ends the unit: there is nothing left to rely on.
        catch_unwind(AssertUnwindSafe(|| work.panicked(&message))).unwrap_or(Turn::Done)
    })
}

/// The text of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.schedule();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.schedule();
    }
}

/// A first-in, first-out pool of threads that come and go with the work. Threads end when the pool is dropped.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    threads_max: usize,
}

struct Queue {
    tasks: VecDeque<Arc<Task>>,
    /// Threads that sleep, including those that were woken and have not got the lock yet.
    idle: usize,
    threads: usize,
    /// For the names of threads.
    spawned: usize,
    closed: bool,
}

impl Pool {
    /// A pool of at most that many threads; none is started before there is work.
    pub(crate) fn new(threads_max: usize) -> Self {
        let queue = Queue { tasks: VecDeque::new(), idle: 0, threads: 0, spawned: 0, closed: false };
        let shared =
            Shared { queue: Mutex::new(queue), ready: Condvar::new(), threads_max: threads_max.max(1) };
        Self { shared: Arc::new(shared) }
    }

    /// Adds work, made with its own waker. It gets its first turn when it is scheduled.
    pub(crate) fn add(&self, make: impl FnOnce(Waker) -> Box<dyn Work>) -> Arc<Task> {
        let task = Arc::new(Task {
            state: AtomicU8::new(IDLE),
            work: Mutex::new(None),
            pool: Arc::clone(&self.shared),
        });
        // The lock is held meanwhile, so that a turn which comes too early finds the work.
        let mut work = lock(&task.work);
        *work = Some(make(Waker::from(Arc::clone(&task))));
        drop(work);
        task
    }
}

impl Pool {
    /// Ends the threads after their turns; what is queued gets no more.
    pub(crate) fn close(&self) {
        let mut queue = lock(&self.shared.queue);
        queue.closed = true;
        let tasks = std::mem::take(&mut queue.tasks);
        drop(queue);
        // Tasks refer to the pool: they are dropped without its lock.
        drop(tasks);
        self.shared.ready.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn push(self: &Arc<Self>, task: Arc<Task>) {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return;
        }
        queue.tasks.push_back(task);
        if queue.tasks.len() > queue.idle && queue.threads < self.threads_max {
            queue.threads += 1;
            queue.spawned += 1;
            let name = format!("flow-{}", queue.spawned);
            drop(queue);
            self.spawn(name);
        } else if queue.idle > 0 {
            drop(queue);
            self.ready.notify_one();
        }
    }

    /// A thread queues what it has just run. It takes the next task itself, so nobody has to be woken.
    fn push_back_own(&self, task: Arc<Task>) {
        let mut queue = lock(&self.queue);
        if !queue.closed {
            queue.tasks.push_back(task);
        }
    }

    fn spawn(self: &Arc<Self>, name: String) {
        let shared = Arc::clone(self);
        let spawned = thread::Builder::new().name(name).spawn(move || shared.work());
        if let Err(error) = spawned {
            // The others go on; the next task that becomes ready tries again.
            lock(&self.queue).threads -= 1;
            tracing::error!(%error, "failed to start a thread for transforms");
        }
    }

    fn work(&self) {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                drop(queue);
                task.run();
                queue = lock(&self.queue);
            } else if queue.closed {
                break;
            } else {
                queue.idle += 1;
                let (woken, timeout) =
                    self.ready.wait_timeout(queue, THREAD_REST).unwrap_or_else(PoisonError::into_inner);
                queue = woken;
                queue.idle -= 1;
                if timeout.timed_out() && queue.tasks.is_empty() {
                    break;
                }
            }
        }
        queue.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::{SyncSender, sync_channel};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    struct Counting {
        turns: usize,
        done: SyncSender<&'static str>,
        running: Arc<AtomicUsize>,
    }

    impl Work for Counting {
        fn turn(&mut self, _task: &Arc<Task>) -> Turn {
            assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0, "a unit is on one thread at a time");
            self.running.fetch_sub(1, Ordering::SeqCst);
            self.turns += 1;
            match self.turns {
                1..10 => Turn::Again,
                10 => Turn::Wait,
                11 => panic!("turn {}", self.turns),
                _ => Turn::Done,
            }
        }

        fn panicked(&mut self, message: &str) -> Turn {
            assert_eq!(message, "turn 11");
            self.done.send("panicked").unwrap();
            Turn::Done
        }
    }

    #[test]
    fn a_unit_gets_turns_until_it_is_done_and_a_panic_stays_in_it() {
        let pool = Pool::new(4);
        let (done, finished) = sync_channel(100);
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let running = Arc::new(AtomicUsize::new(0));
                pool.add(|_| Box::new(Counting { turns: 0, done: done.clone(), running }))
            })
            .collect();
        tasks.iter().for_each(Task::schedule);
        // Wake each until it reaches the turn that panics.
        for task in &tasks {
            while lock(&task.work).is_some() {
                task.schedule();
                thread::yield_now();
            }
        }
        for _ in 0..20 {
            assert_eq!(finished.recv_timeout(LIMIT).unwrap(), "panicked");
        }
    }
}
