//! A Redis that was away for longer than a lease, or whose clock went forward: who lives keeps what it
//! runs, and who is dead is still found out.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Cause, Client, Queue, Reclaimed};

use crate::testbed::{self, Running, SOON, queue, recording, snapshot, task, tasks, until};

/// Three leases, in seconds.
const LONG: i64 = 30;
const WORKERS: u32 = 6;
const HELD: u64 = 2 * WORKERS as u64;

fn hang(_: LeasedTask) -> std::future::Pending<Outcome> {
    std::future::pending()
}

/// Workers that each run two tasks.
async fn busy_workers(redis: &RedisServer, queue: &Queue, client: &Client) -> Vec<Running> {
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let worker = Worker::new(testbed::queue(redis).await, hang).concurrency(2);
        workers.push(Running::start(worker));
    }
    queue.enqueue_many(tasks(0..2 * WORKERS)).await.unwrap();
    until(client, queue, "all run", |s| s.active == HELD).await;
    workers
}

/// Waits until every worker has beaten under a lease that began after `since_ms`.
async fn all_have_beaten(queue: &Queue, since: jiff::Timestamp) {
    eventually(SOON, "all have beaten", async || {
        let workers = queue.workers().await.ok()?;
        let all = workers.len() == WORKERS as usize;
        let lease = Duration::from_secs(10);
        let beaten = |until: jiff::Timestamp| until > since + lease;
        (all && workers.iter().all(|worker| beaten(worker.lease_until))).then_some(())
    })
    .await;
}

/// That all of them live, and that the next one to die is found out.
async fn keep_all(queue: &Queue, client: &Client, mut workers: Vec<Running>) {
    // Grace may have lasted until just then.
    let since = snapshot(queue, client).await.now;
    all_have_beaten(queue, since).await;
    let figures = snapshot(queue, client).await;
    let counters = figures.counters;
    assert_eq!((figures.active, counters.lost, counters.dead), (HELD, 0, 0));
    workers.pop().unwrap().crash().await;
    until(client, queue, "two are taken back", |s| {
        s.counters.lost == 2
    })
    .await;
    for worker in workers {
        worker.crash().await;
    }
    assert_eq!(snapshot(queue, client).await.counters.lost, 2);
}

#[tokio::test]
async fn a_clock_that_goes_forward_costs_no_living_worker_its_tasks() {
    let redis = RedisServer::start_with_clock().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let workers = busy_workers(&redis, &queue, &client).await;
    redis.move_clock(LONG);
    // Before any of them can beat.
    assert_eq!(queue.reclaim().await.unwrap(), Reclaimed::default());
    keep_all(&queue, &client, workers).await;
}

#[tokio::test]
async fn a_server_that_was_away_for_longer_than_a_lease_costs_no_living_worker_its_tasks() {
    let log = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut redis = RedisServer::start_with_clock_and(&log).await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let workers = busy_workers(&redis, &queue, &client).await;
    redis.kill();
    redis.move_clock(LONG);
    redis.restart().await;
    // One that comes first, and finds all other leases lapsed.
    let (handler, _seen) = recording();
    let first = Running::start(Worker::new(testbed::queue(&redis).await, handler));
    eventually(SOON, "it has come", async || {
        let workers = queue.workers().await.ok()?;
        (workers.len() > WORKERS as usize).then_some(())
    })
    .await;
    assert_eq!(queue.reclaim().await.unwrap().workers, 0);
    first.stop().await;
    keep_all(&queue, &client, workers).await;
}

#[tokio::test]
async fn who_died_while_nobody_was_there_is_given_one_lease_and_no_more() {
    let redis = RedisServer::start_with_clock().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let doomed = Running::start(Worker::new(queue.clone(), hang));
    queue.enqueue(task(1)).await.unwrap();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    doomed.crash().await;
    // Somebody has been there, as the worker itself may not have come to that; and behind this nothing is on its way
    // any more that the worker sent.
    assert_eq!(queue.reclaim().await.unwrap(), Reclaimed::default());
    redis.move_clock(3_600);
    assert_eq!(snapshot(&queue, &client).await.expired_workers, 1);
    assert_eq!(queue.reclaim().await.unwrap(), Reclaimed::default());
    assert_eq!(snapshot(&queue, &client).await.expired_workers, 0);
    // Whoever comes next, and however long that takes.
    redis.move_clock(7_200);
    let reclaimed = queue.reclaim().await.unwrap();
    assert_eq!((reclaimed.released, reclaimed.workers), (1, 1));
}

#[tokio::test]
async fn who_is_known_to_be_gone_is_given_no_time() {
    let redis = RedisServer::start_with_clock().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let doomed = Running::start(Worker::new(queue.clone(), hang));
    queue.enqueue(task(1)).await.unwrap();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    doomed.crash().await;
    let id = queue.workers().await.unwrap()[0].id;
    redis.move_clock(3_600);
    let released = queue.release(&[id], Cause::OomKilled, "").await.unwrap();
    assert_eq!((released.released, released.workers), (1, 1));
}
