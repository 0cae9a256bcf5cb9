//! Tasks that Redis lost: each id that is met without its task is counted, and no ghost is.

use std::sync::Arc;
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually, ids};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Cancelled, Enqueued, Order, Policy, Queue, TaskId};
use tokio::sync::Notify;

use crate::testbed::{
    Running, SOON, large_tasks, next, per_key, queue, recording, snapshot, task, tasks, until,
};

const HOUR: Duration = Duration::from_hours(1);

async fn lose(redis: &RedisServer, id: &TaskId) {
    let gone: u64 = redis
        .command(&format!("HDEL tq:{{test/jobs}}:tasks {id}"))
        .await;
    assert_eq!(gone, 1);
}

async fn cancel(queue: &Queue, id: &TaskId) {
    assert_eq!(queue.cancel(id).await.unwrap(), Cancelled::Removed);
}

#[tokio::test]
async fn of_ids_in_a_list_the_lost_are_counted_and_the_cancelled_are_not_in_any_order() {
    let orders = [
        Order::Strict { aging: None },
        Order::Strict { aging: Some(HOUR) },
        Order::Weighted {
            weights: vec![3, 2, 1],
        },
    ];
    for order in orders {
        let redis = RedisServer::start().await;
        let queue = queue(&redis).await;
        let client = redis.client().await;
        let policy = Policy {
            order: order.clone(),
            ..Policy::default()
        };
        queue.configure(&policy).await.unwrap();
        let ids = ids(&queue.enqueue_many(tasks(0..10)).await.unwrap());
        for id in &ids[..3] {
            lose(&redis, id).await;
        }
        for id in &ids[5..9] {
            cancel(&queue, id).await;
        }
        let (handler, mut seen) = recording();
        let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(4));
        let mut got = next(&mut seen, 3).await;
        got.sort_unstable();
        assert_eq!(got, [3, 4, 9], "{order:?}");
        let figures = until(&client, &queue, "all completed", |s| {
            s.counters.completed == 3
        })
        .await;
        assert_eq!(figures.counters.missing, 3, "{order:?}");
        worker.stop().await;
        let ghosts: u64 = redis.command("EXISTS tq:{test/jobs}:ghosts").await;
        assert_eq!(ghosts, 0);
    }
}

#[tokio::test]
async fn a_lost_shelf_is_counted_task_by_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.enqueue_many(large_tasks(0..100)).await.unwrap();
    let shelves: Vec<String> = redis.command("KEYS tq:{test/jobs}:shelf:*").await;
    assert_eq!(shelves.len(), 1);
    let _: u64 = redis.command(&format!("DEL {}", shelves[0])).await;
    queue.enqueue(task(7)).await.unwrap();
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(8));
    assert_eq!(next(&mut seen, 1).await, [7]);
    let figures = snapshot(&queue, &client).await;
    assert_eq!(figures.counters.missing, 100);
    worker.stop().await;
}

#[tokio::test]
async fn what_is_lost_while_it_is_scheduled_parked_or_active_is_counted_too() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    let missing = async || snapshot(&queue, &client).await.counters.missing;

    // Due soon.
    let id = queue.enqueue(task(1).delay(SOON)).await.unwrap().id();
    lose(&redis, &id).await;
    redis.move_clock(60);
    queue.promote().await.unwrap();
    assert_eq!(missing().await, 1);

    // Due later, beside one that was cancelled and one that stays.
    let far = (2..5).map(|n| task(n).delay(HOUR)).collect();
    let far = ids(&queue.enqueue_many(far).await.unwrap());
    lose(&redis, &far[0]).await;
    cancel(&queue, &far[1]).await;
    redis.move_clock(60 + 3_610);
    queue.promote().await.unwrap();
    assert_eq!(missing().await, 2);
    assert_eq!(snapshot(&queue, &client).await.backlog(), 1);
    cancel(&queue, &far[2]).await;

    // Parked behind another.
    let keyed = |n| task(n).concurrency_key("k");
    let parked = ids(&queue
        .enqueue_many((5..8).map(keyed).collect())
        .await
        .unwrap());
    lose(&redis, &parked[1]).await;
    cancel(&queue, &parked[0]).await;
    assert_eq!(missing().await, 3);
    assert_eq!(snapshot(&queue, &client).await.backlog(), 1);
    cancel(&queue, &parked[2]).await;

    // Leased by a worker that dies.
    let hang = |_: LeasedTask| std::future::pending::<Outcome>();
    let doomed = Worker::new(queue.clone(), hang).lease(Duration::from_millis(300));
    let doomed = Running::start(doomed);
    let id = queue.enqueue(task(8)).await.unwrap().id();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    doomed.crash().await;
    lose(&redis, &id).await;
    eventually(SOON, "lapsed", async || {
        (queue.reclaim().await.unwrap().workers == 1).then_some(())
    })
    .await;
    assert_eq!(missing().await, 4);
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.backlog(), figures.active), (0, 0));
}

#[tokio::test]
async fn a_lost_task_keeps_neither_its_unique_key_nor_its_place_of_a_concurrency_key() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    let unique = |n| task(n).unique("u", HOUR);
    let keyed = |n| task(n).concurrency_key("k");
    let lost_unique = queue.enqueue(unique(1)).await.unwrap().id();
    let lost_keyed = queue.enqueue(keyed(2)).await.unwrap().id();
    queue.enqueue(keyed(3)).await.unwrap();
    assert_eq!(snapshot(&queue, &client).await.blocked, 1);
    lose(&redis, &lost_unique).await;
    lose(&redis, &lost_keyed).await;
    // The unique key is free before anybody has met the id of who had it.
    let next_one = queue.enqueue(unique(4)).await.unwrap();
    assert!(matches!(next_one, Enqueued::New(_)), "{next_one:?}");
    let stands = queue.enqueue(unique(5)).await.unwrap();
    assert_eq!(stands, Enqueued::Existing(next_one.id()));
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    let mut got = next(&mut seen, 2).await;
    got.sort_unstable();
    assert_eq!(got, [3, 4]);
    let figures = until(&client, &queue, "both completed", |s| {
        s.counters.completed == 2
    })
    .await;
    assert_eq!(figures.counters.missing, 2);
    worker.stop().await;
    for key in ["held", "holders", "unique"] {
        let left: u64 = redis
            .command(&format!("EXISTS tq:{{test/jobs}}:{key}"))
            .await;
        assert_eq!(left, 0, "{key}");
    }
}

#[tokio::test]
async fn a_task_that_is_lost_while_it_runs_gives_back_its_place_when_it_ends() {
    for dies in [false, true] {
        let redis = RedisServer::start().await;
        let queue = queue(&redis).await;
        let client = redis.client().await;
        queue.configure(&per_key(Some(1))).await.unwrap();
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let worker = Worker::new(queue.clone(), move |_: LeasedTask| {
            let opened = Arc::clone(&opened);
            async move {
                opened.notified().await;
                Outcome::Completed(None)
            }
        });
        let worker = Running::start(worker.lease(Duration::from_millis(300)));
        let keyed = |n| task(n).concurrency_key("k").unique("u", HOUR);
        let id = queue.enqueue(keyed(1)).await.unwrap().id();
        until(&client, &queue, "it runs", |s| s.active == 1).await;
        lose(&redis, &id).await;
        // While it runs its unique key is taken.
        let stands = queue.enqueue(keyed(2)).await.unwrap();
        assert_eq!(stands, Enqueued::Existing(id));
        queue.enqueue(task(3).concurrency_key("k")).await.unwrap();
        if dies {
            worker.crash().await;
        } else {
            gate.notify_one();
            until(&client, &queue, "it has ended", |s| {
                s.counters.completed == 1
            })
            .await;
            worker.stop().await;
        }
        let (handler, mut seen) = recording();
        let next_one = Worker::new(queue.clone(), handler).lease(Duration::from_millis(300));
        let next_one = Running::start(next_one);
        assert_eq!(next(&mut seen, 1).await, [3], "its worker dies: {dies}");
        let free = queue.enqueue(keyed(4)).await.unwrap();
        assert!(matches!(free, Enqueued::New(_)), "{free:?}");
        assert_eq!(next(&mut seen, 1).await, [4]);
        next_one.stop().await;
        let places: u64 = redis
            .command("EXISTS tq:{test/jobs}:held tq:{test/jobs}:holders")
            .await;
        assert_eq!(places, 0);
    }
}

#[tokio::test]
async fn an_attempt_that_fails_brings_back_the_record_that_was_lost_meanwhile() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let worker = Running::start(Worker::new(queue.clone(), move |_: LeasedTask| {
        let opened = Arc::clone(&opened);
        async move {
            opened.notified().await;
            Outcome::Retry {
                error: "not yet".to_owned(),
                after: Some(HOUR),
            }
        }
    }));
    let keyed = task(1).concurrency_key("k");
    let id = queue.enqueue(keyed).await.unwrap().id();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    lose(&redis, &id).await;
    gate.notify_one();
    let figures = until(&client, &queue, "it waits", |s| s.scheduled == 1).await;
    assert_eq!(figures.counters.missing, 0);
    assert_eq!(queue.get(&id).await.unwrap().unwrap().attempts, 1);
    // And it has let go of its place.
    let places: u64 = redis.command("EXISTS tq:{test/jobs}:held").await;
    assert_eq!(places, 0);
    worker.stop().await;
}

#[tokio::test]
async fn ghosts_of_a_list_that_is_lost_hide_no_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let batch = ids(&queue.enqueue_many(tasks(0..5)).await.unwrap());
    for id in &batch[..3] {
        cancel(&queue, id).await;
    }
    let _: u64 = redis.command("DEL tq:{test/jobs}:wait:normal").await;
    queue.enqueue_many(tasks(5..7)).await.unwrap();
    assert_eq!(snapshot(&queue, &client).await.backlog(), 2);
}
