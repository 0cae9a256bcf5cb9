//! The shield of a pod that runs a task, with a real worker and a mock API server.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use taskqueue_operator::fleet::{
    Pods, WorkerPod,
    shield::{Shield, keep},
};
use taskqueue_queue::{
    testing::{RedisServer, eventually},
    worker::{LeasedTask, Outcome, Worker, WorkerInfo},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::world::{PATIENCE, key, queue, task};
use crate::mock::server::{Call, playing};

const POD: &str = "/api/v1/namespaces/shop/pods/a-5d9-x";

/// The pod of the worker, with these annotations.
fn pod(annotations: &Value) -> WorkerPod {
    serde_json::from_value(json!({
        "metadata": {
            "name": "a-5d9-x", "namespace": "shop", "uid": "0001",
            "labels": { "taskqueue.dev/name": "a" },
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a-5d9", "uid": "0000",
                "controller": true
            }]
        }
    }))
    .unwrap()
}

fn patched(annotations: Value) -> Call {
    Call::patch(POD)
        .checked(move |patch| {
            assert_eq!(patch["metadata"]["uid"], "0001", "this pod and no other");
            assert_eq!(patch["metadata"]["annotations"], annotations);
        })
        .answer(json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": { "name": "a-5d9-x" } }))
}

#[tokio::test]
async fn a_pod_is_shielded_while_its_worker_holds_a_task_and_when_nobody_asks_for_it_no_more() {
    let on = json!({
        "taskqueue.dev/shielded": "true",
        "karpenter.sh/do-not-disrupt": "true",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    });
    let off = json!({
        "taskqueue.dev/shielded": null,
        "karpenter.sh/do-not-disrupt": null,
        "cluster-autoscaler.kubernetes.io/safe-to-evict": null,
    });
    let redis = RedisServer::start().await;
    let queue = queue(&redis, "a").await;
    let info = WorkerInfo {
        pod: "a-5d9-x".to_owned(),
        ..WorkerInfo::default()
    };
    let handler = |task: LeasedTask| async move {
        task.cancelled().await;
        Outcome::Completed(None)
    };
    let worker = Worker::new(queue.clone(), handler).info(info);
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let working = tokio::spawn(worker.run(stop, abort.clone()));
    queue.enqueue(task()).await.unwrap();
    eventually(PATIENCE, "the task is held", async || {
        let leases = queue.leases().await.unwrap();
        (leases.len() == 1).then_some(())
    })
    .await;

    let refused = patched(on.clone()).refuse(409, "the object has been modified");
    let calls = vec![refused, patched(on.clone()), patched(off)];
    let (client, played) = playing(calls);
    let pods = Pods::default();
    let see = |annotations: &Value| {
        let event = Event::Apply(pod(annotations));
        pods.see(event, Instant::now(), Timestamp::now());
    };
    see(&json!({}));
    let mut shield = Shield::default();
    let mut look = async |after| {
        let key = key("a");
        keep(&client, &queue, &pods, &key, &mut shield, after)
            .await
            .unwrap();
    };
    look(Some(Duration::from_mins(1))).await;
    look(Some(Duration::ZERO)).await;
    // Refused, so it is tried again.
    look(Some(Duration::ZERO)).await;
    see(&on);
    look(Some(Duration::ZERO)).await;
    look(None).await;
    drop(client);
    played.end().await;
    abort.cancel();
    working.await.unwrap().unwrap();
}
