//! Handlers that do not start, tasks that bring their handler down, and workers that hang: told in plain sight, and
//! nothing lost.

use serde_json::json;
use taskqueue_e2e::{Patience, Story, eventually};
use taskqueue_queue::State;

use crate::pods::{ended, failing};
use crate::workload::Workload;

/// A handler that never takes a task.
struct Broken {
    name: &'static str,
    handler: serde_json::Value,
    /// What is to be read in its pod's log, in the condition and in the Event.
    told: &'static str,
}

/// A TaskQueue with one pod of this handler. A server listens in the pod, on port 8080.
fn manifest(handler: &serde_json::Value) -> String {
    let workload = Workload {
        min: 1,
        max: 1,
        ..Workload::default()
    };
    workload.with_worker(&format!(
        "    drainTimeout: 20s
    handler: {handler}
    template:
      spec:
        containers:
          - name: app
            image: localhost/taskqueue/peers:dev
            imagePullPolicy: IfNotPresent
            {}
",
        match handler.get("http") {
            Some(_) => "command: [python3, -m, http.server, \"8080\"]",
            None => "resources: {}",
        }
    ))
}

async fn is_told_and_loses_nothing(broken: Broken) {
    let Broken {
        name,
        handler,
        told,
    } = broken;
    let story = Story::begin(name).await;
    story.apply(&manifest(&handler));
    let ids = story.enqueue("work", 3, "any", "1").await;
    let stuck = story
        .status_until("work", "the handler's fault", Patience::LONG, |status| {
            failing(status).is_some_and(|message| message.contains(told))
        })
        .await;
    assert_eq!(stuck.ready_replicas.unwrap_or(0), 0, "{stuck:?}");
    eventually("the fault in the log", Patience::NORMAL, async || {
        let selector = "--selector=taskqueue.dev/name=work";
        let log = story.try_kubectl(&["logs", selector, "--all-containers", "--tail=-1"])?;
        if log.contains(told) { Ok(()) } else { Err(log) }
    })
    .await;
    eventually("the fault in an Event", Patience::NORMAL, async || {
        let notes = "jsonpath={range .items[*]}{.note}{'\\n'}{end}";
        let of_it = "--field-selector=reason=WorkersFailing";
        let notes = story.try_kubectl(&["get", "events.events.k8s.io", of_it, "-o", notes])?;
        if notes.contains(told) {
            Ok(())
        } else {
            Err(notes)
        }
    })
    .await;
    for id in &ids {
        let task = story.task("work", id).await;
        assert_eq!(
            (task.state, task.attempts, task.losses),
            (State::Waiting, 0, 0)
        );
    }
    story.apply(&manifest(
        &json!({ "exec": { "command": ["python3", "-c", "pass"] } }),
    ));
    story.drained("work", 3, Patience::LONG).await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_told_and_its_tasks_wait() {
    is_told_and_loses_nothing(Broken {
        name: "nocommand",
        handler: json!({ "exec": { "command": ["resize-images"] } }),
        told: "resize-images",
    })
    .await;
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_told_and_its_tasks_wait() {
    is_told_and_loses_nothing(Broken {
        name: "noport",
        handler: json!({ "http": { "port": 9090 } }),
        told: "9090",
    })
    .await;
}

#[tokio::test]
async fn a_process_that_writes_no_messages_is_told_and_its_tasks_wait() {
    is_told_and_loses_nothing(Broken {
        name: "nomessage",
        handler: json!({ "stdio": { "command": ["python3", "-uc", "import time; print('hello, world'); time.sleep(1000)"] } }),
        told: "hello, world",
    })
    .await;
}

/// Runs a task that eats the memory of its handler beside two that do not: it alone is quarantined.
async fn is_quarantined_alone(name: &str, manifest: &str) {
    let story = Story::begin(name).await;
    story.apply(manifest);
    let hog = story.enqueue("work", 1, "any", r#""hog""#).await[0];
    let others = story.enqueue("work", 2, "any", r#""cat""#).await;
    let dead = ended(&story, &hog, State::Dead).await;
    assert_eq!((dead.attempts, dead.losses), (0, 2), "{dead:?}");
    for id in &others {
        let task = ended(&story, id, State::Completed).await;
        assert_eq!(task.attempts, 0, "{task:?}");
        assert!(task.losses <= 1, "{task:?}");
    }
}

#[tokio::test]
async fn a_task_that_kills_its_worker_is_quarantined_and_its_neighbours_finish() {
    let workload = Workload {
        max: 1,
        concurrency: 3,
        spec: "retry: {maxLosses: 1}",
        container: &[
            "resources: {limits: {memory: 40Mi}}",
            "securityContext: {runAsUser: 0}",
        ],
        ..Workload::default()
    };
    // A moment later, so that all three run.
    let script = "read payload; case $payload in *hog*) sleep 1; head -c 60000000 /dev/zero > /dev/hog; sleep 60;; esac; sleep 3; echo 1";
    is_quarantined_alone("poison", &workload.shell(script)).await;
}

#[tokio::test]
async fn a_task_that_kills_its_server_is_quarantined_and_its_neighbours_finish() {
    let workload = Workload {
        max: 1,
        concurrency: 3,
        spec: "retry: {maxLosses: 1}",
        ..Workload::default()
    };
    let server = r#"
                import time
                from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

                class Tasks(BaseHTTPRequestHandler):
                    def do_HEAD(self):
                        self.send_response(200)
                        self.end_headers()

                    def do_POST(self):
                        payload = self.rfile.read(int(self.headers["Content-Length"]))
                        time.sleep(1)
                        if b"hog" in payload:
                            bytearray(b"x") * (300 << 20)
                        time.sleep(2)
                        self.do_HEAD()

                ThreadingHTTPServer(("127.0.0.1", 8080), Tasks).serve_forever()"#;
    let manifest = workload.with_worker(&format!(
        "    drainTimeout: 20s
    handler: {{http: {{port: 8080}}}}
    template:
      spec:
        containers:
          - name: server
            image: localhost/taskqueue/peers:dev
            imagePullPolicy: IfNotPresent
            resources: {{limits: {{memory: 64Mi}}}}
            command:
              - python3
              - -c
              - |{server}
"
    ));
    is_quarantined_alone("server", &manifest).await;
}

#[tokio::test]
async fn a_worker_that_hangs_is_started_again_and_its_tasks_run() {
    let story = Story::begin("wedge").await;
    let workload = Workload {
        min: 1,
        max: 1,
        ..Workload::default()
    };
    story.apply(&workload.shell("echo 1"));
    story.enqueue("work", 1, "any", "1").await;
    story.drained("work", 1, Patience::NORMAL).await;
    let pods = story.pods("work").await;
    let pod = pods[0].metadata.name.clone().unwrap();
    let hang = "kill -STOP $(pidof taskqueue-worker)";
    story.kubectl(&["exec", &pod, "--", "sh", "-c", hang]);
    story.enqueue("work", 1, "any", "1").await;
    story.drained("work", 2, Patience::LONG).await;
    // The node tells of it when it comes to it.
    eventually("one restart", Patience::NORMAL, async || {
        let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
        match story
            .try_kubectl(&["get", "pod", &pod, "-o", restarts])?
            .trim()
        {
            "1" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
}
