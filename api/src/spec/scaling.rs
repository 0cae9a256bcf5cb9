//! `spec.scaling`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Duration, ScalingWindow};

/// How many worker pods there are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas")
        .message("scaling.minReplicas must not be above scaling.maxReplicas: lower minReplicas or raise maxReplicas"),
    validation = Rule::new("self.mode == 'Paused' || !has(self.replicas) || self.replicas == 1001")
        .message("scaling.replicas counts only while scaling.mode is Paused: set mode: Paused, or use minReplicas and maxReplicas"),
    validation = Rule::new("!has(self.windows) || self.windows.all(window, (!has(window.minReplicas) || (self.minReplicas <= window.minReplicas && window.minReplicas <= self.maxReplicas)) && (!has(window.maxReplicas) || (self.minReplicas <= window.maxReplicas && window.maxReplicas <= self.maxReplicas)))")
        .message("scaling.windows[].minReplicas and maxReplicas must lie from scaling.minReplicas to scaling.maxReplicas: bring them inside, or widen minReplicas and maxReplicas of scaling")
)]
pub struct Scaling {
    /// Who decides. `Auto`: the operator, on what the queue needs. `Recommend`: the operator
    /// decides and tells it in the status, and leaves the number to you. `Paused`: the operator
    /// keeps `replicas`, or where nobody has set that, leaves the number alone.
    #[serde(default = "default_mode")]
    pub mode: ScalingMode,

    /// The number of worker pods while mode is Paused, from 0 to 1000. This is what `kubectl scale`
    /// sets. The default, 1001, is no number: nobody has set one, and what there is is left alone.
    // A number in any case: of a resource without one, the API server cannot answer a GET of /scale.
    // It refuses a negative one, and 0 is a number that people set.
    #[serde(default = "default_replicas", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "replicas_by_hand")]
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

    /// Worker pods beyond those that the tasks need, while any task waits or runs: they take what
    /// comes next without a wait. From 0 to 1000.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 1000))]
    pub spare_replicas: i32,

    /// What the number of worker pods follows: exactly one of backlogPerReplica and latency. By
    /// default backlogPerReplica: 20.
    // No default in the schema: it would be stored, and whoever then applies another target would
    // have two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ScalingTarget>,

    /// How many tasks must wait before there are workers where there are none. From 1 to 1000000.
    #[serde(default = "default_activation")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub activation: i32,

    /// How far off the number of worker pods may be before it is changed, as a fraction of it:
    /// with 0.1 and 20 pods, a need for 18 to 22 changes nothing. From 0 to 1. It does not count
    /// from or to zero.
    #[serde(default = "default_tolerance")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub tolerance: f64,

    /// How long a queue must have been empty (nothing waits, runs or is due) before its workers
    /// go and there are none, as a duration from 0s to 24h.
    #[serde(default = "default_idle")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('24h')")
        .message("scaling.idle must be a duration from 0s to 24h, such as 30s or 5m"))]
    pub idle: Duration,

    /// How the number of worker pods rises.
    #[serde(default)]
    pub scale_up: ScaleUp,

    /// How the number of worker pods falls.
    #[serde(default)]
    pub scale_down: ScaleDown,

    /// Times of the week with bounds of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub windows: Vec<ScalingWindow>,
}

/// Who decides on the number of worker pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalingMode {
    /// The operator, on what the queue needs.
    #[default]
    Auto,
    /// You, with what the operator would do in the status.
    Recommend,
    /// A person: the operator keeps `scaling.replicas`.
    Paused,
}

/// What the number of worker pods follows: exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.backlogPerReplica) != has(self.latency)")
    .message("scaling.target needs exactly one of backlogPerReplica and latency, such as backlogPerReplica: 20 or latency: 30s"))]
pub struct ScalingTarget {
    /// Tasks, waiting or running, for which there is one worker pod: 50 tasks with a target of
    /// 20 make 3 pods. From 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub backlog_per_replica: Option<i32>,

    /// How soon what waits shall have begun: there are as many worker pods as the tasks that
    /// arrive keep busy, and those that it takes to work off the backlog within this time. Run
    /// time and arrival rate are measured; until enough tasks have run, each task that waits or
    /// runs gets a slot. A duration from 100ms to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('100ms') && duration(self) <= duration('24h')")
        .message("scaling.target.latency must be a duration from 100ms to 24h, such as 5s or 1m"))]
    pub latency: Option<Duration>,
}

/// How the number of worker pods rises. By default at once and to all that is needed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScaleUp {
    /// The number rises only to the lowest one that was wanted within this time. It counts from
    /// zero as well. A duration from 0s to 1h.
    #[serde(default = "default_up_stabilization")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('1h')")
        .message("scaling.scaleUp.stabilization must be a duration from 0s to 1h, such as 30s or 5m"))]
    pub stabilization: Duration,

    /// How far the number rises within `per`, in pods, such as 4, or in percent of the lowest
    /// number in that time, such as 100%; that is at least one pod. From 1 to 1000, or 1% to
    /// 1000%. By default there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "up_step")]
    pub max_step: Option<IntOrString>,

    /// The time in which the number rises by at most maxStep, as a duration from 1s to 1h.
    #[serde(default = "default_up_per")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('1h')")
        .message("scaling.scaleUp.per must be a duration from 1s to 1h, such as 15s or 1m"))]
    pub per: Duration,
}

/// How the number of worker pods falls.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDown {
    /// The number falls only to the highest one that was wanted within this time, so that a
    /// short lull does not stop workers that are soon needed again, and after half of this time
    /// more, so that one lull is one step. The step to zero waits for `idle` instead. A duration
    /// from 0s to 1h.
    #[serde(default = "default_stabilization")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('1h')")
        .message("scaling.scaleDown.stabilization must be a duration from 0s to 1h, such as 30s or 5m"))]
    pub stabilization: Duration,

    /// How far the number falls within `per`, in pods, such as 4, or in percent of the highest
    /// number in that time, such as 50%; that is at least one pod. From 1 to 1000, or 1% to
    /// 100%. By default there is no limit. The step to zero waits for `idle` instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "down_step")]
    pub max_step: Option<IntOrString>,

    /// The time in which the number falls by at most maxStep, as a duration from 1s to 1h.
    #[serde(default = "default_down_per")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('1h')")
        .message("scaling.scaleDown.per must be a duration from 1s to 1h, such as 15s or 1m"))]
    pub per: Duration,

    /// Stops a worker only once it runs nothing: it gets no more tasks, finishes those it has,
    /// and goes then. With false the number falls at once, and workers finish their tasks while
    /// they are being stopped, within worker.drainTimeout; what is not finished then runs again.
    #[serde(default = "default_wait_for_idle")]
    pub wait_for_idle: bool,
}

impl Scaling {
    /// The value of `replicas` that is none: the number is left alone.
    pub const LEFT_ALONE: i32 = 1001;
}

impl ScalingTarget {
    /// Tasks for each worker pod, where the resource names no target.
    pub const DEFAULT_BACKLOG_PER_REPLICA: i32 = 20;
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            mode: ScalingMode::Auto,
            replicas: Some(Self::LEFT_ALONE),
            min_replicas: 0,
            max_replicas: 10,
            spare_replicas: 0,
            target: None,
            activation: 1,
            tolerance: 0.1,
            idle: Duration::from_secs(30),
            scale_up: ScaleUp::default(),
            scale_down: ScaleDown::default(),
            windows: Vec::new(),
        }
    }
}

impl Default for ScaleUp {
    fn default() -> Self {
        Self {
            stabilization: Duration::from_secs(0),
            max_step: None,
            per: Duration::from_secs(15),
        }
    }
}

impl Default for ScaleDown {
    fn default() -> Self {
        Self {
            stabilization: Duration::from_secs(60),
            max_step: None,
            per: Duration::from_secs(60),
            wait_for_idle: true,
        }
    }
}

fn up_step(_: &mut SchemaGenerator) -> Schema {
    pods_or_percent("^([1-9][0-9]{0,2}|1000)%$")
}

fn down_step(_: &mut SchemaGenerator) -> Schema {
    pods_or_percent("^([1-9][0-9]?|100)%$")
}

/// A number of pods or a percentage, as Kubernetes itself has it in the strategy of a Deployment.
/// The bounds are for the number, the pattern for the text: no rule, since CEL knows no size of
/// such a field and counts the worst.
fn pods_or_percent(pattern: &str) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "minimum": 1, "maximum": 1000,
        "maxLength": 5, "pattern": pattern
    })
}

// Serde's form of "the default is none", which takes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn default_mode() -> ScalingMode {
    Scaling::default().mode
}

/// Not nullable, as the schema of an `Option` is: the API server then takes null for nothing given.
fn replicas_by_hand(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer", "format": "int32", "minimum": 0, "maximum": Scaling::LEFT_ALONE
    })
}

fn default_replicas() -> Option<i32> {
    Scaling::default().replicas
}

fn default_min_replicas() -> i32 {
    Scaling::default().min_replicas
}

fn default_max_replicas() -> i32 {
    Scaling::default().max_replicas
}

fn default_activation() -> i32 {
    Scaling::default().activation
}

fn default_tolerance() -> f64 {
    Scaling::default().tolerance
}

fn default_idle() -> Duration {
    Scaling::default().idle
}

fn default_up_stabilization() -> Duration {
    ScaleUp::default().stabilization
}

fn default_up_per() -> Duration {
    ScaleUp::default().per
}

fn default_stabilization() -> Duration {
    ScaleDown::default().stabilization
}

fn default_down_per() -> Duration {
    ScaleDown::default().per
}

fn default_wait_for_idle() -> bool {
    ScaleDown::default().wait_for_idle
}
