//! What a worker runs: the handler, the task it is given and the outcome it returns. No Redis here.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{Payload, QueueName, TaskId, WorkerId};

/// Runs tasks. Many at once, so it takes `&self`; it must not block its thread.
pub trait Handler: Send + Sync + 'static {
    /// Runs one attempt. It is dropped at its next `await` when the attempt's timeout or the
    /// worker's drain timeout is over. A panic is a failed attempt of this task and touches no
    /// other.
    fn handle(&self, task: LeasedTask) -> impl Future<Output = Outcome> + Send;
}

impl<F, Fut> Handler for F
where
    F: Fn(LeasedTask) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send,
{
    fn handle(&self, task: LeasedTask) -> impl Future<Output = Outcome> + Send {
        self(task)
    }
}

/// One attempt at a task, leased to this worker.
#[derive(Debug, Clone)]
pub struct LeasedTask {
    /// The task's id.
    pub id: TaskId,
    /// Its queue.
    pub queue: QueueName,
    /// Its type.
    pub kind: String,
    /// Its priority level.
    pub priority: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How often the task lost its worker before; such a run counts as no attempt.
    pub losses: u32,
    /// When it was enqueued.
    pub created: Timestamp,
    /// Its payload.
    pub payload: Payload,
    /// The longest this attempt may run.
    pub timeout: Duration,
    /// The worker that holds the lease.
    pub worker: WorkerId,
    pub(crate) lease: CancellationToken,
}

impl LeasedTask {
    /// Resolves when the worker has lost its lease: the task may be running elsewhere by now, and
    /// what this attempt returns will be dropped.
    pub async fn lease_lost(&self) {
        self.lease.cancelled().await;
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done, perhaps with a result. One above 64 KiB is dropped with a warning: the work is done.
    Completed(Option<Payload>),
    /// Failed: tried again as the policy says, or after exactly `after`, unless this was the last
    /// attempt.
    Retry {
        /// What went wrong; the first KiB is kept.
        error: String,
        /// The wait before the next attempt, instead of the policy's backoff.
        after: Option<Duration>,
    },
    /// Failed for good: straight to the dead letters.
    Dead {
        /// What went wrong; the first KiB is kept.
        error: String,
    },
    /// Handed back to the head of the queue; costs no attempt.
    Released,
}
