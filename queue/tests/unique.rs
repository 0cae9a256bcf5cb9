//! Unique keys: one unfinished task for each.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bench;

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Cancelled, Enqueued, NewTask, State};

use bench::{Running, SOON, next, queue, recording, snapshot, task, until};

const HOUR: Duration = Duration::from_hours(1);

fn unique(number: u32, key: &str) -> NewTask {
    task(number).unique(key, HOUR)
}

#[tokio::test]
async fn the_same_id_comes_back_until_the_task_completes() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let first = queue.enqueue(unique(1, "report")).await.unwrap();
    assert!(matches!(first, Enqueued::New(_)));
    // By anyone, and whatever else the task says.
    let other = bench::queue(&redis).await;
    let again = other
        .enqueue(unique(2, "report").delay(HOUR))
        .await
        .unwrap();
    assert_eq!(again, Enqueued::Existing(first.id()));
    let another = queue.enqueue(unique(3, "another")).await.unwrap();
    assert!(matches!(another, Enqueued::New(_)));
    assert_eq!(snapshot(&queue, &client).await.counters.enqueued, 2);

    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    assert_eq!(next(&mut seen, 2).await, [1, 3]);
    until(&client, &queue, "completed", |s| s.counters.completed == 2).await;
    let anew = queue.enqueue(unique(4, "report")).await.unwrap();
    assert!(matches!(anew, Enqueued::New(id) if id != first.id()));
    assert_eq!(next(&mut seen, 1).await, [4]);
    worker.stop().await;
}

#[tokio::test]
async fn two_in_one_batch_are_one_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let batch = vec![unique(1, "a"), task(2), unique(3, "a"), unique(4, "b")];
    let answers = queue.enqueue_many(batch).await.unwrap();
    let is_new: Vec<bool> = answers
        .iter()
        .map(|answer| matches!(answer, Enqueued::New(_)))
        .collect();
    assert_eq!(is_new, [true, true, false, true]);
    assert_eq!(answers[2].id(), answers[0].id());
}

#[tokio::test]
async fn callers_at_the_same_time_get_one_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let calls = (0..32).map(|n| queue.enqueue(unique(n, "only")));
    let answers = futures::future::try_join_all(calls).await.unwrap();
    let new = answers.iter().filter(|a| matches!(a, Enqueued::New(_)));
    assert_eq!(new.count(), 1);
    assert!(answers.iter().all(|answer| answer.id() == answers[0].id()));
}

#[tokio::test]
async fn a_key_is_free_again_when_its_time_is_over() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let brief = || task(1).unique("brief", Duration::from_millis(200));
    let first = queue.enqueue(brief()).await.unwrap().id();
    let second = eventually(SOON, "free", async || {
        let answer = queue.enqueue(brief()).await.unwrap();
        matches!(answer, Enqueued::New(_)).then_some(answer.id())
    })
    .await;
    assert_ne!(first, second);
    // While there is a task, it is not asked for.
    let client = redis.client().await;
    assert_eq!(snapshot(&queue, &client).await.tidy_at, None);
    // The end of the one that had it before does not free it.
    queue.cancel(&first).await.unwrap();
    let third = queue.enqueue(unique(3, "brief")).await.unwrap();
    assert_eq!(third, Enqueued::Existing(second));
}

#[tokio::test]
async fn a_key_is_free_again_after_death_and_after_cancellation() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let first = queue.enqueue(unique(1, "k")).await.unwrap().id();
    assert_eq!(queue.cancel(&first).await.unwrap(), Cancelled::Removed);
    let second = queue.enqueue(unique(2, "k")).await.unwrap();
    assert!(matches!(second, Enqueued::New(_)));
    let die = |_: LeasedTask| async {
        Outcome::Dead {
            error: "no".to_owned(),
        }
    };
    let worker = Running::start(Worker::new(queue.clone(), die));
    eventually(SOON, "dead", async || {
        let task = queue.get(&second.id()).await.unwrap();
        task.filter(|task| task.state == State::Dead)
    })
    .await;
    worker.stop().await;
    let third = queue.enqueue(unique(3, "k")).await.unwrap();
    assert!(matches!(third, Enqueued::New(_)));
}

#[tokio::test]
async fn a_key_is_kept_through_retries() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let retry = |_: LeasedTask| async {
        Outcome::Retry {
            error: "not yet".to_owned(),
            after: Some(HOUR),
        }
    };
    let first = queue.enqueue(unique(1, "k")).await.unwrap().id();
    let worker = Running::start(Worker::new(queue.clone(), retry));
    let client = redis.client().await;
    until(&client, &queue, "failed", |s| s.scheduled == 1).await;
    worker.stop().await;
    let again = queue.enqueue(unique(2, "k")).await.unwrap();
    assert_eq!(again, Enqueued::Existing(first));
}
