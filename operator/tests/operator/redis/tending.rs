//! What the autoscaler does for the queues themselves, with no worker about.

use std::time::Duration;

use serde_json::json;
use taskqueue_queue::{
    Queue, Snapshot,
    testing::{RedisServer, eventually},
    worker::{LeasedTask, Outcome, Worker},
};
use tokio_util::sync::CancellationToken;

use super::world::{PATIENCE, World, queue, task};

/// Waits until the queue looks like this to another client.
async fn until(
    redis: &RedisServer,
    queue: &Queue,
    what: &str,
    fits: impl Fn(&Snapshot) -> bool,
) -> Snapshot {
    let client = redis.client().await;
    let queues = [queue.clone()];
    eventually(PATIENCE, what, async || {
        let snapshot = client.snapshot(&queues).await.remove(0).unwrap();
        fits(&snapshot).then_some(snapshot)
    })
    .await
}

fn waiting(snapshot: &Snapshot) -> u64 {
    snapshot.backlog() - snapshot.due
}

#[tokio::test]
async fn an_edit_of_the_policy_is_put_in_force_and_written_once() {
    let redis = RedisServer::start().await;
    let world = World::new();
    let queue = queue(&redis, "a").await;
    let in_force = async |seconds| {
        eventually(PATIENCE, "the policy", async || {
            let policy = queue.policy().await.unwrap();
            (policy.value.timeout == Duration::from_secs(seconds)).then_some(policy.version)
        })
        .await
    };
    world.orders("a", &redis.url(), &[("/spec/timeout", json!("7s"))]);
    let first = in_force(7).await;
    world.orders("a", &redis.url(), &[("/spec/timeout", json!("9s"))]);
    assert_eq!(in_force(9).await, first + 1);
    world.looks("a").await;
    world.looks("a").await;
    assert_eq!(queue.policy().await.unwrap().version, first + 1);
    world.end().await;
}

#[tokio::test]
async fn a_policy_that_somebody_changed_in_redis_is_put_right() {
    let redis = RedisServer::start().await;
    let world = World::new();
    let queue = queue(&redis, "a").await;
    world.orders("a", &redis.url(), &[("/spec/timeout", json!("7s"))]);
    let ordered = eventually(PATIENCE, "the policy", async || {
        let policy = queue.policy().await.unwrap();
        (policy.version > 0).then_some(policy.value)
    })
    .await;
    let mut other = ordered.clone();
    other.paused = true;
    queue.configure(&other).await.unwrap();
    eventually(PATIENCE, "the policy of the spec", async || {
        (queue.policy().await.unwrap().value == ordered).then_some(())
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn due_tasks_become_runnable_with_no_worker() {
    let redis = RedisServer::start().await;
    let world = World::new();
    let queue = queue(&redis, "a").await;
    queue
        .enqueue(task().delay(Duration::from_millis(50)))
        .await
        .unwrap();
    world.orders("a", &redis.url(), &[]);
    until(&redis, &queue, "promoted", |seen| {
        waiting(seen) == 1 && seen.scheduled == 0
    })
    .await;
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn tasks_that_did_not_start_in_time_expire_with_no_worker() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis, "a").await;
    let span = Duration::from_millis(50);
    let hopeless = task().expires_in(span);
    queue.enqueue_many(vec![task(), hopeless]).await.unwrap();
    until(&redis, &queue, "old enough", |seen| {
        seen.oldest_waiting > Some(span)
    })
    .await;
    let world = World::new();
    world.orders("a", &redis.url(), &[]);
    until(&redis, &queue, "expired", |seen| {
        waiting(seen) == 1 && seen.counters.expired == 1
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn dead_letters_beyond_the_bound_go_with_no_worker() {
    async fn give_up(_: LeasedTask) -> Outcome {
        let error = "no such image".to_owned();
        Outcome::Dead { error }
    }
    let redis = RedisServer::start().await;
    let queue = queue(&redis, "a").await;
    queue.enqueue_many(vec![task(); 3]).await.unwrap();
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.clone(), give_up);
    let worker = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    until(&redis, &queue, "all dead", |seen| seen.dead == 3).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    let world = World::new();
    world.orders(
        "a",
        &redis.url(),
        &[("/spec/deadLetter", json!({ "maxCount": 2 }))],
    );
    until(&redis, &queue, "trimmed", |seen| seen.dead == 2).await;
    world.end().await;
}

#[tokio::test]
async fn the_tasks_of_a_dead_worker_become_runnable_with_no_other_worker() {
    async fn hang(_: LeasedTask) -> Outcome {
        std::future::pending().await
    }
    let redis = RedisServer::start().await;
    let queue = queue(&redis, "a").await;
    queue.enqueue_many(vec![task(); 3]).await.unwrap();
    let worker = Worker::new(queue.clone(), hang)
        .concurrency(3)
        .lease(Duration::from_millis(300));
    let doomed = tokio::spawn(worker.run(CancellationToken::new(), CancellationToken::new()));
    until(&redis, &queue, "all taken", |seen| seen.active == 3).await;
    doomed.abort();
    let world = World::new();
    world.orders("a", &redis.url(), &[]);
    until(&redis, &queue, "taken back", |seen| {
        waiting(seen) == 3 && seen.active == 0
    })
    .await;
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_task_queue_that_was_forgotten_is_no_longer_looked_at() {
    let redis = RedisServer::start().await;
    let world = World::new();
    for name in ["gone", "kept"] {
        world.orders(name, &redis.url(), &[]);
        world.looks(name).await;
    }
    world.index.forget(&super::world::key("gone"));
    world.metrics.forget(&super::world::key("gone"));
    let (gone, kept) = (queue(&redis, "gone").await, queue(&redis, "kept").await);
    for queue in [&gone, &kept] {
        queue
            .enqueue(task().delay(Duration::from_millis(1)))
            .await
            .unwrap();
    }
    // By the time that this one was tended to, the other would have been, too.
    until(&redis, &kept, "promoted", |seen| waiting(seen) == 1).await;
    world.looks("kept").await;
    let seen = until(&redis, &gone, "due", |seen| seen.due == 1).await;
    assert_eq!(waiting(&seen), 0);
    assert!(world.sight("gone").is_none());
    let metrics = world.metrics.encode().unwrap();
    assert!(metrics.contains("name=\"kept\"") && !metrics.contains("name=\"gone\""));
    world.end().await;
}
