//! `spec.retry`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// What happens after a failed attempt: another one after a backoff, until maxAttempts is
/// reached; then the task becomes a dead letter, which is kept with its errors and can be
/// retried by hand.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How many attempts a task gets in all, the first included. A worker that is shut down or
    /// lost costs no attempt.
    #[serde(default = "default_max_attempts")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: i32,

    /// How often a task may lose its worker: the worker or its handler died, was evicted or lost
    /// with its node while the task ran. One loss more and the task becomes a dead letter; before
    /// that it runs with no other task beside it. With 0 the first loss is one too many.
    #[serde(default = "default_max_losses")]
    #[schemars(range(min = 0, max = 100))]
    pub max_losses: i32,

    /// How many failed and lost attempts are kept of each task, the last ones, with cause, message, worker, pod,
    /// node and times; from 1 to 100. Each takes about 150 bytes of Redis and its message.
    #[serde(default = "default_attempts_kept")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts_kept: i32,

    /// How long a failed task waits before its next attempt.
    #[serde(default = "default_backoff")]
    pub backoff: Backoff,

    /// No attempt begins later than this after the first failed one, as a duration from 1s to
    /// 8760h (a year). By default only maxAttempts ends the attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')")
        .message("retry.maxElapsed must be a duration from 1s to 8760h, such as 10m, 24h or 168h"))]
    pub max_elapsed: Option<Duration>,

    /// Exceptions by cause and message. The first rule that fits a failure decides on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<RetryRule>,
}

/// What becomes of the failures that it fits. A rule without cause and match fits every failure of
/// a handler.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.match) || !has(self.cause) || self.cause in ['Error', 'Timeout']")
        .message("retry.rules[].match must be left out with cause OOMKilled, Evicted or WorkerLost: a worker that is lost leaves no message to look in"),
    validation = Rule::new("self.action != 'Drop' || !has(self.cause) || self.cause in ['Error', 'Timeout']")
        .message("retry.rules[].action must not be Drop with cause OOMKilled, Evicted or WorkerLost: use Retry or DeadLetter, since the task itself may be sound"),
    validation = Rule::new("self.action == 'Retry' || !has(self.after)")
        .message("retry.rules[].after counts only with action Retry: set action: Retry, or remove after")
)]
pub struct RetryRule {
    /// Only failures of this cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,

    /// Only failures whose message this regular expression finds something in: a substring, or
    /// such as `^HTTP 4[0-9][0-9]`. At most 256 bytes. By default every message.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub pattern: Option<String>,

    /// What becomes of the task. `Retry`: it is tried again. `DeadLetter`: it becomes a dead
    /// letter at once. `Drop`: it ends, and no dead letter is kept.
    pub action: RetryAction,

    /// Whether the failure counts against maxAttempts. By default Error and Timeout do, and the
    /// loss of a worker does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_as_attempt: Option<bool>,

    /// With action Retry: the wait before the next attempt instead of the backoff, as a duration
    /// from 0s to 168h (a week).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('168h')")
        .message("retry.rules[].after must be a duration from 0s to 168h, such as 500ms, 30s or 5m"))]
    pub after: Option<Duration>,
}

/// Only failures of this cause. `Error`: the handler failed. `Timeout`: the attempt took longer than
/// `timeout`. `OOMKilled`, `Evicted`, `WorkerLost`: the worker was killed for lack of memory, its
/// pod was evicted, or it is gone for another reason. By default Error and Timeout.
// This, and not what is said at the field, is what `kubectl explain` shows.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// The worker was killed for lack of memory.
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// The worker's pod was evicted.
    Evicted,
    /// The worker is gone for another reason.
    WorkerLost,
    /// The attempt took longer than the timeout.
    Timeout,
    /// The handler failed.
    Error,
}

/// What a rule does with a task.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAction {
    /// It is tried again.
    Retry,
    /// It becomes a dead letter at once.
    DeadLetter,
    /// It ends, and no dead letter is kept.
    Drop,
}

/// The wait before attempt n + 1, after n failed attempts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.initial.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') || !self.max.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') || duration(self.initial) <= duration(self.max)")
    .message("retry.backoff.initial must not be longer than retry.backoff.max: raise max or lower initial"))]
pub struct Backoff {
    /// How the wait grows. `Exponential`: initial, then twice as long each time. `Linear`:
    /// initial, 2 × initial, 3 × initial and so on. `Fixed`: always initial.
    #[serde(default = "default_kind")]
    #[serde(rename = "type")]
    pub kind: BackoffType,

    /// The first wait, as a duration such as 500ms, 1s or 5m, from 0s to 24h.
    #[serde(default = "default_initial")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('24h')")
        .message("retry.backoff.initial must be a duration from 0s to 24h, such as 500ms, 1s or 5m"))]
    pub initial: Duration,

    /// The longest wait, as a duration from 0s to 168h (a week).
    #[serde(default = "default_max")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('168h')")
        .message("retry.backoff.max must be a duration from 0s to 168h, such as 30s, 10m or 2h"))]
    pub max: Duration,

    /// Share of the wait that is random, from 0 to 1, so that tasks that failed together do not
    /// come back together: with 0.2 a wait of 10s becomes one of 8s to 12s.
    #[serde(default = "default_jitter")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub jitter: f64,
}

/// How a backoff grows.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackoffType {
    /// Twice as long each time.
    #[default]
    Exponential,
    /// Longer by the initial wait each time.
    Linear,
    /// Always the initial wait.
    Fixed,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            max_losses: 3,
            attempts_kept: 10,
            backoff: Backoff::default(),
            max_elapsed: None,
            rules: Vec::new(),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            kind: BackoffType::Exponential,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(600),
            jitter: 0.2,
        }
    }
}

fn default_max_attempts() -> i32 {
    Retry::default().max_attempts
}

fn default_attempts_kept() -> i32 {
    Retry::default().attempts_kept
}

fn default_max_losses() -> i32 {
    Retry::default().max_losses
}

fn default_backoff() -> Backoff {
    Retry::default().backoff
}

fn default_kind() -> BackoffType {
    Backoff::default().kind
}

fn default_initial() -> Duration {
    Backoff::default().initial
}

fn default_max() -> Duration {
    Backoff::default().max
}

fn default_jitter() -> f64 {
    Backoff::default().jitter
}
