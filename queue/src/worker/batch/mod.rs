//! Many tasks in one call: how they are gathered, and what a handler of them is given. How they are handed over, and what
//! becomes of them, is in `batched`; who waits for whom in `gather`.

mod batched;
mod gather;

use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::batched::Batched;
use super::{LeasedTask, MAX_CONCURRENCY, Outcome};
use crate::TaskId;
use crate::shared::lock;

/// Longest wait of a task for others to run with.
pub const MAX_BATCH_WAIT: Duration = Duration::from_mins(1);

/// How tasks are gathered to run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    max: usize,
    wait: Duration,
}

impl Batching {
    /// Batches of up to `max` tasks, 1 to [`MAX_CONCURRENCY`], of which the first has waited for at most `wait`, up to
    /// [`MAX_BATCH_WAIT`]; what is outside is brought inside. A task holds a slot while it waits, so a `max` above the
    /// worker's concurrency is never reached.
    pub fn new(max: usize, wait: Duration) -> Self {
        Self {
            max: max.clamp(1, MAX_CONCURRENCY),
            wait: wait.min(MAX_BATCH_WAIT),
        }
    }
}

/// Runs many tasks of one type in one call. [`Batched`] makes a [`Handler`](super::Handler) of it.
pub trait BatchHandler: Send + Sync + 'static {
    /// Runs the tasks, and ends each. One that it leaves without an outcome has failed; so has each of them after a
    /// panic. It is dropped at its next `await` when the shortest of the tasks' timeouts is over, from when it was
    /// called, or when nobody waits for an outcome any more: all have one, are cancelled, or the worker is done
    /// draining. What has an outcome by then keeps it.
    fn handle_batch(&self, batch: &Batch) -> impl Future<Output = ()> + Send;

    /// As [`Handler::available`](super::Handler::available).
    fn available(&self) -> bool {
        true
    }
}

/// Tasks that run together, all of one type.
#[derive(Debug)]
pub struct Batch {
    members: Vec<Member>,
}

impl Batch {
    /// The tasks, and who waits for their outcomes.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Ends a task. `false` if the batch has none of this id that waits for an outcome.
    pub fn end(&self, id: TaskId, outcome: Outcome) -> bool {
        let mut members = self.members.iter();
        let member = members.find(|member| member.task.id == id && member.is_open());
        member.is_some_and(|member| member.end(outcome))
    }

    /// Ends all that have no outcome yet.
    pub fn end_rest(&self, outcome: impl Fn(&LeasedTask) -> Outcome) {
        for member in self.members.iter().filter(|member| member.is_open()) {
            member.end(outcome(&member.task));
        }
    }

    /// When the time of the first is over that has no outcome yet, of a batch that was handed over at `begun`.
    fn deadline(&self, begun: Instant) -> Option<Instant> {
        let open = self.members.iter().filter(|member| member.is_open());
        open.map(|Member { task, .. }| {
            let given = begun + task.timeout;
            let asked_for = task.lease.extension_of(task.id);
            asked_for.map_or(given, |later| later.max(given))
        })
        .min()
    }

    /// Resolves when nobody waits for an outcome any more.
    async fn is_abandoned(&self) {
        for member in &self.members {
            member.abandoned().await;
        }
    }
}

/// A task of a batch.
#[derive(Debug)]
pub struct Member {
    task: LeasedTask,
    /// Cancelled when nobody waits for its outcome any more.
    abandoned: CancellationToken,
    outcome: Mutex<Option<oneshot::Sender<Outcome>>>,
}

impl Member {
    /// The task.
    pub fn task(&self) -> &LeasedTask {
        &self.task
    }

    /// Ends it. `false` if it has an outcome, or nobody waits for one.
    pub fn end(&self, outcome: Outcome) -> bool {
        let waits = lock(&self.outcome).take();
        waits.is_some_and(|waits| waits.send(outcome).is_ok())
    }

    /// Whether somebody waits for its outcome.
    pub fn is_open(&self) -> bool {
        !self.abandoned.is_cancelled() && lock(&self.outcome).is_some()
    }

    /// Resolves when nobody waits for its outcome any more: it has one, was cancelled and has not ended by itself, or the
    /// worker has lost its lease or is done draining.
    pub async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }
}
