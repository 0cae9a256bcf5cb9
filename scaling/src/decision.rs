//! What is decided, and how it is told.

use std::fmt;

/// How many replicas there shall be, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Replicas from now on.
    pub replicas: u32,
    /// Why, in a word.
    pub reason: Reason,
    /// The bound that holds the number back, if any.
    pub limit: Option<Limit>,
    /// The decision as an equation with its inputs. It changes only when an input does.
    pub equation: String,
}

/// Why a number of replicas was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The tasks need that many.
    Backlog,
    /// The tasks need more than the maximum.
    AtMaximum,
    /// The tasks need fewer than the minimum.
    AtMinimum,
    /// Nothing waits, runs or is due.
    Empty,
    /// A scheduled task is due about when a pod that starts now is ready.
    DueSoon,
    /// Empty, but not for long enough to stop the workers.
    IdleWait,
    /// Fewer are needed, but more were within the stabilization window.
    Stabilizing,
    /// Fewer are needed, but tasks are running, and a busy worker is not stopped.
    BusyWorkers,
    /// The queue is paused and nothing runs.
    QueuePaused,
    /// Scaling is paused: a person sets the number.
    ScalingPaused,
    /// The queue cannot be read, so that nothing is known of its needs.
    RedisUnreachable,
}

/// A bound that holds the number of replicas back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// More are needed than the maximum.
    Maximum,
    /// Fewer are needed than the minimum.
    Minimum,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}
