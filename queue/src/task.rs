//! Tasks as callers see them: the new one to enqueue, and the one read back with its state and
//! history.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::timestamp;
use crate::payload::fits;
use crate::record::Site;
use crate::{Attempt, Error, Overrides, Payload, QueueName, TaskId, WorkerId};

/// Longest task type, in bytes.
const MAX_KIND_BYTES: usize = 128;

/// A task to enqueue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    pub(crate) kind: String,
    pub(crate) payload: Payload,
    pub(crate) priority: Option<String>,
    pub(crate) start: Start,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) unique: Option<Unique>,
    pub(crate) idempotency: Option<Idempotency>,
    pub(crate) concurrency_key: Option<String>,
    pub(crate) trace_parent: Option<String>,
    pub(crate) overrides: Overrides,
}

/// When a new task may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// After this time, zero for at once.
    After(Duration),
    At(Timestamp),
}

/// A key that only one unfinished task may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unique {
    pub(crate) key: String,
    pub(crate) ttl: Duration,
}

/// A key that stands for one task, also after its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idempotency {
    pub(crate) key: String,
    /// How long after the end.
    pub(crate) keep: Duration,
}

/// What became of an enqueued task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "enqueued", content = "id")]
pub enum Enqueued {
    /// It is in the queue, under this id.
    New(TaskId),
    /// A task with its idempotency key stands already, or an unfinished one with its unique key; this is its
    /// id, and nothing was added.
    Existing(TaskId),
}

impl Enqueued {
    /// The id of the task that stands.
    pub fn id(&self) -> TaskId {
        match self {
            Self::New(id) | Self::Existing(id) => *id,
        }
    }
}

impl NewTask {
    /// A task of a type (1 to 128 characters without control characters), for as soon as a worker
    /// is free.
    pub fn new(kind: impl Into<String>, payload: Payload) -> Self {
        Self {
            kind: kind.into(),
            payload,
            priority: None,
            start: Start::After(Duration::ZERO),
            expires_in: None,
            unique: None,
            idempotency: None,
            concurrency_key: None,
            trace_parent: None,
            overrides: Overrides::default(),
        }
    }

    /// The priority level, one of the queue's policy; else the policy's default level.
    #[must_use]
    pub fn priority(mut self, level: impl Into<String>) -> Self {
        self.priority = Some(level.into());
        self
    }

    /// Not before this time has passed, by the clock of Redis. Whole milliseconds, at most 10
    /// years.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.start = Start::After(delay);
        self
    }

    /// Not before this time, by the clock of Redis; at once if it has passed. At most 10 years
    /// ahead.
    #[must_use]
    pub fn run_at(mut self, at: Timestamp) -> Self {
        self.start = Start::At(at);
        self
    }

    /// No attempt begins later than this after the task may run for the first time: it ends as
    /// [`State::Expired`] instead. 1 ms to 10 years.
    #[must_use]
    pub fn expires_in(mut self, span: Duration) -> Self {
        self.expires_in = Some(span);
        self
    }

    /// Adds nothing while another task of the queue with this key has not ended (completed, died,
    /// was cancelled or expired), for at most `ttl` from its enqueueing: 1 ms to 10 years. A key
    /// has 1 to 256 bytes.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>, ttl: Duration) -> Self {
        self.unique = Some(Unique {
            key: key.into(),
            ttl,
        });
        self
    }

    /// The caller's own name for the task: whoever enqueues with this key again adds nothing and gets the id of
    /// the task that stands for it, until `keep` after that one has ended: 1 ms to 10 years. A key that comes with
    /// another type, payload, priority, delay or time, expiry, unique key, concurrency key or other overrides is
    /// refused ([`Error::KeyConflict`]). A dead letter has not ended: its key is kept until `keep` after it is
    /// thrown away, or ends another time round. The task can be read by it ([`Queue::get_by_key`](crate::Queue::get_by_key)).
    /// It is looked at before a unique key, and not taken where that has another task stand. 1 to 256 bytes without a zero byte.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>, keep: Duration) -> Self {
        self.idempotency = Some(Idempotency {
            key: key.into(),
            keep,
        });
        self
    }

    /// Of the tasks with this key, no more are active at once than the policy's
    /// `limits.per_key_concurrency`. 1 to 256 bytes without a zero byte.
    #[must_use]
    pub fn concurrency_key(mut self, key: impl Into<String>) -> Self {
        self.concurrency_key = Some(key.into());
        self
    }

    /// Attempts, timeout and backoff of its own, in place of what the queue's policy says. Workers older than
    /// these go by the policy.
    #[must_use]
    pub fn overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// The trace that it belongs to, as a W3C `traceparent` header, handed on to its handler. At
    /// most 256 bytes.
    #[must_use]
    pub fn trace_parent(mut self, header: impl Into<String>) -> Self {
        self.trace_parent = Some(header.into());
        self
    }
}

/// A task as it stands in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its queue.
    pub queue: QueueName,
    /// Its type, which a worker chooses the handler by.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it stands.
    #[serde(flatten)]
    pub state: State,
    /// Its priority level; of a completed task unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// Attempts that failed so far.
    pub attempts: u32,
    /// How often it lost its worker; that costs no attempt.
    pub losses: u32,
    /// When it was enqueued.
    pub created: Timestamp,
    /// When it becomes or became runnable, if it was delayed or is to be retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When its last attempt started; known of completed tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it completed or died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// The worker that runs or ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Its last failures and losses, oldest first; as many as the policy's `attempts_kept`.
    pub errors: Vec<Failure>,
    /// Its attempts, oldest first: those that failed or were lost, as far as they are kept, and behind them the one that
    /// runs, or that completed it. One that was handed back or put off leaves nothing.
    pub history: Vec<Attempt>,
    /// Its payload. A completed task keeps it only up to 1 KiB, so that retained results do not
    /// fill Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// What the handler returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Payload>,
    /// What the running attempt last said of its progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Payload>,
    /// When it expires if no attempt has begun by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Its unique key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    /// Its concurrency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// Its idempotency key; of a task that has ended only where its end was logged, or it was asked for by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What it has of its own in place of the policy; not kept of a task that has ended, unless it is a
    /// dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,
}

impl Task {
    /// Takes in what a script says of the task's state: the worker that holds it, when it is due, or
    /// when it died.
    pub(crate) fn locate(&mut self, extra: &str) {
        // A score may have a fraction, written by who knows whom.
        let time = || {
            let whole = extra.split('.').next().unwrap_or_default();
            whole.parse().map(timestamp).ok()
        };
        match self.state {
            State::Active => {
                self.worker = extra.parse().ok();
                let number = self.attempts.saturating_add(1);
                self.history.push(Attempt::running(number, self.worker));
            }
            State::Scheduled => self.due = time(),
            State::Dead => self.finished = time(),
            _ => {}
        }
    }

    /// Takes in where its worker is: of the attempt that runs, or that ended the task without a failure and of which
    /// no more is known.
    pub(crate) fn say_where(&mut self, site: &Site) {
        let of_worker = |last: &&mut Attempt| {
            last.cause.is_none() && last.worker.is_some() && last.pod.is_none()
        };
        if let Some(last) = self.history.last_mut().filter(of_worker) {
            last.at(site);
        }
    }
}

/// Where a task stands. A task is in exactly one state at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state")]
pub enum State {
    /// Runnable, and not leased.
    Waiting,
    /// Not runnable before its due time: delayed, or failed and to be retried.
    Scheduled,
    /// Leased to a worker.
    Active,
    /// Done.
    Completed,
    /// A dead letter: out of attempts, refused by its handler, or quarantined.
    Dead,
    /// Ended because someone asked for it.
    Cancelled,
    /// Ended because it did not start in time.
    Expired,
    /// Ended by a retry rule that drops such failures.
    Dropped,
}

impl State {
    /// Whether nothing more will become of the task by itself.
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::Scheduled | Self::Active)
    }
}

/// One failed attempt, or the loss that quarantined the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Which attempt failed, from 1.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// What kind of failure it was.
    pub cause: Cause,
    /// The handler's message, cut to 1 KiB.
    pub message: String,
}

/// What kind of failure ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The handler said so, or panicked.
    Error,
    /// The attempt ran longer than the policy's timeout.
    Timeout,
    /// The worker's lease lapsed while it held the task.
    WorkerLost,
    /// The worker was killed because it ran out of memory.
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// The worker's pod was evicted.
    Evicted,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "Error",
            Self::Timeout => "Timeout",
            Self::WorkerLost => "WorkerLost",
            Self::OomKilled => "OOMKilled",
            Self::Evicted => "Evicted",
        })
    }
}

impl Cause {
    /// Every cause, in the order of the numbers that stand for them in Redis.
    const ALL: [Self; 5] = [
        Self::Error,
        Self::Timeout,
        Self::WorkerLost,
        Self::OomKilled,
        Self::Evicted,
    ];

    /// Whether it is the loss of a worker, which is no fault of the handler.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::WorkerLost | Self::OomKilled | Self::Evicted)
    }

    /// The number that stands for it in Redis.
    pub(crate) fn number(self) -> u64 {
        self as u64
    }

    /// The cause of a number; of one that a later version wrote, a plain error.
    pub(crate) fn of_number(number: u64) -> Self {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        Self::ALL.get(place).copied().unwrap_or(Self::Error)
    }
}

/// Checks the type of a task.
pub(crate) fn check_kind(field: &'static str, kind: &str) -> Result<(), Error> {
    fits(field, kind.len(), MAX_KIND_BYTES)?;
    if kind.is_empty() || kind.chars().any(char::is_control) {
        let rule = "1 to 128 bytes without control characters";
        return Err(Error::invalid(field, kind, rule));
    }
    Ok(())
}
