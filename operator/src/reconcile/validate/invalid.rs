//! Why a spec cannot work.

/// Why a spec cannot work. Each waits for an edit.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// The queue's name does not fit Redis.
    #[error("spec.queueName: {0}")]
    QueueName(#[source] taskqueue_queue::Error),
    /// Neither the spec nor the operator names a Redis.
    #[error(
        "spec.redis is missing and the operator has no default Redis: set spec.redis.url, or install the operator with redis.url"
    )]
    NoRedis,
    /// The operator's Redis is for other namespaces.
    #[error(
        "spec.redis is missing and the operator's default Redis does not serve namespace {0}: set spec.redis.urlFrom to a Secret with a URL of your own, or have {0} added to redis.namespaces of the operator's chart"
    )]
    NotServed(String),
    /// The endpoint names no source, or two.
    #[error("spec.redis needs exactly one of url and urlFrom")]
    RedisSource,
    /// A client certificate without its key, or the other way round.
    #[error("spec.redis.tls needs both or neither of certFrom and keyFrom")]
    TlsIdentity,
    /// Neither or several handlers.
    #[error("spec.worker.handler needs exactly one of exec, stdio, http and native")]
    Handler,
    /// Neither or both bounds.
    #[error("spec.worker.disruptionBudget needs exactly one of maxUnavailable and minAvailable")]
    Budget,
    /// The template is no pod template.
    #[error("spec.worker.template is not a pod template: {0}")]
    Template(String),
    /// The template holds something that the operator has to set.
    #[error("{field} must be left out with handler.{handler}: {reason}")]
    TemplateConflict {
        /// Path of the field.
        field: String,
        /// Handler in use.
        handler: &'static str,
        /// What the operator does there.
        reason: &'static str,
    },
    /// The grace period would cut the drain short.
    #[error(
        "spec.worker.template.spec.terminationGracePeriodSeconds is {given}, less than drainTimeout needs ({needed}): raise it, lower worker.drainTimeout, or leave it out"
    )]
    GracePeriod {
        /// Seconds given.
        given: i64,
        /// Seconds needed.
        needed: i64,
    },
    /// A number is out of its range.
    #[error("{field} is {value}, out of the range {range}")]
    Range {
        /// Path of the field.
        field: &'static str,
        /// Value given.
        value: i64,
        /// Range allowed.
        range: &'static str,
    },
    /// The part of the spec that becomes the queue's policy holds something that no queue takes,
    /// such as a cron expression that is none.
    #[error("{field} {value:?} is not allowed: {rule}")]
    Policy {
        /// Path of the field.
        field: String,
        /// Value given.
        value: String,
        /// What is allowed.
        rule: String,
    },
    /// The handler holds something that no worker takes.
    #[error("spec.worker.handler.{0}")]
    BadHandler(String),
    /// The handler has nothing to run in.
    #[error(
        "spec.worker.template is missing: handler.{0} needs a pod template whose first container has the image that holds the command or the server"
    )]
    NoTemplate(&'static str),
    /// The worker, in a container of its own, cannot reach the server's socket.
    #[error(
        "spec.worker.handler.http.socket is {0}, which is on no volume of the first container: mount an emptyDir there, so that the worker sees it too"
    )]
    SocketVolume(String),
    /// Neither or both of what a TaskQueue can stand for.
    #[error("spec needs exactly one of worker and source")]
    WorkerOrSource,
    /// Neither or several systems.
    #[error(
        "spec.source needs exactly one of bullmq, celery, rq, sidekiq, asynq, list, sortedSet, stream and expressions"
    )]
    Source,
    /// A source without workers.
    #[error(
        "spec.targetRef is missing: name the Deployment or StatefulSet that works on the source"
    )]
    NoTarget,
    /// Sources are not served.
    #[error(
        "spec.source is not served here: use spec.worker, or have the operator installed with sources.enabled=true"
    )]
    SourcesOff,
    /// The operator would read its own Redis for others.
    #[error(
        "spec.redis is missing and spec.source may not read the operator's default Redis: set spec.redis, or have the operator installed with sources.onDefaultRedis=true"
    )]
    SourceOnDefaultRedis,
    /// The workers would have the operator's rights.
    #[error(
        "spec.worker.template.spec.serviceAccountName is {0}, the operator's own account in this namespace: name another one, or move the TaskQueue to another namespace"
    )]
    OwnAccount(String),
    /// The operator would scale itself, or its Redis.
    #[error(
        "spec.targetRef.name is {0}, which was installed with the operator: name the Deployment or StatefulSet that works on the source"
    )]
    OwnWorkload(String),
    /// Something about a queue of our own beside a source.
    #[error("{0} is about a queue of Taskqueue: remove it, the source's own system has its own")]
    WithSource(&'static str),
    /// The resource came without what the API server always sets.
    #[error("the resource has no {0}")]
    Metadata(&'static str),
}
