//! `spec.limits`.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// Bounds on the queue as a whole, however many workers it has. What is left out is not bounded,
/// except for the size of a payload.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// How many attempts may begin in any span of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,

    /// How many tasks may run at once on all workers together. From 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrency: Option<i32>,

    /// Bounds on the tasks that were added with the same concurrency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_key: Option<KeyLimits>,

    /// How many tasks may wait, those due later included. A task that would exceed it is refused,
    /// and the producer is told when to try again. From 1 to 1000000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_backlog: Option<i32>,

    /// The largest payload of a task in bytes, from 1 to 8388608 (8 MiB). A larger one is
    /// refused.
    #[serde(default = "default_max_payload_bytes")]
    #[schemars(range(min = 1, max = 8_388_608))]
    pub max_payload_bytes: i32,
}

/// At most `count` attempts begin in any span of length `per`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// How many attempts, from 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: i32,

    /// In how long, as a duration from 100ms to 744h (31 days).
    #[serde(default = "default_per")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('100ms') && duration(self) <= duration('744h')")
        .message("limits.rate.per must be a duration from 100ms to 744h, such as 1s, 1m or 24h"))]
    pub per: Duration,
}

/// Bounds on the tasks with the same concurrency key.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeyLimits {
    /// How many tasks of one key may run at once, from 1 to 1000000. With 1 they run one after the
    /// other, in the order in which they were added.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrency: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate: None,
            concurrency: None,
            per_key: None,
            max_backlog: None,
            max_payload_bytes: 262_144,
        }
    }
}

fn default_max_payload_bytes() -> i32 {
    Limits::default().max_payload_bytes
}

fn default_per() -> Duration {
    Duration::from_secs(1)
}
