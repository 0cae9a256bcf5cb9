//! Handlers with types.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Routes, TaskError, Worker};
use taskqueue_queue::{NewTask, Payload, Policy, Queue, State, Task, TaskId};

use crate::testbed::{Running, SOON, queue};

#[derive(Serialize, Deserialize)]
struct Sum {
    numbers: Vec<u32>,
}

async fn sum(sum: Sum, _: LeasedTask) -> Result<u32, TaskError> {
    Ok(sum.numbers.iter().sum())
}

async fn unlike(how: String, task: LeasedTask) -> Result<(), TaskError> {
    match how.as_str() {
        "dead" => Err(TaskError::dead("hopeless")),
        "later" => Err(TaskError::retry_after("busy", Duration::from_hours(1))),
        "snooze" if task.created.as_second() > 0 => Err(TaskError::snooze(Duration::from_hours(1))),
        other => {
            other.parse::<u32>()?;
            Ok(())
        }
    }
}

async fn reaches(queue: &Queue, id: &TaskId, state: State) -> Task {
    eventually(SOON, "the state", async || {
        let task = queue.get(id).await.unwrap()?;
        (task.state == state).then_some(task)
    })
    .await
}

#[tokio::test]
async fn a_handler_takes_and_returns_values_and_says_what_becomes_of_the_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = Policy::default();
    policy.retry.backoff.initial = Duration::from_hours(1);
    policy.retry.backoff.max = Duration::from_hours(1);
    queue.configure(&policy).await.unwrap();
    let routes = Routes::new().on("sum", sum).on("unlike", unlike);
    let worker = Running::start(Worker::new(queue.clone(), routes));
    let put = async |kind: &str, payload: Payload| {
        let task = NewTask::new(kind, payload);
        queue.enqueue(task).await.unwrap().id()
    };

    let numbers = vec![1, 2, 39];
    let id = put("sum", Payload::of(&Sum { numbers }).unwrap()).await;
    let done = reaches(&queue, &id, State::Completed).await;
    assert_eq!(done.result.unwrap().parse::<u32>().unwrap(), 42);

    let id = put("sum", Payload::of("no numbers").unwrap()).await;
    let dead = reaches(&queue, &id, State::Dead).await;
    let message = &dead.errors[0].message;
    assert!(
        message.starts_with("the payload does not fit a sum task: invalid type"),
        "{message}"
    );

    for (how, state, attempts, message) in [
        ("dead", State::Dead, 1, "hopeless"),
        ("later", State::Scheduled, 1, "busy"),
        ("x", State::Scheduled, 1, "invalid digit found in string"),
    ] {
        let id = put("unlike", Payload::of(how).unwrap()).await;
        let task = reaches(&queue, &id, state).await;
        assert_eq!(task.attempts, attempts, "{how}");
        assert_eq!(task.errors[0].message, message);
    }
    let id = put("unlike", Payload::of("snooze").unwrap()).await;
    let snoozed = reaches(&queue, &id, State::Scheduled).await;
    assert_eq!((snoozed.attempts, snoozed.errors.len()), (0, 0));

    let id = put("strange", Payload::null()).await;
    let unknown = reaches(&queue, &id, State::Scheduled).await;
    let message = &unknown.errors[0].message;
    assert_eq!(
        message,
        "no handler for tasks of type \"strange\"; there are: sum, unlike"
    );
    worker.stop().await;
}

#[tokio::test]
async fn functions_that_block_run_beside_each_other_and_a_panic_is_a_failed_attempt() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = Policy::default();
    policy.retry.max_attempts = 1;
    queue.configure(&policy).await.unwrap();
    // Each waits, with its thread, until all are there.
    let all = std::sync::Arc::new(std::sync::Barrier::new(4));
    let routes = Routes::new()
        .on_blocking("meet", move |(): (), _| {
            all.wait();
            Ok("met")
        })
        .on_blocking("panic", |(): (), _| -> Result<(), TaskError> {
            panic!("oh no")
        });
    let worker = Running::start(Worker::new(queue.clone(), routes).concurrency(4));
    let put = async |kind: &str| {
        let task = NewTask::new(kind, Payload::null());
        queue.enqueue(task).await.unwrap().id()
    };
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(put("meet").await);
    }
    for id in &ids {
        let task = reaches(&queue, id, State::Completed).await;
        assert_eq!(task.result.unwrap().parse::<String>().unwrap(), "met");
    }
    let id = put("panic").await;
    let task = reaches(&queue, &id, State::Dead).await;
    assert_eq!(task.errors[0].message, "panicked: oh no");
    worker.stop().await;
}
