//! What the API server itself accepts and refuses, with a message that names field and fix.

mod policy;
mod scaling;
mod sources;

use taskqueue_e2e::{Story, kubectl, kubectl_fails};

const TRY: [&str; 4] = ["create", "--dry-run=server", "-f", "-"];

const NATIVE: &str = "worker: {handler: {native: {}}}";
const EXEC: &str = "worker: {handler: {exec: {command: [cat]}}, template: {spec: {containers: [{name: a, image: b}]}}}";

fn manifest(name: &str, spec: &[&str]) -> String {
    let mut text = format!(
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nmetadata: {{name: {name}}}\nspec:\n"
    );
    for line in spec {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[test]
fn valid_manifests_are_accepted() {
    let longest = "a".repeat(63);
    let longest = format!("queueName: {longest}");
    let valid: &[&[&str]] = &[
        &[NATIVE],
        &[EXEC],
        &[NATIVE, "queueName: thumbnails.v2"],
        &[NATIVE, &longest],
        &[NATIVE, "redis: {url: 'redis://redis.example:6379/3'}"],
        &[NATIVE, "redis: {url: 'rediss://redis.example:6380'}"],
        &[
            NATIVE,
            "redis: {urlFrom: {secretKeyRef: {name: redis, key: url}}}",
        ],
        &[
            NATIVE,
            "priorities: {levels: [{name: urgent}, {name: batch}]}",
        ],
        &[
            NATIVE,
            "retry: {maxAttempts: 100, maxLosses: 0, backoff: {type: Linear, initial: 0s, max: 168h, jitter: 1}}",
        ],
        &[
            NATIVE,
            "retry: {backoff: {type: Fixed, initial: 1h30m, max: 1h30m, jitter: 0}}",
        ],
        &[NATIVE, "timeout: 100ms"],
        &[NATIVE, "timeout: 24h", "paused: true"],
        &["worker: {concurrency: 1000, drainTimeout: 1h, handler: {native: {}}}"],
    ];
    for spec in valid
        .iter()
        .chain(policy::ACCEPTED)
        .chain(scaling::ACCEPTED)
        .chain(sources::ACCEPTED)
    {
        kubectl(&TRY, &manifest("valid", spec));
    }
    kubectl(&TRY, &manifest(&"a".repeat(52), &[NATIVE]));
    for example in [
        "checksums",
        "emails",
        "hello",
        "process",
        "reports",
        "service",
    ] {
        let file = format!("{}/../examples/{example}.yaml", env!("CARGO_MANIFEST_DIR"));
        kubectl(&["create", "--dry-run=server", "-f", &file], "");
    }
}

// A table, one row a rule.
#[allow(clippy::too_many_lines)]
#[test]
fn invalid_manifests_are_refused_with_the_field_and_the_fix() {
    let too_long = format!("queueName: {}", "a".repeat(64));
    let rules = vec!["{action: Retry}"; 33].join(", ");
    let too_many_rules = format!("retry: {{rules: [{rules}]}}");
    let pattern = "a".repeat(257);
    let long_pattern = format!("retry: {{rules: [{{match: {pattern}, action: Retry}}]}}");
    // The spec, the field that the message must name, and the fix.
    let invalid: &[(&[&str], &str, &str)] = &[
        (
            &[NATIVE, "queueName: Thumbnails"],
            "spec.queueName",
            "a-z, 0-9",
        ),
        (
            &[NATIVE, "queueName: -a"],
            "spec.queueName",
            "letter or digit at both ends",
        ),
        (&[NATIVE, &too_long], "spec.queueName", "63"),
        (
            &[NATIVE, "redis: {}"],
            "spec.redis",
            "exactly one of url and urlFrom",
        ),
        (
            &[
                NATIVE,
                "redis: {url: 'redis://r:6379', urlFrom: {secretKeyRef: {name: a, key: b}}}",
            ],
            "spec.redis",
            "exactly one of url and urlFrom",
        ),
        (
            &[NATIVE, "redis: {url: 'http://r:6379'}"],
            "spec.redis.url",
            "redis://host:6379",
        ),
        (
            &[NATIVE, "redis: {url: 'redis://:secret@r:6379'}"],
            "spec.redis.url",
            "redis.urlFrom.secretKeyRef",
        ),
        (
            &[NATIVE, "redis: {urlFrom: {secretKeyRef: {name: a}}}"],
            "spec.redis.urlFrom.secretKeyRef.key",
            "Required",
        ),
        (
            &[NATIVE, "priorities: {order: Random}"],
            "spec.priorities.order",
            "Strict",
        ),
        (
            &[NATIVE, "priorities: {levels: []}"],
            "spec.priorities.levels",
            "at least one level",
        ),
        (
            &[NATIVE, "priorities: {levels: [{name: High}]}"],
            "spec.priorities.levels[0].name",
            "a-z, 0-9",
        ),
        (
            &[NATIVE, "priorities: {levels: [{name: a}, {name: a}]}"],
            "spec.priorities.levels[1]",
            "Duplicate",
        ),
        (
            &[
                NATIVE,
                "priorities: {levels: [{name: a}, {name: b}, {name: c}, {name: d}, {name: e}, {name: f}, {name: g}, {name: h}, {name: i}, {name: j}, {name: k}]}",
            ],
            "spec.priorities.levels",
            "10",
        ),
        (
            &[NATIVE, "retry: {maxAttempts: 0}"],
            "spec.retry.maxAttempts",
            "greater than or equal to 1",
        ),
        (
            &[NATIVE, "retry: {maxAttempts: 101}"],
            "spec.retry.maxAttempts",
            "less than or equal to 100",
        ),
        (
            &[NATIVE, "retry: {maxLosses: 101}"],
            "spec.retry.maxLosses",
            "less than or equal to 100",
        ),
        (
            &[NATIVE, "retry: {backoff: {type: Cubic}}"],
            "spec.retry.backoff.type",
            "Exponential",
        ),
        (
            &[NATIVE, "retry: {backoff: {initial: 3 s}}"],
            "spec.retry.backoff.initial",
            "such as 500ms",
        ),
        (
            &[NATIVE, "retry: {backoff: {max: 169h}}"],
            "spec.retry.backoff.max",
            "168h",
        ),
        (
            &[NATIVE, "retry: {backoff: {initial: 2m, max: 1m}}"],
            "spec.retry.backoff",
            "raise max or lower initial",
        ),
        (
            &[NATIVE, "retry: {backoff: {jitter: 1.1}}"],
            "spec.retry.backoff.jitter",
            "less than or equal to 1",
        ),
        (&[NATIVE, &too_many_rules], "spec.retry.rules", "32"),
        (&[NATIVE, &long_pattern], "spec.retry.rules[0].match", "256"),
        (&[NATIVE, "timeout: 30"], "spec.timeout", "string"),
        (
            &[NATIVE, "timeout: 99ms"],
            "spec.timeout",
            "from 100ms to 24h",
        ),
        (
            &[NATIVE, "timeout: 24h1s"],
            "spec.timeout",
            "from 100ms to 24h",
        ),
        (&[NATIVE, "timeout: -30s"], "spec.timeout", "such as 30s"),
        (
            &["worker: {concurrency: 0, handler: {native: {}}}"],
            "spec.worker.concurrency",
            "greater than or equal to 1",
        ),
        (
            &["worker: {concurrency: 1001, handler: {native: {}}}"],
            "spec.worker.concurrency",
            "less than or equal to 1000",
        ),
        (
            &["worker: {drainTimeout: 2h, handler: {native: {}}}"],
            "spec.worker.drainTimeout",
            "from 0s to 1h",
        ),
        (
            &["worker: {handler: {}}"],
            "spec.worker.handler",
            "exactly one of exec, stdio, http and native",
        ),
        (
            &[
                "worker: {handler: {native: {}, exec: {command: [a]}}, template: {spec: {containers: [{name: a, image: b}]}}}",
            ],
            "spec.worker.handler",
            "exactly one of exec, stdio, http and native",
        ),
        (
            &["worker: {handler: {exec: {command: [a]}}}"],
            "spec.worker",
            "give a pod template",
        ),
        (
            &[
                "worker: {handler: {exec: {command: []}}, template: {spec: {containers: [{name: a, image: b}]}}}",
            ],
            "spec.worker.handler.exec.command",
            "must name a command",
        ),
        (
            &["worker: {handler: {native: {}}, template: {spec: {containers: []}}}"],
            "spec.worker.template.spec.containers",
            "at least 1",
        ),
        (
            &["worker: {handler: {native: {}}, template: {spec: {containers: [{name: a}]}}}"],
            "spec.worker.template.spec.containers[0].image",
            "Required",
        ),
        (
            &[
                "worker: {handler: {native: {}}, template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}",
            ],
            "spec.worker.template.spec.restartPolicy",
            "must be Always or left out",
        ),
    ];
    for (spec, field, fix) in invalid
        .iter()
        .chain(policy::REFUSED)
        .chain(scaling::REFUSED)
        .chain(sources::REFUSED)
    {
        let error = kubectl_fails(&TRY, &manifest("invalid", spec));
        let said = error
            .lines()
            .any(|line| line.contains(field) && line.contains(fix));
        assert!(
            said,
            "{spec:?}: no line names {field} and {fix:?}:\n{error}"
        );
    }
    let error = kubectl_fails(&TRY, &manifest(&"a".repeat(53), &[NATIVE]));
    assert!(
        error.contains("metadata.name must be at most 52 characters"),
        "{error}"
    );
    let error = kubectl_fails(&TRY, &manifest("invalid", &[NATIVE, "retries: 3"]));
    assert!(error.contains("unknown field \"spec.retries\""), "{error}");
}

#[tokio::test]
async fn the_queue_name_of_a_taskqueue_never_changes() {
    let story = Story::begin("immutable").await;
    story.apply(&manifest("fixed", &[NATIVE, "queueName: first"]));
    let arguments = ["apply", "-n", &story.namespace, "-f", "-"];
    for changed in [&[NATIVE, "queueName: second"][..], &[NATIVE][..]] {
        let error = kubectl_fails(&arguments, &manifest("fixed", changed));
        assert!(error.contains("spec.queueName is immutable"), "{error}");
    }
    story.apply(&manifest(
        "fixed",
        &[NATIVE, "queueName: first", "paused: true"],
    ));
}
