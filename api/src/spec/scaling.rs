//! `spec.scaling`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// How many worker pods there are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas")
        .message("scaling.minReplicas must not be above scaling.maxReplicas: lower minReplicas or raise maxReplicas"),
    validation = Rule::new("self.mode == 'Paused' || !has(self.replicas)")
        .message("scaling.replicas counts only while scaling.mode is Paused: set mode: Paused, or use minReplicas and maxReplicas")
)]
pub struct Scaling {
    /// Who decides. `Auto`: the operator, on what the queue needs. `Paused`: the operator keeps
    /// `replicas`, or where that is not set, leaves the number alone.
    #[serde(default = "default_mode")]
    pub mode: ScalingMode,

    /// The number of worker pods while mode is Paused. This is what `kubectl scale` sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,

    /// The least worker pods there are in mode Auto, from 0 to 1000. With 0 there are none while
    /// nothing runs, waits or is due.
    #[serde(default = "default_min_replicas")]
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: i32,

    /// The most worker pods there are in mode Auto, from 1 to 1000.
    #[serde(default = "default_max_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,

    /// What the number of worker pods follows.
    #[serde(default = "default_target")]
    pub target: ScalingTarget,

    /// How long a queue must have been empty (nothing waits, runs or is due) before its workers
    /// go and there are none, as a duration from 0s to 24h.
    #[serde(default = "default_idle")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('24h')")
        .message("scaling.idle must be a duration from 0s to 24h, such as 30s or 5m"))]
    pub idle: Duration,

    /// How the number of worker pods falls.
    #[serde(default = "default_scale_down")]
    pub scale_down: ScaleDown,
}

/// Who decides on the number of worker pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalingMode {
    /// The operator, on what the queue needs.
    #[default]
    Auto,
    /// A person: the operator keeps `scaling.replicas`.
    Paused,
}

/// What the number of worker pods follows.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScalingTarget {
    /// Tasks, waiting or running, for which there is one worker pod: 50 tasks with a target of
    /// 20 make 3 pods. From 1 to 1000000.
    #[serde(default = "default_backlog_per_replica")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub backlog_per_replica: i32,
}

/// How the number of worker pods falls.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDown {
    /// The number falls only to the highest one that was wanted within this time, so that a
    /// short lull does not stop workers that are soon needed again. The step to zero waits for
    /// `idle` instead. A duration from 0s to 1h.
    #[serde(default = "default_stabilization")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('1h')")
        .message("scaling.scaleDown.stabilization must be a duration from 0s to 1h, such as 30s or 5m"))]
    pub stabilization: Duration,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            mode: ScalingMode::Auto,
            replicas: None,
            min_replicas: 0,
            max_replicas: 10,
            target: ScalingTarget::default(),
            idle: Duration::from_secs(30),
            scale_down: ScaleDown::default(),
        }
    }
}

impl Default for ScalingTarget {
    fn default() -> Self {
        Self {
            backlog_per_replica: 20,
        }
    }
}

impl Default for ScaleDown {
    fn default() -> Self {
        Self {
            stabilization: Duration::from_secs(60),
        }
    }
}

fn default_mode() -> ScalingMode {
    Scaling::default().mode
}

fn default_min_replicas() -> i32 {
    Scaling::default().min_replicas
}

fn default_max_replicas() -> i32 {
    Scaling::default().max_replicas
}

fn default_target() -> ScalingTarget {
    Scaling::default().target
}

fn default_idle() -> Duration {
    Scaling::default().idle
}

fn default_scale_down() -> ScaleDown {
    Scaling::default().scale_down
}

fn default_backlog_per_replica() -> i32 {
    ScalingTarget::default().backlog_per_replica
}

fn default_stabilization() -> Duration {
    ScaleDown::default().stabilization
}
