//! Manifests about queues of other systems.

const TARGET: &str = "targetRef: {kind: Deployment, name: mailer}";
const BULLMQ: &str = "source: {bullmq: {queue: emails}}";
const NATIVE: &str = super::NATIVE;

/// Specs that the API server takes.
pub(super) const ACCEPTED: &[&[&str]] = &[
    &[BULLMQ, TARGET],
    &[
        BULLMQ,
        "targetRef: {kind: StatefulSet, name: mailer.v2, concurrency: 1000}",
    ],
    &[
        "source: {celery: {queue: a, exchange: b, keyPrefix: 'c:'}}",
        TARGET,
    ],
    &["source: {rq: {}}", TARGET],
    &["source: {sidekiq: {queue: mailers}}", TARGET],
    &[
        "source: {asynq: {}}",
        TARGET,
        "scaling: {target: {backlogPerReplica: 5}}",
    ],
    &[
        "source: {list: {key: jobs, inFlightKey: 'jobs:running'}}",
        TARGET,
    ],
    &[
        "source: {sortedSet: {key: jobs, scores: Milliseconds}}",
        TARGET,
    ],
    &["source: {stream: {key: orders, group: workers}}", TARGET],
    &[
        "source: {expressions: [{command: LLEN, key: a, role: Runnable}, {command: ZCOUNT, key: b, role: Deferred, unit: Milliseconds}]}",
        TARGET,
    ],
];

/// Specs that it refuses, with the field and the fix that it names.
pub(super) const REFUSED: &[(&[&str], &str, &str)] = &[
    (
        &["redis: {url: 'redis://r:6379'}"],
        "spec",
        "exactly one of worker",
    ),
    (&[NATIVE, BULLMQ, TARGET], "spec", "exactly one of worker"),
    (&[BULLMQ], "spec", "name the Deployment or StatefulSet"),
    (&[NATIVE, TARGET], "spec", "or remove both"),
    (
        &["source: {}", TARGET],
        "spec.source",
        "exactly one of bullmq",
    ),
    (
        &["source: {rq: {}, asynq: {}}", TARGET],
        "spec.source",
        "exactly one of bullmq",
    ),
    (
        &["source: {bullmq: {}}", TARGET],
        "spec.source.bullmq.queue",
        "Required",
    ),
    (
        &[BULLMQ, "targetRef: {kind: ReplicaSet, name: a}"],
        "spec.targetRef.kind",
        "StatefulSet",
    ),
    (
        &[BULLMQ, "targetRef: {kind: Deployment, name: Mailer}"],
        "spec.targetRef.name",
        "a-z, 0-9",
    ),
    (
        &[
            BULLMQ,
            "targetRef: {kind: Deployment, name: a, concurrency: 0}",
        ],
        "spec.targetRef.concurrency",
        "greater than or equal to 1",
    ),
    (
        &[BULLMQ, TARGET, "paused: true"],
        "spec",
        "queueName, paused and schedules",
    ),
    (
        &[BULLMQ, TARGET, "queueName: emails"],
        "spec",
        "queueName, paused and schedules",
    ),
    (
        &[BULLMQ, TARGET, "scaling: {target: {latency: 5s}}"],
        "spec",
        "use backlogPerReplica with a source",
    ),
    (
        &[
            "source: {expressions: [{command: HLEN, key: a, role: InFlight}]}",
            TARGET,
        ],
        "spec.source.expressions",
        "give at least one of them the role Runnable",
    ),
    (
        &[
            "source: {expressions: [{command: LLEN, key: a, role: Deferred}]}",
            TARGET,
        ],
        "spec.source.expressions[0]",
        "needs command: ZCOUNT",
    ),
    (
        &[
            "source: {expressions: [{command: LLEN, key: a, role: Runnable, unit: Seconds}]}",
            TARGET,
        ],
        "spec.source.expressions[0]",
        "leave it out with another command",
    ),
];
