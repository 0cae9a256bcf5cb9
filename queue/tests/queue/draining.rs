//! The end of a worker: what runs finishes, what does not is handed back, nothing is fetched any
//! more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use taskqueue_queue::State;
use taskqueue_queue::testing::{RedisServer, eventually, ids};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use tokio::sync::Semaphore;

use crate::testbed::{Running, SOON, number, queue, snapshot, task, tasks, until};

#[tokio::test]
async fn a_stopped_worker_fetches_nothing_and_finishes_what_it_runs() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let gate = Arc::new(Semaphore::new(0));
    queue.enqueue_many(tasks(0..10)).await.unwrap();
    let handler = {
        let gate = Arc::clone(&gate);
        move |_: LeasedTask| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Outcome::Completed(None)
            }
        }
    };
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(4));
    eventually(SOON, "four run", async || {
        (worker.probe().running() == 4).then_some(())
    })
    .await;
    worker.tell_to_stop();
    gate.add_permits(10);
    let report = worker.ended().await;
    assert_eq!(
        (report.completed, report.released, report.undelivered),
        (4, 0, 0)
    );
    let figures = snapshot(&queue, &client).await;
    assert_eq!(
        (
            figures.backlog(),
            figures.active,
            figures.workers,
            figures.counters.lost
        ),
        (6, 0, 0, 0)
    );
}

#[tokio::test]
async fn what_outlives_the_drain_timeout_is_handed_back_without_costing_an_attempt() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let ids = ids(&queue.enqueue_many(tasks(0..2)).await.unwrap());
    let handler = |task: LeasedTask| async move {
        if number(&task) == 0 {
            return Outcome::Completed(None);
        }
        std::future::pending().await
    };
    let span = Duration::from_millis(200);
    let worker = Running::start(
        Worker::new(queue.clone(), handler)
            .concurrency(2)
            .drain_timeout(span),
    );
    until(&client, &queue, "one done, one runs", |s| {
        s.active == 1 && s.counters.completed == 1
    })
    .await;
    let begun = Instant::now();
    let report = worker.stop().await;
    assert!(
        begun.elapsed() >= span,
        "it waited for {:?}",
        begun.elapsed()
    );
    assert_eq!(
        (report.completed, report.released, report.undelivered),
        (1, 1, 0)
    );
    let task = queue.get(&ids[1]).await.unwrap().unwrap();
    assert_eq!(
        (task.state, task.attempts, task.losses),
        (State::Waiting, 0, 0)
    );
}

#[tokio::test]
async fn an_abort_hands_back_at_once() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.enqueue_many(tasks(0..3)).await.unwrap();
    let hang = |_: LeasedTask| async { std::future::pending::<Outcome>().await };
    let worker = Running::start(
        Worker::new(queue.clone(), hang)
            .concurrency(3)
            .drain_timeout(SOON * 10),
    );
    until(&client, &queue, "all taken", |s| s.active == 3).await;
    worker.tell_to_stop();
    // It ends long before its drain timeout does.
    let report = worker.abort().await;
    assert_eq!(report.released, 3);
    assert_eq!(snapshot(&queue, &client).await.backlog(), 3);
}

#[tokio::test]
async fn a_worker_that_is_stopped_while_redis_is_away_ends_in_bounded_time() {
    let mut redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.enqueue(task(1)).await.unwrap();
    let hang = |_: LeasedTask| async { std::future::pending::<Outcome>().await };
    let span = Duration::from_millis(100);
    let worker = Running::start(Worker::new(queue.clone(), hang).drain_timeout(span));
    // Redis says so before the answer has reached the worker.
    eventually(SOON, "it runs", async || {
        (worker.probe().running() == 1).then_some(())
    })
    .await;
    redis.kill();
    let report = worker.stop().await;
    assert_eq!((report.undelivered, report.released), (1, 0));
}
