//! The figures of a queue at one instant.

use std::time::Duration;

use jiff::Timestamp;

/// The figures of a queue at one instant of the clock of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// When, by the clock of Redis.
    pub now: Timestamp,
    /// Runnable and not leased, by level, highest first; levels retired by a policy edit last.
    pub waiting: Vec<(String, u64)>,
    /// Delayed or to be retried, due or not.
    pub scheduled: u64,
    /// Of those the ones that are due already: runnable, and not moved to a level yet.
    pub due: u64,
    /// Leased.
    pub active: u64,
    /// Dead letters.
    pub dead: u64,
    /// How long the oldest runnable task has been runnable.
    pub oldest_waiting: Option<Duration>,
    /// When the next scheduled task is due; in the past if it is due already.
    pub next_due: Option<Timestamp>,
    /// Workers with a lease in force.
    pub workers: u64,
    /// Workers whose lease has lapsed and whose tasks wait for a reclaim.
    pub expired_workers: u64,
    /// Totals since the queue was made.
    pub counters: Counters,
    /// The version of the policy in force, 0 for the default.
    pub version: u64,
}

impl Snapshot {
    /// All that is runnable and not leased: what waits in the levels and what is due.
    pub fn backlog(&self) -> u64 {
        self.waiting.iter().map(|(_, tasks)| tasks).sum::<u64>() + self.due
    }
}

/// Totals since the queue was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tasks enqueued.
    pub enqueued: u64,
    /// Tasks completed.
    pub completed: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Failures that are or were to be tried again.
    pub retried: u64,
    /// Tasks that became dead letters.
    pub dead: u64,
    /// Leases lost with their worker.
    pub lost: u64,
    /// Tasks handed back.
    pub released: u64,
    /// Dead letters sent round again.
    pub redriven: u64,
    /// Dead letters thrown away, by hand or by the policy's bounds.
    pub purged: u64,
    /// Time that completed attempts ran, together.
    pub run: Duration,
}
