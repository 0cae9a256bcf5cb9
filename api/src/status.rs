//! What the operator reports: the `status` of a TaskQueue.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The largest whole number that every reader of JSON takes for itself, 2^53 - 1.
const MAX_COUNT: i64 = 9_007_199_254_740_991;
/// How many changes of the number of worker pods are told.
pub const MAX_DECISIONS: usize = 20;
/// The largest number of worker pods that a Deployment can have.
const MAX_REPLICAS: i32 = i32::MAX;

/// What the operator saw and did last. Figures are at most a second old while a queue is busy.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskQueueStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_COUNT))]
    pub observed_generation: Option<i64>,

    /// The queue's name in Redis: `<namespace>/<queueName>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 127))]
    pub queue: Option<String>,

    /// Label selector of the worker pods, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub selector: Option<String>,

    /// Worker pods that exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub replicas: Option<i32>,

    /// Worker pods that are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub ready_replicas: Option<i32>,

    /// Worker pods wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub desired_replicas: Option<i32>,

    /// Tasks in the queue by state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<Depth>,

    /// Seconds since the oldest waiting task could have run. 0 when none waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_COUNT))]
    pub oldest_waiting_seconds: Option<i64>,

    /// Tasks per second over the last ten seconds or so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,

    /// Mean time, in milliseconds, that the tasks ran that completed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_COUNT))]
    pub mean_run_millis: Option<i64>,

    /// Why there are as many worker pods as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<ScalingDecision>,

    /// The last changes of the number of worker pods, newest first; in scaling mode Recommend
    /// those of the number that is recommended. `kubectl tq explain` shows them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_DECISIONS))]
    pub decisions: Vec<ScalingChange>,

    /// Conditions of the TaskQueue: Ready, RedisReachable, ScalingActive, ScalingLimited,
    /// AbleToScale, Paused and QueueNameConflict, RedisUnsafe once the settings of the Redis were looked
    /// at, and of one with a source SourceKeyMissing, RunningHidden and DueNotMoved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// Tasks in the queue by state.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Depth {
    /// Tasks that could run now.
    #[schemars(range(min = 0, max = MAX_COUNT))]
    pub waiting: i64,
    /// Tasks that wait for others with their concurrency key, and so could not run now.
    #[schemars(range(min = 0, max = MAX_COUNT))]
    pub blocked: i64,
    /// Tasks due later: delayed, or waiting for a retry.
    #[schemars(range(min = 0, max = MAX_COUNT))]
    pub scheduled: i64,
    /// Tasks that a worker runs.
    #[schemars(range(min = 0, max = MAX_COUNT))]
    pub active: i64,
    /// Dead letters.
    #[schemars(range(min = 0, max = MAX_COUNT))]
    pub dead: i64,
    /// Waiting tasks by priority level.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "by_level")]
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
    /// Worker pods to come to; in scaling mode Recommend they are only recommended.
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub replicas: i32,
    /// Worker pods that the tasks need, within the bounds, before stabilization, steps and whatever
    /// else takes time.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub wanted: i32,
    /// The reason in a word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The decision as an equation with its inputs.
    #[schemars(length(max = 1024))]
    pub equation: String,
    /// What a smaller number waits for while workers are being let go: the pods that still run
    /// tasks, for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub waits_for: Option<String>,
    /// What it was decided on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub inputs: Vec<ScalingInput>,
    /// What changed the number, in the order of application; the last one won.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub clamps: Vec<ScalingClamp>,
}

/// One thing that a decision was made on.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScalingInput {
    /// Its name, such as waiting or arrivalRate.
    #[schemars(length(max = 64))]
    pub name: String,
    /// Its value with its unit, such as 12.5/s.
    #[schemars(length(max = 256))]
    pub value: String,
}

/// One thing that changed the number of worker pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScalingClamp {
    /// What did, by the name of its setting where it has one, such as maxReplicas.
    #[schemars(length(max = 64))]
    pub what: String,
    /// The number before.
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub from: i32,
    /// The number after.
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub to: i32,
}

/// A change of the number of worker pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ScalingChange {
    /// When.
    pub time: Time,
    /// Worker pods before.
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub from: i32,
    /// Worker pods after.
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub to: i32,
    /// Worker pods that the tasks needed then, before stabilization, steps and whatever else
    /// takes time.
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub wanted: i32,
    /// The reason in a word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The decision as an equation with its inputs.
    #[schemars(length(max = 512))]
    pub equation: String,
}

/// A number of tasks for each level.
fn by_level(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_COUNT }
    })
}

/// Kubernetes' own conditions, with the bounds that its schema has and the Rust type has not.
fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": { "type": "string", "minLength": 1, "maxLength": 316,
                    "description": "Type of the condition." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "Whether it holds." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024,
                    "description": "Why, in a word." },
                "message": { "type": "string", "maxLength": 32768,
                    "description": "Why, in full. It may be empty." },
                "lastTransitionTime": { "type": "string", "format": "date-time",
                    "description": "When the status of the condition last changed." },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0,
                    "maximum": MAX_COUNT, "description": "The generation of the spec that it is about." }
            }
        }
    })
}

/// Types of the conditions in the status.
pub mod condition {
    /// The spec is valid and its workers and policy are in place.
    pub const READY: &str = "Ready";
    /// The queue's Redis answers.
    pub const REDIS_REACHABLE: &str = "RedisReachable";
    /// A setting of the queue's Redis puts its tasks at risk; the message says which, and what to set.
    pub const REDIS_UNSAFE: &str = "RedisUnsafe";
    /// The operator scales the workers.
    pub const SCALING_ACTIVE: &str = "ScalingActive";
    /// The wanted number of workers is held back by a bound.
    pub const SCALING_LIMITED: &str = "ScalingLimited";
    /// Redis has never heard of the source. Only with a source.
    pub const SOURCE_KEY_MISSING: &str = "SourceKeyMissing";
    /// Redis does not show all tasks of the source that run. Only with a source.
    pub const RUNNING_HIDDEN: &str = "RunningHidden";
    /// Tasks are due, and none of the workers of the source moves them on. Only with a source.
    pub const DUE_NOT_MOVED: &str = "DueNotMoved";
    /// The number of workers can be written.
    pub const ABLE_TO_SCALE: &str = "AbleToScale";
    /// The queue is paused.
    pub const PAUSED: &str = "Paused";
    /// Another TaskQueue claims the same queue.
    pub const QUEUE_NAME_CONFLICT: &str = "QueueNameConflict";
}
