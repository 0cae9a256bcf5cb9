//! The order in which tasks run: first in first out, priorities, delays, hand-backs.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{NewTask, State};

use crate::testbed::{self, Running, SOON, next, number, queue, recording, task, tasks, until};

#[tokio::test]
async fn tasks_of_a_level_run_in_the_order_they_were_enqueued() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    // More than one call's worth, and some one by one.
    queue.enqueue_many(tasks(0..1_500)).await.unwrap();
    for n in 1_500..1_520 {
        queue.enqueue(task(n)).await.unwrap();
    }
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue, handler));
    assert_eq!(next(&mut seen, 1_520).await, (0..1_520).collect::<Vec<_>>());
    assert_eq!(worker.stop().await.completed, 1_520);
}

#[tokio::test]
async fn a_higher_level_always_goes_first() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    for (n, level) in [
        (4, "low"),
        (2, "normal"),
        (0, "high"),
        (5, "low"),
        (3, "normal"),
        (1, "high"),
    ] {
        queue.enqueue(task(n).priority(level)).await.unwrap();
    }
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue, handler));
    assert_eq!(next(&mut seen, 6).await, [0, 1, 2, 3, 4, 5]);
    worker.stop().await;
}

#[tokio::test]
async fn a_delayed_task_runs_when_it_is_due_and_not_before() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    // The worker sleeps by now, and would for two seconds.
    until(&redis.client().await, &queue, "idle", |s| s.workers == 1).await;
    let id = queue
        .enqueue(task(1).delay(Duration::from_millis(300)))
        .await
        .unwrap()
        .id();
    let scheduled = queue.get(&id).await.unwrap().unwrap();
    assert_eq!(scheduled.state, State::Scheduled);
    assert_eq!(next(&mut seen, 1).await, [1]);
    let done = eventually(SOON, "acked", async || {
        queue
            .get(&id)
            .await
            .unwrap()
            .filter(|task| task.state == State::Completed)
    })
    .await;
    let late = done.started.unwrap().duration_since(scheduled.due.unwrap());
    assert!(
        (-5..1_000).contains(&late.as_millis()),
        "started {late} after it was due"
    );
    worker.stop().await;
}

#[tokio::test]
async fn promote_makes_due_tasks_runnable_without_a_worker() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let batch = (0..2_500)
        .map(|n| task(n).delay(Duration::from_millis(1)))
        .collect();
    queue.enqueue_many(batch).await.unwrap();
    queue
        .enqueue(task(9_999).delay(Duration::from_hours(1)))
        .await
        .unwrap();
    let client = redis.client().await;
    let before = until(&client, &queue, "due", |s| s.due == 2_500).await;
    assert_eq!((before.scheduled, before.backlog()), (2_501, 2_500));
    assert_eq!(queue.promote().await.unwrap(), 2_500);
    assert_eq!(queue.promote().await.unwrap(), 0);
    let after = testbed::snapshot(&queue, &client).await;
    assert_eq!((after.scheduled, after.due, after.backlog()), (1, 0, 2_500));
}

#[tokio::test]
async fn handed_back_tasks_keep_their_order_and_their_attempts() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.enqueue_many(tasks(0..6)).await.unwrap();
    let hang = |_: LeasedTask| async { std::future::pending::<Outcome>().await };
    let worker = Running::start(Worker::new(queue.clone(), hang).concurrency(3));
    until(&client, &queue, "three taken", |s| s.active == 3).await;
    let report = worker.abort().await;
    assert_eq!((report.released, report.lost), (3, 0));

    let figures = testbed::snapshot(&queue, &client).await;
    assert_eq!(
        (figures.active, figures.backlog(), figures.workers),
        (0, 6, 0)
    );
    assert_eq!((figures.counters.released, figures.counters.failed), (3, 0));
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let worker = Running::start(Worker::new(queue, move |task: LeasedTask| {
        sender
            .send((number(&task), task.attempt, task.losses))
            .unwrap();
        async { Outcome::Completed(None) }
    }));
    for n in 0..6 {
        let got = tokio::time::timeout(SOON, seen.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(got, (n, 1, 0));
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_task_that_its_handler_hands_back_runs_again() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let id = queue
        .enqueue(NewTask::new(
            "shy",
            taskqueue_queue::Payload::of(&1).unwrap(),
        ))
        .await
        .unwrap()
        .id();
    let turned_down = std::sync::atomic::AtomicBool::new(false);
    let worker = Running::start(Worker::new(queue.clone(), move |task: LeasedTask| {
        assert_eq!(task.attempt, 1);
        let again = turned_down.swap(true, std::sync::atomic::Ordering::Relaxed);
        async move {
            if again {
                Outcome::Completed(None)
            } else {
                Outcome::Released
            }
        }
    }));
    let done = eventually(SOON, "completed", async || {
        queue
            .get(&id)
            .await
            .unwrap()
            .filter(|task| task.state == State::Completed)
    })
    .await;
    assert_eq!((done.attempts, done.losses), (0, 0));
    let report = worker.stop().await;
    assert_eq!((report.released, report.completed), (1, 1));
}
