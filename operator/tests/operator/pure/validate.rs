//! From the spec to its meaning.

use std::time::Duration;

use serde_json::{Value, json};
use taskqueue_operator::reconcile::validate::{RedisSource, validate};
use taskqueue_queue::BackoffKind;
use taskqueue_scaling::Mode;
use taskqueue_worker::config::HandlerConfig;

use crate::fixtures::{exec, key, resource, template, valid};

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

/// A template with one field of its pod or of its container set.
pub(super) fn with(part: &str, field: &str, value: Value) -> Value {
    let mut template = template();
    template.pointer_mut(part).unwrap()[field] = value;
    template
}

pub(super) const POD: &str = "/spec";
pub(super) const CONTAINER: &str = "/spec/containers/0";

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
