//! What cannot work, and what is said about it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use taskqueue_operator::reconcile::validate::{Allowed, Invalid, Own, Sources, validate};

use super::validate::{CONTAINER, POD, with};
use crate::fixtures::{Edit, allowed, exec, resource, sourced, template};

/// The name of the variant. A new one does not compile until it is listed here, and fails until it
/// has a row in [`table`].
fn variant(invalid: &Invalid) -> &'static str {
    match invalid {
        Invalid::QueueName(_) => "QueueName",
        Invalid::NoRedis => "NoRedis",
        Invalid::RedisSource => "RedisSource",
        Invalid::TlsIdentity => "TlsIdentity",
        Invalid::Handler => "Handler",
        Invalid::Budget => "Budget",
        Invalid::Template(_) => "Template",
        Invalid::TemplateConflict { .. } => "TemplateConflict",
        Invalid::GracePeriod { .. } => "GracePeriod",
        Invalid::Range { .. } => "Range",
        Invalid::Policy { .. } => "Policy",
        Invalid::NoTarget => "NoTarget",
        Invalid::BadHandler(_) => "BadHandler",
        Invalid::NoTemplate(_) => "NoTemplate",
        Invalid::SocketVolume(_) => "SocketVolume",
        Invalid::Metadata(_) => "Metadata",
        Invalid::Source => "Source",
        Invalid::WithSource(_) => "WithSource",
        Invalid::WorkerOrSource => "WorkerOrSource",
        Invalid::NotServed(_) => "NotServed",
        Invalid::SourcesOff => "SourcesOff",
        Invalid::SourceOnDefaultRedis => "SourceOnDefaultRedis",
        Invalid::OwnAccount(_) => "OwnAccount",
        Invalid::OwnWorkload(_) => "OwnWorkload",
    }
}

const VARIANTS: [&str; 24] = [
    "BadHandler",
    "Budget",
    "GracePeriod",
    "Handler",
    "Metadata",
    "NoRedis",
    "NoTarget",
    "NoTemplate",
    "NotServed",
    "OwnAccount",
    "OwnWorkload",
    "Policy",
    "QueueName",
    "Range",
    "RedisSource",
    "SocketVolume",
    "Source",
    "SourceOnDefaultRedis",
    "SourcesOff",
    "Template",
    "TemplateConflict",
    "TlsIdentity",
    "WithSource",
    "WorkerOrSource",
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

fn policy(path: &'static str, value: Value, field: &'static str, fix: &'static str) -> Row {
    row(vec![(path, value)], "Policy", field, fix)
}

/// Scaling with a window of office hours that has these fields.
fn http(handler: &Value, template: Value) -> Vec<Edit> {
    vec![
        ("/spec/worker/handler", json!({ "http": handler })),
        ("/spec/worker/template", template),
    ]
}

fn window(fields: &Value) -> Value {
    let mut window = json!({ "start": "08:00", "end": "18:00" });
    for (name, value) in fields.as_object().unwrap() {
        window[name] = value.clone();
    }
    json!({ "windows": [window] })
}

/// One schedule with these fields, and with these in its task.
fn schedules(fields: &Value, task: &Value) -> Value {
    let merged = |mut into: Value, fields: &Value| {
        for (name, value) in fields.as_object().unwrap() {
            into[name] = value.clone();
        }
        into
    };
    let task = merged(json!({ "type": "report" }), task);
    let schedule = json!({ "name": "nightly", "cron": "0 3 * * *", "task": task });
    json!([merged(schedule, fields)])
}

fn range(path: &'static str, value: Value, field: &'static str, allowed: &'static str) -> Row {
    row(vec![(path, value)], "Range", field, allowed)
}

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
            vec![(
                "/spec/redis",
                json!({ "url": "rediss://a", "tls": { "certFrom": { "secretKeyRef": { "name": "a", "key": "b" } } } }),
            )],
            "TlsIdentity",
            "spec.redis.tls",
            "both or neither of certFrom and keyFrom",
        ),
        row(
            vec![("/spec/worker/handler", json!({}))],
            "Handler",
            "spec.worker.handler",
            "exactly one of exec, stdio, http and native",
        ),
        row(
            vec![(
                "/spec/worker/handler",
                json!({ "native": {}, "exec": { "command": ["a"] } }),
            )],
            "Handler",
            "spec.worker.handler",
            "exactly one of exec, stdio, http and native",
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
            vec![("/spec/worker/handler", json!({ "http": { "port": 0 } }))],
            "BadHandler",
            "spec.worker.handler.http.port is 0",
            "it is 1 to 65535",
        ),
        row(
            http(&json!({ "batch": { "max": 9, "wait": "1s" } }), template()),
            "BadHandler",
            "spec.worker.handler.http.batch.max is 9",
            "raise the concurrency to 9",
        ),
        row(
            http(&json!({ "batch": { "max": 1, "wait": "2m" } }), template()),
            "BadHandler",
            "spec.worker.handler.http.batch.wait is 120s",
            "it is 0s to 60s",
        ),
        row(
            http(&json!({ "socket": "/run/app/app.sock" }), template()),
            "SocketVolume",
            "spec.worker.handler.http.socket is /run/app/app.sock",
            "mount an emptyDir there",
        ),
        row(
            http(
                &json!({}),
                with(CONTAINER, "ports", json!([{ "containerPort": 8081 }])),
            ),
            "TemplateConflict",
            "containers[0].ports 8081 must be left out with handler.http",
            "probes and metrics",
        ),
        row(
            http(
                &json!({}),
                with(
                    CONTAINER,
                    "lifecycle",
                    json!({ "preStop": { "sleep": { "seconds": 5 } } }),
                ),
            ),
            "TemplateConflict",
            "containers[0].lifecycle.preStop must be left out with handler.http",
            "only after its last task",
        ),
        row(
            http(
                &json!({}),
                with(CONTAINER, "name", json!("taskqueue-worker")),
            ),
            "TemplateConflict",
            "containers taskqueue-worker must be left out with handler.http",
            "knows the worker's container",
        ),
        row(
            vec![("/spec/worker/disruptionBudget", json!({}))],
            "Budget",
            "spec.worker.disruptionBudget",
            "exactly one of maxUnavailable and minAvailable",
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
        conflict(
            with(
                POD,
                "containers",
                json!([{ "name": "taskqueue-worker", "image": "a" }, { "name": "taskqueue-worker", "image": "a" }]),
            ),
            "containers taskqueue-worker must be left out with handler.exec",
            "knows the worker's container",
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
            json!({ "maxLosses": -1 }),
            "spec.retry.maxLosses is -1",
            "0 to 100",
        ),
        range(
            "/spec/retry",
            json!({ "attemptsKept": 0 }),
            "spec.retry.attemptsKept is 0",
            "1 to 100",
        ),
        range(
            "/spec/retry",
            json!({ "maxAttempts": 101 }),
            "spec.retry.maxAttempts",
            "1 to 100",
        ),
        // What only a parser can tell, and what is in force from before a rule.
        policy(
            "/spec/retry",
            json!({ "rules": [{ "action": "Drop" }, { "match": "(", "action": "Retry" }] }),
            "spec.retry.rules[].match \"(\"",
            "is not allowed",
        ),
        policy(
            "/spec/retry",
            json!({ "rules": [{ "match": "é".repeat(129), "action": "Retry" }] }),
            "spec.retry.rules[].match",
            "at most 256 bytes",
        ),
        policy(
            "/spec/retry",
            json!({ "rules": [{ "cause": "Evicted", "action": "Drop" }] }),
            "spec.retry.rules[].action",
            "Retry or DeadLetter",
        ),
        policy(
            "/spec/retry",
            json!({ "maxElapsed": "0s" }),
            "spec.retry.maxElapsed",
            "1 ms to 10 years",
        ),
        policy(
            "/spec/limits",
            json!({ "rate": { "count": 1, "per": "1ms" } }),
            "spec.limits.rate.per",
            "100 ms to 10 years",
        ),
        policy(
            "/spec/schedules",
            schedules(&json!({ "cron": "0 3 * *" }), &json!({})),
            "spec.schedules[].cron \"0 3 * *\"",
            "five fields: minute, hour, day of month, month, day of week; this has 4",
        ),
        policy(
            "/spec/schedules",
            schedules(&json!({ "cron": "0 24 * * *" }), &json!({})),
            "spec.schedules[].cron",
            "0 to 23 as hour",
        ),
        policy(
            "/spec/schedules",
            schedules(&json!({ "timeZone": "Mars/Olympus" }), &json!({})),
            "spec.schedules[].timeZone \"Mars/Olympus\"",
            "as Europe/Paris or UTC",
        ),
        policy(
            "/spec/schedules",
            schedules(&json!({}), &json!({ "priority": "urgent" })),
            "spec.schedules[].task.priority \"urgent\"",
            "one of high, normal, low",
        ),
        policy(
            "/spec/schedules",
            schedules(&json!({}), &json!({ "type": "a\nb" })),
            "spec.schedules[].task.type",
            "without control characters",
        ),
        policy(
            "/spec/schedules",
            schedules(&json!({}), &json!({ "payload": "a".repeat(262_143) })),
            "spec.schedules[].task.payload \"nightly with 262145 bytes\"",
            "at most spec.limits.maxPayloadBytes, 262144 bytes",
        ),
        policy(
            "/spec/schedules",
            schedules(&json!({ "name": "Nightly" }), &json!({})),
            "spec.schedules[].name \"Nightly\"",
            "a-z, 0-9",
        ),
        policy(
            "/spec/priorities",
            json!({ "levels": [{ "name": "a" }, { "name": "a" }] }),
            "spec.priorities.levels \"a\"",
            "each level once",
        ),
        range(
            "/spec/priorities",
            json!({ "order": "Weighted" }),
            "spec.priorities.levels[].weight is 0",
            "1 to 1000",
        ),
        range(
            "/spec/limits",
            json!({ "maxPayloadBytes": 8_388_609 }),
            "spec.limits.maxPayloadBytes is 8388609",
            "1 to 8388608",
        ),
        range(
            "/spec/limits",
            json!({ "perKey": { "concurrency": 0 } }),
            "spec.limits.perKey.concurrency is 0",
            "1 and up",
        ),
        range(
            "/spec/events",
            json!({ "maxEntries": -1 }),
            "spec.events.maxEntries is -1",
            "1 and up",
        ),
        range(
            "/spec/types",
            json!([{ "name": "a", "concurrency": 0 }]),
            "spec.types[].concurrency is 0",
            "1 and up",
        ),
        range(
            "/spec/types",
            json!([{ "name": "a", "retry": { "maxAttempts": 101 } }]),
            "spec.types[].retry.maxAttempts is 101",
            "1 to 100",
        ),
        policy(
            "/spec/types",
            json!([{ "name": "a" }, { "name": "a" }]),
            "spec.types[].name \"a\"",
            "each name once",
        ),
        policy(
            "/spec/types",
            json!([{ "name": "a", "retry": { "rules": [{ "match": "(", "action": "Retry" }] } }]),
            "spec.types[].retry.rules[].match \"(\"",
            "type a",
        ),
        range(
            "/spec/deadLetter",
            json!({ "maxCount": -1 }),
            "spec.deadLetter.maxCount is -1",
            "1 and up",
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
            json!({ "mode": "Paused", "replicas": 1002 }),
            "spec.scaling.replicas is 1002",
            "0 to 1000",
        ),
        range(
            "/spec/scaling",
            json!({ "target": { "backlogPerReplica": 0 } }),
            "spec.scaling.target.backlogPerReplica is 0",
            "1 to 1000000",
        ),
        range(
            "/spec/scaling",
            json!({ "spareReplicas": 1001 }),
            "spec.scaling.spareReplicas is 1001",
            "0 to 1000",
        ),
        range(
            "/spec/scaling",
            json!({ "activation": 0 }),
            "spec.scaling.activation is 0",
            "1 to 1000000",
        ),
        policy(
            "/spec/scaling",
            json!({ "target": { "backlogPerReplica": 1, "latency": "1s" } }),
            "spec.scaling.target \"both\"",
            "exactly one of backlogPerReplica and latency",
        ),
        policy(
            "/spec/scaling",
            json!({ "target": {} }),
            "spec.scaling.target \"none\"",
            "exactly one of backlogPerReplica and latency",
        ),
        policy(
            "/spec/scaling",
            json!({ "target": { "latency": "0s" } }),
            "spec.scaling.target.latency \"0s\"",
            "from 100ms to 24h",
        ),
        range(
            "/spec/scaling",
            json!({ "scaleUp": { "maxStep": 0 } }),
            "spec.scaling.scaleUp.maxStep is 0",
            "1 to 1000",
        ),
        policy(
            "/spec/scaling",
            json!({ "scaleDown": { "maxStep": "half" } }),
            "spec.scaling.scaleDown.maxStep \"half\"",
            "such as 50%",
        ),
        range(
            "/spec/scaling",
            window(&json!({ "maxReplicas": 11 })),
            "spec.scaling.windows[].maxReplicas is 11",
            "spec.scaling.minReplicas to spec.scaling.maxReplicas",
        ),
        range(
            "/spec/scaling",
            window(&json!({ "minReplicas": 4, "maxReplicas": 3 })),
            "spec.scaling.windows[].minReplicas is 4",
            "0 to maxReplicas of the window",
        ),
        policy(
            "/spec/scaling",
            window(&json!({ "minReplicas": 1, "timeZone": "Mars/Olympus" })),
            "spec.scaling.windows[].timeZone \"Mars/Olympus\"",
            "such as Europe/Paris or UTC",
        ),
        policy(
            "/spec/scaling",
            window(&json!({ "minReplicas": 1, "end": "24:00" })),
            "spec.scaling.windows[].end \"24:00\"",
            "from 00:00 to 23:59",
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

/// Sources that cannot work.
fn of_sources() -> Vec<Row> {
    let with = |path: &'static str, value, fix| {
        let field = path.trim_start_matches("/spec/");
        row(sourced(&[(path, value)]), "WithSource", field, fix)
    };
    let ours = "is about a queue of Taskqueue: remove it";
    let mut rows = vec![
        row(
            sourced(&[("/spec/worker", json!({ "handler": { "native": {} } }))]),
            "WorkerOrSource",
            "spec",
            "exactly one of worker and source",
        ),
        row(
            vec![("/spec/worker", Value::Null)],
            "WorkerOrSource",
            "spec",
            "exactly one of worker and source",
        ),
        row(
            sourced(&[("/spec/targetRef", Value::Null)]),
            "NoTarget",
            "spec.targetRef",
            "name the Deployment or StatefulSet",
        ),
        row(
            sourced(&[("/spec/source", json!({ "rq": {}, "asynq": {} }))]),
            "Source",
            "spec.source",
            "exactly one of bullmq",
        ),
        row(
            sourced(&[("/spec/targetRef/concurrency", json!(0))]),
            "Range",
            "spec.targetRef.concurrency",
            "1 to 1000",
        ),
    ];
    rows.push(row(
        sourced(&[("/spec/scaling", json!({ "target": { "latency": "5s" } }))]),
        "Policy",
        "spec.scaling.target.latency",
        "use backlogPerReplica",
    ));
    rows.extend([
        with("/spec/queueName", json!("emails"), ours),
        with(
            "/spec/priorities",
            json!({ "levels": [{ "name": "a" }] }),
            ours,
        ),
        with("/spec/retry", json!({ "maxAttempts": 3 }), ours),
        with("/spec/timeout", json!("10s"), ours),
        with("/spec/deadLetter", json!({ "maxCount": 1 }), ours),
        with(
            "/spec/retention",
            json!({ "completed": { "maxAge": "2h" } }),
            ours,
        ),
        with("/spec/limits", json!({ "concurrency": 5 }), ours),
        with("/spec/paused", json!(true), ours),
        with(
            "/spec/schedules",
            json!([{ "name": "a", "cron": "@daily", "task": { "type": "b" } }]),
            ours,
        ),
    ]);
    rows
}

#[test]
fn what_cannot_work_is_refused_with_the_field_and_the_fix() {
    let mut seen = BTreeSet::from([variant(&Invalid::NoRedis)]);
    let always = table().into_iter().chain(of_sources());
    let always = always.map(|row| (row, allowed()));
    for (row, allowed) in always.chain(of_installations()) {
        let invalid = validate(&resource(&row.edits), &allowed).expect_err(row.field);
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

/// What this installation does not allow, though it means something.
#[allow(clippy::too_many_lines)] // A table is as long as it has rows.
fn of_installations() -> Vec<(Row, Allowed)> {
    let served = |namespace: &str| Allowed {
        redis_namespaces: [namespace.to_owned()].into(),
        ..allowed()
    };
    let sources = |sources| Allowed {
        sources,
        ..allowed()
    };
    let no_redis = || vec![("/spec/redis", Value::Null)];
    let account = |field: &str, name: &str| {
        let mut template = template();
        template["spec"][field] = json!(name);
        exec(template)
    };
    let fix = "name another one";
    let scaling_its = |name: &str| {
        let target = json!({ "kind": "StatefulSet", "name": name });
        sourced(&[("/spec/targetRef", target)])
    };
    let of_default = Allowed {
        own: Own {
            account: Some("default".to_owned()),
            ..allowed().own
        },
        ..allowed()
    };
    let opened = "sources.onDefaultRedis=true";
    vec![
        (
            row(
                no_redis(),
                "NotServed",
                "namespace shop",
                "set spec.redis.urlFrom",
            ),
            served("other"),
        ),
        (
            row(
                sourced(&[]),
                "SourcesOff",
                "spec.source",
                "sources.enabled=true",
            ),
            sources(Sources::Off),
        ),
        (
            row(
                sourced(&no_redis()),
                "SourceOnDefaultRedis",
                "spec.redis",
                opened,
            ),
            sources(Sources::OwnRedis),
        ),
        (
            row(
                sourced(&no_redis()),
                "NotServed",
                "spec.redis",
                "redis.namespaces",
            ),
            Allowed {
                sources: Sources::AnyRedis,
                ..served("other")
            },
        ),
        (
            row(
                account("serviceAccountName", "operator"),
                "OwnAccount",
                "is operator",
                fix,
            ),
            allowed(),
        ),
        (
            row(
                account("serviceAccount", "operator"),
                "OwnAccount",
                "is operator",
                fix,
            ),
            allowed(),
        ),
        (
            row(exec(template()), "OwnAccount", "is default", fix),
            of_default.clone(),
        ),
        (row(vec![], "OwnAccount", "is default", fix), of_default),
        (
            row(
                scaling_its("operator"),
                "OwnWorkload",
                "spec.targetRef.name is operator",
                "name the Deployment",
            ),
            allowed(),
        ),
        (
            row(
                scaling_its("redis"),
                "OwnWorkload",
                "spec.targetRef.name is redis",
                "name the Deployment",
            ),
            allowed(),
        ),
    ]
}

#[test]
fn what_an_installation_keeps_from_some_is_open_to_others() {
    let elsewhere = Allowed {
        own: Own {
            namespace: "system".to_owned(),
            ..allowed().own
        },
        redis_namespaces: ["shop".to_owned()].into(),
        sources: Sources::AnyRedis,
        ..allowed()
    };
    let refused = of_installations();
    for (row, _) in refused {
        if let Err(invalid) = validate(&resource(&row.edits), &elsewhere) {
            panic!("{}: {invalid}", row.variant);
        }
    }
}

#[test]
fn without_any_redis_both_ways_to_name_one_are_told() {
    let resource = resource(&[("/spec/redis", Value::Null)]);
    let message = validate(&resource, &Allowed::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("set spec.redis.url"), "{message}");
    assert!(
        message.contains("install the operator with redis.url"),
        "{message}"
    );
}
