//! What a worker runs: the handler, the task it is given and the outcome it returns. No Redis here.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::lease::Lease;
use crate::payload::fits;
use crate::{Error, Payload, QueueName, TaskId, WorkerId};

/// Largest report of progress, in bytes.
const MOST_PROGRESS_BYTES: usize = 1_024;
/// Longest time that an attempt gets at once beyond the present.
const MOST_EXTENSION: Duration = Duration::from_hours(24);

/// Runs tasks. Many at once, so it takes `&self`; it must not block its thread.
pub trait Handler: Send + Sync + 'static {
    /// Runs one attempt. It is dropped at its next `await` when the attempt's timeout or the
    /// worker's drain timeout is over. A panic is a failed attempt of this task and touches no
    /// other.
    fn handle(&self, task: LeasedTask) -> impl Future<Output = Outcome> + Send;

    /// Whether it can take tasks now. While it cannot, none are fetched; it is asked about once a
    /// second.
    fn available(&self) -> bool {
        true
    }

    /// Told when the worker drains, so that no further task comes, and when tasks are to come again: whoever waits for
    /// more tasks begins with those that it has. It must return at once.
    fn draining(&self, draining: bool) {
        let _ = draining;
    }
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
    /// Since when it could run: its creation, or the time that it was due at.
    pub runnable: Timestamp,
    /// Its payload.
    pub payload: Payload,
    /// The longest this attempt may run.
    pub timeout: Duration,
    /// The worker that holds the lease.
    pub worker: WorkerId,
    /// The trace that the task belongs to, as a W3C `traceparent` header.
    pub trace_parent: Option<String>,
    /// The id of the span of the attempt before, if there was one and it was traced.
    pub last_span: Option<u64>,
    pub(super) lease: Lease,
}

impl LeasedTask {
    /// Resolves when the worker has lost its lease: the task may be running elsewhere by now, and
    /// what this attempt returns will be dropped.
    pub async fn lease_lost(&self) {
        self.lease.is_lost().await;
    }

    /// Resolves when someone has cancelled the task. The attempt has five seconds to end by itself
    /// before it is dropped; a result that it returns by then counts.
    pub async fn cancelled(&self) {
        self.lease.cancelled(self.id).await;
    }

    /// Says how far the attempt is: any JSON of up to 1 KiB. Whoever reads the task sees it within a
    /// second; what follows too fast is passed over.
    pub fn progress<T: Serialize + ?Sized>(&self, progress: &T) -> Result<(), Error> {
        let progress = Payload::of(progress)?;
        fits("progress", progress.as_bytes().len(), MOST_PROGRESS_BYTES)?;
        self.lease.progress(self.id, progress.into_bytes());
        Ok(())
    }

    /// Says in which span the attempt runs, as a W3C `traceparent` header: the next attempt, if there is
    /// one, learns of it.
    pub fn traced(&self, header: String) {
        self.lease.traced(self.id, header);
    }

    /// Gives the attempt more time: until `from_now` from now, at most a day. It never gets less than it
    /// has.
    pub fn extend(&self, from_now: Duration) {
        self.lease.extend(self.id, from_now.min(MOST_EXTENSION));
    }

    /// Adds a line to the task's log, of which the last 100 lines are kept and of each the first
    /// KiB.
    pub fn log(&self, line: &str) {
        self.lease.log(self.id, line);
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
    /// Put off: runs again after this time, which is no failure and costs no attempt.
    Snoozed {
        /// The wait, at most a year.
        after: Duration,
    },
    /// Handed back to the head of the queue; costs no attempt.
    Released,
    /// Failed because its time was over, of which the handler kept account. An attempt that the worker cuts off ends
    /// like this.
    TimedOut {
        /// How long it was allowed to run.
        limit: Duration,
    },
    /// Handed back because what ran it broke down, perhaps because of this task. It costs no attempt
    /// and counts as a loss, as if the worker had died: a task with too many of them is a dead letter,
    /// and before that it runs once more with no other task beside it.
    Lost {
        /// What happened; the first KiB is kept.
        error: String,
    },
}
