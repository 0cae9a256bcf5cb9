//! `spec.deadLetter` and `spec.retention`: nothing is kept for ever.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// How many dead letters are kept, and for how long. The oldest go first.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The most dead letters that are kept, from 1 to 1000000.
    #[serde(default = "default_dead_count")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_count: i32,

    /// How long a dead letter is kept, as a duration from 1m to 8760h (a year). A day is 24h;
    /// by default it is 336h, 14 days.
    #[serde(default = "default_dead_age")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1m') && duration(self) <= duration('8760h')")
        .message("deadLetter.maxAge must be a duration from 1m to 8760h, such as 24h or 336h (14 days)"))]
    pub max_age: Duration,
}

/// How long tasks can be read after their end.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Tasks that were completed, cancelled, dropped or that expired.
    #[serde(default)]
    pub completed: CompletedRetention,
}

/// How long ended tasks can be read, dead letters apart.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CompletedRetention {
    /// The most ended tasks that can be read, from 1 to 10000000. Somewhat more may be kept, since
    /// they go in groups, and none goes in its first 10 seconds. By default age alone counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_count: Option<i32>,

    /// How long an ended task can be read, as a duration from 10s to 8760h (a year). By
    /// default 1h.
    #[serde(default = "default_completed_age")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('10s') && duration(self) <= duration('8760h')")
        .message("retention.completed.maxAge must be a duration from 10s to 8760h, such as 5m, 1h or 24h"))]
    pub max_age: Duration,
}

impl Default for DeadLetter {
    fn default() -> Self {
        Self {
            max_count: 10_000,
            max_age: Duration::from_secs(14 * 24 * 3600),
        }
    }
}

impl Default for CompletedRetention {
    fn default() -> Self {
        Self {
            max_count: None,
            max_age: Duration::from_secs(3600),
        }
    }
}

fn default_dead_count() -> i32 {
    DeadLetter::default().max_count
}

fn default_dead_age() -> Duration {
    DeadLetter::default().max_age
}

fn default_completed_age() -> Duration {
    CompletedRetention::default().max_age
}
