//! Pods that cannot start: no further ones are asked for until they can.

use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use taskqueue_operator::fleet::WorkerPod;
use taskqueue_queue::testing::RedisServer;

use super::world::{World, key, queue, task};

const IMAGE: &str = "app:2: not found";

/// The pod `a-0` with its container in this state.
fn pod(state: &Value) -> WorkerPod {
    let ready = state["running"].is_object();
    serde_json::from_value(json!({
        "metadata": {
            "name": "a-0", "namespace": "shop", "uid": "1",
            "labels": { "taskqueue.dev/name": "a" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "0", "controller": true
            }]
        },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "worker" }] },
        "status": {
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
            "containerStatuses": [{
                "name": "worker", "image": "", "imageID": "", "ready": ready, "restartCount": 0,
                "state": state
            }]
        }
    }))
    .unwrap()
}

fn pulling() -> WorkerPod {
    pod(&json!({ "waiting": { "reason": "ErrImagePull", "message": IMAGE } }))
}

fn running() -> WorkerPod {
    pod(&json!({ "running": { "startedAt": "2026-01-02T03:04:07Z" } }))
}

#[tokio::test]
async fn pods_that_cannot_start_stop_the_growth_until_they_can() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis, "a").await;
    let mut world = World::new();
    let one_each = json!({ "target": { "backlogPerReplica": 1 }, "maxReplicas": 9 });
    world.stands("a", 1);
    for event in [Event::Init, Event::InitApply(pulling()), Event::InitDone] {
        world.shows(event);
    }
    world.orders("a", &redis.url(), &[("/spec/scaling", one_each)]);
    world.looks("a").await;
    queue
        .enqueue_many((0..4).map(|_| task()).collect())
        .await
        .unwrap();
    let held = world
        .sees("a", "four wanted and one asked for", |sight| {
            sight.decision.wanted == 4 && sight.decision.replicas == 1
        })
        .await;
    let (reason, message) = held.obstacle.clone().unwrap();
    assert_eq!(reason, "ImagePullBackOff");
    assert_eq!(message, format!("pod a-0: container worker: {IMAGE}"));

    world.shows(Event::Apply(running()));
    assert_eq!(world.write().await, (key("a"), 4));
    let free = world.looks("a").await;
    assert_eq!(free.obstacle, None);
    assert_eq!(world.end().await, []);
}
