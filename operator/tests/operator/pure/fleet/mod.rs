//! Worker pods: what one says of itself, and what all of them come to.

mod endings;
mod pods;
mod shield;
mod states;

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use taskqueue_operator::fleet::{Ending, Pods, WorkerPod};
use tokio::time::Instant;

use crate::fixtures::key;

/// The pod `thumbnails-5d9-a` as the API server returns it while its worker runs, with these merged
/// into its metadata and its status.
fn pod(metadata: &Value, status: &Value) -> WorkerPod {
    serde_json::from_value(manifest(metadata, status)).unwrap()
}

fn manifest(metadata: &Value, status: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "thumbnails-5d9-a",
            "namespace": "shop",
            "uid": "0001",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": { "taskqueue.dev/name": "thumbnails", "pod-template-hash": "5d9" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "thumbnails-5d9",
                "uid": "0000", "controller": true, "blockOwnerDeletion": true
            }]
        },
        "spec": {
            "nodeName": "node-1",
            "initContainers": [{ "name": "taskqueue-install", "image": "worker:1" }],
            "containers": [
                { "name": "worker", "image": "app:1", "env": [{ "name": "A", "value": "b" }] },
                { "name": "agent", "image": "agent:1" }
            ]
        },
        "status": {
            "phase": "Running",
            "conditions": [condition("PodScheduled", "True"), condition("Ready", "True")],
            "containerStatuses": [container("agent", &running()), container("worker", &running())]
        }
    });
    merge(&mut pod["metadata"], metadata);
    merge(&mut pod["status"], status);
    pod
}

fn merge(into: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        into[name] = value.clone();
    }
}

fn condition(kind: &str, status: &str) -> Value {
    json!({ "type": kind, "status": status, "lastTransitionTime": "2026-01-02T03:04:08Z" })
}

/// A condition with its reason and message.
fn told(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    let mut condition = condition(kind, status);
    merge(
        &mut condition,
        &json!({ "reason": reason, "message": message }),
    );
    condition
}

/// The state of a container; `state` is merged in.
fn container(name: &str, state: &Value) -> Value {
    let mut status = json!({
        "name": name, "image": "app:1", "imageID": "", "ready": true, "restartCount": 0,
        "state": {}, "lastState": {}
    });
    merge(&mut status, state);
    status
}

fn running() -> Value {
    json!({ "state": { "running": { "startedAt": "2026-01-02T03:04:07Z" } } })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "ready": false, "state": { "waiting": { "reason": reason, "message": message } } })
}

/// How a run ended.
fn terminated(id: &str, exit_code: i32, reason: &str, second: u32) -> Value {
    json!({ "terminated": {
        "containerID": format!("containerd://{id}"),
        "exitCode": exit_code,
        "reason": reason,
        "startedAt": "2026-01-02T03:04:07Z",
        "finishedAt": format!("2026-01-02T03:05:{second:02}Z"),
    } })
}

/// The status of a pod whose worker's container is like this.
fn worker(state: &Value) -> Value {
    json!({ "containerStatuses": [container("agent", &running()), container("worker", state)] })
}

fn at(time: &str) -> Timestamp {
    format!("2026-01-02T{time}Z").parse().unwrap()
}

/// The pods of a cluster, seen a second apart each.
struct Seen {
    pods: Pods,
    now: Instant,
    at: Timestamp,
}

impl Seen {
    /// Every pod was listed; there is none.
    fn none() -> Self {
        let mut seen = Self {
            pods: Pods::default(),
            now: Instant::now(),
            at: at("03:05:10"),
        };
        seen.events([Event::Init, Event::InitDone]);
        seen
    }

    fn events(&mut self, events: impl IntoIterator<Item = Event<WorkerPod>>) {
        for event in events {
            self.pods.see(event, self.now, self.at);
            self.passes(Duration::from_secs(1));
        }
    }

    fn passes(&mut self, span: Duration) {
        self.now += span;
        self.at += span;
    }

    fn endings(&self) -> Vec<Ending> {
        self.pods.take_endings(&key())
    }
}
