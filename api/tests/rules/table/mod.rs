//! The rules, each with manifests at its limit and one over.

mod batch;
mod scaling;

use serde_json::{Value, json};

/// A field of the manifest and what it is set to; null takes it away.
pub(super) type Edit = (&'static str, Value);

/// One rule: a part of its message, manifests that it lets through and ones that it refuses.
pub(super) struct Row {
    pub(super) message: &'static str,
    pub(super) accepts: Vec<Vec<Edit>>,
    pub(super) refuses: Vec<Vec<Edit>>,
}

pub(super) fn row(
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

/// The smallest manifest with these edits.
pub(super) fn manifest(edits: &[Edit]) -> Value {
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
    drop_nulls(&mut manifest);
    manifest
}

/// What an edit took away stands in no manifest.
fn drop_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null());
        fields.values_mut().for_each(drop_nulls);
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

/// Causes that are no fault of the handler.
const LOSSES: [&str; 3] = ["OOMKilled", "Evicted", "WorkerLost"];

/// Weighted order with levels of these weights.
fn weighted(weights: &[Option<u32>]) -> Value {
    let level = |(place, weight): (usize, &Option<u32>)| match weight {
        Some(weight) => json!({"name": format!("l{place}"), "weight": weight}),
        None => json!({"name": format!("l{place}")}),
    };
    let levels: Vec<_> = weights.iter().enumerate().map(level).collect();
    json!({"order": "Weighted", "levels": levels})
}

/// A retry rule that is sound in all but these fields.
fn rule(fields: &Value) -> Vec<Edit> {
    let mut rule = json!({"action": "Retry"});
    merge(&mut rule, fields);
    vec![("/spec/retry/rules", json!([{"action": "Retry"}, rule]))]
}

/// What is said of a type.
fn of_type(fields: &Value) -> Vec<Edit> {
    let mut of = json!({"name": "render"});
    merge(&mut of, fields);
    vec![("/spec/types", json!([of]))]
}

fn rate(per: &str) -> Vec<Edit> {
    vec![("/spec/limits/rate", json!({"count": 1, "per": per}))]
}

/// A schedule of this name with these fields in its task.
fn template() -> Value {
    json!({"spec": {"containers": [{"name": "a", "image": "b"}]}})
}

fn worker(handler: &Value) -> Vec<Edit> {
    vec![(
        "/spec/worker",
        json!({"handler": handler, "template": template()}),
    )]
}

fn schedule(name: &str, fields: &Value) -> Vec<Edit> {
    let mut task = json!({"type": "report"});
    merge(&mut task, fields);
    let schedule = json!({"name": name, "cron": "0 3 * * *", "task": task});
    vec![("/spec/schedules", json!([schedule]))]
}

/// A schedule whose runs are put off.
fn jitter(span: &str) -> Vec<Edit> {
    let task = json!({"type": "report"});
    let schedule = json!({"name": "a", "cron": "0 3 * * *", "task": task, "jitter": span});
    vec![("/spec/schedules", json!([schedule]))]
}

const BUDGET: &str = "/spec/worker/disruptionBudget";

/// A number of pods or a share of them.
fn pods(message: &'static str, name: &str) -> Row {
    let set = |value: Value| vec![(BUDGET, json!({ name: value }))];
    row(
        message,
        [
            json!(0),
            json!(1000),
            json!("0%"),
            json!("9%"),
            json!("100%"),
        ]
        .map(set),
        [
            json!(-1),
            json!(1001),
            json!("101%"),
            json!("010%"),
            json!("1001"),
            json!("-1%"),
            json!(""),
        ]
        .map(set),
    )
}

fn merge(into: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        into[name] = value.clone();
    }
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = of_the_queue_and_its_workers();
    rows.extend(batch::rows());
    rows.extend(scaling::rows());
    rows
}

#[allow(clippy::too_many_lines)] // A table is as long as it has rows.
fn of_the_queue_and_its_workers() -> Vec<Row> {
    let name_52 = "a".repeat(52);
    let name_53 = "a".repeat(53);
    let exec = || json!({"exec": {"command": ["true"]}});
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
        row(
            "redis.tls needs a redis.url that begins with rediss or valkeys",
            [
                vec![(
                    "/spec/redis",
                    json!({"url": "rediss://a", "tls": {"caFrom": secret()}}),
                )],
                vec![(
                    "/spec/redis",
                    json!({"url": "valkeys+cluster://a", "tls": {"caFrom": secret()}}),
                )],
                vec![(
                    "/spec/redis",
                    json!({"url": "REDISS://a", "tls": {"caFrom": secret()}}),
                )],
                vec![(
                    "/spec/redis",
                    json!({"urlFrom": secret(), "tls": {"caFrom": secret()}}),
                )],
            ],
            [
                vec![(
                    "/spec/redis",
                    json!({"url": "redis://a", "tls": {"caFrom": secret()}}),
                )],
                vec![(
                    "/spec/redis",
                    json!({"url": "valkey+sentinel://a/rediss", "tls": {"caFrom": secret()}}),
                )],
            ],
        ),
        row(
            "redis.tls is empty",
            [vec![(
                "/spec/redis",
                json!({"url": "rediss://a", "tls": {"caFrom": secret()}}),
            )]],
            [vec![(
                "/spec/redis",
                json!({"url": "rediss://a", "tls": {}}),
            )]],
        ),
        row(
            "redis.tls needs both or neither of certFrom and keyFrom",
            [vec![(
                "/spec/redis",
                json!({"url": "rediss://a", "tls": {"certFrom": secret(), "keyFrom": secret()}}),
            )]],
            [
                vec![(
                    "/spec/redis",
                    json!({"url": "rediss://a", "tls": {"caFrom": secret(), "keyFrom": secret()}}),
                )],
                vec![(
                    "/spec/redis",
                    json!({"url": "rediss://a", "tls": {"certFrom": secret()}}),
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
                "REDIS://a",
                "valkey://a:6379/1",
                "Valkeys+Sentinel://a/main",
                "valkey+cluster://a,b",
            ],
            &[
                "a:6379",
                "http://a",
                "redis://",
                "redis:///0",
                "redis+other://a",
                "valkeyss://a",
                "valkey+other://a",
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
                "valkey://:secret@a",
                "VALKEYS+sentinel://user:secret@a/main",
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
        row(
            "priorities.order Weighted needs a weight for each level",
            [vec![("/spec/priorities", weighted(&[Some(1), Some(1000)]))]],
            [
                vec![("/spec/priorities", weighted(&[Some(1), None]))],
                // The default levels have no weights.
                vec![("/spec/priorities", json!({"order": "Weighted"}))],
            ],
        ),
        row(
            "priorities.levels[].weight counts only with order Weighted",
            [vec![(
                "/spec/priorities",
                json!({"levels": [{"name": "a"}]}),
            )]],
            [vec![(
                "/spec/priorities",
                json!({"levels": [{"name": "a"}, {"name": "b", "weight": 1}]}),
            )]],
        ),
        row(
            "priorities.aging counts only with order Strict",
            [
                vec![("/spec/priorities", json!({"aging": "5m"}))],
                vec![("/spec/priorities", weighted(&[Some(1)]))],
            ],
            [vec![
                ("/spec/priorities", weighted(&[Some(1)])),
                ("/spec/priorities/aging", json!("5m")),
            ]],
        ),
        field(
            "priorities.aging must be a duration from 1s to 168h",
            "/spec/priorities/aging",
            &["1s", "168h", "1000ms"],
            &["999ms", "168h1ms", "7d", "0s"],
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
        field(
            "retry.maxElapsed must be a duration from 1s to 8760h",
            "/spec/retry/maxElapsed",
            &["1s", "8760h"],
            &["999ms", "8760h1ms", "1y", "-1s"],
        ),
        row(
            "retry.rules[].match must be left out with cause OOMKilled, Evicted or WorkerLost",
            ["Error", "Timeout"].map(|cause| rule(&json!({"cause": cause, "match": "a"}))),
            LOSSES.map(|cause| rule(&json!({"cause": cause, "match": "a"}))),
        ),
        row(
            "retry.rules[].action must not be Drop with cause OOMKilled, Evicted or WorkerLost",
            [
                rule(&json!({"cause": "Error", "action": "Drop"})),
                rule(&json!({"cause": "Timeout", "action": "Drop"})),
                rule(&json!({"action": "Drop"})),
                rule(&json!({"cause": "Evicted", "action": "DeadLetter"})),
            ],
            LOSSES.map(|cause| rule(&json!({"cause": cause, "action": "Drop"}))),
        ),
        row(
            "retry.rules[].after counts only with action Retry",
            [rule(&json!({"cause": "OOMKilled", "after": "30s"}))],
            ["DeadLetter", "Drop"].map(|action| rule(&json!({"action": action, "after": "1s"}))),
        ),
        row(
            "retry.rules[].after must be a duration from 0s to 168h",
            ["0s", "168h"].map(|after| rule(&json!({"after": after}))),
            ["-1s", "168h1ms", "1d", "soon"].map(|after| rule(&json!({"after": after}))),
        ),
        row(
            "types[].timeout must be a duration from 100ms to 24h",
            ["100ms", "24h"].map(|span| of_type(&json!({"timeout": span}))),
            ["99ms", "24h1ms", "1d"].map(|span| of_type(&json!({"timeout": span}))),
        ),
        row(
            "types[].retry.maxElapsed must be a duration from 1s to 8760h",
            ["1s", "8760h"].map(|span| of_type(&json!({"retry": {"maxElapsed": span}}))),
            ["999ms", "8760h1ms"].map(|span| of_type(&json!({"retry": {"maxElapsed": span}}))),
        ),
        field(
            "deadLetter.maxAge must be a duration from 1m to 8760h",
            "/spec/deadLetter/maxAge",
            &["1m", "8760h"],
            &["59s", "8760h1ms", "14d"],
        ),
        field(
            "retention.completed.maxAge must be a duration from 10s to 8760h",
            "/spec/retention/completed/maxAge",
            &["10s", "8760h"],
            &["9999ms", "8760h1ms", "0s", "1d"],
        ),
        row(
            "limits.rate.per must be a duration from 100ms to 744h",
            ["100ms", "744h"].map(rate),
            ["99ms", "744h1ms", "1d", "-1s"].map(rate),
        ),
        row(
            "a schedule's name must be 1 to 63 characters",
            ["a", "a-b", "0"].map(|name| schedule(name, &json!({}))),
            ["A", "a.b", "-a", "a-", "a_b"].map(|name| schedule(name, &json!({}))),
        ),
        row(
            "schedules[].task.priority must be the name of one of priorities.levels",
            [
                schedule("a", &json!({})),
                // One of the default levels.
                schedule("a", &json!({"priority": "low"})),
                [
                    schedule("a", &json!({"priority": "only"})),
                    vec![("/spec/priorities/levels", json!([{"name": "only"}]))],
                ]
                .concat(),
            ],
            [
                schedule("a", &json!({"priority": "urgent"})),
                [
                    schedule("a", &json!({"priority": "low"})),
                    vec![("/spec/priorities/levels", json!([{"name": "only"}]))],
                ]
                .concat(),
            ],
        ),
        row(
            "schedules[].jitter must be a duration up to 24h",
            ["0s", "24h"].map(jitter),
            ["24h1ms", "1d", "-1s"].map(jitter),
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
            "worker.handler needs exactly one of exec, stdio, http and native",
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
            "worker.handler.stdio.command must name a command",
            [worker(
                &json!({"stdio": {"command": ["node", "worker.js"], "processes": 4}}),
            )],
            [worker(&json!({"stdio": {"command": []}}))],
        ),
        row(
            "worker.handler.http has both port and socket",
            [
                worker(&json!({"http": {}})),
                worker(&json!({"http": {"port": 3000, "path": "/tasks", "protocol": "H2C"}})),
                worker(&json!({"http": {"socket": "/run/app/app.sock"}})),
            ],
            [worker(
                &json!({"http": {"port": 3000, "socket": "/run/app/app.sock"}}),
            )],
        ),
        row(
            "worker.handler.http.port must not be 8081",
            [worker(&json!({"http": {"port": 8082}}))],
            [worker(&json!({"http": {"port": 8081}}))],
        ),
        row(
            "worker.handler.http.socket must be a whole path",
            [worker(&json!({"http": {"socket": "/a/b/c"}}))],
            [
                worker(&json!({"http": {"socket": "app.sock"}})),
                worker(&json!({"http": {"socket": "/app.sock"}})),
            ],
        ),
        row(
            "worker.handler.http.path must begin with /",
            [worker(&json!({"http": {"path": "/a?b=c%20d"}}))],
            [
                worker(&json!({"http": {"path": "tasks"}})),
                worker(&json!({"http": {"path": "/a b"}})),
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
        field(
            "worker.shield.after must be a duration from 5s to 24h",
            "/spec/worker/shield/after",
            &["5s", "24h"],
            &["4999ms", "24h1ms", "1d", "-1s"],
        ),
        row(
            "worker.disruptionBudget needs exactly one of maxUnavailable and minAvailable",
            [
                vec![(BUDGET, json!({"maxUnavailable": 1}))],
                vec![(BUDGET, json!({"minAvailable": "50%"}))],
            ],
            [
                vec![(BUDGET, json!({}))],
                vec![(BUDGET, json!({"maxUnavailable": 1, "minAvailable": 1}))],
            ],
        ),
        pods(
            "worker.disruptionBudget.maxUnavailable must be",
            "maxUnavailable",
        ),
        pods(
            "worker.disruptionBudget.minAvailable must be",
            "minAvailable",
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
