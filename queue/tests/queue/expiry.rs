//! Tasks that must start in time, or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Queue, State, Task, TaskId};

use crate::testbed::{self, Running, SOON, next, per_key, queue, recording, snapshot, task, until};

const BRIEF: Duration = Duration::from_millis(150);
const HOUR: Duration = Duration::from_hours(1);

/// With nobody at work but whoever keeps the queue in order.
async fn expired(queue: &Queue, id: &TaskId) -> Task {
    eventually(SOON, "expired", async || {
        queue.tidy().await.unwrap();
        let task = queue.get(id).await.unwrap().unwrap();
        task.state.is_ended().then_some(task)
    })
    .await
}

#[tokio::test]
async fn a_task_that_does_not_start_in_time_expires_without_a_worker_and_can_be_read() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let id = queue.enqueue(task(1).expires_in(BRIEF)).await.unwrap().id();
    let stays = queue.enqueue(task(2).expires_in(HOUR)).await.unwrap().id();
    let waiting = queue.get(&id).await.unwrap().unwrap();
    let span = waiting.expires.unwrap().duration_since(waiting.created);
    assert_eq!(span.as_millis(), 150);
    let task = expired(&queue, &id).await;
    assert_eq!((task.state, task.started), (State::Expired, None));
    assert_eq!(task.payload.unwrap().parse::<u32>().unwrap(), 1);
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.backlog(), figures.counters.expired), (1, 1));
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    assert_eq!(next(&mut seen, 1).await, [2]);
    eventually(SOON, "completed", async || {
        let task = queue.get(&stays).await.unwrap().unwrap();
        (task.state == State::Completed).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn what_has_expired_is_no_backlog_although_nobody_has_ended_it() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    for number in 0..3 {
        let brief = task(number).expires_in(BRIEF).priority("high");
        queue.enqueue(brief).await.unwrap();
    }
    let both = task(3).expires_in(BRIEF).delay(BRIEF * 2);
    queue.enqueue(both).await.unwrap();
    let key = || task(4).expires_in(BRIEF).concurrency_key("k");
    queue.configure(&per_key(Some(1))).await.unwrap();
    let keeps = task(5).concurrency_key("k");
    queue.enqueue(keeps).await.unwrap();
    queue.enqueue(key()).await.unwrap();
    queue.enqueue(task(6).priority("high")).await.unwrap();

    let figures = until(&client, &queue, "past their time", |s| s.backlog() == 2).await;
    assert_eq!(figures.counters.expired, 0, "nobody has ended them");
    assert_eq!((figures.blocked, figures.scheduled), (1, 1));
    let waiting: Vec<u64> = figures.waiting.iter().map(|(_, count)| *count).collect();
    assert_eq!(waiting, [1, 1, 0]);
    // Nor is what has become due since, and expired before it was moved.
    let later = figures.now + BRIEF * 3;
    until(&client, &queue, "due", |s| {
        s.now > later && s.backlog() == 2
    })
    .await;
    assert_eq!(queue.tidy().await.unwrap().expired, 5);
    let figures = snapshot(&queue, &client).await;
    assert_eq!(
        (figures.backlog(), figures.blocked, figures.scheduled),
        (2, 0, 0)
    );
}

#[tokio::test]
async fn a_worker_does_not_begin_what_has_expired() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    // No worker of this queue keeps order while it waits for the first to end.
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = Arc::clone(&gate);
    let worker = Worker::new(queue.clone(), move |task: LeasedTask| {
        let opened = Arc::clone(&opened);
        async move {
            assert_eq!(testbed::number(&task), 1, "begun too late");
            opened.notified().await;
            Outcome::Completed(None)
        }
    });
    let worker = Running::start(worker.lease(HOUR));
    queue.enqueue(task(1)).await.unwrap();
    until(&client, &queue, "the first runs", |s| s.active == 1).await;
    let late = task(2).expires_in(Duration::from_millis(1));
    let id = queue.enqueue(late).await.unwrap().id();
    let later = snapshot(&queue, &client).await.now + Duration::from_millis(50);
    until(&client, &queue, "past its time", |s| s.now > later).await;
    gate.notify_one();
    let task = eventually(SOON, "ended", async || {
        let task = queue.get(&id).await.unwrap().unwrap();
        task.state.is_ended().then_some(task)
    })
    .await;
    assert_eq!(task.state, State::Expired);
    let report = worker.stop().await;
    assert_eq!(report.completed, 1);
}

#[tokio::test]
async fn a_task_that_runs_does_not_expire() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = Arc::clone(&gate);
    let worker = Running::start(Worker::new(queue.clone(), move |_: LeasedTask| {
        let opened = Arc::clone(&opened);
        async move {
            opened.notified().await;
            Outcome::Completed(None)
        }
    }));
    until(&client, &queue, "a worker", |s| s.workers == 1).await;
    let id = queue
        .enqueue(task(1).expires_in(Duration::from_secs(1)))
        .await
        .unwrap()
        .id();
    let expires = queue.get(&id).await.unwrap().unwrap().expires.unwrap();
    until(&client, &queue, "past its time", |s| s.now > expires).await;
    assert_eq!(queue.tidy().await.unwrap().expired, 0);
    assert_eq!(queue.get(&id).await.unwrap().unwrap().state, State::Active);
    gate.notify_one();
    let task = expired(&queue, &id).await;
    assert_eq!(task.state, State::Completed);
    worker.stop().await;
}

#[tokio::test]
async fn what_is_handed_back_after_its_time_expires_without_a_worker() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let hang = |_: LeasedTask| async { std::future::pending::<Outcome>().await };
    let worker = Running::start(Worker::new(queue.clone(), hang));
    until(&client, &queue, "a worker", |s| s.workers == 1).await;
    let id = queue
        .enqueue(task(1).expires_in(Duration::from_secs(1)))
        .await
        .unwrap()
        .id();
    let expires = queue.get(&id).await.unwrap().unwrap().expires.unwrap();
    until(&client, &queue, "past its time", |s| {
        s.active == 1 && s.now > expires
    })
    .await;
    // It runs, and so is passed over.
    assert_eq!(queue.tidy().await.unwrap().expired, 0);
    worker.abort().await;
    assert_eq!(queue.get(&id).await.unwrap().unwrap().state, State::Waiting);
    assert_eq!(queue.tidy().await.unwrap().expired, 1);
    assert_eq!(queue.get(&id).await.unwrap().unwrap().state, State::Expired);
}

#[tokio::test]
async fn a_scheduled_task_expires_when_its_due_time_and_its_span_have_passed() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let delayed = task(1).delay(BRIEF).expires_in(BRIEF);
    let begun = Instant::now();
    let id = queue.enqueue(delayed).await.unwrap().id();
    let took = i128::try_from(begun.elapsed().as_millis()).unwrap();
    let scheduled = queue.get(&id).await.unwrap().unwrap();
    let span = scheduled
        .expires
        .unwrap()
        .duration_since(scheduled.due.unwrap());
    // Reckoned before the call, the due time in it.
    assert!((140 - took..=160).contains(&span.as_millis()), "{span}");
    // Nobody promotes it.
    let task = expired(&queue, &id).await;
    assert_eq!(task.state, State::Expired);
    // Whoever ends it tells the time of Redis to within a round trip.
    let early = scheduled
        .expires
        .unwrap()
        .duration_since(task.finished.unwrap());
    assert!(early.as_millis() < 50, "{early} too early");
}

#[tokio::test]
async fn a_blocked_task_expires_and_the_next_of_its_key_does_not() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    queue.enqueue(task(1).concurrency_key("k")).await.unwrap();
    let blocked = task(2).concurrency_key("k").expires_in(BRIEF);
    let id = queue.enqueue(blocked).await.unwrap().id();
    queue.enqueue(task(3).concurrency_key("k")).await.unwrap();
    assert_eq!(expired(&queue, &id).await.state, State::Expired);
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.backlog(), figures.blocked), (1, 1));
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue, handler));
    assert_eq!(next(&mut seen, 2).await, [1, 3]);
    worker.stop().await;
}

#[tokio::test]
async fn thousands_expire_in_one_round() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let batch = (0..3_000).map(|n| task(n).expires_in(Duration::from_millis(1)));
    let last = queue.enqueue_many(batch.collect()).await.unwrap()[2_999].id();
    let expires = queue.get(&last).await.unwrap().unwrap().expires.unwrap();
    until(&client, &queue, "past their time", |s| s.now > expires).await;
    assert_eq!(queue.tidy().await.unwrap().expired, 3_000);
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.backlog(), figures.counters.expired), (0, 3_000));
}
