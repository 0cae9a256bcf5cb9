//! What the operator reports: the `status` of a TaskQueue.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw and did last. Figures are at most a second old while a queue is busy.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskQueueStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The queue's name in Redis: `<namespace>/<queueName>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,

    /// Label selector of the worker pods, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// Worker pods that exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Worker pods that are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// Worker pods wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,

    /// Tasks in the queue by state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<Depth>,

    /// Seconds since the oldest waiting task could have run. 0 when none waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_seconds: Option<i64>,

    /// Tasks per second over the last minute or so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,

    /// Mean time that a completed task ran, in milliseconds, over the last minute or so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_run_millis: Option<i64>,

    /// Why there are as many worker pods as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<ScalingDecision>,

    /// Conditions of the TaskQueue: Ready, RedisReachable, ScalingActive, ScalingLimited,
    /// Paused and QueueNameConflict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Tasks in the queue by state.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Depth {
    /// Tasks that could run now.
    pub waiting: i64,
    /// Tasks due later: delayed, or waiting for a retry.
    pub scheduled: i64,
    /// Tasks that a worker runs.
    pub active: i64,
    /// Dead letters.
    pub dead: i64,
    /// Waiting tasks by priority level.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub by_priority: BTreeMap<String, i64>,
}

/// Tasks per second, as decimal numbers in text (as Kubernetes advises against floats in
/// resources), such as "12.5".
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Rates {
    /// Tasks added per second.
    #[schemars(length(max = 32))]
    pub enqueued: String,
    /// Tasks completed per second.
    #[schemars(length(max = 32))]
    pub completed: String,
    /// Attempts failed per second.
    #[schemars(length(max = 32))]
    pub failed: String,
}

/// A decision on the number of worker pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ScalingDecision {
    /// When the number or the reason last changed.
    pub time: Time,
    /// Worker pods wanted.
    pub replicas: i32,
    /// The reason in a word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The decision as an equation with its inputs.
    #[schemars(length(max = 1024))]
    pub equation: String,
}

/// Types of the conditions in the status.
pub mod condition {
    /// The spec is valid and its workers and policy are in place.
    pub const READY: &str = "Ready";
    /// The queue's Redis answers.
    pub const REDIS_REACHABLE: &str = "RedisReachable";
    /// The operator scales the workers.
    pub const SCALING_ACTIVE: &str = "ScalingActive";
    /// The wanted number of workers is held back by a bound.
    pub const SCALING_LIMITED: &str = "ScalingLimited";
    /// The queue is paused.
    pub const PAUSED: &str = "Paused";
    /// Another TaskQueue claims the same queue.
    pub const QUEUE_NAME_CONFLICT: &str = "QueueNameConflict";
}
