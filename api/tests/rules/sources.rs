//! The rules about sources, each with manifests at its limit and one over.

use serde_json::{Value, json};

use crate::table::{Edit, Row, row};

/// A TaskQueue with a BullMQ queue as its source, and these fields set besides.
pub(super) fn bullmq(edits: &[Edit]) -> Vec<Edit> {
    let mut all = vec![
        ("/spec/worker", Value::Null),
        ("/spec/source", json!({"bullmq": {"queue": "emails"}})),
        (
            "/spec/targetRef",
            json!({"kind": "Deployment", "name": "mailer"}),
        ),
    ];
    all.extend(edits.iter().cloned());
    all
}

fn source(value: Value) -> Vec<Edit> {
    bullmq(&[("/spec/source", value)])
}

fn expression(fields: &Value) -> Vec<Edit> {
    let waiting = json!({"command": "LLEN", "key": "a", "role": "Runnable"});
    source(json!({"expressions": [waiting, fields]}))
}

fn target(name: &str) -> Vec<Edit> {
    bullmq(&[(
        "/spec/targetRef",
        json!({"kind": "StatefulSet", "name": name}),
    )])
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = of_the_spec();
    rows.extend(of_the_source());
    rows
}

fn of_the_spec() -> Vec<Row> {
    let schedule = json!([{"name": "a", "cron": "@daily", "task": {"type": "report"}}]);
    vec![
        row(
            "spec needs exactly one of worker",
            [vec![], bullmq(&[])],
            [
                vec![("/spec/worker", Value::Null)],
                bullmq(&[("/spec/worker", json!({"handler": {"native": {}}}))]),
            ],
        ),
        row(
            "spec.source and spec.targetRef need each other",
            [vec![], bullmq(&[])],
            [
                bullmq(&[("/spec/targetRef", Value::Null)]),
                vec![(
                    "/spec/targetRef",
                    json!({"kind": "Deployment", "name": "a"}),
                )],
            ],
        ),
        row(
            "queueName, paused and schedules are about a queue of Taskqueue",
            [
                bullmq(&[("/spec/paused", json!(false))]),
                bullmq(&[("/spec/schedules", json!([]))]),
                vec![("/spec/queueName", json!("a"))],
            ],
            [
                bullmq(&[("/spec/paused", json!(true))]),
                bullmq(&[("/spec/queueName", json!("a"))]),
                bullmq(&[("/spec/schedules", schedule)]),
            ],
        ),
        row(
            "scaling.target.latency needs run times",
            [
                bullmq(&[("/spec/scaling", json!({"target": {"backlogPerReplica": 1}}))]),
                vec![("/spec/scaling", json!({"target": {"latency": "1s"}}))],
            ],
            [bullmq(&[(
                "/spec/scaling",
                json!({"target": {"latency": "1s"}}),
            )])],
        ),
        row(
            "targetRef.name must be the name of a Deployment or StatefulSet",
            [target("mailer"), target("a"), target("mail-er.v2")],
            [target("Mailer"), target("-a"), target("a_b")],
        ),
    ]
}

fn of_the_source() -> Vec<Row> {
    let runnable = json!({"command": "LLEN", "key": "a", "role": "Runnable"});
    let held = json!({"command": "HLEN", "key": "a", "role": "InFlight"});
    let due = |command: &str| json!({"command": command, "key": "a", "role": "Deferred"});
    let in_unit = |command: &str| {
        let unit = json!({"command": command, "key": "a", "role": "Runnable", "unit": "Seconds"});
        expression(&unit)
    };
    vec![
        row(
            "source needs exactly one of bullmq",
            [
                source(json!({"celery": {}})),
                source(json!({"rq": {}})),
                source(json!({"sidekiq": {"queue": "mail"}})),
                source(json!({"asynq": {}})),
                source(json!({"list": {"key": "a"}})),
                source(json!({"sortedSet": {"key": "a", "scores": "Seconds"}})),
                source(json!({"stream": {"key": "a", "group": "b"}})),
                source(json!({"expressions": [runnable]})),
            ],
            [
                source(json!({})),
                source(json!({"rq": {}, "asynq": {}})),
                source(json!({"list": {"key": "a"}, "expressions": [runnable]})),
            ],
        ),
        row(
            "source.expressions must count what can run",
            [source(json!({"expressions": [held, due("ZCOUNT")]}))],
            [source(json!({"expressions": [held]}))],
        ),
        row(
            "source.expressions[].role Deferred needs command: ZCOUNT",
            [expression(&due("ZCOUNT"))],
            [expression(&due("ZCARD")), expression(&due("LLEN"))],
        ),
        row(
            "source.expressions[].unit is the unit of the scores",
            [in_unit("ZCOUNT")],
            [in_unit("ZCARD"), in_unit("GET")],
        ),
    ]
}
