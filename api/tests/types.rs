//! The types: defaults, durations, and what survives a round trip.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time;

use serde_json::{Value, json};
use taskqueue_api::{
    TaskQueue,
    spec::{
        Backoff, BackoffType, Duration, Limits, MissedRuns, Order, PodCount, ScaleUp, Scaling,
        ScalingMode,
    },
};

fn parse(spec: &Value) -> TaskQueue {
    serde_json::from_value(json!({
        "apiVersion": "taskqueue.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": { "name": "thumbnails", "namespace": "shop" },
        "spec": spec
    }))
    .unwrap()
}

fn smallest() -> Value {
    json!({ "worker": { "handler": { "native": {} } } })
}

#[test]
fn durations_are_read_as_go_reads_them() {
    for (text, millis) in [
        ("0s", 0),
        ("1ms", 1),
        ("100ms", 100),
        ("0.1s", 100),
        ("1.5h", 5_400_000),
        ("90m", 5_400_000),
        ("1h30m", 5_400_000),
        ("1h30m0.5s", 5_400_500),
        ("168h", 604_800_000),
        ("1s1s", 2_000),
    ] {
        let read: Duration = serde_json::from_value(json!(text)).unwrap();
        assert_eq!(read.get(), time::Duration::from_millis(millis), "{text}");
    }
}

#[test]
fn durations_survive_a_round_trip() {
    for millis in [
        0,
        1,
        999,
        1_000,
        59_999,
        60_000,
        90_500,
        3_600_000,
        86_400_000,
        604_800_000,
    ] {
        let duration = Duration::from(time::Duration::from_millis(millis));
        let written = serde_json::to_value(duration).unwrap();
        let read: Duration = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(read, duration, "{written}");
        assert_eq!(read.to_string(), written.as_str().unwrap());
    }
}

#[test]
fn what_is_no_duration_does_not_parse() {
    for text in ["1", "1d", "soon", "1 s", "s", "3 days"] {
        let read = serde_json::from_value::<Duration>(json!(text));
        assert!(read.is_err(), "{text:?} was read as {read:?}");
    }
}

#[test]
fn a_shield_counts_from_thirty_seconds_and_a_budget_takes_numbers_and_shares() {
    let mut spec = smallest();
    spec["worker"]["shield"] = json!({});
    spec["worker"]["disruptionBudget"] = json!({ "maxUnavailable": "25%" });
    let worker = parse(&spec).spec.worker.unwrap();
    let shield = worker.shield.unwrap();
    assert_eq!(shield.after, Duration::from_secs(30));
    let budget = worker.disruption_budget.unwrap();
    assert_eq!(
        budget.max_unavailable,
        Some(PodCount::Percent("25%".to_owned()))
    );
    spec["worker"]["disruptionBudget"] = json!({ "minAvailable": 2 });
    let budget = parse(&spec).spec.worker.unwrap().disruption_budget.unwrap();
    assert_eq!(budget.min_available, Some(PodCount::Number(2)));
    assert_eq!(parse(&smallest()).spec.worker.unwrap().shield, None);
}

#[test]
fn a_negative_duration_from_before_the_rules_counts_as_zero() {
    let read: Duration = serde_json::from_value(json!("-5s")).unwrap();
    assert_eq!(read.get(), time::Duration::ZERO);
}

#[test]
fn the_smallest_manifest_gets_the_documented_defaults() {
    let spec = parse(&smallest()).spec;
    let levels: Vec<_> = spec
        .priorities
        .levels
        .iter()
        .map(|level| &*level.name)
        .collect();
    assert_eq!(levels, ["high", "normal", "low"]);
    assert_eq!(spec.priorities.order, Order::Strict);
    assert_eq!(spec.retry.max_attempts, 5);
    assert_eq!(
        spec.retry.backoff,
        Backoff {
            kind: BackoffType::Exponential,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(600),
            jitter: 0.2,
        }
    );
    assert_eq!(spec.timeout, Duration::from_secs(300));
    assert_eq!(spec.dead_letter.max_count, 10_000);
    assert_eq!(spec.dead_letter.max_age, Duration::from_secs(14 * 86_400));
    assert_eq!(spec.retention.completed.max_count, None);
    assert_eq!(spec.retention.completed.max_age, Duration::from_secs(3_600));
    assert_eq!(spec.limits, Limits::default());
    assert_eq!(spec.limits.max_payload_bytes, 256 * 1024);
    assert!(spec.schedules.is_empty());
    assert!(!spec.paused);
    let worker = spec.worker.unwrap();
    assert_eq!(worker.concurrency, 8);
    assert_eq!(worker.drain_timeout, Duration::from_secs(60));
    assert_eq!(spec.scaling.mode, ScalingMode::Auto);
    assert_eq!(
        (spec.scaling.min_replicas, spec.scaling.max_replicas),
        (0, 10)
    );
    assert_eq!(spec.scaling.target, None);
    assert_eq!(
        (spec.scaling.spare_replicas, spec.scaling.activation),
        (0, 1)
    );
    assert!((spec.scaling.tolerance - 0.1).abs() < f64::EPSILON);
    assert_eq!(spec.scaling.scale_up, ScaleUp::default());
    assert!(spec.scaling.scale_down.wait_for_idle);
    assert_eq!(spec.scaling.windows, []);
    assert_eq!(spec.scaling.idle, Duration::from_secs(30));
    assert_eq!(
        spec.scaling.scale_down.stabilization,
        Duration::from_secs(60)
    );
}

#[test]
fn a_section_that_is_given_in_part_keeps_the_other_defaults() {
    let spec = parse(&json!({
        "worker": { "handler": { "native": {} } },
        "retry": { "backoff": { "initial": "5s" } },
        "scaling": { "maxReplicas": 3 }
    }))
    .spec;
    assert_eq!(spec.retry.max_attempts, 5);
    assert_eq!(spec.retry.backoff.initial, Duration::from_secs(5));
    assert_eq!(spec.retry.backoff.max, Duration::from_secs(600));
    assert_eq!(spec.scaling.max_replicas, 3);
    assert_eq!(spec.scaling.idle, Duration::from_secs(30));
}

#[test]
fn the_defaults_of_the_definition_are_those_of_the_types() {
    let definition = serde_json::to_value(taskqueue_api::definition()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let spec = &schema["properties"]["spec"]["properties"];
    let written = serde_json::to_value(parse(&smallest()).spec).unwrap();
    for section in [
        "priorities",
        "retry",
        "scaling",
        "timeout",
        "paused",
        "deadLetter",
        "retention",
        "limits",
    ] {
        assert_eq!(spec[section]["default"], written[section], "{section}");
        for (name, property) in spec[section]["properties"]
            .as_object()
            .into_iter()
            .flatten()
        {
            if !property["default"].is_null() {
                assert_eq!(
                    property["default"], written[section][name],
                    "{section}.{name}"
                );
            }
        }
    }
}

#[test]
fn fields_that_were_left_out_stay_out() {
    let written = serde_json::to_value(parse(&smallest())).unwrap();
    for path in [
        "/spec/queueName",
        "/spec/redis",
        "/spec/worker/template",
        "/spec/priorities/aging",
        "/spec/priorities/levels/0/weight",
        "/spec/retry/maxElapsed",
        "/spec/retry/rules",
        "/spec/retention/completed/maxCount",
        "/spec/limits/rate",
        "/spec/limits/concurrency",
        "/spec/limits/perKey",
        "/spec/limits/maxBacklog",
        "/spec/events",
        "/spec/types",
        "/spec/schedules",
        "/status",
    ] {
        assert_eq!(written.pointer(path), None, "{path}");
    }
}

/// The API server answers a GET of `/scale` only where there is a number, and takes none below zero.
#[test]
fn there_is_always_a_number_of_replicas_and_by_default_it_is_none() {
    let written = serde_json::to_value(parse(&smallest())).unwrap();
    assert_eq!(
        written.pointer("/spec/scaling/replicas"),
        Some(&json!(1001))
    );
    assert_eq!(Scaling::default().replicas, Some(Scaling::LEFT_ALONE));
}

#[test]
fn the_pod_template_survives_with_fields_that_nobody_here_knows() {
    let template = json!({
        "metadata": { "annotations": { "a": "b" } },
        "spec": { "containers": [{ "name": "a", "image": "b", "newIn2031": { "x": [1, 2.5, null] } }] }
    });
    let resource = parse(&json!({
        "worker": { "handler": { "native": {} }, "template": template }
    }));
    let written = serde_json::to_value(resource).unwrap();
    assert_eq!(written["spec"]["worker"]["template"], template);
}

#[test]
fn a_schedule_takes_any_json_as_its_payload() {
    for payload in [
        json!("text"),
        json!(1.5),
        json!([1, { "a": null }]),
        json!({ "deep": { "newIn2031": true } }),
    ] {
        let resource = parse(&json!({
            "worker": { "handler": { "native": {} } },
            "schedules": [{ "name": "a", "cron": "0 3 * * *", "task": { "type": "report", "payload": payload } }]
        }));
        let schedule = &resource.spec.schedules[0];
        assert_eq!(schedule.time_zone, "UTC");
        assert_eq!(schedule.missed, MissedRuns::RunOnce);
        assert!(!schedule.suspend);
        let written = serde_json::to_value(&resource).unwrap();
        assert_eq!(written["spec"]["schedules"][0]["task"]["payload"], payload);
    }
}

#[test]
fn the_queue_is_named_after_the_resource_unless_it_has_a_name() {
    let mut resource = parse(&smallest());
    assert_eq!(resource.queue_name(), "thumbnails");
    resource.spec.queue_name = Some("images".to_owned());
    assert_eq!(resource.queue_name(), "images");
}

#[test]
fn a_status_with_nothing_in_it_is_an_empty_object() {
    let status = taskqueue_api::TaskQueueStatus::default();
    assert_eq!(serde_json::to_value(status).unwrap(), json!({}));
}
