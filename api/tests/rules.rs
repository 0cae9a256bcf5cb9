//! The CEL rules of the definition, evaluated here as the API server evaluates them: each at the
//! limit and one over.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;

use kube::core::cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde_json::{Value, json};

/// A field of the manifest and what it is set to; null takes it away.
type Edit = (&'static str, Value);

/// One rule: a part of its message, manifests that it lets through and ones that it refuses.
struct Row {
    message: &'static str,
    accepts: Vec<Vec<Edit>>,
    refuses: Vec<Vec<Edit>>,
}

fn row(
    message: &'static str,
    accepts: impl Into<Vec<Vec<Edit>>>,
    refuses: impl Into<Vec<Vec<Edit>>>,
) -> Row {
    Row {
        message,
        accepts: accepts.into(),
        refuses: refuses.into(),
    }
}

/// A field with values at the limits of its rule, and values one over.
fn field(message: &'static str, path: &'static str, accepts: &[&str], refuses: &[&str]) -> Row {
    let edits = |values: &[&str]| -> Vec<Vec<Edit>> {
        let edit = |value: &&str| vec![(path, json!(value))];
        values.iter().map(edit).collect()
    };
    row(message, edits(accepts), edits(refuses))
}

#[allow(clippy::too_many_lines)] // A table is as long as it has rows.
fn rows() -> Vec<Row> {
    let name_52 = "a".repeat(52);
    let name_53 = "a".repeat(53);
    let exec = || json!({"exec": {"command": ["true"]}});
    let template = || json!({"spec": {"containers": [{"name": "a", "image": "b"}]}});
    let secret = || json!({"secretKeyRef": {"name": "redis", "key": "url"}});
    vec![
        field(
            "metadata.name must be at most 52 characters",
            "/metadata/name",
            &[name_52.as_str(), "a", "0-a"],
            &[name_53.as_str(), "a.b", "-a", "a-"],
        ),
        field(
            "queueName must be 1 to 63 characters",
            "/spec/queueName",
            &["a", "a.b-c", "0"],
            &["A", "a_b", ".a", "a-", "a/b", "{a}"],
        ),
        row(
            "redis needs exactly one of url and urlFrom",
            [
                vec![("/spec/redis", json!({"url": "redis://a:6379"}))],
                vec![("/spec/redis", json!({"urlFrom": secret()}))],
            ],
            [
                vec![("/spec/redis", json!({}))],
                vec![(
                    "/spec/redis",
                    json!({"url": "redis://a:6379", "urlFrom": secret()}),
                )],
            ],
        ),
        field(
            "redis.url must look like redis://host:6379",
            "/spec/redis/url",
            &[
                "redis://a",
                "rediss://a:6380/1",
                "redis://a?prefix=b",
                "redis+sentinel://a:1,b/main/1",
                "rediss+cluster://a,b",
            ],
            &[
                "a:6379",
                "http://a",
                "redis://",
                "redis:///0",
                "REDIS://a",
                "redis+other://a",
            ],
        ),
        field(
            "redis.url must not carry a password",
            "/spec/redis/url",
            &["redis://user@a", "redis://a/:@", "redis://a:6379"],
            &[
                "redis://:secret@a",
                "redis://user:secret@a",
                "rediss://user:@a",
                "redis://u:a@b@c",
                "redis+sentinel://u:a@b,c/main",
                "rediss+cluster://:a@b",
            ],
        ),
        row(
            "priorities.levels must have at least one level",
            [vec![(
                "/spec/priorities/levels",
                json!([{"name": "normal"}]),
            )]],
            [vec![("/spec/priorities/levels", json!([]))]],
        ),
        field(
            "a level's name must be 1 to 32 characters",
            "/spec/priorities/levels/0/name",
            &["a", "a-b", "1"],
            &["A", "a.b", "-a", "a-", "a:b"],
        ),
        field(
            "timeout must be a duration from 100ms to 24h",
            "/spec/timeout",
            &["100ms", "24h", "1440m", "1h30m", "1.5h", "0.1s"],
            &[
                "99ms",
                "24h1ms",
                "1d",
                "3 days",
                "30",
                "-1s",
                "1H",
                "",
                "99999999999999h",
            ],
        ),
        field(
            "retry.backoff.initial must be a duration from 0s to 24h",
            "/spec/retry/backoff/initial",
            &["0s", "600s", "1ms"],
            &["-1s", "24h1ms", "1", "soon", "1d"],
        ),
        field(
            "retry.backoff.max must be a duration from 0s to 168h",
            "/spec/retry/backoff/max",
            &["168h", "1s"],
            &["168h1ms", "-1s", "7d"],
        ),
        row(
            "retry.backoff.initial must not be longer than retry.backoff.max",
            [vec![(
                "/spec/retry/backoff",
                json!({"initial": "10s", "max": "10s"}),
            )]],
            [
                vec![(
                    "/spec/retry/backoff",
                    json!({"initial": "10001ms", "max": "10s"}),
                )],
                // The default of the one against a value of the other.
                vec![("/spec/retry/backoff", json!({"max": "999ms"}))],
                vec![("/spec/retry/backoff", json!({"initial": "601s"}))],
            ],
        ),
        row(
            "scaling.minReplicas must not be above scaling.maxReplicas",
            [
                vec![("/spec/scaling", json!({"minReplicas": 5, "maxReplicas": 5}))],
                vec![("/spec/scaling", json!({"minReplicas": 10}))],
            ],
            [
                vec![("/spec/scaling", json!({"minReplicas": 6, "maxReplicas": 5}))],
                vec![("/spec/scaling", json!({"minReplicas": 11}))],
            ],
        ),
        row(
            "scaling.replicas counts only while scaling.mode is Paused",
            [
                vec![("/spec/scaling", json!({"mode": "Paused", "replicas": 3}))],
                vec![("/spec/scaling", json!({"mode": "Paused"}))],
            ],
            [
                vec![("/spec/scaling", json!({"mode": "Auto", "replicas": 3}))],
                vec![("/spec/scaling", json!({"replicas": 0}))],
            ],
        ),
        field(
            "scaling.idle must be a duration from 0s to 24h",
            "/spec/scaling/idle",
            &["0s", "24h"],
            &["24h1ms", "-1s", "1d"],
        ),
        field(
            "scaling.scaleDown.stabilization must be a duration from 0s to 1h",
            "/spec/scaling/scaleDown/stabilization",
            &["0s", "1h"],
            &["3601s", "-1s", "60"],
        ),
        row(
            "worker.template is needed with handler.exec",
            [vec![(
                "/spec/worker",
                json!({"handler": exec(), "template": template()}),
            )]],
            [vec![("/spec/worker", json!({"handler": exec()}))]],
        ),
        row(
            "worker.handler needs exactly one of exec and native",
            [vec![("/spec/worker/handler", json!({"native": {}}))]],
            [
                vec![("/spec/worker/handler", json!({}))],
                vec![
                    (
                        "/spec/worker/handler",
                        json!({"native": {}, "exec": {"command": ["true"]}}),
                    ),
                    ("/spec/worker/template", template()),
                ],
            ],
        ),
        row(
            "worker.handler.exec.command must name a command",
            [vec![(
                "/spec/worker",
                json!({"handler": exec(), "template": template()}),
            )]],
            [vec![(
                "/spec/worker",
                json!({"handler": {"exec": {"command": []}}, "template": template()}),
            )]],
        ),
        field(
            "worker.drainTimeout must be a duration from 0s to 1h",
            "/spec/worker/drainTimeout",
            &["0s", "1h", "3600s"],
            &["1h1ms", "-1s", "1d"],
        ),
        row(
            "worker.template.spec.restartPolicy must be Always or left out",
            [
                vec![("/spec/worker/template", template())],
                vec![
                    ("/spec/worker/template", template()),
                    ("/spec/worker/template/spec/restartPolicy", json!("Always")),
                ],
            ],
            [vec![
                ("/spec/worker/template", template()),
                ("/spec/worker/template/spec/restartPolicy", json!("Never")),
            ]],
        ),
    ]
}

const IMMUTABLE: &str = "spec.queueName is immutable";

fn schema() -> Value {
    let definition = serde_json::to_value(taskqueue_api::definition()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn compiled() -> CompiledSchema {
    let compiled = compile_schema(&schema());
    assert!(
        !compiled.has_errors(),
        "{:?}",
        compiled.compilation_errors()
    );
    compiled
}

fn manifest(edits: &[Edit]) -> Value {
    let mut manifest = json!({
        "apiVersion": "taskqueue.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": { "name": "thumbnails", "namespace": "shop" },
        "spec": { "worker": { "handler": { "native": {} } } }
    });
    for (path, value) in edits {
        let mut place = &mut manifest;
        for part in path.trim_start_matches('/').split('/') {
            place = match part.parse::<usize>() {
                Ok(index) => {
                    if place.is_null() {
                        *place = json!([{}]);
                    }
                    &mut place[index]
                }
                Err(_) => &mut place[part],
            };
        }
        *place = value.clone();
    }
    manifest
}

/// What the API server would say.
fn refusals(schema: &CompiledSchema, manifest: &Value, before: Option<&Value>) -> Vec<String> {
    match Validator::new().validate_compiled(schema, manifest, before) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_iter()
            .map(|error| {
                // An overflowing duration is an error of the evaluation, which refuses as well.
                let known = [ErrorKind::ValidationFailure, ErrorKind::EvaluationError];
                assert!(known.contains(&error.kind), "{}: {error}", error.rule);
                error.message
            })
            .collect(),
    }
}

#[test]
fn each_rule_accepts_what_is_at_its_limit() {
    let schema = compiled();
    for row in rows() {
        for edits in &row.accepts {
            let refusals = refusals(&schema, &manifest(edits), None);
            let own: Vec<_> = refusals
                .iter()
                .filter(|refusal| refusal.contains(row.message))
                .collect();
            assert!(own.is_empty(), "{edits:?}: {own:?}");
        }
    }
}

#[test]
fn each_rule_refuses_what_is_over_its_limit_and_names_the_fix() {
    let schema = compiled();
    for row in rows() {
        for edits in &row.refuses {
            let refusals = refusals(&schema, &manifest(edits), None);
            assert!(
                refusals.iter().any(|refusal| refusal.contains(row.message)),
                "{edits:?} should be refused with {:?}, but got {refusals:?}",
                row.message
            );
        }
    }
}

#[test]
fn each_rule_of_the_definition_has_a_row() {
    fn collect(schema: &Value, messages: &mut BTreeSet<String>) {
        match schema {
            Value::Object(fields) => {
                let rules = fields
                    .get("x-kubernetes-validations")
                    .and_then(Value::as_array);
                for rule in rules.into_iter().flatten() {
                    messages.insert(rule["message"].as_str().unwrap().to_owned());
                }
                fields.values().for_each(|value| collect(value, messages));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, messages)),
            _ => {}
        }
    }
    let mut messages = BTreeSet::new();
    collect(&schema(), &mut messages);
    let rows = rows();
    let covered = |message: &str| {
        message.contains(IMMUTABLE) || rows.iter().any(|row| message.contains(row.message))
    };
    let missing: Vec<_> = messages
        .iter()
        .filter(|message| !covered(message))
        .collect();
    assert_eq!(missing, [""; 0]);
    assert_eq!(messages.len(), rows.len() + 1);
}

#[test]
fn the_smallest_manifest_and_the_defaults_pass_every_rule() {
    assert_eq!(refusals(&compiled(), &manifest(&[]), None), [""; 0]);
}

#[test]
fn the_name_of_the_queue_cannot_change_come_or_go() {
    let schema = compiled();
    let named = |name: &str| manifest(&[("/spec/queueName", json!(name))]);
    let unnamed = manifest(&[]);
    let table = [
        (named("a"), named("a"), true),
        (unnamed.clone(), unnamed.clone(), true),
        (named("a"), named("b"), false),
        (named("a"), unnamed.clone(), false),
        (unnamed, named("a"), false),
    ];
    for (before, after, accepted) in table {
        let refusals = refusals(&schema, &after, Some(&before));
        let refused = refusals.iter().any(|refusal| refusal.contains(IMMUTABLE));
        assert_eq!(refused, !accepted, "{before} to {after}");
    }
}

#[test]
fn everything_else_can_be_edited() {
    let schema = compiled();
    let before = manifest(&[]);
    for row in rows() {
        for edits in row.accepts {
            if edits.iter().any(|(path, _)| path.contains("queueName")) {
                continue;
            }
            let refusals = refusals(&schema, &manifest(&edits), Some(&before));
            let refused = refusals.iter().any(|refusal| refusal.contains(IMMUTABLE));
            assert!(!refused, "{edits:?}");
        }
    }
}
