//! What a user declares: the `spec` of a TaskQueue.
//!
//! One file a section. Every list, string and number has a bound, every rule that CEL can
//! express is a rule here with a message that names the field and the fix, and the comments
//! are written for `kubectl explain`.

mod disruption;
mod duration;
mod events;
mod limits;
mod priorities;
mod redis;
mod resources;
mod retention;
mod retry;
mod scaling;
mod schedules;
mod source;
mod types;
mod windows;
mod worker;

pub use disruption::{DisruptionBudget, PodCount, Shield};
pub use duration::Duration;
pub use events::{EventLogging, Events};
pub use limits::{KeyLimits, Limits, Rate};
pub use priorities::{Order, Priorities, PriorityLevel};
pub use redis::{RedisEndpoint, RedisTls, SecretKeySelector, SecretSource};
pub use resources::{Compute, Quantity, Resources};
pub use retention::{CompletedRetention, DeadLetter, Retention};
pub use retry::{Backoff, BackoffType, FailureCause, Retry, RetryAction, RetryRule};
pub use scaling::{ScaleDown, ScaleUp, Scaling, ScalingMode, ScalingTarget};
pub use schedules::{MissedRuns, Schedule, ScheduledTask};
pub use source::{
    Asynq, BullMq, Celery, CountCommand, Expression, ListKeys, Role, Rq, Scores, SortedSetKeys,
    Source, StreamGroup, SystemQueue, TargetKind, TargetRef, TimeUnit,
};
pub use types::{TypeRetry, TypeRules};
pub use windows::{ScalingWindow, Weekday};
pub use worker::{
    Batch, ExecHandler, Handler, HttpHandler, HttpProtocol, NativeHandler, PodTemplate,
    StdioHandler, Worker,
};

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::status::TaskQueueStatus;

/// A task queue in Redis and the workers that empty it: how tasks are ordered and retried,
/// which pods run them, and how many of those pods there are.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "taskqueue.dev",
    version = "v1alpha1",
    kind = "TaskQueue",
    plural = "taskqueues",
    shortname = "tq",
    category = "all",
    namespaced,
    status = "TaskQueueStatus",
    derive = "PartialEq",
    doc = "A TaskQueue declares a task queue in Redis together with the workers that run its tasks. The operator keeps a Deployment of workers and scales it from zero and back on what the queue needs.",
    validation = Rule::new("self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be at most 52 characters of a-z, 0-9 and '-', since the Deployment and the pod labels are named after it"),
    scale(
        spec_replicas_path = ".spec.scaling.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.depth.waiting", description = "Tasks that could run now"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.depth.active", description = "Tasks that a worker runs"),
    printcolumn(name = "Oldest", type_ = "integer", json_path = ".status.oldestWaitingSeconds", description = "Seconds that the oldest waiting task has waited"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas", description = "Worker pods that are ready"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desiredReplicas", description = "Worker pods wanted"),
    printcolumn(name = "Min", type_ = "integer", json_path = ".spec.scaling.minReplicas", description = "Lower bound of the replicas"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.scaling.maxReplicas", description = "Upper bound of the replicas"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.lastDecision.reason", description = "Why there are that many"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Queue", type_ = "string", json_path = ".status.queue", description = "The queue's name in Redis", priority = 1),
    printcolumn(name = "Scheduled", type_ = "integer", json_path = ".status.depth.scheduled", description = "Tasks due later: delayed, or waiting for a retry", priority = 1),
    printcolumn(name = "Dead", type_ = "integer", json_path = ".status.depth.dead", description = "Dead letters", priority = 1),
    printcolumn(name = "Equation", type_ = "string", json_path = ".status.lastDecision.equation", description = "The wanted replicas as an equation", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.queueName) == has(oldSelf.queueName) && (!has(self.queueName) || self.queueName == oldSelf.queueName)")
        .message("spec.queueName is immutable, since tasks would stay behind under the old name: create another TaskQueue instead"),
    validation = Rule::new("has(self.worker) != has(self.source)")
        .message("spec needs exactly one of worker (pods that run the tasks of a queue of Taskqueue) and source (a queue of another system, with a targetRef): add one, or remove the other"),
    validation = Rule::new("has(self.source) == has(self.targetRef)")
        .message("spec.source and spec.targetRef need each other: name the Deployment or StatefulSet that works on the source in targetRef: {kind, name}, or remove both"),
    validation = Rule::new("has(self.source) == has(oldSelf.source)")
        .message("spec.source cannot be added or removed, since the tasks and workers that are there would stay behind: create another TaskQueue instead"),
    validation = Rule::new("!has(self.source) || (!has(self.queueName) && !self.paused && (!has(self.schedules) || self.schedules.size() == 0))")
        .message("queueName, paused and schedules are about a queue of Taskqueue: remove them, the source's own system has its own"),
    validation = Rule::new("!has(self.source) || !has(self.scaling) || !has(self.scaling.target) || !has(self.scaling.target.latency)")
        .message("scaling.target.latency needs run times, which a source does not tell: use backlogPerReplica with a source"),
    validation = Rule::new("!has(self.schedules) || self.schedules.all(schedule, !has(schedule.task.priority) || self.priorities.levels.exists(level, level.name == schedule.task.priority))")
        .message("schedules[].task.priority must be the name of one of priorities.levels: correct it, or leave it out for the middle level")
)]
pub struct TaskQueueSpec {
    /// Name of the queue, by default the name of the TaskQueue. In Redis the queue is
    /// `<namespace>/<queueName>`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("queueName must be 1 to 63 characters of a-z, 0-9, '-' and '.', with a letter or digit at both ends"))]
    pub queue_name: Option<String>,

    /// The Redis that holds the queue. By default the one that the operator was installed with, where that
    /// serves this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisEndpoint>,

    /// Priority levels of the tasks and the order in which they are served.
    #[serde(default)]
    pub priorities: Priorities,

    /// What happens after a failed attempt.
    #[serde(default)]
    pub retry: Retry,

    /// How long one attempt may take, as a duration such as 30s, 5m or 1h30m, from 100ms to
    /// 24h. An attempt that takes longer is stopped and counts as failed.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('100ms') && duration(self) <= duration('24h')")
        .message("timeout must be a duration from 100ms to 24h, such as 30s, 5m or 1h30m"))]
    pub timeout: Duration,

    /// How many dead letters are kept, and for how long.
    #[serde(default)]
    pub dead_letter: DeadLetter,

    /// How long tasks can be read after their end.
    #[serde(default)]
    pub retention: Retention,

    /// What the queue as a whole may do, however many workers it has.
    #[serde(default)]
    pub limits: Limits,

    /// A log of the tasks that have ended, for programs that read it. None by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Events>,

    /// What holds for the tasks of some types in place of what holds for the queue: how many of them run at once, how long
    /// an attempt may take, and what happens after a failed one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub types: Vec<TypeRules>,

    /// Tasks that are added again and again, at the times of a cron expression, whether or not a
    /// worker runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub schedules: Vec<Schedule>,

    /// Stops the workers from taking further tasks. Running tasks finish; tasks can still be
    /// added and wait.
    #[serde(default)]
    pub paused: bool,

    /// The pods that run the tasks. Exactly one of worker and source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,

    /// Bring your own worker: a queue of another system, on whose depth the targetRef is scaled. The
    /// TaskQueue then makes no pods and no queue of its own; all fields but redis and scaling are
    /// about such a queue and must be left out. Name its Redis in redis: the one that the operator was
    /// installed with is read for sources only where the operator was told to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,

    /// The workers of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,

    /// How many worker pods there are.
    #[serde(default)]
    pub scaling: Scaling,
}

fn default_timeout() -> Duration {
    Duration::from_secs(300)
}

impl TaskQueue {
    /// Name of the queue within its namespace: `spec.queueName`, else the resource's own name.
    pub fn queue_name(&self) -> &str {
        match &self.spec.queue_name {
            Some(name) => name,
            None => self.metadata.name.as_deref().unwrap_or_default(),
        }
    }
}
