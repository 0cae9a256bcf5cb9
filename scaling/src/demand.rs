//! What a queue needs workers for.

use std::time::Duration;

/// What a queue needs workers for, at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Tasks that could run now and that no worker has: waiting, or due.
    pub waiting: u64,
    /// Tasks that a worker holds, those of dead workers included.
    pub active: u64,
    /// For how long after the last task was seen more may run than `active` tells; `None` where it
    /// tells of each task for as long as it runs.
    pub unseen: Option<Duration>,
    /// How long until the next scheduled task is due or the next run of a schedule comes; `None`
    /// when nothing is scheduled.
    pub next_due: Option<Duration>,
    /// The queue is paused, so that waiting tasks need no worker.
    pub paused: bool,
    /// What lets only so many tasks run, however many workers there are.
    pub caps: Caps,
    /// How tasks come and how long they run.
    pub flow: Flow,
}

/// What lets only so many tasks run, however many workers there are. A worker beyond that would
/// wait, so it is none of use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Caps {
    /// How many tasks may run at once.
    pub concurrency: Option<u64>,
    /// How many tasks may begin per second.
    pub rate: Option<f64>,
    /// A rate limit is used up: nothing begins until it is filled again.
    pub used_up: bool,
}

/// How tasks come and how long they run, as measured by an [`Estimator`](crate::Estimator).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flow {
    /// Tasks enqueued per second; `None` until there were enough to tell.
    pub arrival: Option<f64>,
    /// How long a task runs in the mean; `None` until enough have completed.
    pub run: Option<Duration>,
    /// Tasks that were enqueued or completed between the last two readings. A queue of very short
    /// tasks may look empty at every reading, and is in use all the same.
    pub fresh: u64,
}
