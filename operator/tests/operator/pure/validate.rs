//! From the spec to its meaning, and what cannot work.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use taskqueue_operator::reconcile::validate::{Invalid, RedisSource, validate};
use taskqueue_queue::BackoffKind;
use taskqueue_scaling::Mode;
use taskqueue_worker::config::HandlerConfig;

use crate::fixtures::{Edit, exec, key, resource, template, valid};

#[test]
fn a_spec_means_what_it_says() {
    let valid = valid(&[
        ("/spec/queueName", json!("images")),
        (
            "/spec/retry",
            json!({
                "maxAttempts": 7,
                "backoff": { "type": "Linear", "initial": "2s", "max": "1m", "jitter": 0.5 }
            }),
        ),
        (
            "/spec/priorities",
            json!({ "levels": [{ "name": "a" }, { "name": "b" }] }),
        ),
        ("/spec/timeout", json!("1m30s")),
        ("/spec/paused", json!(true)),
        (
            "/spec/scaling",
            json!({
                "minReplicas": 1, "maxReplicas": 9, "target": { "backlogPerReplica": 4 },
                "idle": "5s", "scaleDown": { "stabilization": "6s" }
            }),
        ),
        ("/spec/worker/concurrency", json!(3)),
        ("/spec/worker/drainTimeout", json!("4s")),
    ]);
    assert_eq!(valid.key, key());
    assert_eq!(valid.generation, 3);
    assert_eq!(valid.queue.to_string(), "shop/images");
    assert_eq!(
        valid.redis,
        RedisSource::Url("redis://redis:6379".to_owned())
    );
    assert_eq!(valid.policy.levels, ["a", "b"]);
    assert_eq!(valid.policy.timeout, Duration::from_secs(90));
    assert!(valid.policy.paused);
    assert_eq!(valid.policy.retry.max_attempts, 7);
    let backoff = &valid.policy.retry.backoff;
    assert_eq!(backoff.kind, BackoffKind::Linear);
    assert_eq!(backoff.initial, Duration::from_secs(2));
    assert_eq!(backoff.max, Duration::from_mins(1));
    assert!((backoff.jitter - 0.5).abs() < f64::EPSILON);
    assert_eq!(valid.scaling.mode, Mode::Auto);
    assert_eq!((valid.scaling.min, valid.scaling.max), (1, 9));
    assert_eq!(valid.scaling.backlog_per_replica, 4);
    assert_eq!(valid.scaling.idle, Duration::from_secs(5));
    assert_eq!(valid.scaling.stabilization, Duration::from_secs(6));
    assert_eq!(valid.worker.concurrency.get(), 3);
    assert_eq!(valid.worker.drain_timeout, Duration::from_secs(4));
    assert_eq!(valid.worker.handler, HandlerConfig::Native {});
    assert_eq!(valid.owner.controller, Some(true));
}

#[test]
fn paused_scaling_keeps_the_number_that_was_set() {
    for (replicas, mode) in [
        (json!(4), Mode::Paused(Some(4))),
        (Value::Null, Mode::Paused(None)),
    ] {
        let scaling = json!({ "mode": "Paused", "replicas": replicas });
        assert_eq!(valid(&[("/spec/scaling", scaling)]).scaling.mode, mode);
    }
}

#[test]
fn the_redis_is_the_operators_unless_the_spec_names_one() {
    assert_eq!(
        valid(&[("/spec/redis", Value::Null)]).redis,
        RedisSource::Default
    );
    let secret = json!({ "urlFrom": { "secretKeyRef": { "name": "a", "key": "b" } } });
    assert_eq!(
        valid(&[("/spec/redis", secret)]).redis,
        RedisSource::Secret {
            name: "a".to_owned(),
            key: "b".to_owned()
        }
    );
}

/// The name of the variant. A new one does not compile until it is listed here, and fails until it
/// has a row in [`table`].
fn variant(invalid: &Invalid) -> &'static str {
    match invalid {
        Invalid::QueueName(_) => "QueueName",
        Invalid::NoRedis => "NoRedis",
        Invalid::RedisSource => "RedisSource",
        Invalid::Handler => "Handler",
        Invalid::Template(_) => "Template",
        Invalid::TemplateConflict { .. } => "TemplateConflict",
        Invalid::GracePeriod { .. } => "GracePeriod",
        Invalid::Range { .. } => "Range",
        Invalid::NoTemplate => "NoTemplate",
        Invalid::Metadata(_) => "Metadata",
    }
}

const VARIANTS: [&str; 10] = [
    "GracePeriod",
    "Handler",
    "Metadata",
    "NoRedis",
    "NoTemplate",
    "QueueName",
    "Range",
    "RedisSource",
    "Template",
    "TemplateConflict",
];

struct Row {
    edits: Vec<Edit>,
    variant: &'static str,
    /// The message names the field, and what to do or what is allowed.
    field: &'static str,
    fix: &'static str,
}

fn row(edits: Vec<Edit>, variant: &'static str, field: &'static str, fix: &'static str) -> Row {
    Row {
        edits,
        variant,
        field,
        fix,
    }
}

fn range(path: &'static str, value: Value, field: &'static str, allowed: &'static str) -> Row {
    row(vec![(path, value)], "Range", field, allowed)
}

/// A template with one field of its pod or of its container set.
fn with(part: &str, field: &str, value: Value) -> Value {
    let mut template = template();
    template.pointer_mut(part).unwrap()[field] = value;
    template
}

const POD: &str = "/spec";
const CONTAINER: &str = "/spec/containers/0";

#[allow(clippy::too_many_lines)] // A table is as long as it has rows.
fn table() -> Vec<Row> {
    let conflict = |template, field, fix| row(exec(template), "TemplateConflict", field, fix);
    let broken = |template, field| row(exec(template), "Template", "spec.worker.template", field);
    let native = |template| vec![("/spec/worker/template", template)];
    vec![
        row(
            vec![("/spec/queueName", json!("a/b"))],
            "QueueName",
            "spec.queueName",
            "a-z",
        ),
        row(
            vec![("/spec/redis", json!({}))],
            "RedisSource",
            "spec.redis",
            "exactly one of url and urlFrom",
        ),
        row(
            vec![(
                "/spec/redis",
                json!({ "url": "redis://a", "urlFrom": { "secretKeyRef": { "name": "a", "key": "b" } } }),
            )],
            "RedisSource",
            "spec.redis",
            "exactly one of url and urlFrom",
        ),
        row(
            vec![("/spec/worker/handler", json!({}))],
            "Handler",
            "spec.worker.handler",
            "exactly one of exec and native",
        ),
        row(
            vec![(
                "/spec/worker/handler",
                json!({ "native": {}, "exec": { "command": ["a"] } }),
            )],
            "Handler",
            "spec.worker.handler",
            "exactly one of exec and native",
        ),
        row(
            vec![(
                "/spec/worker/handler",
                json!({ "exec": { "command": ["a"] } }),
            )],
            "NoTemplate",
            "spec.worker.template",
            "needs a pod template",
        ),
        row(
            vec![("/metadata/uid", Value::Null)],
            "Metadata",
            "uid",
            "has no",
        ),
        // What does not parse, and what would be dropped without a word.
        broken(json!({ "spec": 5 }), "expected PodSpec"),
        broken(json!({ "metadata": {} }), "no spec"),
        broken(
            json!({ "spec": { "containers": [] } }),
            "spec.containers is empty",
        ),
        broken(
            with(CONTAINER, "ports", json!("8080")),
            "expected a sequence",
        ),
        broken(
            with(CONTAINER, "resorces", json!({ "limits": { "cpu": "1" } })),
            "spec.containers[0].resorces is no field of it: check its spelling",
        ),
        broken(
            with(POD, "image", json!("a")),
            "spec.image is no field of it: check its spelling",
        ),
        // What would get in the worker's way.
        conflict(
            with(CONTAINER, "command", json!(["a"])),
            "spec.worker.template.spec.containers[0].command",
            "must be left out with handler.exec",
        ),
        conflict(
            with(CONTAINER, "args", json!(["a"])),
            "containers[0].command and args",
            "must be left out with handler.exec",
        ),
        conflict(
            with(
                CONTAINER,
                "env",
                json!([{ "name": "TASKQUEUE_REDIS_URL", "value": "a" }]),
            ),
            "containers[0].env TASKQUEUE_REDIS_URL",
            "must be left out",
        ),
        row(
            native(with(
                CONTAINER,
                "env",
                json!([{ "name": "TASKQUEUE_QUEUE", "value": "a" }]),
            )),
            "TemplateConflict",
            "containers[0].env TASKQUEUE_QUEUE",
            "must be left out with handler.native",
        ),
        conflict(
            with(
                POD,
                "volumes",
                json!([{ "name": "taskqueue", "emptyDir": {} }]),
            ),
            "spec.worker.template.spec.volumes taskqueue",
            "must be left out with handler.exec",
        ),
        row(
            native(with(POD, "terminationGracePeriodSeconds", json!(69))),
            "GracePeriod",
            "terminationGracePeriodSeconds is 69",
            "needs (70): raise it, lower worker.drainTimeout, or leave it out",
        ),
        range(
            "/spec/retry",
            json!({ "maxAttempts": 0 }),
            "spec.retry.maxAttempts is 0",
            "1 to 100",
        ),
        range(
            "/spec/retry",
            json!({ "maxAttempts": 101 }),
            "spec.retry.maxAttempts",
            "1 to 100",
        ),
        range(
            "/spec/scaling",
            json!({ "minReplicas": -1 }),
            "spec.scaling.minReplicas is -1",
            "0 to 1000",
        ),
        range(
            "/spec/scaling",
            json!({ "maxReplicas": 0 }),
            "spec.scaling.maxReplicas is 0",
            "1 to 1000",
        ),
        range(
            "/spec/scaling",
            json!({ "maxReplicas": 1001 }),
            "spec.scaling.maxReplicas",
            "1 to 1000",
        ),
        range(
            "/spec/scaling",
            json!({ "minReplicas": 3, "maxReplicas": 2 }),
            "spec.scaling.minReplicas is 3",
            "0 to spec.scaling.maxReplicas",
        ),
        range(
            "/spec/scaling",
            json!({ "mode": "Paused", "replicas": 1001 }),
            "spec.scaling.replicas is 1001",
            "0 to 1000",
        ),
        range(
            "/spec/scaling",
            json!({ "target": { "backlogPerReplica": 0 } }),
            "spec.scaling.target.backlogPerReplica is 0",
            "1 to 1000000",
        ),
        range(
            "/spec/worker/concurrency",
            json!(0),
            "spec.worker.concurrency is 0",
            "1 to 1000",
        ),
        range(
            "/spec/worker/concurrency",
            json!(1001),
            "spec.worker.concurrency",
            "1 to 1000",
        ),
    ]
}

#[test]
fn what_cannot_work_is_refused_with_the_field_and_the_fix() {
    let mut seen = BTreeSet::from([variant(&Invalid::NoRedis)]);
    for row in table() {
        let invalid = validate(&resource(&row.edits), true).expect_err(row.field);
        let message = invalid.to_string();
        assert_eq!(variant(&invalid), row.variant, "{message}");
        assert!(
            message.contains(row.field),
            "{message:?} lacks {:?}",
            row.field
        );
        assert!(message.contains(row.fix), "{message:?} lacks {:?}", row.fix);
        seen.insert(row.variant);
    }
    assert!(seen.into_iter().eq(VARIANTS));
}

#[test]
fn without_any_redis_both_ways_to_name_one_are_told() {
    let resource = resource(&[("/spec/redis", Value::Null)]);
    let message = validate(&resource, false).unwrap_err().to_string();
    assert!(message.contains("set spec.redis.url"), "{message}");
    assert!(
        message.contains("install the operator with redis.url"),
        "{message}"
    );
}

#[test]
fn what_is_at_the_limit_passes() {
    let native = |template| vec![("/spec/worker/template", template)];
    for edits in [
        native(with(POD, "terminationGracePeriodSeconds", json!(70))),
        // The volume and the command are the template's own with a native handler.
        native(with(
            POD,
            "volumes",
            json!([{ "name": "taskqueue", "emptyDir": {} }]),
        )),
        native(with(CONTAINER, "command", json!(["serve"]))),
        exec(with(
            CONTAINER,
            "env",
            json!([{ "name": "MY_TASKQUEUE_", "value": "a" }]),
        )),
        exec(json!({
            "metadata": { "creationTimestamp": null, "labels": {} },
            "spec": { "containers": [{ "name": "a", "image": "b",
                "resources": { "limits": { "cpu": 1, "memory": "1Gi" }, "requests": { "cpu": 0.5 } },
                "securityContext": {}, "env": [] }] }
        })),
        vec![(
            "/spec/scaling",
            json!({ "minReplicas": 1000, "maxReplicas": 1000 }),
        )],
        vec![(
            "/spec/scaling",
            json!({ "target": { "backlogPerReplica": 1_000_000 } }),
        )],
        vec![("/spec/retry", json!({ "maxAttempts": 100 }))],
        vec![("/spec/worker/concurrency", json!(1000))],
    ] {
        if let Err(invalid) = validate(&resource(&edits), true) {
            panic!("{edits:?}: {invalid}");
        }
    }
}

#[test]
fn a_jitter_from_before_the_bounds_is_brought_inside() {
    let retry = json!({ "backoff": { "jitter": 7.0 } });
    let policy = valid(&[("/spec/retry", retry)]).policy;
    assert!((policy.retry.backoff.jitter - 1.0).abs() < f64::EPSILON);
}

#[test]
fn every_policy_that_comes_out_is_one_that_redis_takes() {
    for edits in [
        vec![],
        vec![("/spec/timeout", json!("100ms"))],
        vec![("/spec/timeout", json!("24h"))],
        vec![(
            "/spec/retry",
            json!({ "backoff": { "initial": "0s", "max": "0s" } }),
        )],
        vec![(
            "/spec/retry",
            json!({ "backoff": { "initial": "24h", "max": "168h", "jitter": 1.0 } }),
        )],
        vec![(
            "/spec/priorities",
            json!({ "levels": [{ "name": "a".repeat(32) }] }),
        )],
    ] {
        assert_eq!(valid(&edits).policy.check(), Ok(()), "{edits:?}");
    }
}
