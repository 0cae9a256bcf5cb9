//! From the spec to its meaning.

use std::time::Duration;

use jiff::civil::{Weekday, time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};
use taskqueue_api::{TaskQueue, spec::SecretKeySelector};
use taskqueue_operator::reconcile::validate::{Budget, RedisSource, TlsSource, validate};
use taskqueue_queue::{
    BackoffKind, Cause, EventLog, Limits, Logged, Missed, Order, Payload, Policy, Rate,
    RetryAction, RetryRule, Schedule, TypePolicy, TypeRetry,
};
use taskqueue_scaling::{Mode, Pace, Step, StepSize, Target, Window};
use taskqueue_worker::config::HandlerConfig;

use crate::fixtures::{UID, allowed, exec, key, resource, template, valid};

#[test]
fn a_spec_means_what_it_says() {
    let valid = valid(&[
        ("/spec/queueName", json!("images")),
        (
            "/spec/retry",
            json!({
                "maxAttempts": 7,
                "maxLosses": 2,
                "attemptsKept": 20,
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
    assert_eq!(valid.policy.max_losses, 2);
    assert_eq!(valid.policy.attempts_kept, 20);
    let backoff = &valid.policy.retry.backoff;
    assert_eq!(backoff.kind, BackoffKind::Linear);
    assert_eq!(backoff.initial, Duration::from_secs(2));
    assert_eq!(backoff.max, Duration::from_mins(1));
    assert!((backoff.jitter - 0.5).abs() < f64::EPSILON);
    assert_eq!(valid.scaling.mode, Mode::Auto);
    assert_eq!((valid.scaling.min, valid.scaling.max), (1, 9));
    assert_eq!(valid.scaling.target, Target::Backlog { per_replica: 4 });
    assert_eq!(valid.scaling.concurrency, 3);
    assert_eq!(valid.scaling.idle, Duration::from_secs(5));
    assert_eq!(valid.scaling.down.stabilization, Duration::from_secs(6));
    assert_eq!(valid.worker.concurrency.get(), 3);
    assert_eq!(valid.worker.drain_timeout, Duration::from_secs(4));
    assert_eq!(valid.worker.handler, HandlerConfig::Native {});
    assert_eq!(valid.owner.controller, Some(true));
}

#[test]
fn workers_are_shielded_and_their_evictions_bounded_only_where_that_is_asked_for() {
    let plain = valid(&[]).worker;
    assert_eq!((plain.shield, plain.budget), (None, None));
    let shield = |shield| valid(&[("/spec/worker/shield", shield)]).worker.shield;
    assert_eq!(shield(json!({})), Some(Duration::from_secs(30)));
    assert_eq!(
        shield(json!({ "after": "5m" })),
        Some(Duration::from_mins(5))
    );
    let number = |number| IntOrString::Int(number);
    let share = |share: &str| IntOrString::String(share.to_owned());
    let table = [
        (
            json!({ "maxUnavailable": 1 }),
            Budget::MaxUnavailable(number(1)),
        ),
        (
            json!({ "maxUnavailable": "2" }),
            Budget::MaxUnavailable(number(2)),
        ),
        (
            json!({ "minAvailable": "50%" }),
            Budget::MinAvailable(share("50%")),
        ),
    ];
    for (budget, expected) in table {
        let edits = [("/spec/worker/disruptionBudget", budget)];
        assert_eq!(valid(&edits).worker.budget, Some(expected));
    }
}

#[test]
fn the_order_is_strict_with_aging_or_weighted() {
    for (priorities, order) in [
        (json!({}), Order::Strict { aging: None }),
        (
            json!({ "aging": "5m" }),
            Order::Strict {
                aging: Some(Duration::from_mins(5)),
            },
        ),
        (
            json!({ "order": "Weighted", "levels": [
                { "name": "a", "weight": 6 }, { "name": "b", "weight": 1 }
            ] }),
            Order::Weighted {
                weights: vec![6, 1],
            },
        ),
    ] {
        let policy = valid(&[("/spec/priorities", priorities)]).policy;
        assert_eq!(policy.order, order);
    }
}

#[test]
fn limits_and_retention_reach_the_policy() {
    let policy = valid(&[
        (
            "/spec/limits",
            json!({
                "rate": { "count": 100, "per": "1m" }, "concurrency": 50,
                "perKey": { "concurrency": 2 }, "maxBacklog": 100_000, "maxPayloadBytes": 1024
            }),
        ),
        (
            "/spec/deadLetter",
            json!({ "maxCount": 7, "maxAge": "48h" }),
        ),
        (
            "/spec/retention",
            json!({ "completed": { "maxCount": 8, "maxAge": "5m" } }),
        ),
        (
            "/spec/events",
            json!({ "log": "Attempts", "maxEntries": 2_000, "maxBytes": 3_000_000 }),
        ),
    ])
    .policy;
    let limits = Limits {
        rate: Some(Rate {
            count: 100,
            per: Duration::from_mins(1),
        }),
        concurrency: Some(50),
        per_key_concurrency: Some(2),
        max_backlog: Some(100_000),
    };
    assert_eq!(policy.limits, limits);
    assert_eq!(policy.max_payload_bytes, 1024);
    assert_eq!(policy.dead_max_count, 7);
    assert_eq!(policy.dead_max_age, Duration::from_hours(48));
    assert_eq!(policy.completed_max_count, Some(8));
    assert_eq!(policy.completed_max_age, Duration::from_mins(5));
    let events = EventLog {
        log: Logged::Attempts,
        max_entries: 2_000,
        max_bytes: 3_000_000,
    };
    assert_eq!(policy.events, Some(events));
    assert_eq!(valid(&[]).policy.events, None);
    let by_default = valid(&[("/spec/events", json!({}))]).policy;
    assert_eq!(by_default.events, Some(EventLog::default()));
}

#[test]
fn retry_rules_reach_the_policy_in_their_order() {
    let rules = json!([
        { "cause": "OOMKilled", "action": "Retry", "countsAsAttempt": true, "after": "30s" },
        { "cause": "Evicted", "action": "DeadLetter" },
        { "cause": "WorkerLost", "action": "Retry" },
        { "cause": "Timeout", "action": "Drop" },
        { "cause": "Error", "match": "^HTTP 4", "action": "DeadLetter", "countsAsAttempt": false },
        { "match": "busy", "action": "Retry" },
    ]);
    let retry = json!({ "maxElapsed": "24h", "rules": rules });
    let policy = valid(&[("/spec/retry", retry)]).policy;
    assert_eq!(policy.retry.max_elapsed, Some(Duration::from_hours(24)));
    let rule = |cause, action| RetryRule {
        cause,
        pattern: None,
        action,
        counts_as_attempt: None,
        after: None,
    };
    let rules = [
        RetryRule {
            counts_as_attempt: Some(true),
            after: Some(Duration::from_secs(30)),
            ..rule(Some(Cause::OomKilled), RetryAction::Retry)
        },
        rule(Some(Cause::Evicted), RetryAction::DeadLetter),
        rule(Some(Cause::WorkerLost), RetryAction::Retry),
        rule(Some(Cause::Timeout), RetryAction::Drop),
        RetryRule {
            pattern: Some("^HTTP 4".to_owned()),
            counts_as_attempt: Some(false),
            ..rule(Some(Cause::Error), RetryAction::DeadLetter)
        },
        RetryRule {
            pattern: Some("busy".to_owned()),
            ..rule(None, RetryAction::Retry)
        },
    ];
    assert_eq!(policy.retry.rules, rules);
}

#[test]
fn what_is_said_of_types_reaches_the_policy_and_what_is_not_stays_out() {
    let policy = valid(&[(
        "/spec/types",
        json!([
            { "name": "render", "concurrency": 2, "timeout": "1h", "retry": {
                "maxAttempts": 2, "backoff": { "type": "Fixed", "initial": "5s" }, "maxElapsed": "24h",
                "rules": [{ "match": "busy", "action": "Retry" }]
            } },
            { "name": "mail", "retry": { "maxAttempts": 9 } },
            { "name": "any" },
        ]),
    )])
    .policy;
    let [render, mail, any] = policy.types.as_slice() else {
        panic!("{:?}", policy.types)
    };
    assert_eq!(
        (render.name.as_str(), render.concurrency),
        ("render", Some(2))
    );
    assert_eq!(render.timeout, Some(Duration::from_hours(1)));
    assert_eq!(render.retry.max_attempts, Some(2));
    let backoff = render.retry.backoff.as_ref().unwrap();
    assert_eq!(backoff.kind, BackoffKind::Fixed);
    assert_eq!(backoff.initial, Duration::from_secs(5));
    assert_eq!(render.retry.max_elapsed, Some(Duration::from_hours(24)));
    assert_eq!(render.retry.rules.as_ref().unwrap().len(), 1);
    let retry = TypeRetry {
        max_attempts: Some(9),
        ..TypeRetry::default()
    };
    let expected = TypePolicy {
        name: "mail".to_owned(),
        retry,
        ..TypePolicy::default()
    };
    assert_eq!(mail, &expected);
    let expected = TypePolicy {
        name: "any".to_owned(),
        ..TypePolicy::default()
    };
    assert_eq!(any, &expected);
    assert_eq!(valid(&[]).policy.types, []);
}

#[test]
fn schedules_reach_the_policy_with_their_payloads() {
    let schedules = json!([
        { "name": "nightly", "cron": "0 3 * * *", "timeZone": "Europe/Paris", "suspend": true,
          "missed": "Skip", "jitter": "15m",
          "task": { "type": "report", "payload": { "of": ["yesterday"] }, "priority": "low" } },
        { "name": "often", "cron": "*/5 * * * *", "task": { "type": "sweep" } },
    ]);
    let policy = valid(&[("/spec/schedules", schedules)]).policy;
    let schedules = [
        Schedule {
            name: "nightly".to_owned(),
            cron: "0 3 * * *".to_owned(),
            time_zone: "Europe/Paris".to_owned(),
            kind: "report".to_owned(),
            payload: Payload::json(r#"{"of":["yesterday"]}"#).unwrap(),
            priority: Some("low".to_owned()),
            suspend: true,
            missed: Missed::Skip,
            jitter: Duration::from_mins(15),
        },
        Schedule {
            name: "often".to_owned(),
            cron: "*/5 * * * *".to_owned(),
            time_zone: "UTC".to_owned(),
            kind: "sweep".to_owned(),
            payload: Payload::null(),
            priority: None,
            suspend: false,
            missed: Missed::RunOnce,
            jitter: Duration::ZERO,
        },
    ];
    assert_eq!(policy.schedules, schedules);
}

#[test]
fn a_spec_that_says_nothing_of_tasks_has_the_policy_of_a_queue_that_nobody_set_up() {
    let policy = valid(&[]).policy;
    let timeout = policy.timeout;
    assert_eq!(timeout, Duration::from_mins(5));
    let default = Policy {
        timeout,
        ..Policy::default()
    };
    assert_eq!(policy, default);
}

#[test]
fn paused_scaling_keeps_the_number_that_was_set() {
    for (replicas, mode) in [
        (json!(4), Mode::Paused(Some(4))),
        (Value::Null, Mode::Paused(None)),
        (json!(1001), Mode::Paused(None)),
    ] {
        let scaling = json!({ "mode": "Paused", "replicas": replicas });
        assert_eq!(valid(&[("/spec/scaling", scaling)]).scaling.mode, mode);
    }
}

#[test]
fn every_part_of_the_scaling_reaches_its_policy() {
    let scaling = json!({
        "mode": "Recommend", "minReplicas": 1, "maxReplicas": 9, "spareReplicas": 2,
        "target": { "latency": "30s" }, "activation": 5, "tolerance": 0.25, "idle": "5s",
        "scaleUp": { "stabilization": "3s", "maxStep": "100%", "per": "15s" },
        "scaleDown": { "stabilization": "6s", "maxStep": 4, "per": "1m", "waitForIdle": false },
        "windows": [{
            "days": ["Mon", "Sun"], "start": "22:00", "end": "06:30", "timeZone": "Europe/Paris",
            "minReplicas": 2, "maxReplicas": 3
        }]
    });
    let policy = valid(&[
        ("/spec/scaling", scaling),
        (
            "/metadata/annotations",
            json!({ "taskqueue.dev/pause-scale-in": "true", "taskqueue.dev/pause-scale-out": "no" }),
        ),
    ])
    .scaling;
    let window = &policy.windows[0];
    assert_eq!(window.time_zone.iana_name(), Some("Europe/Paris"));
    let step = |most, seconds| {
        let per = Duration::from_secs(seconds);
        Some(Step { most, per })
    };
    let expected = taskqueue_scaling::Policy {
        mode: Mode::Recommend,
        min: 1,
        max: 9,
        spare: 2,
        target: Target::Latency {
            within: Duration::from_secs(30),
        },
        concurrency: 8,
        activation: 5,
        tolerance_permille: 250,
        up: Pace {
            stabilization: Duration::from_secs(3),
            step: step(StepSize::Percent(100), 15),
        },
        down: Pace {
            stabilization: Duration::from_secs(6),
            step: step(StepSize::Replicas(4), 60),
        },
        wait_for_idle: false,
        idle: Duration::from_secs(5),
        windows: vec![Window {
            days: vec![Weekday::Monday, Weekday::Sunday],
            start: time(22, 0, 0, 0),
            end: time(6, 30, 0, 0),
            time_zone: window.time_zone.clone(),
            min: Some(2),
            max: Some(3),
        }],
        hold_up: false,
        hold_down: true,
    };
    assert_eq!(policy, expected);
}

#[test]
fn scaling_that_says_nothing_is_calm_and_has_no_steps() {
    let policy = valid(&[]).scaling;
    assert_eq!(policy.target, Target::Backlog { per_replica: 20 });
    assert_eq!((policy.activation, policy.tolerance_permille), (1, 100));
    assert_eq!((policy.up.step, policy.down.step), (None, None));
    assert_eq!((policy.hold_up, policy.hold_down), (false, false));
    assert!(policy.wait_for_idle);
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
        RedisSource::Secret(selector("a", "b"))
    );
}

fn selector(name: &str, key: &str) -> SecretKeySelector {
    SecretKeySelector {
        name: name.to_owned(),
        key: key.to_owned(),
    }
}

#[test]
fn certificates_come_from_the_secrets_that_the_spec_names() {
    let from = |name: &str, key: &str| json!({ "secretKeyRef": { "name": name, "key": key } });
    let tls = json!({
        "caFrom": from("ca", "ca.crt"), "certFrom": from("me", "tls.crt"), "keyFrom": from("me", "tls.key")
    });
    let redis = json!({ "url": "rediss://redis", "tls": tls });
    assert_eq!(
        valid(&[("/spec/redis", redis)]).tls,
        TlsSource {
            ca: Some(selector("ca", "ca.crt")),
            identity: Some((selector("me", "tls.crt"), selector("me", "tls.key"))),
        }
    );
    assert_eq!(valid(&[]).tls, TlsSource::default());
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
        if let Err(invalid) = validate(&resource(&edits), &allowed()) {
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
fn the_examples_are_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // The TaskQueue comes first.
        let text = text.split("\n---\n").next().unwrap();
        let mut example: TaskQueue = yaml_serde::from_str(text).unwrap();
        // What the API server adds.
        example.metadata.namespace = Some("shop".to_owned());
        example.metadata.uid = Some(UID.to_owned());
        if let Err(invalid) = validate(&example, &allowed()) {
            panic!("{}: {invalid}", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 6, "only {seen} examples");
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
