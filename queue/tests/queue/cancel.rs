//! Cancellation, in every state.

use std::time::{Duration, Instant};

use futures::StreamExt;
use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Cancelled, Enqueued, Order, Payload, Policy, Queue, State, Task, TaskId};

use crate::testbed::pulse::Pulse;
use crate::testbed::{
    self, Running, SOON, next, per_key, queue, recording, snapshot, task, tasks, until,
};

const HOUR: Duration = Duration::from_hours(1);

async fn state(queue: &Queue, id: &TaskId) -> State {
    queue.get(id).await.unwrap().unwrap().state
}

async fn ended(queue: &Queue, id: &TaskId) -> Task {
    eventually(SOON, "ended", async || {
        let task = queue.get(id).await.unwrap();
        task.filter(|task| task.state.is_ended())
    })
    .await
}

async fn hang(_: LeasedTask) -> Outcome {
    std::future::pending().await
}

#[tokio::test]
async fn a_task_that_does_not_run_is_gone_at_once_wherever_it_waits() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    let keyed = |n| task(n).concurrency_key("k");
    let all = vec![
        task(0),
        task(1).delay(Duration::from_secs(30)),
        task(2).delay(HOUR),
        keyed(3),
        keyed(4),
        task(5).expires_in(HOUR).delay(HOUR),
    ];
    let ids = taskqueue_queue::testing::ids(&queue.enqueue_many(all).await.unwrap());
    let stays = queue.enqueue(task(6)).await.unwrap().id();
    for (place, id) in ids.iter().enumerate() {
        let left = ids.len() - place;
        let before = snapshot(&queue, &client).await;
        assert_eq!(
            before.backlog() + before.scheduled + before.blocked,
            left as u64 + 1
        );
        assert_eq!(queue.cancel(id).await.unwrap(), Cancelled::Removed);
        let task = queue.get(id).await.unwrap().unwrap();
        assert_eq!((task.state, task.started), (State::Cancelled, None));
        assert_eq!(queue.cancel(id).await.unwrap(), Cancelled::TooLate);
    }
    let after = snapshot(&queue, &client).await;
    assert_eq!((after.backlog(), after.scheduled, after.blocked), (1, 0, 0));
    assert_eq!(after.counters.cancelled, 6);
    // What was cancelled never runs, and what was not does.
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    assert_eq!(next(&mut seen, 1).await, [6]);
    assert_eq!(ended(&queue, &stays).await.state, State::Completed);
    assert_eq!(worker.stop().await.completed, 1);
    assert_eq!(queue.cancel(&stays).await.unwrap(), Cancelled::TooLate);
}

#[tokio::test]
async fn an_unknown_task_and_a_dead_letter_are_not_cancelled() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let other = redis.client().await.queue(testbed::name("other"));
    let elsewhere = other.enqueue(task(1)).await.unwrap().id();
    assert_eq!(queue.cancel(&elsewhere).await.unwrap(), Cancelled::Unknown);
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let worker = Running::start(Worker::new(queue.clone(), |_: LeasedTask| async {
        Outcome::Dead {
            error: "no".to_owned(),
        }
    }));
    assert_eq!(ended(&queue, &id).await.state, State::Dead);
    assert_eq!(queue.cancel(&id).await.unwrap(), Cancelled::TooLate);
    worker.stop().await;
}

#[tokio::test]
async fn a_running_handler_learns_of_it_within_seconds() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let worker = Running::start(Worker::new(queue.clone(), |task: LeasedTask| async move {
        task.cancelled().await;
        Outcome::Retry {
            error: "was stopped".to_owned(),
            after: None,
        }
    }));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    let pulse = Pulse::beside(&redis).await;
    let told = pulse.watch();
    assert_eq!(queue.cancel(&id).await.unwrap(), Cancelled::Requested);
    let task = ended(&queue, &id).await;
    told.quick(Duration::from_secs(3));
    assert_eq!(task.state, State::Cancelled);
    assert!(task.started.is_some() && task.worker.is_some());
    let report = worker.stop().await;
    assert_eq!((report.ended, report.retried), (1, 0));
}

#[tokio::test]
async fn what_a_handler_completes_all_the_same_has_completed() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let worker = Running::start(Worker::new(queue.clone(), |task: LeasedTask| async move {
        task.cancelled().await;
        Outcome::Completed(Payload::of("just in time").ok())
    }));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    queue.cancel(&id).await.unwrap();
    let task = ended(&queue, &id).await;
    assert_eq!(task.state, State::Completed);
    assert_eq!(
        task.result.unwrap().parse::<String>().unwrap(),
        "just in time"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_handler_that_does_not_listen_is_dropped_after_five_seconds() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let worker = Running::start(Worker::new(queue.clone(), hang));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    let pulse = Pulse::beside(&redis).await;
    let (told, begun) = (pulse.watch(), Instant::now());
    assert_eq!(queue.cancel(&id).await.unwrap(), Cancelled::Requested);
    assert_eq!(ended(&queue, &id).await.state, State::Cancelled);
    assert!(begun.elapsed() > Duration::from_secs(4));
    told.quick(Duration::from_secs(8));
    // The slot is free again.
    queue.enqueue(task(2)).await.unwrap();
    until(&client, &queue, "another runs", |s| s.active == 1).await;
    worker.abort().await;
}

#[tokio::test]
async fn a_task_whose_worker_has_died_is_cancelled_when_it_is_taken_back() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let worker = Worker::new(queue.clone(), hang).lease(Duration::from_millis(300));
    let worker = Running::start(worker);
    let id = queue.enqueue(task(1)).await.unwrap().id();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    worker.crash().await;
    assert_eq!(queue.cancel(&id).await.unwrap(), Cancelled::Requested);
    assert_eq!(queue.tidy().await.unwrap().cancelled, 0);
    eventually(SOON, "taken back", async || {
        let reclaimed = queue.reclaim().await.unwrap();
        (reclaimed.released == 1).then_some(())
    })
    .await;
    assert_eq!(state(&queue, &id).await, State::Waiting);
    assert_eq!(queue.tidy().await.unwrap().cancelled, 1);
    assert_eq!(state(&queue, &id).await, State::Cancelled);
}

#[tokio::test]
async fn a_quarantined_task_that_was_to_be_cancelled_can_be_redriven() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let policy = Policy {
        max_losses: 0,
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    let worker = Worker::new(queue.clone(), hang).lease(Duration::from_millis(300));
    let worker = Running::start(worker);
    let id = queue.enqueue(task(1)).await.unwrap().id();
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    worker.crash().await;
    assert_eq!(queue.cancel(&id).await.unwrap(), Cancelled::Requested);
    eventually(SOON, "quarantined", async || {
        let reclaimed = queue.reclaim().await.unwrap();
        (reclaimed.quarantined == 1).then_some(())
    })
    .await;
    let all = taskqueue_queue::Selection::All;
    assert_eq!(queue.redrive(all).await.unwrap().moved, 1);
    assert_eq!(queue.tidy().await.unwrap().cancelled, 0);
    assert_eq!(state(&queue, &id).await, State::Waiting);
}

#[tokio::test]
async fn many_cancelled_tasks_do_not_hold_up_the_next_one() {
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
        let policy = Policy {
            order,
            ..Policy::default()
        };
        queue.configure(&policy).await.unwrap();
        let batch = queue.enqueue_many(tasks(0..5_000)).await.unwrap();
        queue.enqueue(task(9)).await.unwrap();
        // All at once would take a busy machine longer than a call may take.
        let cancelled: Vec<_> = futures::stream::iter(batch.iter().map(Enqueued::id))
            .map(async |id| queue.cancel(&id).await.unwrap())
            .buffer_unordered(100)
            .collect()
            .await;
        assert!(cancelled.iter().all(|fate| *fate == Cancelled::Removed));
        let (handler, mut seen) = recording();
        let pulse = Pulse::beside(&redis).await;
        let begun = pulse.watch();
        let worker = Running::start(Worker::new(queue, handler));
        assert_eq!(next(&mut seen, 1).await, [9]);
        begun.quick(Duration::from_secs(3));
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_cancelled_task_leaves_its_place_to_the_next_of_its_key() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    let keyed = |n| task(n).concurrency_key("k");
    let first = queue.enqueue(keyed(1)).await.unwrap().id();
    queue.enqueue(keyed(2)).await.unwrap();
    queue.cancel(&first).await.unwrap();
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.backlog(), figures.blocked), (1, 0));
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue, handler));
    assert_eq!(next(&mut seen, 1).await, [2]);
    worker.stop().await;
}
