//! Busy polling: whoever waits for an answer that comes within a moment looks for it instead of
//! going to sleep. An idle core takes some 30 µs to wake, as long as the answer itself when Redis
//! is on the same machine. Over a network it is not worth it, and not done.
//!
//! Whatever else there is to do goes first: other tasks of the runtime, other threads of the core.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::poll;
use tokio::runtime::Handle;

/// What is known of how soon the answers of one connection come.
pub(crate) struct BusyPoll {
    /// An answer that comes sooner than this is worth looking for, and no answer is looked for
    /// longer.
    limit: Duration,
    /// Whether the last one came sooner.
    quick: AtomicBool,
}

impl BusyPoll {
    /// Looks for nothing until an answer took less than `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            quick: AtomicBool::new(false),
        }
    }

    /// Waits for the answer of `call`.
    pub(crate) async fn answer<F: Future>(&self, call: F) -> F::Output {
        let begun = Instant::now();
        let mut call = pin!(call);
        if self.quick.load(Ordering::Relaxed) && is_only_thread() {
            while begun.elapsed() < self.limit {
                if let Poll::Ready(answer) = poll!(call.as_mut()) {
                    return answer;
                }
                // Redis itself may wait for this core.
                std::thread::yield_now();
                // Other tasks, and then what has come over the network.
                tokio::task::yield_now().await;
            }
        }
        let answer = call.await;
        let quick = begun.elapsed() < self.limit;
        self.quick.store(quick, Ordering::Relaxed);
        answer
    }
}

/// Whether the runtime has one thread. Of several, another one waits for the network, and would have
/// to be woken all the same.
fn is_only_thread() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.metrics().num_workers() == 1)
}

#[cfg(test)]
mod tests {
    use std::future::{poll_fn, ready};

    use tokio::time::timeout;

    use super::*;

    /// After which an answer that nobody looks for is given up.
    const A_WHILE: Duration = Duration::from_millis(50);
    const FOREVER: Duration = Duration::from_hours(1);

    /// How many looks the second answer took; it wakes nobody. `None` if it was slept for.
    async fn looks(limit: Duration) -> Option<usize> {
        let polling = BusyPoll::new(limit);
        polling.answer(ready(())).await;
        let mut looks = 0;
        let third = poll_fn(|_| {
            looks += 1;
            if looks < 3 {
                return Poll::Pending;
            }
            Poll::Ready(looks)
        });
        timeout(A_WHILE, polling.answer(third)).await.ok()
    }

    #[tokio::test]
    async fn after_a_quick_answer_the_next_is_looked_for() {
        assert_eq!(looks(FOREVER).await, Some(3));
    }

    #[tokio::test]
    async fn after_a_slow_answer_the_next_is_slept_for() {
        assert_eq!(looks(Duration::ZERO).await, None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_several_threads_none_looks() {
        assert_eq!(tokio::spawn(looks(FOREVER)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn nothing_is_looked_for_longer_than_the_limit() {
        let limit = A_WHILE / 10;
        let polling = BusyPoll::new(limit);
        polling.quick.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        let mut late = 0;
        let never = poll_fn(|_| {
            late += usize::from(begun.elapsed() >= limit);
            Poll::<()>::Pending
        });
        assert!(timeout(A_WHILE, polling.answer(never)).await.is_err());
        // The runtime wakes it a few times; looking for all that while would be thousands.
        assert!(late < 20, "{late}");
    }
}
