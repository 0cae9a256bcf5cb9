//! `spec.worker.shield` and `spec.worker.disruptionBudget`: what keeps others from disrupting the
//! workers. The operator itself never stops a busy worker in order to have fewer.

use std::borrow::Cow;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// Keeps node autoscalers from moving worker pods that run a long task: while a pod runs one, it is
/// annotated with `karpenter.sh/do-not-disrupt: "true"` and
/// `cluster-autoscaler.kubernetes.io/safe-to-evict: "false"`. `shield: {}` turns it on. Set neither
/// annotation in the pod template then.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Shield {
    /// How long a task must have run for its pod to be shielded, as a duration from 5s to 24h. The
    /// shield is there at most 10s later, and is taken away as soon after the last such task.
    #[serde(default = "default_after")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('5s') && duration(self) <= duration('24h')")
        .message("worker.shield.after must be a duration from 5s to 24h, such as 30s or 5m"))]
    pub after: Duration,
}

/// How many worker pods may be evicted at a time, such as by `kubectl drain`: a
/// PodDisruptionBudget of the TaskQueue's name. Exactly one of maxUnavailable and minAvailable. Pods that are not ready
/// may always be evicted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.maxUnavailable) != has(self.minAvailable)")
    .message("worker.disruptionBudget needs exactly one of maxUnavailable and minAvailable, such as maxUnavailable: 1"))]
pub struct DisruptionBudget {
    /// Most worker pods that may be missing because they were evicted: a number from 0 to 1000, or
    /// a percentage such as 25%. With 0 no node that runs a worker can be drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("string(self).matches('^(1000|[1-9]?[0-9]{1,2}|(100|[1-9]?[0-9])%)$')")
        .message("worker.disruptionBudget.maxUnavailable must be a number from 0 to 1000 or a percentage from 0% to 100%"))]
    pub max_unavailable: Option<PodCount>,

    /// Fewest worker pods that must be left by an eviction: a number from 0 to 1000, or a percentage
    /// such as 75%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("string(self).matches('^(1000|[1-9]?[0-9]{1,2}|(100|[1-9]?[0-9])%)$')")
        .message("worker.disruptionBudget.minAvailable must be a number from 0 to 1000 or a percentage from 0% to 100%"))]
    pub min_available: Option<PodCount>,
}

/// A number of pods, or a share of them.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
pub enum PodCount {
    /// A number.
    Number(i32),
    /// A percentage, with its sign.
    Percent(String),
}

impl JsonSchema for PodCount {
    fn schema_name() -> Cow<'static, str> {
        "PodCount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "maximum": 1000,
            "maxLength": 4
        })
    }
}

impl Default for Shield {
    fn default() -> Self {
        Self {
            after: default_after(),
        }
    }
}

fn default_after() -> Duration {
    Duration::from_secs(30)
}
