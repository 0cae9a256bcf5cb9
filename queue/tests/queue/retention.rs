//! How long ended tasks can be read, and how many, while nothing else happens.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually, listed};
use taskqueue_queue::worker::Worker;
use taskqueue_queue::{Policy, Queue, Stage, TaskId};

use crate::testbed::{self, Running, queue, recording, task, tasks, until};

/// Longer than the ten seconds for which nothing is forgotten.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs tasks, 20 at a time in the same second, and returns their ids.
async fn complete(redis: &RedisServer, queue: &Queue, batches: u32) -> Vec<TaskId> {
    let (handler, _seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(20));
    let client = redis.client().await;
    let mut ids = Vec::new();
    for batch in 1..=batches {
        let enqueued = queue.enqueue_many(tasks(0..20)).await.unwrap();
        ids.extend(taskqueue_queue::testing::ids(&enqueued));
        until(&client, queue, "done", |s| {
            s.counters.completed == u64::from(batch) * 20
        })
        .await;
        // The next batch goes into another group.
        let second = snapshot_second(queue, &client).await;
        eventually(PATIENCE, "the next second", async || {
            (snapshot_second(queue, &client).await > second).then_some(())
        })
        .await;
    }
    worker.stop().await;
    ids
}

async fn snapshot_second(queue: &Queue, client: &taskqueue_queue::Client) -> i64 {
    testbed::snapshot(queue, client).await.now.as_second()
}

/// Keeps the queue in order until so many tasks are forgotten.
async fn forget(queue: &Queue, count: u64) {
    let forgotten = AtomicU64::new(0);
    eventually(PATIENCE, "forgotten", async || {
        let more = queue.tidy().await.unwrap().forgotten;
        (forgotten.fetch_add(more, SeqCst) + more >= count).then_some(())
    })
    .await;
    assert_eq!(forgotten.load(SeqCst), count);
}

async fn readable(queue: &Queue, ids: &[TaskId]) -> usize {
    let mut count = 0;
    for id in ids {
        count += usize::from(queue.get(id).await.unwrap().is_some());
    }
    count
}

#[tokio::test]
async fn the_greatest_number_of_ended_tasks_holds_while_nothing_else_ends() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let policy = Policy {
        completed_max_count: Some(40),
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    let mut ids = complete(&redis, &queue, 4).await;
    let cancelled = queue.enqueue(task(1)).await.unwrap().id();
    queue.cancel(&cancelled).await.unwrap();
    ids.push(cancelled);
    // In its first ten seconds nothing is forgotten.
    let fresh = queue.enqueue(task(1)).await.unwrap().id();
    queue.cancel(&fresh).await.unwrap();
    queue.tidy().await.unwrap();
    assert!(queue.get(&fresh).await.unwrap().is_some());
    // 82 have ended; whole groups go while 40 are left.
    forget(&queue, 40).await;
    assert_eq!(readable(&queue, &ids[..40]).await, 0);
    assert_eq!(readable(&queue, &ids[40..]).await, 41);
    assert_eq!(queue.tidy().await.unwrap().forgotten, 0);
    let left = listed(&queue, &Stage::ENDED, 7).await;
    assert_eq!(left.len(), 42);
}

#[tokio::test]
async fn ended_tasks_are_forgotten_by_age_and_the_lists_of_them_too() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let policy = Policy {
        completed_max_age: Duration::ZERO,
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    let ids = complete(&redis, &queue, 1).await;
    assert_eq!(readable(&queue, &ids).await, 20);
    let client = redis.client().await;
    let at_rest = testbed::snapshot(&queue, &client).await;
    let left = at_rest.tidy_at.unwrap().duration_since(at_rest.now);
    assert!(left.as_secs() <= 10, "the least time that they are kept");
    forget(&queue, 20).await;
    assert_eq!(readable(&queue, &ids).await, 0);
    assert_eq!(testbed::snapshot(&queue, &client).await.tidy_at, None);
    assert!(listed(&queue, &Stage::ENDED, 7).await.is_empty());
    // Nothing is kept of them but the counters and the policy.
    let mut raw = redis.connection().await;
    let mut keys: Vec<String> = redis::cmd("KEYS")
        .arg("tq:*")
        .query_async(&mut raw)
        .await
        .unwrap();
    keys.sort();
    assert_eq!(keys, ["tq:{test/jobs}:config", "tq:{test/jobs}:stats"]);
}
