//! A server that takes no more: what is in the queue is worked off all the same.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Error, NewTask, Payload};

use crate::testbed::{self, Running, queue, snapshot, until};

/// Longer than the whole may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_full_to_the_brim_is_drained_and_takes_tasks_again() {
    let redis = RedisServer::start_with(&[
        "--save",
        "",
        "--maxmemory",
        "3mb",
        "--maxmemory-policy",
        "noeviction",
    ])
    .await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let batch = || {
        let task = |n: u32| match n % 10 {
            0 => NewTask::new("t", Payload::of(&n).unwrap()).concurrency_key("k"),
            1 => NewTask::new("t", Payload::of(&n).unwrap()).expires_in(PATIENCE),
            2 => NewTask::new("t", Payload::of(&n).unwrap()).delay(Duration::from_millis(1)),
            _ => NewTask::new("t", Payload::of(&n).unwrap()),
        };
        (0..200).map(task).collect()
    };
    let refusal = loop {
        if let Err(error) = queue.enqueue_many(batch()).await {
            break error;
        }
    };
    assert!(matches!(refusal, Error::OutOfMemory { .. }), "{refusal}");
    // Down to the last byte.
    while let Ok(_one) = queue
        .enqueue(NewTask::new("t", Payload::of(&1).unwrap()))
        .await
    {}
    let enqueued = snapshot(&queue, &client).await.counters.enqueued;
    assert!(enqueued > 1_000, "only {enqueued}");

    let one_in_ten_fails = |task: LeasedTask| async move {
        let fails = testbed::number(&task) % 10 == 3 && task.attempt == 1;
        if fails {
            let after = Some(Duration::from_millis(1));
            let error = "not yet".to_owned();
            return Outcome::Retry { error, after };
        }
        Outcome::Completed(None)
    };
    let workers = [0, 1].map(|_| {
        let worker = Worker::new(queue.clone(), one_in_ten_fails).concurrency(20);
        Running::start(worker)
    });
    let done = async || {
        let figures = snapshot(&queue, &client).await;
        (figures.counters.completed == enqueued).then_some(figures)
    };
    let figures = eventually(PATIENCE, "all completed", done).await;
    assert_eq!((figures.dead, figures.counters.missing), (0, 0));
    until(&client, &queue, "nothing left", |s| {
        s.active + s.scheduled + s.backlog() == 0
    })
    .await;
    for worker in workers {
        assert_eq!(worker.stop().await.lost, 0);
    }
    // What is kept of them goes with its time; here somebody gives more room.
    let _: String = redis.command("CONFIG SET maxmemory 0").await;
    queue.enqueue_many(batch()).await.unwrap();
}
