//! What a namespace and an image ask of worker pods: least memory, limits for every container, another
//! stop signal. The tasks run all the same.

use taskqueue_e2e::{Patience, Story, eventually, kubectl};
use taskqueue_queue::{Cause, State};

use crate::pods::{ended, ready};
use crate::workload::Workload;

/// No container may have less.
const LEAST: &str = "
apiVersion: v1
kind: LimitRange
metadata: {name: least}
spec: {limits: [{type: Container, min: {cpu: 20m, memory: 48Mi}}]}
";

/// Every container must say what it takes at most.
const QUOTA: &str = r#"
apiVersion: v1
kind: ResourceQuota
metadata: {name: all}
spec: {hard: {limits.cpu: "4", limits.memory: 4Gi, requests.cpu: "4", requests.memory: 4Gi}}
"#;

const BY_EXEC: &str = "    handler: {exec: {command: [cat]}}
    template:
      spec:
        containers:
          - name: app
            image: localhost/taskqueue/busybox:dev
            imagePullPolicy: IfNotPresent
            resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 500m, memory: 64Mi}}
";

const BY_HTTP: &str = r#"    handler: {http: {port: 8080}}
    resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 1, memory: 128Mi}}
    template:
      spec:
        containers:
          - name: app
            image: localhost/taskqueue/peers:dev
            imagePullPolicy: IfNotPresent
            resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 500m, memory: 128Mi}}
            command:
              - python3
              - -c
              - |
                from http.server import BaseHTTPRequestHandler, HTTPServer

                class Tasks(BaseHTTPRequestHandler):
                    def do_HEAD(self):
                        self.send_response(200)
                        self.end_headers()

                    def do_POST(self):
                        self.rfile.read(int(self.headers["Content-Length"]))
                        self.do_HEAD()

                HTTPServer(("127.0.0.1", 8080), Tasks).serve_forever()
"#;

const WITHOUT_TEMPLATE: &str = "    handler: {native: {}}
    resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 500m, memory: 128Mi}}
";

/// Tasks of every kind of worker run in a namespace that asks for this.
async fn workers_run_where(name: &str, demand: &str) {
    let story = Story::begin(name).await;
    kubectl(&["apply", "-n", &story.namespace, "-f", "-"], demand);
    let workers = [
        ("exec", BY_EXEC),
        ("http", BY_HTTP),
        ("native", WITHOUT_TEMPLATE),
    ];
    for (name, worker) in workers {
        let workload = Workload {
            name,
            max: 1,
            ..Workload::default()
        };
        story.apply(&workload.with_worker(worker));
        story.enqueue(name, 2, "echo", "1").await;
    }
    for (name, _) in workers {
        story.drained(name, 2, Patience::LONG).await;
    }
}

#[tokio::test]
async fn workers_run_where_every_container_must_have_a_least_memory() {
    workers_run_where("least", LEAST).await;
}

#[tokio::test]
async fn workers_run_where_every_container_must_have_limits() {
    workers_run_where("quota", QUOTA).await;
}

#[tokio::test]
async fn workers_in_an_image_with_another_stop_signal_drain_when_they_are_told_to_stop() {
    let story = Story::begin("sigquit").await;
    let workload = |count| Workload {
        min: count,
        max: count,
        concurrency: 1,
        ..Workload::default()
    };
    // Its worker is process 1, which a signal that it does not hear does nothing to; and its pod would
    // be killed after 15 s, in the middle of a task that it should not have taken.
    let worker = "    drainTimeout: 5s
    handler: {exec: {command: [sleep, '20']}}
    template:
      spec:
        containers:
          - {name: app, image: 'localhost/taskqueue/sigquit:dev', imagePullPolicy: IfNotPresent}
";
    story.apply(&workload(3).with_worker(worker));
    ready(&story, 3).await;
    story.apply(&workload(2).with_worker(worker));
    eventually("a worker is told to stop", Patience::NORMAL, async || {
        let stay = story.pods("work").await.len();
        if stay == 2 { Ok(()) } else { Err(stay) }
    })
    .await;
    let pod = story.pods("work").await[0].metadata.name.clone().unwrap();
    story.kubectl(&["delete", "pod", &pod, "--wait=false"]);
    // One for each of those that had been at work: the other's successor is not there yet.
    story.enqueue("work", 2, "any", "1").await;
    let counters = story.drained("work", 2, Patience::LONG).await.counters;
    // What began before the signal came is handed back, which costs nothing. A worker that does not hear
    // the signal loses it.
    assert_eq!((counters.lost, counters.failed), (0, 0), "{counters:?}");
}

#[tokio::test]
async fn a_worker_that_falls_after_a_child_was_out_of_memory_is_lost_and_not_out_of_memory() {
    let story = Story::begin("afteroom").await;
    let workload = Workload {
        min: 1,
        max: 1,
        concurrency: 1,
        spec: "timeout: 60s\nretry: {maxAttempts: 1, maxLosses: 0, rules: [{cause: OOMKilled, action: DeadLetter}]}",
        container: &["resources: {limits: {memory: 64Mi}}"],
        ..Workload::default()
    };
    let script = r#"p=$(cat); case "$p" in
        *oom*) x=a; while true; do x=$x$x; done;;
        *fall*) kill -ABRT $PPID; sleep 20;;
    esac"#;
    story.apply(&workload.shell(script));
    ready(&story, 1).await;
    let oom = story.enqueue("work", 1, "any", r#""oom""#).await[0];
    ended(&story, &oom, State::Dead).await;
    ready(&story, 1).await;
    let fall = story.enqueue("work", 1, "any", r#""fall""#).await[0];
    let dead = ended(&story, &fall, State::Dead).await;
    let causes: Vec<_> = dead.errors.iter().map(|failure| failure.cause).collect();
    assert_eq!(causes, [Cause::WorkerLost], "{dead:?}");
}
