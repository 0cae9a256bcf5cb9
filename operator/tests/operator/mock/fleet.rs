//! The watch of the worker pods.

use std::{sync::Arc, time::Duration};

use kube::Api;
use serde_json::{Value, json};
use taskqueue_operator::fleet::{self, Pods, WorkerPod};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::server::{Call, playing};
use crate::fixtures::key;

const PODS: &str = "/api/v1/pods";

fn pod(name: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": name,
            "labels": { "taskqueue.dev/name": "thumbnails" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "b", "controller": true
            }]
        },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "worker" }] },
        "status": { "containerStatuses": [{
            "name": "worker", "image": "app:1", "imageID": "", "ready": true, "restartCount": 0,
            "state": { "running": { "startedAt": "2026-01-02T03:04:07Z" } }
        }] }
    })
}

fn page(pods: &[&str], then: Option<&str>) -> Call {
    let items: Vec<_> = pods.iter().map(|name| pod(name)).collect();
    Call::get(PODS).answer(json!({
        "apiVersion": "v1", "kind": "PodList",
        "metadata": { "resourceVersion": "7", "continue": then }, "items": items
    }))
}

/// One event of a watch, which then ends.
fn event(kind: &str, object: &Value) -> Call {
    Call::get(PODS).answer(json!({ "type": kind, "object": object }))
}

#[tokio::test(start_paused = true)]
async fn pods_are_listed_page_by_page_and_what_went_between_two_watches_has_ended() {
    let expired = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "metadata": {}, "message": "too old resource version", "reason": "Expired", "code": 410 });
    let calls = vec![
        Call::get(PODS).refuse(500, "etcd has no leader"),
        page(&["a", "b"], Some("more")),
        page(&["c"], None),
        event("DELETED", &pod("a")),
        event("ERROR", &expired),
        page(&["c"], None),
        Call::get(PODS).silent(),
    ];
    let (client, played) = playing(calls);
    let pods = Arc::new(Pods::default());
    let stop = CancellationToken::new();
    let api = Api::<WorkerPod>::all(client);
    let watching = tokio::spawn(fleet::watch(api, Arc::clone(&pods), stop.clone()));
    let mut endings = Vec::new();
    while endings.len() < 2 {
        sleep(Duration::from_millis(100)).await;
        endings.extend(pods.take_endings(&key()).into_iter().map(|it| it.pod));
    }
    assert_eq!(endings, ["a", "b"]);
    assert!(pods.synced());
    let left: Vec<_> = pods.of(&key()).into_iter().map(|pod| pod.name).collect();
    assert_eq!(left, ["c"]);
    // So that the last call is under way.
    sleep(Duration::from_mins(1)).await;
    stop.cancel();
    watching.await.unwrap();
    played.end().await;
}
