//! What the user asked for, in the types of the decision.

use std::time::Duration;

use crate::Window;

/// How a queue is scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Who decides.
    pub mode: Mode,
    /// Least replicas.
    pub min: u32,
    /// Most replicas; not below `min`.
    pub max: u32,
    /// Replicas beyond those that are needed, while any is.
    pub spare: u32,
    /// What the number follows.
    pub target: Target,
    /// Tasks that one replica runs at once; at least 1.
    pub concurrency: u32,
    /// Tasks that must be there before zero is left; at least 1.
    pub activation: u64,
    /// How far what is needed may be off the replicas there are, in thousandths of these, before
    /// they change. It does not count from or to zero, nor for a bound.
    pub tolerance_permille: u32,
    /// How the number rises.
    pub up: Pace,
    /// How the number falls.
    pub down: Pace,
    /// A worker is stopped only once it is idle. Otherwise workers finish their tasks while they
    /// are being stopped.
    pub wait_for_idle: bool,
    /// How long the queue must have been empty before the step to zero.
    pub idle: Duration,
    /// Times of the week with bounds of their own.
    pub windows: Vec<Window>,
    /// The number must not rise for now.
    pub hold_up: bool,
    /// The number must not fall for now.
    pub hold_down: bool,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The demand.
    Auto,
    /// The demand, but what is decided is only told: somebody else sets the number.
    Recommend,
    /// A person, by this number; `None` leaves the fleet as it is.
    Paused(Option<u32>),
}

/// What the number of replicas follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Tasks, waiting or running, for each replica.
    Backlog {
        /// At least 1.
        per_replica: u32,
    },
    /// How soon what waits shall have begun, by the measured run time and arrival rate.
    Latency {
        /// Above zero.
        within: Duration,
    },
}

/// How fast the number may move in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Upwards the lowest number wanted within this time counts, downwards the highest.
    pub stabilization: Duration,
    /// How far it may move; `None` is any distance at once.
    pub step: Option<Step>,
}

/// How far the number may move within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// At most so far from the lowest number within `per` upwards, and from the highest downwards.
    pub most: StepSize,
    /// The time.
    pub per: Duration,
}

/// The size of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepSize {
    /// In percent of that number, rounded up, and at least one replica.
    Percent(u32),
    /// In replicas.
    Replicas(u32),
}
