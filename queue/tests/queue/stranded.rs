//! Tasks whose records are there and whose places Redis has lost: they are found, told and put back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually, ids, listed};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Queue, Stage, Tidied};
use tokio::sync::Notify;

use crate::testbed::{
    self, Running, SOON, large_tasks, next, number, per_key, queue, recording, snapshot, task,
    tasks, until,
};

/// In seconds, longer than the time between two looks and than tasks must have lain nowhere.
const LATER: i64 = 31;

async fn lose(redis: &RedisServer, key: &str) {
    let gone: u64 = redis.command(&format!("DEL tq:{{test/jobs}}:{key}")).await;
    assert_eq!(gone, 1, "{key}");
}

/// So many are found, and put back by the second look.
async fn found(redis: &RedisServer, queue: &Queue, count: u64) {
    redis.move_clock(LATER);
    let first = Tidied {
        stranded: count,
        ..Tidied::default()
    };
    assert_eq!(queue.tidy().await.unwrap(), first);
    // The next look is too early.
    assert_eq!(queue.tidy().await.unwrap(), Tidied::default());
    redis.move_clock(2 * LATER);
    let second = Tidied {
        put_back: count,
        ..first
    };
    assert_eq!(queue.tidy().await.unwrap(), second);
    redis.move_clock(3 * LATER);
    assert_eq!(queue.tidy().await.unwrap(), Tidied::default(), "once");
}

/// That all of these are run, and nothing else.
async fn all_run(queue: &Queue, mut wanted: BTreeSet<u32>) {
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(10));
    while !wanted.is_empty() {
        let got = next(&mut seen, 1).await[0];
        assert!(wanted.remove(&got), "{got}");
    }
    worker.stop().await;
    assert!(seen.recv().await.is_none());
}

#[tokio::test]
async fn tasks_of_a_lost_list_are_put_back_from_the_hash_and_from_shelves() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.enqueue_many(tasks(0..5)).await.unwrap();
    queue.enqueue_many(large_tasks(5..100)).await.unwrap();
    let shelves: Vec<String> = redis.command("KEYS tq:{test/jobs}:shelf:*").await;
    assert!(!shelves.is_empty());
    lose(&redis, "wait:normal").await;
    // Nobody works and nothing waits; and yet it is said that there is something to do.
    let figures = snapshot(&queue, &client).await;
    assert_eq!(figures.backlog(), 0);
    assert!(figures.tidy_at.is_some_and(|at| at <= figures.now));
    found(&redis, &queue, 100).await;
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.backlog(), figures.counters.missing), (100, 100));
    all_run(&queue, (0..100).collect()).await;
    assert_eq!(snapshot(&queue, &client).await.counters.completed, 100);
}

#[tokio::test]
async fn those_that_came_since_are_left_where_they_are() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    queue.enqueue_many(tasks(0..3)).await.unwrap();
    lose(&redis, "wait:normal").await;
    queue.enqueue_many(tasks(3..6)).await.unwrap();
    let soon = task(6).delay(Duration::from_secs(70));
    let far = task(7).delay(Duration::from_hours(1));
    queue.enqueue_many(vec![soon, far]).await.unwrap();
    found(&redis, &queue, 3).await;
    redis.move_clock(7_200);
    all_run(&queue, (0..8).collect()).await;
}

#[tokio::test]
async fn what_is_scheduled_dead_or_waits_for_its_key_is_again_what_it_was() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let mut policy = per_key(Some(1));
    policy.retry.max_attempts = 1;
    queue.configure(&policy).await.unwrap();
    let fail = |_: LeasedTask| async {
        Outcome::Retry {
            error: "no".to_owned(),
            after: None,
        }
    };
    let failing = Running::start(Worker::new(queue.clone(), fail));
    let dead = queue.enqueue(task(0)).await.unwrap().id();
    until(&client, &queue, "it is dead", |s| s.dead == 1).await;
    failing.stop().await;
    let keyed = |n| task(n).concurrency_key("k");
    queue
        .enqueue_many((1..4).map(keyed).collect())
        .await
        .unwrap();
    queue
        .enqueue(task(4).delay(Duration::from_secs(119)))
        .await
        .unwrap();
    assert_eq!(snapshot(&queue, &client).await.blocked, 2);
    for key in ["wait:normal", "due", "dead", "parked"] {
        lose(&redis, key).await;
    }
    found(&redis, &queue, 5).await;
    let figures = snapshot(&queue, &client).await;
    assert_eq!(
        (figures.backlog(), figures.blocked, figures.dead),
        (1, 2, 1)
    );
    assert_eq!(figures.scheduled, 1);
    assert_eq!(listed(&queue, &[Stage::Dead], 7).await[0].id, dead);
    redis.move_clock(7_200);
    all_run(&queue, (1..5).collect()).await;
    let places: u64 = redis
        .command("EXISTS tq:{test/jobs}:held tq:{test/jobs}:holders")
        .await;
    assert_eq!(places, 0);
}

#[tokio::test]
async fn tasks_whose_leases_are_lost_run_again_and_count_once() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let first = Running::start(
        Worker::new(testbed::queue(&redis).await, move |task: LeasedTask| {
            let opened = Arc::clone(&opened);
            async move {
                if number(&task) < 3 {
                    opened.notified().await;
                }
                Outcome::Completed(None)
            }
        })
        .concurrency(3),
    );
    let some = ids(&queue.enqueue_many(tasks(0..3)).await.unwrap());
    until(&client, &queue, "all run", |s| s.active == 3).await;
    // The worker that runs them looks as well.
    lose(&redis, "active").await;
    redis.move_clock(LATER);
    eventually(SOON, "they are noticed", async || {
        queue.tidy().await.unwrap();
        let noticed: bool = redis
            .command("HEXISTS tq:{test/jobs}:config adrift_ms")
            .await;
        noticed.then_some(())
    })
    .await;
    redis.move_clock(2 * LATER);
    until(&client, &queue, "they wait again", |s| s.backlog() == 3).await;
    assert_eq!(snapshot(&queue, &client).await.counters.missing, 3);
    let (handler, mut seen) = recording();
    let second = Running::start(Worker::new(queue.clone(), handler).concurrency(3));
    let mut got = next(&mut seen, some.len()).await;
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2]);
    until(&client, &queue, "all completed", |s| {
        s.counters.completed == 3
    })
    .await;
    second.stop().await;
    gate.notify_waiters();
    let report = first.stop().await;
    assert_eq!((report.completed, report.lost), (0, 3));
    assert_eq!(snapshot(&queue, &client).await.counters.completed, 3);
}
