//! `spec.source` and `spec.targetRef`.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A queue of another system, which is only ever read. Exactly one of the fields. While Redis has
/// never heard of it, the condition SourceKeyMissing says so, and nothing is scaled.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.bullmq), has(self.celery), has(self.rq), has(self.sidekiq), has(self.asynq), has(self.list), has(self.sortedSet), has(self.stream), has(self.expressions)].filter(given, given).size() == 1")
    .message("source needs exactly one of bullmq, celery, rq, sidekiq, asynq, list, sortedSet, stream and expressions, such as bullmq: {queue: emails}"))]
pub struct Source {
    /// A queue of BullMQ 5 or 6. Jobs that wait, are prioritized, or are due are demand; a job that
    /// waits for its children is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bullmq: Option<BullMq>,

    /// A queue of Celery, with Redis as its broker. With Celery's defaults Redis does not show what
    /// runs: see acksLate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub celery: Option<Celery>,

    /// A queue of RQ 2 or 3. Scheduled jobs need workers that run with their scheduler: see scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rq: Option<Rq>,

    /// A queue of Sidekiq. The scheduled and retried jobs of all queues count once they are due,
    /// since any process moves them on and nothing tells which queue they are for. A process tells
    /// what it runs every 10 s, so that no pod is taken away within 10 s of the last job seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidekiq: Option<SystemQueue>,

    /// A queue of asynq.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asynq: Option<Asynq>,

    /// A list of which each item is a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListKeys>,

    /// A sorted set of which each member is a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorted_set: Option<SortedSetKeys>,

    /// A stream and the consumer group that works on it: what was not delivered to the group, and
    /// what was and is not acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamGroup>,

    /// Counts that add up, for a system that has no field of its own here. Without one of role
    /// InFlight nobody sees that a task runs, as with a list without inFlightKey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self.exists(one, one.role != 'InFlight')")
        .message("source.expressions must count what can run: give at least one of them the role Runnable or Deferred"))]
    pub expressions: Option<Vec<Expression>>,
}

/// A queue of BullMQ.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BullMq {
    /// Name of the queue.
    #[schemars(length(min = 1, max = 256))]
    pub queue: String,

    /// The queue's option `prefix`, with which all of its keys begin.
    #[serde(default = "default_bullmq_prefix")]
    #[schemars(length(min = 1, max = 256))]
    pub prefix: String,

    /// The `max` of the limiter that the target's workers bring themselves. BullMQ keeps that nowhere
    /// in Redis, so that without it a limit that is used up looks like a backlog, and workers are added
    /// for nothing. A limit of the queue (setGlobalRateLimit) is known without it. From 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub limiter_max: Option<i32>,
}

/// A queue of Celery.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Celery {
    /// Name of the queue.
    #[serde(default = "default_celery_queue")]
    #[schemars(length(min = 1, max = 256))]
    pub queue: String,

    /// The exchange that the queue is bound to, by default the name of the queue, as in Celery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub exchange: Option<String>,

    /// The transport option `global_keyprefix`, with which all keys begin. By default empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub key_prefix: Option<String>,

    /// The transport option `priority_steps`: each has a list of its own, that of 0 the queue's own
    /// name. By default 0, 3, 6 and 9, as in Celery. One to ten numbers from 0 to 255.
    #[serde(default = "default_priority_steps")]
    #[schemars(schema_with = "priority_steps")]
    pub priority_steps: Vec<u8>,

    /// The transport option `sep`, which stands between the queue's name and a step. By default that
    /// of Celery, the characters 6 and 22.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub separator: Option<String>,

    /// Whether the application sets `task_acks_late`. Without that a task is acknowledged when it
    /// starts, and nothing in Redis shows that it runs: the condition RunningHidden says so, and no pod
    /// is taken away before `scaling.idle` is over since a task was last seen. Make that longer than
    /// the longest task.
    #[serde(default)]
    pub acks_late: bool,
}

/// A queue of RQ.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rq {
    /// Name of the queue.
    #[serde(default = "default_queue")]
    #[schemars(length(min = 1, max = 256))]
    pub queue: String,

    /// What all keys begin with: the `RQ_KEY_PREFIX` of its programs.
    #[serde(default = "default_rq_prefix")]
    #[schemars(length(min = 1, max = 256))]
    pub key_prefix: String,

    /// Whether the target's pods move jobs on whose time has come: `rq worker --with-scheduler` and
    /// `rq worker-pool` do, and then such jobs are demand. A plain `rq worker` never does, and would be
    /// kept for them for ever: set false where the scheduler runs elsewhere.
    #[serde(default = "default_true")]
    pub scheduler: bool,
}

/// A queue of asynq.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Asynq {
    /// Name of the queue.
    #[serde(default = "default_queue")]
    #[schemars(length(min = 1, max = 256))]
    pub queue: String,

    /// Whether the target's servers have a `GroupAggregator`. Tasks of a group wait until one of them
    /// makes a task of the group, so that groups keep one pod or wake it. A server without it never
    /// does, and would be kept for them for ever: set false where groups are made elsewhere.
    #[serde(default = "default_true")]
    pub aggregates: bool,
}

/// A queue by its name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SystemQueue {
    /// Name of the queue.
    #[serde(default = "default_queue")]
    #[schemars(length(min = 1, max = 256))]
    pub queue: String,
}

/// The keys of a plain list.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ListKeys {
    /// Key of the list.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,

    /// Key of the list to which workers move what they run, with LMOVE. Without it nobody sees that a
    /// task runs: the condition RunningHidden says so, and no pod is taken away before `scaling.idle` is
    /// over since a task was last seen. Make that longer than the longest task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub in_flight_key: Option<String>,
}

/// The keys of a plain sorted set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SortedSetKeys {
    /// Key of the sorted set.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,

    /// What the scores mean. `Order`: every member can run. `Seconds` or `Milliseconds`: a member
    /// can run from that time on, counted from the Unix epoch.
    #[serde(default)]
    pub scores: Scores,

    /// Key of the sorted set to which workers move what they run. Without it nobody sees that a task
    /// runs: the condition RunningHidden says so, and no pod is taken away before `scaling.idle` is over
    /// since a task was last seen. Make that longer than the longest task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub in_flight_key: Option<String>,
}

/// What the scores of a sorted set mean.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scores {
    /// An order.
    #[default]
    Order,
    /// A time in seconds.
    Seconds,
    /// A time in milliseconds.
    Milliseconds,
}

/// A stream and a consumer group of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StreamGroup {
    /// Key of the stream.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,

    /// Name of the consumer group.
    #[schemars(length(min = 1, max = 256))]
    pub group: String,
}

/// A command whose answer is a number of tasks.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.role != 'Deferred' || self.command == 'ZCOUNT'")
        .message("source.expressions[].role Deferred needs command: ZCOUNT, which counts the members of a sorted set whose time has come: change the command or the role"),
    validation = Rule::new("!has(self.unit) || self.command == 'ZCOUNT'")
        .message("source.expressions[].unit is the unit of the scores that ZCOUNT compares with the time: leave it out with another command"),
)]
pub struct Expression {
    /// How the tasks under the key are counted: the items of a list (`LLEN`), the members of a set
    /// (`SCARD`) or a sorted set (`ZCARD`), those whose score is a time that has come (`ZCOUNT`), the
    /// fields of a hash (`HLEN`), the entries of a stream (`XLEN`), or a whole number kept as text
    /// (`GET`).
    pub command: CountCommand,

    /// The key.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,

    /// What is counted. `Runnable`: tasks that can run now. `InFlight`: tasks that a worker holds;
    /// while there are any, no worker is stopped. `Deferred`: tasks that can run from their time on.
    pub role: Role,

    /// The unit of the scores that ZCOUNT compares with the time, counted from the Unix epoch. By
    /// default Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<TimeUnit>,
}

/// A command that counts.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum CountCommand {
    /// Items of a list.
    Llen,
    /// Members of a set.
    Scard,
    /// Members of a sorted set.
    Zcard,
    /// Members of a sorted set whose time has come.
    Zcount,
    /// Fields of a hash.
    Hlen,
    /// Entries of a stream.
    Xlen,
    /// A whole number.
    Get,
}

/// What is counted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tasks that can run now.
    Runnable,
    /// Tasks that a worker holds.
    InFlight,
    /// Tasks that can run from their time on.
    Deferred,
}

/// A unit of time.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// The workers of a source: a Deployment or StatefulSet in the namespace of the TaskQueue, of which
/// nothing but the number of replicas is ever written.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// Kind of the workers' object.
    pub kind: TargetKind,

    /// Name of the workers' object.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("targetRef.name must be the name of a Deployment or StatefulSet: a-z, 0-9, '-' and '.', with a letter or digit at both ends"))]
    pub name: String,

    /// How many tasks one pod of the target takes at once: what its program is told, such as the
    /// `concurrency` of a BullMQ worker (for Celery with what it prefetches). There are never fewer
    /// pods than the tasks that are held need. From 1 to 1000.
    #[serde(default = "default_concurrency")]
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: i32,
}

/// Kind of a target.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
)]
pub enum TargetKind {
    /// A Deployment of apps/v1.
    Deployment,
    /// A StatefulSet of apps/v1.
    StatefulSet,
}

fn default_bullmq_prefix() -> String {
    "bull".to_owned()
}

fn default_celery_queue() -> String {
    "celery".to_owned()
}

fn default_queue() -> String {
    "default".to_owned()
}

fn default_rq_prefix() -> String {
    "rq".to_owned()
}

fn default_priority_steps() -> Vec<u8> {
    vec![0, 3, 6, 9]
}

/// Bytes, which the derived schema would give a format that Kubernetes does not know.
fn priority_steps(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": 10,
        "x-kubernetes-list-type": "set",
        "items": { "type": "integer", "format": "int32", "minimum": 0, "maximum": 255 }
    })
}

fn default_true() -> bool {
    true
}

fn default_concurrency() -> i32 {
    1
}
