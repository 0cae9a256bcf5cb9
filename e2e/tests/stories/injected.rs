//! A container that admission puts in front of the worker's, as meshes do with their proxy: its end is
//! nothing to the tasks, and the end of the worker is seen as soon as without it.

use taskqueue_e2e::{Patience, Story, eventually, kubectl, try_kubectl};
use taskqueue_queue::{Cause, State};
use tokio::time::Instant;

use crate::pods::{LEASE, a_worker_out_of_memory_is_told, ended, holder, ready};
use crate::workload::Workload;

/// The name that a mesh has for its proxy.
const PROXY: &str = "mesh-proxy";

/// Puts a proxy in front of the containers of every pod of one namespace, as long as it lives.
struct Injector(String);

impl Injector {
    async fn of(story: &Story) -> Self {
        let name = story.namespace.clone();
        kubectl(&["apply", "-f", "-"], &INJECTOR.replace("NAMESPACE", &name));
        let injector = Self(name);
        // The API server takes a policy up a moment after it was made.
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: b}]}}";
        let first = "jsonpath={.spec.containers[0].name}";
        let namespace = story.namespace.as_str();
        eventually("a proxy in front", Patience::NORMAL, async || {
            let dry = [
                "create",
                "-n",
                namespace,
                "--dry-run=server",
                "-o",
                first,
                "-f",
                "-",
            ];
            match try_kubectl(&dry, pod)?.as_str() {
                PROXY => Ok(()),
                other => Err(other.to_owned()),
            }
        })
        .await;
        injector
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        let kinds = "mutatingadmissionpolicies,mutatingadmissionpolicybindings";
        let _ = try_kubectl(&["delete", kinds, &self.0, "--ignore-not-found"], "");
    }
}

const INJECTOR: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: NAMESPACE}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          [JSONPatch{op: "add", path: "/spec/containers/0", value: Object.spec.containers{
            name: "mesh-proxy",
            image: "localhost/taskqueue/busybox:dev",
            imagePullPolicy: "IfNotPresent",
            command: ["sh", "-c", "trap 'exit 0' TERM; while true; do if [ -f /tmp/die ]; then rm /tmp/die; exit 1; fi; sleep 0.2; done"]
          }}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: NAMESPACE}
spec:
  policyName: NAMESPACE
  matchResources:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
"#;

/// A handler, and a task that goes on until somebody ends it.
struct Case {
    name: &'static str,
    handler: &'static str,
    /// The template's first container.
    container: &'static str,
    task: (&'static str, &'static str),
}

impl Case {
    fn manifest(&self) -> String {
        let two = Workload {
            min: 2,
            max: 2,
            concurrency: 1,
            ..Workload::default()
        };
        two.with_worker(&format!(
            "    drainTimeout: 20s
    handler: {}
    template:
      spec:
        # So that the worker is not process 1, which nothing inside the pod can kill.
        shareProcessNamespace: true
        containers:
          - {}
",
            self.handler, self.container
        ))
    }
}

/// How often the proxy of a pod was started anew.
fn restarts(story: &Story, pod: &str) -> Result<u32, String> {
    let path = format!("jsonpath={{.status.containerStatuses[?(@.name=='{PROXY}')].restartCount}}");
    let told = story.try_kubectl(&["get", "pod", pod, "-o", &path])?;
    told.parse().map_err(|_| told)
}

async fn only_the_end_of_the_worker_counts(case: Case) {
    let story = Story::begin(case.name).await;
    let _injector = Injector::of(&story).await;
    story.apply(&case.manifest());
    ready(&story, 2).await;
    let (kind, payload) = case.task;
    let id = story.enqueue("work", 1, kind, payload).await[0];
    let (first, pod) = holder(&story, &id, None).await;
    let in_front = "jsonpath={.spec.containers[0].name}";
    assert_eq!(story.kubectl(&["get", "pod", &pod, "-o", in_front]), PROXY);
    let in_proxy =
        |script: &str| story.kubectl(&["exec", &pod, "-c", PROXY, "--", "sh", "-c", script]);

    in_proxy("touch /tmp/die");
    eventually(
        "the proxy is started anew",
        Patience::NORMAL,
        async || match restarts(&story, &pod)? {
            0 => Err("it runs".to_owned()),
            _ => Ok(()),
        },
    )
    .await;

    // What the operator makes of the proxy's end it makes before it hears of this one.
    let killed = Instant::now();
    in_proxy("kill -9 $(pidof taskqueue-worker)");
    let (second, _) = holder(&story, &id, Some(&first)).await;
    let took = killed.elapsed();
    eprintln!(
        "{}: the task of a killed worker behind a proxy ran again after {took:?}",
        case.name
    );
    assert!(took < LEASE, "it waited for the lease to lapse: {took:?}");
    let task = story.task("work", &id).await;
    let mut causes = task.errors.iter().map(|failure| failure.cause);
    assert!(causes.all(|cause| cause == Cause::WorkerLost), "{task:?}");
    assert_eq!(
        (task.attempts, task.losses),
        (0, 1),
        "the worker's end and no other: {task:?}"
    );
    assert_ne!(first, second);
    story.tq(&["cancel", "work", &id.to_string()], "");
    ended(&story, &id, State::Cancelled).await;
}

#[tokio::test]
async fn behind_a_proxy_only_the_end_of_a_worker_by_exec_counts() {
    only_the_end_of_the_worker_counts(Case {
        name: "mesh-exec",
        handler: "{exec: {command: [sh, -c, 'sleep $(cat)']}}",
        container: "{name: app, image: 'localhost/taskqueue/busybox:dev', imagePullPolicy: IfNotPresent}",
        task: ("slow", "300"),
    })
    .await;
}

#[tokio::test]
async fn behind_a_proxy_only_the_end_of_a_worker_by_stdio_counts() {
    only_the_end_of_the_worker_counts(Case {
        name: "mesh-stdio",
        // It takes every task and answers none.
        handler: r#"{stdio: {command: [sh, -c, 'echo ''{"ready": {}}''; while read -r line; do :; done']}}"#,
        container: "{name: app, image: 'localhost/taskqueue/busybox:dev', imagePullPolicy: IfNotPresent}",
        task: ("slow", "300"),
    })
    .await;
}

#[tokio::test]
async fn behind_a_proxy_only_the_end_of_a_worker_beside_a_server_counts() {
    only_the_end_of_the_worker_counts(Case {
        name: "mesh-http",
        handler: "{http: {port: 8080}}",
        // It answers to HEAD at once, and to a task after five minutes.
        container: r#"name: app
            image: localhost/taskqueue/peers:dev
            imagePullPolicy: IfNotPresent
            command:
              - python3
              - -c
              - |
                import time
                from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

                class Tasks(BaseHTTPRequestHandler):
                    def do_HEAD(self):
                        self.send_response(200)
                        self.end_headers()

                    def do_POST(self):
                        time.sleep(300)

                ThreadingHTTPServer(("127.0.0.1", 8080), Tasks).serve_forever()"#,
        task: ("slow", "300"),
    })
    .await;
}

#[tokio::test]
async fn behind_a_proxy_only_the_end_of_a_native_worker_counts() {
    only_the_end_of_the_worker_counts(Case {
        name: "mesh-native",
        handler: "{native: {}}",
        container: "{name: app, image: 'localhost/taskqueue/worker:dev', imagePullPolicy: IfNotPresent}",
        task: ("sleep", r#"{"ms": 300000}"#),
    })
    .await;
}

#[tokio::test]
async fn behind_a_proxy_a_worker_out_of_memory_is_told_as_that() {
    let story = Story::begin("mesh-oom").await;
    let _injector = Injector::of(&story).await;
    a_worker_out_of_memory_is_told(&story).await;
}
