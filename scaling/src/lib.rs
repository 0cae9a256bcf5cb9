//! How many workers a queue needs.
//!
//! One pure function, [`decide`]: no Kubernetes, no Redis, no clock, no async. Whoever calls it
//! brings the demand, the fleet, the history and the time, and carries the decision out.

mod decide;
mod decision;
mod history;
mod policy;

pub use decide::decide;
pub use decision::{Decision, Limit, Reason};
pub use history::History;
pub use policy::{Mode, Policy};

use std::time::Duration;

/// A point in time: the time since an arbitrary origin that all points of one program share.
/// It must not run backwards.
pub type Instant = Duration;

/// What a queue needs workers for, at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Tasks that could run now and that no worker has: waiting, or due.
    pub waiting: u64,
    /// Tasks that a worker holds, those of dead workers included.
    pub active: u64,
    /// How long until the next scheduled task is due; `None` when nothing is scheduled.
    pub next_due: Option<Duration>,
    /// The queue is paused, so that waiting tasks need no worker.
    pub paused: bool,
}

/// The workers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Replicas that were asked for last.
    pub replicas: u32,
}
