//! A clock of Redis that goes back, as that of a new primary may: nothing waits until it has caught up.

use std::sync::Arc;
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Limits, Queue, Selection, State, TaskId};
use tokio::sync::Notify;

use crate::testbed::{
    self, Running, SOON, limited, next, queue, recording, snapshot, task, tasks, until,
};

/// By how much it goes back: for so long everything else would stand still.
const BACK: i64 = -600;
/// Longer than a lease, a beat and what a busy machine adds; a tenth of what it goes back by.
const PATIENCE: Duration = Duration::from_mins(1);

fn hang(_: LeasedTask) -> std::future::Pending<Outcome> {
    std::future::pending()
}

async fn state(queue: &Queue, id: &TaskId) -> State {
    queue.get(id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn a_dead_workers_tasks_are_taken_back_all_the_same() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let doomed = Running::start(Worker::new(queue.clone(), hang));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    doomed.crash().await;
    // Behind this nothing is on its way any more that it sent.
    assert_eq!(queue.workers().await.unwrap().len(), 1);
    redis.move_clock(BACK);
    // Whoever looks sees at once that nobody runs it.
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.lost, figures.expired_workers), (1, 1));
    let (handler, _seen) = recording();
    let peer = Running::start(Worker::new(testbed::queue(&redis).await, handler));
    eventually(PATIENCE, "taken back and completed", async || {
        (state(&queue, &id).await == State::Completed).then_some(())
    })
    .await;
    peer.stop().await;
    assert_eq!(snapshot(&queue, &client).await.counters.lost, 1);
}

#[tokio::test]
async fn a_living_worker_keeps_what_it_runs() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let worker = Running::start(Worker::new(queue.clone(), move |_: LeasedTask| {
        let opened = Arc::clone(&opened);
        async move {
            opened.notified().await;
            Outcome::Completed(None)
        }
    }));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    redis.move_clock(BACK);
    // Before it can beat, and until it has.
    eventually(SOON, "its lease is by the clock again", async || {
        assert_eq!(queue.reclaim().await.unwrap().released, 0);
        let workers = queue.workers().await.unwrap();
        let now = snapshot(&queue, &client).await.now;
        (workers[0].lease_until < now + Duration::from_mins(1)).then_some(())
    })
    .await;
    assert_eq!(snapshot(&queue, &client).await.active, 1);
    gate.notify_one();
    eventually(SOON, "completed", async || {
        (state(&queue, &id).await == State::Completed).then_some(())
    })
    .await;
    let report = worker.stop().await;
    assert_eq!((report.completed, report.lost), (1, 0));
}

#[tokio::test]
async fn a_mark_of_a_draining_worker_lapses_all_the_same() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    queue.enqueue(task(1)).await.unwrap();
    assert_eq!(next(&mut seen, 1).await, [1]);
    let noted = async || {
        let noted: Option<u64> = redis.command("HGET tq:{test/jobs}:stats next_ms").await;
        noted
    };
    eventually(SOON, "what the time was is noted", noted).await;
    let id = queue.workers().await.unwrap()[0].id;
    assert_eq!(
        queue.drain(&[id], Duration::from_secs(2)).await.unwrap(),
        [(id, 0)]
    );
    redis.move_clock(BACK);
    queue.enqueue(task(2)).await.unwrap();
    let again = tokio::time::timeout(PATIENCE, seen.recv()).await;
    assert_eq!(again.unwrap(), Some(2));
    worker.stop().await;
}

#[tokio::test]
async fn dead_letters_and_ended_tasks_are_found_all_the_same() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let die_of_odd = |task: LeasedTask| async move {
        if testbed::number(&task).is_multiple_of(2) {
            return Outcome::Completed(None);
        }
        Outcome::Dead {
            error: "no".to_owned(),
        }
    };
    queue.enqueue_many(tasks(0..6)).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), die_of_odd));
    until(&client, &queue, "all ended", |s| {
        s.dead == 3 && s.counters.completed == 3
    })
    .await;
    worker.stop().await;
    redis.move_clock(BACK);
    let redriven = queue.redrive(Selection::All).await.unwrap();
    assert_eq!(redriven.moved, 3);
    queue.tidy().await.unwrap();
    let kept: Vec<String> = redis
        .command("ZRANGE tq:{test/jobs}:kept 0 -1 WITHSCORES")
        .await;
    let last: i64 = kept[1].parse().unwrap();
    let now = snapshot(&queue, &client).await.now.as_millisecond();
    assert!(last <= now, "{last} is after {now}");
}

#[tokio::test]
async fn a_full_queue_knows_again_how_fast_it_drains() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    let policy = limited(Limits {
        max_backlog: Some(1),
        ..Limits::default()
    });
    queue.configure(&policy).await.unwrap();
    queue.promote().await.unwrap();
    redis.move_clock(BACK);
    queue.promote().await.unwrap();
    let noted: Vec<i64> = redis
        .command("HMGET tq:{test/jobs}:stats mark_ms next_ms")
        .await;
    let client = redis.client().await;
    let now = snapshot(&queue, &client).await.now.as_millisecond();
    assert!(noted.iter().all(|at| *at <= now), "{noted:?} after {now}");
}
