//! What is decided, and how it is told.

use std::fmt;

/// How many replicas there shall be, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Replicas to aim at from now on. In mode Recommend too: it is the caller who does not write
    /// them then.
    pub replicas: u32,
    /// What the tasks need, within the bounds and before stabilization, steps and holds.
    pub wanted: u32,
    /// Why, in a word.
    pub reason: Reason,
    /// The bound that holds the number back, if any.
    pub limit: Option<Limit>,
    /// What it was decided on.
    pub inputs: Vec<Input>,
    /// What changed the number, in the order of application; the last one won.
    pub clamps: Vec<Clamp>,
    /// The decision as an equation with its inputs, on one line. It changes only when an input
    /// does.
    pub equation: String,
}

/// One thing that a decision was made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name, such as `waiting` or `arrivalRate`.
    pub name: &'static str,
    /// Its value with its unit, such as `12.5/s`.
    pub value: String,
}

/// One thing that changed the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clamp {
    /// What did, by the name of its setting where it has one, such as `maxReplicas`.
    pub what: &'static str,
    /// The number before.
    pub from: u32,
    /// The number after.
    pub to: u32,
}

/// Why a number of replicas was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The tasks there are need that many.
    Backlog,
    /// That many keep the waiting time within the target.
    Latency,
    /// The tasks need more than the maximum.
    AtMaximum,
    /// The tasks need fewer than the minimum.
    AtMinimum,
    /// The bound of a window counts.
    Window,
    /// Nothing waits, runs or is due.
    Empty,
    /// A scheduled task is due about when a pod that starts now is ready.
    DueSoon,
    /// Too few tasks to leave zero for.
    BelowActivation,
    /// Empty, but not for long enough to stop the workers.
    IdleWait,
    /// What is wanted has not been wanted for long enough.
    Stabilizing,
    /// More than one step away.
    StepLimit,
    /// What is needed is so near to what there is that a change is not worth it.
    Tolerance,
    /// Fewer are needed for what is there, but what arrives keeps these busy.
    Arrivals,
    /// Fewer are needed, but the tasks that run need these, and a busy worker is not stopped.
    BusyWorkers,
    /// Fewer are needed for what is seen, but a task may run that nobody can see.
    UnseenTasks,
    /// Fewer are needed, and workers are being drained to get there.
    Draining,
    /// Fewer are needed, but a rollout is under way.
    RollingOut,
    /// More are needed, but the pods there are cannot run.
    WorkersFailing,
    /// An annotation holds the number.
    HeldByAnnotation,
    /// The rate limit lets no more workers be of use.
    RateLimited,
    /// The concurrency limit lets no more workers be of use.
    ConcurrencyLimited,
    /// The queue is paused and nothing runs.
    QueuePaused,
    /// Scaling is paused: a person sets the number.
    ScalingPaused,
    /// The queue cannot be read, so that nothing is known of its needs.
    RedisUnreachable,
    /// Redis answers, and the depth of the source cannot be told from it.
    SourceUnknown,
    /// The workers of the source do not exist.
    TargetMissing,
}

/// A bound that holds the number of replicas back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// More are needed than the maximum.
    Maximum,
    /// Fewer are needed than the minimum.
    Minimum,
    /// More are needed than a window allows.
    WindowMaximum,
    /// Fewer are needed than a window keeps.
    WindowMinimum,
    /// More would wait for the rate limit.
    Rate,
    /// More would wait for the concurrency limit.
    Concurrency,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}
