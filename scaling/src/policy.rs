//! What the user asked for, in the types of the decision.

use std::time::Duration;

/// How a queue is scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Who decides.
    pub mode: Mode,
    /// Least replicas.
    pub min: u32,
    /// Most replicas; not below `min`.
    pub max: u32,
    /// Tasks, waiting or running, per replica; at least 1.
    pub backlog_per_replica: u32,
    /// How long the queue must have been empty before the step to zero.
    pub idle: Duration,
    /// Replicas fall only to the highest number wanted within this time.
    pub stabilization: Duration,
    /// How long a pod takes to start: a task due within it counts as demand.
    pub start_time: Duration,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The demand.
    Auto,
    /// A person, by this number; `None` leaves the fleet as it is.
    Paused(Option<u32>),
}
