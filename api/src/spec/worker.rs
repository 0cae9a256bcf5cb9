//! `spec.worker`.

use std::borrow::Cow;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DisruptionBudget, Duration, Resources, Shield};

/// The worker pods: what runs a task, how many at once, and the pod around it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.handler.native) || has(self.template)")
        .message("worker.template is needed with handler.exec, stdio and http: give a pod template whose first container has the image that holds the command or the server"),
    validation = Rule::new("!has(self.resources) || !has(self.handler.native) || !has(self.template)")
        .message("worker.resources is for the container that the operator adds, and it adds none to a template with handler.native: set resources in the template's container instead"),
    validation = Rule::new("!has(self.handler.exec) || !has(self.handler.exec.batch) || self.handler.exec.batch.max <= self.concurrency")
        .message("worker.handler.exec.batch.max must not be above worker.concurrency: a task takes a slot while it is in a batch"),
    validation = Rule::new("!has(self.handler.stdio) || !has(self.handler.stdio.batch) || self.handler.stdio.batch.max <= self.concurrency")
        .message("worker.handler.stdio.batch.max must not be above worker.concurrency: a task takes a slot while it is in a batch"),
    validation = Rule::new("!has(self.handler.http) || !has(self.handler.http.batch) || self.handler.http.batch.max <= self.concurrency")
        .message("worker.handler.http.batch.max must not be above worker.concurrency: a task takes a slot while it is in a batch"),
)]
pub struct Worker {
    /// How many tasks one worker pod runs at once.
    #[serde(default = "default_concurrency")]
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: i32,

    /// What runs a task. Exactly one of exec, stdio, http and native.
    pub handler: Handler,

    /// How long a worker that is being stopped may go on with the tasks it runs, as a duration
    /// from 0s to 1h; what is not finished then goes back to the queue and costs no attempt.
    #[serde(default = "default_drain_timeout")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('1h')")
        .message("worker.drainTimeout must be a duration from 0s to 1h, such as 30s or 5m"))]
    pub drain_timeout: Duration,

    /// Keeps node autoscalers from moving worker pods that run a long task. By default they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shield: Option<Shield>,

    /// How many worker pods may be evicted at a time. By default any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,

    /// Resources of the container that the operator adds to the worker pods: taskqueue-install with
    /// handler.exec and stdio, taskqueue-worker with http, the pod's only one with native and no
    /// template. By default, with exec and stdio, the cpu, memory and ephemeral-storage of the
    /// template's first container, if it has any; else what the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Template of the worker pods, as in a Deployment. Tasks run in its first container. With
    /// handler.native it can be left out: the pods then run the demo handlers of the worker's
    /// own image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,
}

/// What runs a task: exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.exec), has(self.stdio), has(self.http), has(self.native)].filter(given, given).size() == 1")
    .message("worker.handler needs exactly one of exec, stdio, http and native, such as exec: {command: [\"sh\", \"-c\", \"...\"]}"))]
pub struct Handler {
    /// A command that is started for each task, in the first container of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecHandler>,

    /// A command that goes on and gets tasks as lines of JSON, in the first container of the
    /// template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio: Option<StdioHandler>,

    /// A server in the first container of the template that gets tasks as HTTP requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHandler>,

    /// A program that uses the Taskqueue library itself: the first container's own command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeHandler>,
}

/// A command that is started for each task. It reads the payload on standard input and writes
/// the result to standard output. Exit code 0: done; 75: retry; 65: dead letter at once; any
/// other: a failed attempt.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExecHandler {
    /// The command and its arguments. It is not run by a shell.
    #[schemars(length(max = 64), inner(length(min = 1, max = 4096)))]
    #[x_kube(validation = Rule::new("self.size() >= 1")
        .message("worker.handler.exec.command must name a command, such as [\"sha256sum\"]"))]
    pub command: Vec<String>,

    /// Many tasks of a type in one run of the command. It then reads a line of JSON for each task
    /// on standard input, and may write a line with the outcome of each. By default one task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
}

/// A command that goes on and gets tasks as lines of JSON on standard input, several at once, and
/// answers with lines of JSON on standard output. What it writes to standard error is logged.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StdioHandler {
    /// The command and its arguments. It is not run by a shell.
    #[schemars(length(max = 64), inner(length(min = 1, max = 4096)))]
    #[x_kube(validation = Rule::new("self.size() >= 1")
        .message("worker.handler.stdio.command must name a command, such as [\"node\", \"worker.js\"]"))]
    pub command: Vec<String>,

    /// How many processes of it share the tasks of one pod.
    #[serde(default = "default_processes")]
    #[schemars(range(min = 1, max = 64))]
    pub processes: i32,

    /// Many tasks of a type in one line. Each is answered by a line of its own, as ever. By default
    /// one task a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
}

/// A server in the pod that gets each task as a CloudEvent by POST. Status 2xx: done, the body is
/// the result; 408, 425, 429 and 5xx: retry, after Retry-After if given; other 4xx: dead letter at
/// once.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.port) && has(self.socket))")
        .message("worker.handler.http has both port and socket: leave one out"),
    validation = Rule::new("!has(self.port) || self.port != 8081")
        .message("worker.handler.http.port must not be 8081: the worker's own probes and metrics are there"),
)]
pub struct HttpHandler {
    /// The port that the server listens on: 8080 if neither port nor socket is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// The Unix socket that the server listens on, instead of a port: a path on a volume that the
    /// template mounts into its first container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^/[^/]+(/[^/]+)+$')")
        .message("worker.handler.http.socket must be a whole path in a folder, such as /run/app/app.sock"))]
    pub socket: Option<String>,

    /// The path that takes tasks.
    #[serde(default = "default_path")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^/[!-~]*$')")
        .message("worker.handler.http.path must begin with / and hold neither spaces nor letters beyond ASCII, such as /tasks"))]
    pub path: String,

    /// What the server speaks: HTTP1, or H2C for HTTP/2 without TLS.
    #[serde(default)]
    pub protocol: HttpProtocol,

    /// Many tasks of a type in one request, as a batch of CloudEvents; the answer is an array with
    /// the outcome of each, or empty if all are done. By default one task a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
}

/// Many tasks in one call of the handler, each with an outcome of its own. They are of one type.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// The most tasks in one call, and no more than worker.concurrency: each takes a slot, while it
    /// waits for others and while it runs.
    #[schemars(range(min = 1, max = 1000))]
    pub max: i32,

    /// How long the first task waits for others at most, as a duration from 0s to 1m. A call
    /// begins earlier when it has max tasks, or the worker drains. spec.timeout counts from when it
    /// begins.
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('1m')")
        .message("worker.handler batch.wait must be a duration from 0s to 1m, such as 50ms"))]
    pub wait: Duration,
}

/// What a server speaks.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpProtocol {
    /// HTTP/1.1 with keep-alive.
    #[default]
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2 without TLS, from the first byte on.
    #[serde(rename = "H2C")]
    H2c,
}

/// A program that uses the Taskqueue library itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NativeHandler {}

/// A pod template as given. The resource's schema knows only what the rules need, which keeps
/// it small; the operator checks that it knows each field, and the API server the rest when the
/// Deployment is applied.
///
/// It is kept as text: a tree of maps takes ten times the memory, and an operator keeps the
/// templates of thousands of TaskQueues.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct PodTemplate(Box<str>);

impl PodTemplate {
    /// The template as JSON.
    pub fn to_map(&self) -> Map<String, Value> {
        // It was made of a map and of nothing else.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl From<Map<String, Value>> for PodTemplate {
    fn from(template: Map<String, Value>) -> Self {
        Self(Value::Object(template).to_string().into())
    }
}

impl From<PodTemplate> for Map<String, Value> {
    fn from(template: PodTemplate) -> Self {
        template.to_map()
    }
}

impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "required": ["spec"],
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "spec": {
                    "description": "Spec of the worker pods, as in a Deployment.",
                    "type": "object",
                    "required": ["containers"],
                    "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {
                        "containers": {
                            "description": "Containers of the pod. Tasks run in the first one.",
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 32,
                            "items": {
                                "type": "object",
                                "required": ["name", "image"],
                                "x-kubernetes-preserve-unknown-fields": true,
                                "properties": {
                                    "name": { "type": "string", "minLength": 1, "maxLength": 63,
                                              "description": "Name of the container." },
                                    "image": { "type": "string", "minLength": 1, "maxLength": 1024,
                                               "description": "Image of the container." }
                                }
                            }
                        },
                        "restartPolicy": { "type": "string", "maxLength": 16,
                            "description": "Always, as in every Deployment.",
                            "x-kubernetes-validations": [{
                                "rule": "self == 'Always'",
                                "message": "worker.template.spec.restartPolicy must be Always or left out: workers are long-lived"
                            }]
                        }
                    }
                }
            }
        })
    }
}

fn default_concurrency() -> i32 {
    8
}

fn default_processes() -> i32 {
    1
}

fn default_path() -> String {
    "/".to_owned()
}

fn default_drain_timeout() -> Duration {
    Duration::from_secs(60)
}
