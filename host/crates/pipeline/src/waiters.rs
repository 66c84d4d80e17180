//! Those who wait until events are visible online: pushes that are answered after the write.
//!
//! Costs one atomic load for each applied batch while nobody waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use arc_swap::ArcSwap;
use model::position::{Partition, Position};
use model::status::WaitError;

use crate::pool::lock;
use crate::timer::Timer;
use crate::view::View;

/// The views of one source, and who waits for them.
pub(crate) struct Waiters {
    /// The views that use the source.
    pub(crate) views: ArcSwap<Vec<Arc<View>>>,
    /// Length of the list: looked at without its lock.
    count: AtomicUsize,
    list: Mutex<List>,
    timer: Arc<Timer>,
    /// The host is stopping: views that stop were not taken away.
    closing: AtomicBool,
}

#[derive(Default)]
struct List {
    waiting: Vec<Waiting>,
    /// When the timer looks for those whose time is up, if it does.
    sweep: Option<Instant>,
}

struct Waiting {
    partition: Partition,
    through: Position,
    deadline: Instant,
    /// Gone when the one who waited has given up.
    answer: Weak<Answer>,
}

#[derive(Default)]
struct Answer {
    state: Mutex<AnswerState>,
}

#[derive(Default)]
struct AnswerState {
    outcome: Option<Result<(), WaitError>>,
    waker: Option<Waker>,
}

impl Waiters {
    pub(crate) fn new(timer: Arc<Timer>) -> Self {
        let (count, list) = (AtomicUsize::new(0), Mutex::new(List::default()));
        Self { views: ArcSwap::default(), count, list, timer, closing: AtomicBool::new(false) }
    }

    /// Resolves once every view that keeps rows online has applied the partition through this position.
    pub(crate) fn wait(
        self: &Arc<Self>,
        partition: &Partition,
        through: Position,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), WaitError>> + Send + use<> {
        let answer = Arc::new(Answer::default());
        let waiting =
            Waiting { partition: partition.clone(), through, deadline, answer: Arc::downgrade(&answer) };
        let mut list = lock(&self.list);
        list.waiting.push(waiting);
        self.count.store(list.waiting.len(), Ordering::SeqCst);
        self.arm(&mut list, deadline);
        drop(list);
        // Those who move marks look at the count after it; whoever comes second sees the other.
        fence(Ordering::SeqCst);
        self.settle(Some(partition));
        Waited { answer }
    }

    /// The host is stopping: what is not applied when its view has stopped will not be.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Something has moved: a mark of this partition, or the state of a view.
    pub(crate) fn moved(self: &Arc<Self>, partition: Option<&Partition>) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) > 0 {
            self.settle(partition);
        }
    }

    fn settle(self: &Arc<Self>, partition: Option<&Partition>) {
        let now = Instant::now();
        let views = self.views.load();
        let closing = self.closing.load(Ordering::Acquire);
        let mut answered = Vec::new();
        let mut list = lock(&self.list);
        list.waiting.retain(|waiting| {
            let Some(answer) = waiting.answer.upgrade() else { return false };
            let late = waiting.deadline <= now;
            if !late && partition.is_some_and(|partition| *partition != waiting.partition) {
                return true;
            }
            match outcome(&views, waiting, late, closing) {
                Some(outcome) => {
                    answered.push((answer, outcome));
                    false
                }
                None => true,
            }
        });
        self.count.store(list.waiting.len(), Ordering::SeqCst);
        if list.sweep.is_some_and(|sweep| sweep <= now) {
            list.sweep = None;
            if let Some(next) = list.waiting.iter().map(|waiting| waiting.deadline).min() {
                self.arm(&mut list, next);
            }
        }
        drop(list);
        for (answer, outcome) in answered {
            let mut state = lock(&answer.state);
            state.outcome = Some(outcome);
            let waker = state.waker.take();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Has the timer look at the list at the first deadline: one alarm for all, not one for each.
    fn arm(self: &Arc<Self>, list: &mut List, deadline: Instant) {
        if list.sweep.is_none_or(|sweep| deadline < sweep) {
            list.sweep = Some(deadline);
            self.timer.wake_at(deadline, Waker::from(Arc::clone(self)));
        }
    }
}

/// The timer's call: somebody's time is up.
impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.settle(None);
    }
}

fn outcome(
    views: &[Arc<View>],
    waiting: &Waiting,
    late: bool,
    closing: bool,
) -> Option<Result<(), WaitError>> {
    let mut missing = None;
    for view in views.iter().filter(|view| view.is_online()) {
        if Some(waiting.through) <= view.applied(&waiting.partition) {
            continue;
        }
        match view.not_running() {
            // Its file is gone: it is not a view on the source any more.
            Some("draining" | "stopped") if !closing => {}
            Some(state) => return Some(Err(WaitError::NotRunning { view: view.name.to_string(), state })),
            None => missing = missing.or(Some(view)),
        }
    }
    match missing {
        None => Some(Ok(())),
        Some(view) if late => Some(Err(WaitError::TimedOut { view: view.name.to_string() })),
        Some(_) => None,
    }
}

struct Waited {
    answer: Arc<Answer>,
}

impl Future for Waited {
    type Output = Result<(), WaitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.answer.state);
        match state.outcome.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
