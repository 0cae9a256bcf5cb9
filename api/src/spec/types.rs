//! `spec.types`.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Backoff, Duration, RetryRule};

/// What holds for the tasks of one type, in place of what holds for the queue; what is left out is as the queue says. What
/// a task was given of its own goes before both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TypeRules {
    /// The type, as producers give it to their tasks. At most 128 bytes.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,

    /// How many tasks of the type may run at once, over all workers, from 1 to 1000000. The others wait without taking a
    /// worker. It holds for tasks that are added while it is in force; these must not have a concurrency key of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrency: Option<i32>,

    /// How long one attempt may take, as a duration from 100ms to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('100ms') && duration(self) <= duration('24h')")
        .message("types[].timeout must be a duration from 100ms to 24h, such as 30s, 5m or 1h30m"))]
    pub timeout: Option<Duration>,

    /// What happens after a failed attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<TypeRetry>,
}

/// What happens after a failed attempt of a task of the type; what is left out is as the queue's retry says.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TypeRetry {
    /// How many attempts a task gets in all, the first included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: Option<i32>,

    /// How long a failed task waits before its next attempt, in place of the queue's whole backoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,

    /// No attempt begins later than this after the first failed one, as a duration from 1s to
    /// 8760h (a year).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')")
        .message("types[].retry.maxElapsed must be a duration from 1s to 8760h, such as 10m, 24h or 168h"))]
    pub max_elapsed: Option<Duration>,

    /// Exceptions by cause and message, in place of all of the queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub rules: Option<Vec<RetryRule>>,
}
