//! Workers are let go one by one, and only when they are idle.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;
use taskqueue_operator::autoscaler::shrink::COST;
use taskqueue_queue::{
    Queue, WorkerState,
    testing::{RedisServer, eventually},
    worker::{LeasedTask, Outcome, Worker},
};
use taskqueue_scaling::Reason;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::world::{PATIENCE, World, key, queue, task};

/// Lets tasks end, as many as there are permits.
type Ends = Arc<Semaphore>;

/// A worker in this pod whose tasks end as `ends` lets them.
fn work(queue: &Queue, pod: &str, ends: &Ends) {
    let ends = Arc::clone(ends);
    let handler = move |_: LeasedTask| {
        let ends = Arc::clone(&ends);
        async move {
            ends.acquire().await.unwrap().forget();
            Outcome::Completed(None)
        }
    };
    let worker = Worker::new(queue.clone(), handler)
        .info(super::world::pod(pod))
        .concurrency(1);
    let never = CancellationToken::new;
    tokio::spawn(worker.run(never(), never()));
}

async fn workers(queue: &Queue, what: &str, fits: impl Fn(&[WorkerState]) -> bool) {
    eventually(PATIENCE, what, async || {
        let workers = queue.workers().await.unwrap();
        fits(&workers).then_some(())
    })
    .await;
}

/// One pod a task, and fewer as soon as fewer are needed.
fn brisk() -> (&'static str, serde_json::Value) {
    let scaling = json!({
        "target": { "backlogPerReplica": 1 },
        "scaleDown": { "stabilization": "0s" },
        "idle": "0s"
    });
    ("/spec/scaling", scaling)
}

#[tokio::test]
async fn the_idle_one_of_three_is_marked_and_then_let_go_and_it_is_the_one_that_is_taken() {
    let redis = RedisServer::start().await;
    let (queue, ends) = (queue(&redis, "a").await, Ends::new(Semaphore::new(0)));
    queue.enqueue_many(vec![task(); 2]).await.unwrap();
    for pod in ["a-0", "a-1", "a-2"] {
        work(&queue, pod, &ends);
    }
    workers(&queue, "two busy ones of three", |workers| {
        workers.len() == 3 && workers.iter().filter(|it| it.active == 1).count() == 2
    })
    .await;
    let all = queue.workers().await.unwrap();
    let idle = all.iter().find(|worker| worker.active == 0).unwrap();
    let mut world = World::new();
    world.stands("a", 3);
    world.runs("a", &["a-0", "a-1", "a-2"]);
    world.orders("a", &redis.url(), &[brisk()]);
    assert_eq!(world.cost().await, (idle.pod.clone(), Some(COST)));
    assert_eq!(world.write().await, (key("a"), 2));
    let left: BTreeSet<_> = world.left("a").into_iter().collect();
    let busy = all.iter().filter(|worker| worker.active == 1);
    assert_eq!(left, busy.map(|worker| worker.pod.clone()).collect());
    // The tasks end: the others go too, and no task was disturbed.
    ends.add_permits(2);
    while world.write().await != (key("a"), 0) {}
    let counters = queue.workers().await.unwrap();
    assert!(counters.iter().all(|worker| worker.active == 0));
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn while_all_are_busy_none_goes_and_it_is_told_what_is_waited_for() {
    let redis = RedisServer::start().await;
    let (queue, ends) = (queue(&redis, "a").await, Ends::new(Semaphore::new(0)));
    queue.enqueue_many(vec![task(); 2]).await.unwrap();
    for pod in ["a-0", "a-1"] {
        work(&queue, pod, &ends);
    }
    workers(&queue, "both busy", |workers| {
        workers.len() == 2 && workers.iter().all(|it| it.active == 1)
    })
    .await;
    let world = World::new();
    world.stands("a", 2);
    world.runs("a", &["a-0", "a-1"]);
    // A person says so; what runs would need both.
    let by_hand = ("/spec/scaling", json!({ "mode": "Paused", "replicas": 1 }));
    world.orders("a", &redis.url(), &[by_hand]);
    let sight = world
        .sees("a", "the wait", |sight| sight.waits_for.is_some())
        .await;
    assert_eq!(sight.decision.reason, Reason::ScalingPaused);
    let told = sight.waits_for.as_deref().unwrap();
    assert!(told.contains("to finish 1 task"), "{told}");
    workers(&queue, "one that drains", |workers| {
        workers.iter().filter(|it| it.draining).count() == 1
    })
    .await;
    ends.add_permits(2);
    let mut world = world;
    assert_eq!(world.write().await, (key("a"), 1));
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn demand_that_rises_again_gives_workers_and_costs_back() {
    let redis = RedisServer::start().await;
    let (queue, ends) = (queue(&redis, "a").await, Ends::new(Semaphore::new(0)));
    queue.enqueue(task()).await.unwrap();
    for pod in ["a-0", "a-1"] {
        work(&queue, pod, &ends);
    }
    workers(&queue, "one busy, one idle", |workers| {
        workers.len() == 2 && workers.iter().any(|it| it.active == 1)
    })
    .await;
    let mut world = World::new();
    world.silences("a");
    world.stands("a", 2);
    world.runs("a", &["a-0", "a-1"]);
    world.orders("a", &redis.url(), &[brisk()]);
    let (pod, cost) = world.cost().await;
    assert_eq!(cost, Some(COST));
    world
        .sees("a", "the drain", |sight| {
            sight.decision.reason == Reason::Draining
        })
        .await;
    // The write of the replicas hangs; it is given up after seconds, and may have been made, so
    // that the pod stays marked for a while.
    queue.enqueue(task()).await.unwrap();
    assert_eq!(world.cost().await, (pod, None));
    workers(&queue, "both at work", |workers| {
        workers.iter().all(|it| !it.draining && it.active == 1)
    })
    .await;
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn without_the_wait_the_number_is_lowered_at_once() {
    let redis = RedisServer::start().await;
    let (queue, ends) = (queue(&redis, "a").await, Ends::new(Semaphore::new(0)));
    queue.enqueue(task()).await.unwrap();
    for pod in ["a-0", "a-1"] {
        work(&queue, pod, &ends);
    }
    workers(&queue, "both registered", |workers| workers.len() == 2).await;
    let mut world = World::new();
    world.stands("a", 2);
    world.runs("a", &["a-0", "a-1"]);
    let mut scaling = brisk();
    scaling.1["scaleDown"]["waitForIdle"] = json!(false);
    world.orders("a", &redis.url(), &[scaling]);
    assert_eq!(world.write().await, (key("a"), 1));
    assert!(!queue.workers().await.unwrap().iter().any(|it| it.draining));
    world.end().await;
}

#[tokio::test]
async fn costs_that_a_former_operator_left_are_cleared() {
    let redis = RedisServer::start().await;
    let (queue, ends) = (queue(&redis, "a").await, Ends::new(Semaphore::new(0)));
    queue.enqueue(task()).await.unwrap();
    work(&queue, "a-0", &ends);
    workers(&queue, "busy", |workers| {
        workers.iter().any(|worker| worker.active == 1)
    })
    .await;
    let all = queue.workers().await.unwrap();
    queue
        .drain(&[all[0].id], Duration::from_secs(30))
        .await
        .unwrap();
    let mut world = World::new();
    world.stands("a", 1);
    world.runs("a", &["a-0"]);
    world.marks("a-0");
    world.orders("a", &redis.url(), &[brisk()]);
    assert_eq!(
        world.cost().await,
        ("a-0".to_owned(), Some(COST)),
        "set by the test"
    );
    assert_eq!(world.cost().await, ("a-0".to_owned(), None));
    workers(&queue, "the mark is gone", |workers| !workers[0].draining).await;
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn the_number_does_not_fall_while_pods_of_the_last_rise_are_still_being_made() {
    let redis = RedisServer::start().await;
    let (queue, ends) = (queue(&redis, "a").await, Ends::new(Semaphore::new(0)));
    for pod in ["a-0", "a-1"] {
        work(&queue, pod, &ends);
    }
    workers(&queue, "both", |workers| workers.len() == 2).await;
    let mut world = World::new();
    world.stands("a", 3);
    world.runs("a", &["a-0", "a-1"]);
    world.orders("a", &redis.url(), &[brisk()]);
    let sight = world
        .sees("a", "the wait", |sight| sight.waits_for.is_some())
        .await;
    let told = sight.waits_for.as_deref();
    assert_eq!(told, Some("all pods to be there: 2 of 3 seen"));
    // The third comes up, and is let go like the others.
    work(&queue, "a-2", &ends);
    workers(&queue, "all", |workers| workers.len() == 3).await;
    world.runs("a", &["a-0", "a-1", "a-2"]);
    while world.write().await != (key("a"), 0) {}
    assert_eq!(world.end().await, []);
}
