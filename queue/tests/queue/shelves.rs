//! Large batches, whose records lie on shelves: everything that can happen to such a task, and that
//! nothing is left behind.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use taskqueue_queue::testing::{RedisServer, listed};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Cancelled, Cause, Enqueued, Order, Reclaimed, Stage, State, TaskId};

use crate::testbed::{Running, brisk, large_tasks, name, number, queue, snapshot, task, until};

const TASKS: u32 = 3_000;

/// How many records are on no shelf, how many shelves there are, and how many are listed.
async fn records(redis: &RedisServer) -> (u64, usize, u64) {
    let keys: Vec<String> = redis.command("KEYS tq:{test/jobs}:shelf:*").await;
    let apart = redis.command("HLEN tq:{test/jobs}:tasks").await;
    let listed = redis.command("HLEN tq:{test/jobs}:shelves").await;
    (apart, keys.len(), listed)
}

#[tokio::test]
async fn a_large_batch_lies_on_shelves_until_its_tasks_have_ended_and_leaves_nothing() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let ids = queue.enqueue_many(large_tasks(0..TASKS)).await.unwrap();
    let ids: Vec<TaskId> = ids.iter().map(Enqueued::id).collect();
    let (apart, shelves, named) = records(&redis).await;
    // The last of them may be too few.
    assert!(apart < 64, "{apart}");
    assert!((2..=5).contains(&shelves), "{shelves}");
    assert_eq!(shelves as u64, named);

    let stranger = client.queue(queue.name().clone());
    let seen = stranger.get(&ids[1_500]).await.unwrap().unwrap();
    assert_eq!((seen.state, seen.id), (State::Waiting, ids[1_500]));
    let all = listed(&stranger, &[Stage::Waiting], 700).await;
    let all: Vec<TaskId> = all.iter().map(|task| task.id).collect();
    assert_eq!(all, ids);
    let age = snapshot(&stranger, &client).await.oldest_waiting.unwrap();
    assert!(age.as_secs() < 10, "{age:?}");
    for cancelled in [0, 1_500] {
        let answer = stranger.cancel(&ids[cancelled]).await.unwrap();
        assert_eq!(answer, Cancelled::Removed);
    }

    let seen: Arc<Mutex<Vec<u32>>> = Arc::default();
    let workers = [20, 200].map(|slots| {
        let seen = Arc::clone(&seen);
        let handler = move |task: LeasedTask| {
            seen.lock().unwrap().push(number(&task));
            async { Outcome::Completed(None) }
        };
        let queue = client.queue(queue.name().clone());
        Running::start(Worker::new(queue, handler).concurrency(slots))
    });
    let all = u64::from(TASKS) - 2;
    until(&client, &queue, "all done", |s| s.counters.completed == all).await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    let expected = (0..TASKS).filter(|number| ![0, 1_500].contains(number));
    assert!(seen.into_iter().eq(expected), "each once");
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(records(&redis).await, (0, 0, 0));
}

#[tokio::test]
async fn a_task_from_a_shelf_may_fail_be_cancelled_handed_back_and_lost() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&brisk()).await.unwrap();
    let client = redis.client().await;
    let ids = queue.enqueue_many(large_tasks(0..100)).await.unwrap();
    let hang = |_: LeasedTask| std::future::pending();
    let doomed = Running::start(Worker::new(queue.clone(), hang).concurrency(50));
    until(&client, &queue, "half of them run", |s| s.active == 50).await;
    let active = listed(&queue, &[Stage::Active], 20).await;
    assert_eq!(active.len(), 50);
    let answer = queue.cancel(&ids[7].id()).await.unwrap();
    assert_eq!(answer, Cancelled::Requested);
    let holder = active[0].worker.unwrap();
    doomed.crash().await;

    let stranger = client.queue(queue.name().clone());
    let expected = Reclaimed {
        released: 50,
        quarantined: 0,
        workers: 1,
    };
    assert_eq!(
        stranger
            .release(&[holder], Cause::Evicted, "")
            .await
            .unwrap(),
        expected
    );

    assert_eq!(stranger.tidy().await.unwrap().cancelled, 1);

    let handed_back: Arc<Mutex<BTreeSet<TaskId>>> = Arc::default();
    let handler = move |task: LeasedTask| {
        let outcome = match number(&task) % 4 {
            0 if task.attempt == 1 => Outcome::Retry {
                error: "once more".into(),
                after: None,
            },
            1 if handed_back.lock().unwrap().insert(task.id) => Outcome::Released,
            2 => Outcome::Dead { error: "no".into() },
            _ => Outcome::Completed(None),
        };
        async { outcome }
    };
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(50));
    let figures = until(&client, &queue, "all ended", |s| {
        s.counters.completed + s.counters.dead + s.counters.cancelled == 100
    })
    .await;
    worker.stop().await;
    let counters = figures.counters;
    assert_eq!(
        (counters.completed, counters.dead, counters.cancelled),
        (74, 25, 1)
    );
    assert_eq!((counters.retried, counters.lost), (25, 50));
    // The dead letters.
    assert_eq!(records(&redis).await, (25, 0, 0));
}

#[tokio::test]
async fn what_trickles_in_is_not_on_shelves() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.enqueue_many(large_tasks(0..63)).await.unwrap();
    assert_eq!(records(&redis).await, (63, 0, 0));
}

#[tokio::test]
async fn a_fetch_by_weight_from_several_shelves_comes_to_an_end() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = brisk();
    policy.order = Order::Weighted {
        weights: vec![2, 1, 1],
    };
    queue.configure(&policy).await.unwrap();
    let client = redis.client().await;
    let queue = client.queue(queue.name().clone());
    let elsewhere = client.queue(name("elsewhere"));
    for level in ["high", "normal"] {
        queue.enqueue(task(0).priority(level)).await.unwrap();
    }
    for level in ["high", "normal"] {
        // So that the next ids are of another bucket.
        elsewhere.enqueue_many(large_tasks(0..1_024)).await.unwrap();
        let batch = large_tasks(0..64).into_iter();
        let batch = batch.map(|task| task.priority(level)).collect();
        queue.enqueue_many(batch).await.unwrap();
    }
    let handler = |_: LeasedTask| async { Outcome::Completed(None) };
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(100));
    until(&client, &queue, "all done", |s| s.counters.completed == 130).await;
    worker.stop().await;
    assert_eq!(records(&redis).await, (0, 0, 0));
}
