//! A handler of single tasks that gathers them for a handler of batches. Each attempt waits in its own call, so that
//! leases, cancellation and drains go on for each task by itself; the call of a batch is a task of the runtime.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::gather::Gather;
use super::{Batch, BatchHandler, Batching, Member};
use crate::shared::lock;
use crate::worker::attempt::text_of;
use crate::worker::{Handler, LeasedTask, Outcome};

/// A [`Handler`] that has a [`BatchHandler`] run many tasks in one call. Tasks of a type are gathered until there are
/// enough, the first has waited long enough, or the worker drains; batches of several types, and several of one, may run
/// at a time. A task's timeout runs from when its batch is handed over, not while it waits. Clones share what they
/// gather.
#[derive(Debug)]
pub struct Batched<B>(Arc<Inner<B>>);

#[derive(Debug)]
struct Inner<B> {
    handler: B,
    gather: Mutex<Gather<Member>>,
}

impl<B> Clone for Batched<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: BatchHandler> Batched<B> {
    /// Gathers tasks for this handler.
    pub fn new(handler: B, batching: Batching) -> Self {
        let gather = Mutex::new(Gather::new(batching));
        Self(Arc::new(Inner { handler, gather }))
    }

    /// Lets a task wait for others; it may be the one that makes a batch full.
    fn enter(&self, task: LeasedTask) -> Waiting<'_, B> {
        task.lease.leave_time_to_handler(task.id);
        let kind = task.kind.clone();
        let (sender, outcome) = oneshot::channel();
        let abandoned = CancellationToken::new();
        let member = Member {
            task,
            abandoned: abandoned.clone(),
            outcome: Mutex::new(Some(sender)),
        };
        let (number, full, due) = {
            let mut gather = lock(&self.0.gather);
            // In here, so that whoever enters later does so at a later time.
            let now = Instant::now();
            let due = now + gather.wait();
            let (number, full) = gather.enter(&kind, now, member);
            (number, full, due)
        };
        let waiting = Waiting {
            gather: &self.0,
            kind,
            number,
            due,
            abandoned,
            outcome,
        };
        self.begin(full);
        waiting
    }

    fn begin(&self, batches: impl IntoIterator<Item = Vec<Member>>) {
        for members in batches {
            tokio::spawn(call(Arc::clone(&self.0), Batch { members }));
        }
    }
}

impl<B: BatchHandler> Handler for Batched<B> {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        let (id, lease) = (task.id, task.lease.clone());
        let mut waiting = self.enter(task);
        let (mut is_due, mut cancelled) = (false, false);
        loop {
            tokio::select! {
                biased;
                outcome = &mut waiting.outcome => return outcome.unwrap_or(Outcome::Released),
                // The task may be running elsewhere by now.
                () = lease.is_lost() => return Outcome::Released,
                // In a batch it has some seconds to end by itself.
                () = lease.cancelled(id), if !cancelled => {
                    cancelled = true;
                    if waiting.leave() {
                        return Outcome::Released;
                    }
                }
                () = tokio::time::sleep_until(waiting.due.into()), if !is_due => {
                    is_due = true;
                    let due = lock(&self.0.gather).due(Instant::now());
                    self.begin(due);
                }
            }
        }
    }

    fn available(&self) -> bool {
        self.0.handler.available()
    }

    fn draining(&self, draining: bool) {
        let waiting = lock(&self.0.gather).drain(draining);
        self.begin(waiting);
    }
}

/// A task that waits for others, and then for its outcome. Dropped before that, nobody waits for it any more.
struct Waiting<'a, B> {
    gather: &'a Inner<B>,
    kind: String,
    number: u64,
    due: Instant,
    abandoned: CancellationToken,
    outcome: oneshot::Receiver<Outcome>,
}

impl<B> Waiting<'_, B> {
    /// Takes it out of those that wait for others; `false` if it is in a batch by now.
    fn leave(&self) -> bool {
        let left = lock(&self.gather.gather).leave(&self.kind, self.number);
        left.is_some()
    }
}

impl<B> Drop for Waiting<'_, B> {
    fn drop(&mut self) {
        self.abandoned.cancel();
        self.leave();
    }
}

/// How the call of a batch came to its end.
enum End {
    Returned,
    Panicked(String),
    TimedOut(Duration),
    Abandoned,
}

/// Runs a batch to its end, after which each of its tasks has an outcome that anybody waits for.
async fn call<B: BatchHandler>(inner: Arc<Inner<B>>, batch: Batch) {
    let begun = Instant::now();
    // The call itself may panic too, not only the future it returns.
    let handled = AssertUnwindSafe(async { inner.handler.handle_batch(&batch).await });
    let end = tokio::select! {
        biased;
        handled = handled.catch_unwind() => match handled {
            Ok(()) => End::Returned,
            Err(panic) => End::Panicked(text_of(panic.as_ref()).to_owned()),
        },
        limit = time_out(&batch, begun) => End::TimedOut(limit),
        () = batch.is_abandoned() => End::Abandoned,
    };
    // What the handler said until it was dropped counts.
    batch.end_rest(|_| match &end {
        End::Returned => failed("the handler left the task of its batch without an outcome"),
        End::Panicked(text) => failed(&format!("panicked: {text}")),
        End::TimedOut(limit) => Outcome::TimedOut { limit: *limit },
        End::Abandoned => Outcome::Released,
    });
}

fn failed(error: &str) -> Outcome {
    Outcome::Retry {
        error: error.to_owned(),
        after: None,
    }
}

/// Resolves when the time of the first task is over that has no outcome yet; with how long that was.
async fn time_out(batch: &Batch, begun: Instant) -> Duration {
    loop {
        let Some(end) = batch.deadline(begun) else {
            // Nobody waits, which is told by the tasks themselves.
            return std::future::pending().await;
        };
        if end <= Instant::now() {
            return end - begun;
        }
        tokio::time::sleep_until(end.into()).await;
    }
}
