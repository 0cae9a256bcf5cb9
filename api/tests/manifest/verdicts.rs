//! Manifests beside what the API server says of them: each verdict is held against a real one by the
//! tests of `e2e`.

/// A part of a spec, and a part of the reason for which it is refused; none where it is taken.
pub(super) type Row = (&'static str, Option<&'static str>);

/// What a spec is made of where a row does not say so.
const WORKER: &str = "worker: {handler: {native: {}}}";

/// A whole manifest.
pub(super) fn manifest(spec: &str) -> String {
    let worker = if spec.contains("worker:") { "" } else { WORKER };
    format!(
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nmetadata: {{name: thumbnails}}\n\
         spec:\n  {worker}\n  {}\n",
        spec.replace('\n', "\n  ")
    )
}

/// Specs.
pub(super) const SPECS: &[Row] = &[
    ("", None),
    // Nothing behind a name is nothing.
    ("timeout:", None),
    ("timeout: null", None),
    ("scaling: {minReplicas: }", None),
    ("scaling: {maxReplicas: null, idle: ~, scaleUp: }", None),
    ("scaling:", None),
    ("priorities: {levels: }", None),
    ("redis:", None),
    ("queueName:", None),
    ("scaling: {mode: Paused, replicas: }", None),
    ("limits: {rate: {count: 5, per: }}", None),
    (
        "limits: {rate: {count: }}",
        Some("spec.limits.rate.count: is missing"),
    ),
    ("worker:", Some("worker")),
    (
        "worker: {handler: }",
        Some("spec.worker.handler: is missing"),
    ),
    (
        "worker: {handler: {exec: {command: [null]}}}",
        Some("spec.worker.handler.exec.command[0]: null is no string"),
    ),
    (
        "scaling: {windows: [null]}",
        Some("spec.scaling.windows[0]: null is no object"),
    ),
    // Whole numbers, however they are written.
    ("scaling: {maxReplicas: 5.0}", None),
    ("scaling: {maxReplicas: 5e0}", None),
    ("limits: {maxPayloadBytes: 1.048576e+06}", None),
    ("scaling: {maxReplicas: 0x10}", None),
    (
        "scaling: {maxReplicas: 5.5}",
        Some("spec.scaling.maxReplicas: 5.5 is no integer"),
    ),
    (
        "scaling: {maxReplicas: '5'}",
        Some("spec.scaling.maxReplicas: \"5\" is no integer"),
    ),
    ("scaling: {maxReplicas: true}", Some("is no integer")),
    ("scaling: {maxReplicas: [5]}", Some("is no integer")),
    (
        "scaling: {maxReplicas: 1001}",
        Some("spec.scaling.maxReplicas: 1001 is above 1000"),
    ),
    (
        "scaling: {maxReplicas: 0}",
        Some("spec.scaling.maxReplicas: 0 is below 1"),
    ),
    ("scaling: {maxReplicas: -1}", Some("is below 1")),
    ("scaling: {maxReplicas: 4294967297}", Some("is above 1000")),
    (
        "scaling: {maxReplicas: 99999999999999999999999}",
        Some("maxReplicas"),
    ),
    (
        "scaling: {maxReplicas: 18446744073709551615}",
        Some("maxReplicas: 18446744073709551615 is no integer"),
    ),
    (
        "worker: {handler: {native: {}}, resources: {limits: {cpu: 18446744073709551615}}}",
        Some("is no integer or string"),
    ),
    ("scaling: {tolerance: 1}", None),
    ("scaling: {tolerance: 0.25}", None),
    (
        "scaling: {tolerance: 1.01}",
        Some("spec.scaling.tolerance: 1.01 is above 1"),
    ),
    ("scaling: {scaleUp: {maxStep: 4}}", None),
    ("scaling: {scaleUp: {maxStep: 50%}}", None),
    ("scaling: {scaleUp: {maxStep: 0}}", Some("is below 1")),
    (
        "scaling: {scaleUp: {maxStep: 5%%}}",
        Some("does not look like"),
    ),
    (
        "scaling: {scaleUp: {maxStep: [4]}}",
        Some("is no integer or string"),
    ),
    (
        "scaling: {scaleUp: {maxStep: 4.5}}",
        Some("is no integer or string"),
    ),
    // Durations.
    ("scaling: {idle: 24h}", None),
    (
        "scaling: {idle: 48h}",
        Some("scaling.idle must be a duration from 0s to 24h"),
    ),
    (
        "scaling: {idle: 30}",
        Some("spec.scaling.idle: 30 is no string"),
    ),
    (
        "scaling: {idle: ''}",
        Some("spec.scaling.idle: has 0 characters, and needs 1"),
    ),
    ("timeout: 1us", Some("timeout must be a duration")),
    ("timeout: 1s-5s", Some("timeout must be a duration")),
    ("timeout: 2562048h", Some("spec.timeout")),
    (
        "scaling: {idle: 99999999999999999999999999h}",
        Some("spec.scaling.idle"),
    ),
    (
        "scaling: {idle: 999999999999999999999999999999999999999999h}",
        Some("spec.scaling.idle: has 43 characters, and takes 32"),
    ),
    // Fields that nobody knows.
    (
        "scalling: {}",
        Some("spec.scalling: is no field of a TaskQueue"),
    ),
    (
        "scaling: {windows: [{start: '08:00', end: '18:00', maxReplicas: 2, day: Mon}]}",
        Some("spec.scaling.windows[0].day: is no field"),
    ),
    (
        "worker: {handler: {native: {}}, template: {spec: {dnsPolicy: Default, containers: [{name: a, image: b, any: {thing: [1]}}]}}}",
        None,
    ),
    (
        "schedules: [{name: a, cron: '* * * * *', task: {type: b, payload: [{c: null}, 5, {}]}}]",
        None,
    ),
    (
        "schedules: [{name: a, cron: '* * * * *', task: {type: b, payload: }}]",
        None,
    ),
    (
        "schedules: [{name: a, cron: '* * * * *', task: {}}]",
        Some("spec.schedules[0].task.type: is missing"),
    ),
    // Lists.
    (
        "scaling: {windows: [{start: '08:00', end: '18:00', maxReplicas: 2, days: [Mon, Tue]}]}",
        None,
    ),
    (
        "scaling: {windows: [{start: '08:00', end: '18:00', maxReplicas: 2, days: [Mon, Mon]}]}",
        Some("spec.scaling.windows[0].days[1]: \"Mon\" stands there twice"),
    ),
    (
        "scaling: {windows: [{start: '08:00', end: '18:00', maxReplicas: 2, days: [Monday]}]}",
        Some("spec.scaling.windows[0].days[0]: \"Monday\" is none of \"Mon\", "),
    ),
    (
        "priorities: {levels: [{name: a}, {name: a}]}",
        Some("spec.priorities.levels[1]: \"a\" stands there twice"),
    ),
    (
        "priorities: {levels: {name: a}}",
        Some("spec.priorities.levels: {\"name\":\"a\"} is no array"),
    ),
    (
        "scaling: {mode: auto}",
        Some("spec.scaling.mode: \"auto\" is none of"),
    ),
    ("scaling: {mode: }", None),
    (
        "paused: 'true'",
        Some("spec.paused: \"true\" is no boolean"),
    ),
    // Defaults count in rules.
    (
        "scaling: {minReplicas: 11}",
        Some("scaling.minReplicas must not be above scaling.maxReplicas"),
    ),
    (
        "scaling: {minReplicas: 11, maxReplicas: null}",
        Some("scaling.minReplicas must not be above"),
    ),
    (
        "scaling: {minReplicas: 3, maxReplicas: 2}",
        Some("scaling.minReplicas must not be above"),
    ),
    (
        "redis: {}",
        Some("redis needs exactly one of url and urlFrom"),
    ),
    ("redis: {url: 'redis://a', urlFrom: null}", None),
];

/// Whole manifests.
pub(super) const WHOLE: &[Row] = &[
    (
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nmetadata: {name: a}\n",
        Some("spec: is missing"),
    ),
    (
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nmetadata: {name: a}\nspec: 5\n",
        Some("spec: 5 is no object"),
    ),
    (
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nspec: {worker: {handler: {native: {}}}}\n",
        Some("metadata.name: is missing"),
    ),
    (
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nmetadata: {generateName: a-}\n\
         spec: {worker: {handler: {native: {}}}}\n",
        None,
    ),
    (
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nmetadata: {name: A}\n\
         spec: {worker: {handler: {native: {}}}}\n",
        Some("metadata.name must be"),
    ),
    (
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nmetadata: {name: a, labels: {b: 5}}\n\
         spec: {worker: {handler: {native: {}}}}\n",
        Some("metadata: invalid type"),
    ),
    (
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nmetadata: {name: a}\n\
         spec: {worker: {handler: {native: {}}}}\nstatus: {replicas: -5}\n",
        None,
    ),
    (
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nmetadata: {name: a}\n\
         spec: {worker: {handler: {native: {}}}}\nstate: {}\n",
        Some("state: is no field of a TaskQueue"),
    ),
    // An anchor and a merge are written out by kubectl.
    (
        "apiVersion: taskqueue.dev/v1alpha1\nkind: TaskQueue\nmetadata: {name: a}\n\
         spec: {worker: {handler: {native: {}}}, scaling: &a {scaleUp: &b {per: 1s}, scaleDown: {<<: *b}}}\n",
        None,
    ),
    (
        "{\"apiVersion\": \"taskqueue.dev/v1alpha1\", \"kind\": \"TaskQueue\", \"metadata\": {\"name\": \"a\"},\n\
         \"spec\": {\"worker\": {\"handler\": {\"native\": {}}}, \"scaling\": {\"maxReplicas\": 5.0}}}\n",
        None,
    ),
];
