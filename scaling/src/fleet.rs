//! The workers there are.

use std::time::Duration;

/// The workers there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Replicas that were asked for last.
    pub replicas: u32,
    /// Those that are ready.
    pub ready: u32,
    /// A rollout is under way. Which pods a smaller number would take then is not ours to choose.
    pub rolling: bool,
    /// What keeps pods from running: more of them would fare no better.
    pub obstacle: Option<Obstacle>,
    /// How long a pod takes to start: a task due within it counts as demand.
    pub start_time: Duration,
    /// Workers can be drained one by one before they are stopped. Without it, none is stopped
    /// while a task runs, unless the policy says that it need not wait.
    pub handshake: bool,
}

/// What keeps pods from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The reason in a word, such as `Unschedulable` or `ImagePullBackOff`.
    pub reason: String,
    /// The pod and its own message.
    pub message: String,
}
