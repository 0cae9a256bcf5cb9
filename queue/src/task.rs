//! Tasks as callers see them: the new one to enqueue, and the one read back with its state and
//! history.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Payload, QueueName, TaskId, WorkerId};

/// A task to enqueue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    pub(crate) kind: String,
    pub(crate) payload: Payload,
    pub(crate) priority: Option<String>,
    pub(crate) delay: Duration,
}

impl NewTask {
    /// A task of a type (1 to 128 characters without control characters), for as soon as a worker
    /// is free.
    pub fn new(kind: impl Into<String>, payload: Payload) -> Self {
        Self {
            kind: kind.into(),
            payload,
            priority: None,
            delay: Duration::ZERO,
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
        self.delay = delay;
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
    /// Its last failures, oldest first, at most ten.
    pub errors: Vec<Failure>,
    /// Its payload. A completed task keeps it only up to 1 KiB, so that retained results do not
    /// fill Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// What the handler returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Payload>,
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
}
