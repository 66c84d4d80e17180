//! The answer to one emission, and who waits for it.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use model::error::Failure;

/// An answer to one emission.
pub(crate) type Answer = Result<(), Failure>;

/// Where the answer is put, and one task waits for it.
#[derive(Default)]
pub(crate) struct Reply(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl Reply {
    /// Says what became of it; the first answer counts.
    pub(crate) fn set(&self, answer: Answer) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.answer.get_or_insert(answer);
        if let Some(waker) = waiting.waker.take() {
            drop(waiting);
            waker.wake();
        }
    }

    /// The answer; later the task is woken.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Answer> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &waiting.answer {
            Some(Ok(())) => Poll::Ready(Ok(())),
            Some(Err(failure)) => Poll::Ready(Err(again(failure))),
            None => {
                if !waiting.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    waiting.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

/// The same failure for one more of those who wait.
pub(crate) fn again(failure: &Failure) -> Failure {
    Failure { disposition: failure.disposition, message: failure.to_string(), source: None }
}
