//! Manifests about what the queue does with tasks: order, retries, limits, retention, schedules.

use super::NATIVE;

/// Specs that the API server takes.
pub(super) const ACCEPTED: &[&[&str]] = &[
    &[
        NATIVE,
        "priorities: {order: Weighted, levels: [{name: a, weight: 1000}, {name: b, weight: 1}]}",
    ],
    &[NATIVE, "priorities: {order: Strict, aging: 1s}"],
    &[
        NATIVE,
        "retry: {maxElapsed: 8760h, rules: [{cause: OOMKilled, action: Retry, countsAsAttempt: true, after: 0s}, {cause: Error, match: '^HTTP 4', action: DeadLetter}, {match: gone, action: Drop}]}",
    ],
    &[
        NATIVE,
        "deadLetter: {maxCount: 1, maxAge: 1m}",
        "retention: {completed: {maxCount: 1, maxAge: 10s}}",
    ],
    &[
        NATIVE,
        "limits: {rate: {count: 100}, concurrency: 50, perKey: {concurrency: 1}, maxBacklog: 1000000000, maxPayloadBytes: 8388608}",
    ],
    &[NATIVE, "limits: {rate: {count: 1, per: 744h}}"],
    &[NATIVE, "events: {}"],
    &[
        NATIVE,
        "events: {log: Attempts, maxEntries: 100000000, maxBytes: 68719476736}",
    ],
    &[
        NATIVE,
        "schedules: [{name: a, cron: '0 3 * * *', timeZone: Europe/Paris, suspend: true, missed: Skip, task: {type: report, priority: low, payload: {any: [json, 1, null]}}}, {name: b, cron: '*/5 * * * *', task: {type: report, payload: text}}]",
    ],
];

/// Specs that it refuses, the field that the message must name, and the fix.
pub(super) const REFUSED: &[(&[&str], &str, &str)] = &[
    (
        &[
            NATIVE,
            "priorities: {order: Weighted, levels: [{name: a, weight: 1}, {name: b}]}",
        ],
        "spec.priorities",
        "needs a weight for each level",
    ),
    (
        &[NATIVE, "priorities: {levels: [{name: a, weight: 1}]}"],
        "spec.priorities",
        "set priorities.order: Weighted, or remove the weights",
    ),
    (
        &[
            NATIVE,
            "priorities: {order: Weighted, levels: [{name: a, weight: 1001}]}",
        ],
        "spec.priorities.levels[0].weight",
        "less than or equal to 1000",
    ),
    (
        &[
            NATIVE,
            "priorities: {order: Weighted, aging: 5m, levels: [{name: a, weight: 1}]}",
        ],
        "spec.priorities",
        "counts only with order Strict",
    ),
    (
        &[NATIVE, "priorities: {aging: 500ms}"],
        "spec.priorities.aging",
        "from 1s to 168h",
    ),
    (
        &[NATIVE, "retry: {maxElapsed: 1d}"],
        "spec.retry.maxElapsed",
        "from 1s to 8760h",
    ),
    (
        &[
            NATIVE,
            "retry: {rules: [{cause: Evicted, match: a, action: Retry}]}",
        ],
        "spec.retry.rules[0]",
        "must be left out with cause",
    ),
    (
        &[
            NATIVE,
            "retry: {rules: [{cause: WorkerLost, action: Drop}]}",
        ],
        "spec.retry.rules[0]",
        "use Retry or DeadLetter",
    ),
    (
        &[
            NATIVE,
            "retry: {rules: [{action: Retry}, {action: Drop, after: 1s}]}",
        ],
        "spec.retry.rules[1]",
        "counts only with action Retry",
    ),
    (
        &[NATIVE, "retry: {rules: [{action: Retry, after: 169h}]}"],
        "spec.retry.rules[0].after",
        "from 0s to 168h",
    ),
    (
        &[NATIVE, "retry: {rules: [{cause: Error}]}"],
        "spec.retry.rules[0].action",
        "Required",
    ),
    (
        &[NATIVE, "retry: {rules: [{cause: Bug, action: Drop}]}"],
        "spec.retry.rules[0].cause",
        "OOMKilled",
    ),
    (
        &[NATIVE, "deadLetter: {maxCount: 0}"],
        "spec.deadLetter.maxCount",
        "greater than or equal to 1",
    ),
    (
        &[NATIVE, "events: {log: Everything}"],
        "spec.events.log",
        "Attempts",
    ),
    (
        &[NATIVE, "events: {maxEntries: 10}"],
        "spec.events.maxEntries",
        "greater than or equal to 1000",
    ),
    (
        &[NATIVE, "events: {maxBytes: 1000}"],
        "spec.events.maxBytes",
        "greater than or equal to 1048576",
    ),
    (
        &[NATIVE, "deadLetter: {maxAge: 14d}"],
        "spec.deadLetter.maxAge",
        "336h (14 days)",
    ),
    (
        &[NATIVE, "retention: {completed: {maxAge: 9s}}"],
        "spec.retention.completed.maxAge",
        "from 10s to 8760h",
    ),
    (
        &[NATIVE, "limits: {rate: {per: 1s}}"],
        "spec.limits.rate.count",
        "Required",
    ),
    (
        &[NATIVE, "limits: {rate: {count: 1, per: 99ms}}"],
        "spec.limits.rate.per",
        "from 100ms to 744h",
    ),
    (
        &[NATIVE, "limits: {concurrency: 0}"],
        "spec.limits.concurrency",
        "greater than or equal to 1",
    ),
    (
        &[NATIVE, "limits: {perKey: {concurrency: 0}}"],
        "spec.limits.perKey.concurrency",
        "greater than or equal to 1",
    ),
    (
        &[NATIVE, "limits: {maxPayloadBytes: 8388609}"],
        "spec.limits.maxPayloadBytes",
        "less than or equal to",
    ),
    (
        &[
            NATIVE,
            "schedules: [{name: Nightly, cron: '0 3 * * *', task: {type: a}}]",
        ],
        "spec.schedules[0].name",
        "a-z, 0-9",
    ),
    (
        &[
            NATIVE,
            "schedules: [{name: a, cron: '0 3 * * *', task: {type: a}}, {name: a, cron: '0 4 * * *', task: {type: a}}]",
        ],
        "spec.schedules[1]",
        "Duplicate",
    ),
    (
        &[NATIVE, "schedules: [{name: a, task: {type: a}}]"],
        "spec.schedules[0].cron",
        "Required",
    ),
    (
        &[
            NATIVE,
            "schedules: [{name: a, cron: '0 3 * * *', task: {}}]",
        ],
        "spec.schedules[0].task.type",
        "Required",
    ),
    (
        &[
            NATIVE,
            "schedules: [{name: a, cron: '0 3 * * *', task: {type: a, priority: urgent}}]",
        ],
        "spec",
        "schedules[].task.priority must be the name of one of priorities.levels",
    ),
    (
        &[
            NATIVE,
            "schedules: [{name: a, cron: '0 3 * * *', missed: All, task: {type: a}}]",
        ],
        "spec.schedules[0].missed",
        "RunOnce",
    ),
];
