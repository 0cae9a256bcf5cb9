//! What a running attempt says of itself: progress and log lines.

use std::sync::Arc;
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Error, State};
use tokio::sync::Notify;

use crate::testbed::pulse::Pulse;
use crate::testbed::{self, Running, SOON, queue, task};

/// What a reader may have to wait for, with some slack.
const READABLE: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn progress_and_lines_are_readable_while_the_task_runs_and_lines_after_its_end() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (said, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (saying, waiting) = (Arc::clone(&said), Arc::clone(&go_on));
    let worker = Running::start(Worker::new(queue.clone(), move |task: LeasedTask| {
        let (saying, waiting) = (Arc::clone(&saying), Arc::clone(&waiting));
        async move {
            for step in [10, 50] {
                task.progress(&step).unwrap();
                task.log(&format!("at {step}"));
                saying.notify_one();
                waiting.notified().await;
            }
            task.log("last words");
            Outcome::Completed(None)
        }
    }));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let pulse = Pulse::beside(&redis).await;
    for (step, lines) in [(10, vec!["at 10"]), (50, vec!["at 10", "at 50"])] {
        said.notified().await;
        let said_at = pulse.watch();
        eventually(SOON, "progress", async || {
            let task = queue.get(&id).await.unwrap().unwrap();
            assert_eq!(task.state, State::Active);
            let progress: u32 = task.progress?.parse().unwrap();
            (progress == step).then_some(())
        })
        .await;
        said_at.quick(READABLE);
        assert_eq!(queue.logs(&id).await.unwrap(), lines);
        go_on.notify_one();
    }
    let done = eventually(SOON, "completed", async || {
        let task = queue.get(&id).await.unwrap().unwrap();
        (task.state == State::Completed).then_some(task)
    })
    .await;
    assert_eq!(done.progress, None);
    let lines = ["at 10", "at 50", "last words"];
    assert_eq!(queue.logs(&id).await.unwrap(), lines);
    worker.stop().await;
}

#[tokio::test]
async fn a_log_keeps_its_last_hundred_lines_over_all_attempts_and_a_kib_of_each() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&testbed::brisk()).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), |task: LeasedTask| async move {
        for line in 0..80 {
            task.log(&format!("{} {line} {}", task.attempt, "ü".repeat(1_000)));
        }
        if task.attempt == 2 {
            return Outcome::Completed(None);
        }
        Outcome::Retry {
            error: "once more".to_owned(),
            after: None,
        }
    }));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    eventually(SOON, "completed", async || {
        let task = queue.get(&id).await.unwrap().unwrap();
        (task.state == State::Completed).then_some(())
    })
    .await;
    let lines = queue.logs(&id).await.unwrap();
    assert_eq!(lines.len(), 100);
    assert!(lines[0].starts_with("1 60 "), "{}", &lines[0][..10]);
    assert!(lines[99].starts_with("2 79 "), "{}", &lines[99][..10]);
    assert!(
        lines
            .iter()
            .all(|line| (1_000..=1_024).contains(&line.len()))
    );
    worker.stop().await;
}

#[tokio::test]
async fn too_much_progress_is_refused_and_changes_nothing() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let worker = Running::start(Worker::new(queue.clone(), move |task: LeasedTask| {
        sender.send(task.progress(&"x".repeat(1_100))).unwrap();
        async { Outcome::Completed(None) }
    }));
    queue.enqueue(task(1)).await.unwrap();
    let refused = seen.recv().await.unwrap().unwrap_err();
    assert!(
        matches!(refused, Error::TooLarge { limit: 1_024, .. }),
        "{refused}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_new_attempt_begins_without_the_progress_of_the_last_one() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&testbed::brisk()).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), |task: LeasedTask| async move {
        if task.attempt == 1 {
            task.progress(&99).unwrap();
            return Outcome::Retry {
                error: "once more".to_owned(),
                after: None,
            };
        }
        std::future::pending().await
    }));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let again = eventually(SOON, "the second attempt", async || {
        let task = queue.get(&id).await.unwrap().unwrap();
        (task.state == State::Active && task.attempts == 1).then_some(task)
    })
    .await;
    assert_eq!(again.progress, None);
    worker.abort().await;
}
