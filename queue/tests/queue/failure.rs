//! Failed attempts: retries, timeouts, panics, dead letters and what is done with them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually, ids, listed};
use taskqueue_queue::worker::{Finished, LeasedTask, Observer, Outcome, Worker};
use taskqueue_queue::{Cause, Queue, Selection, Stage, State, Task, TaskId};

use crate::testbed::pulse::Pulse;
use crate::testbed::{Running, SOON, brisk, number, queue, snapshot, task, tasks, until};

async fn in_state(queue: &Queue, id: TaskId, state: State) -> Task {
    eventually(SOON, "the state", async || {
        queue
            .get(&id)
            .await
            .unwrap()
            .filter(|task| task.state == state)
    })
    .await
}

fn failing(_: LeasedTask) -> std::future::Ready<Outcome> {
    std::future::ready(Outcome::Retry {
        error: "no luck".into(),
        after: None,
    })
}

#[tokio::test]
async fn a_failing_task_is_retried_with_backoff_and_then_dead_with_its_history() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = brisk();
    policy.retry.max_attempts = 4;
    policy.retry.backoff.initial = Duration::from_millis(40);
    queue.configure(&policy).await.unwrap();
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let pulse = Pulse::beside(&redis).await;
    let begun = pulse.watch();
    let worker = Running::start(Worker::new(queue.clone(), failing));
    let dead = in_state(&queue, id, State::Dead).await;
    let most = 1_500 + i128::try_from(begun.longest_gap().as_millis() * 2).unwrap();

    assert_eq!(dead.attempts, 4);
    assert_eq!(
        dead.errors.iter().map(|e| e.attempt).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert!(
        dead.errors
            .iter()
            .all(|e| e.cause == Cause::Error && e.message == "no luck")
    );
    for (pair, least) in dead.errors.windows(2).zip([40, 80, 160]) {
        let waited = pair[1].at.duration_since(pair[0].at).as_millis();
        assert!(
            (least - 5..least + most).contains(&waited),
            "waited {waited} ms, not {least}"
        );
    }
    let report = worker.stop().await;
    assert_eq!((report.retried, report.dead, report.completed), (3, 1, 0));
    let counters = snapshot(&queue, &redis.client().await).await.counters;
    assert_eq!(
        (counters.failed, counters.retried, counters.dead),
        (4, 3, 1)
    );
}

#[tokio::test]
async fn a_wait_that_the_handler_asks_for_is_kept() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let worker = Running::start(Worker::new(queue.clone(), |_: LeasedTask| async {
        Outcome::Retry {
            error: "later".into(),
            after: Some(Duration::from_hours(1)),
        }
    }));
    let scheduled = in_state(&queue, id, State::Scheduled).await;
    let wait = scheduled
        .due
        .unwrap()
        .duration_since(scheduled.errors[0].at);
    assert!((3_599..=3_601).contains(&wait.as_secs()), "{wait}");
    worker.stop().await;
}

#[tokio::test]
async fn a_task_refused_for_good_is_dead_at_once() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let refuse = |_: LeasedTask| async {
        Outcome::Dead {
            error: "never".into(),
        }
    };
    let worker = Running::start(Worker::new(queue.clone(), refuse));
    let dead = in_state(&queue, id, State::Dead).await;
    assert_eq!(
        (dead.attempts, dead.errors[0].message.as_str()),
        (1, "never")
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_panic_fails_its_own_attempt_and_touches_no_other_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = brisk();
    policy.retry.max_attempts = 1;
    queue.configure(&policy).await.unwrap();
    let ids = ids(&queue.enqueue_many(tasks(0..20)).await.unwrap());
    let worker = Running::start(
        Worker::new(queue.clone(), |task: LeasedTask| {
            assert_ne!(number(&task), 3, "while making the future");
            async move {
                assert_ne!(number(&task), 7, "inside the future");
                Outcome::Completed(None)
            }
        })
        .concurrency(8),
    );
    until(&redis.client().await, &queue, "all ended", |s| {
        s.counters.completed == 18 && s.dead == 2
    })
    .await;
    for (n, text) in [(3, "while making the future"), (7, "inside the future")] {
        let dead = in_state(&queue, ids[n], State::Dead).await;
        assert_eq!(dead.errors[0].cause, Cause::Error);
        assert!(
            dead.errors[0].message.contains("panicked") && dead.errors[0].message.contains(text)
        );
    }
    assert_eq!(worker.stop().await.completed, 18);
}

/// Panics with what it is told.
struct Faulty(AtomicBool);

impl Faulty {
    fn tell(&self) {
        // Of each two, one.
        assert!(
            self.0.fetch_xor(true, Ordering::SeqCst),
            "an observer breaks"
        );
    }
}

impl Observer for Faulty {
    fn started(&self, _: &str) {
        self.tell();
    }

    fn finished(&self, _: &Finished<'_>) {
        self.tell();
    }
}

#[tokio::test]
async fn an_observer_that_panics_costs_no_task_and_keeps_no_slot() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.enqueue_many(tasks(0..20)).await.unwrap();
    let complete = |_: LeasedTask| async { Outcome::Completed(None) };
    let worker = Worker::new(queue.clone(), complete)
        .concurrency(2)
        .observer(Faulty(AtomicBool::default()));
    let worker = Running::start(worker);
    let figures = until(&client, &queue, "all done", |s| s.counters.completed == 20).await;
    assert_eq!((figures.counters.failed, figures.active), (0, 0));
    assert_eq!(worker.stop().await.completed, 20);
}

/// A panic that panics again when it is thrown away.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the panic panics");
    }
}

#[tokio::test]
async fn a_panic_that_panics_fails_its_own_attempt_and_keeps_no_slot() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = brisk();
    policy.retry.max_attempts = 2;
    queue.configure(&policy).await.unwrap();
    let ids = ids(&queue.enqueue_many(tasks(0..4)).await.unwrap());
    let handler = |task: LeasedTask| async move {
        if number(&task) == 1 {
            std::panic::panic_any(Bomb);
        }
        Outcome::Completed(None)
    };
    let worker = Running::start(Worker::new(queue.clone(), handler));
    let dead = in_state(&queue, ids[1], State::Dead).await;
    assert_eq!(dead.attempts, 2);
    assert!(dead.errors[0].message.contains("panicked"), "{dead:?}");
    for id in [ids[0], ids[2], ids[3]] {
        in_state(&queue, id, State::Completed).await;
    }
    let report = worker.stop().await;
    assert_eq!((report.completed, report.dead), (3, 1));
}

#[tokio::test]
async fn an_attempt_that_runs_too_long_is_a_timeout() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = brisk();
    policy.retry.max_attempts = 2;
    policy.timeout = Duration::from_millis(50);
    queue.configure(&policy).await.unwrap();
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let hang = |_: LeasedTask| async { std::future::pending::<Outcome>().await };
    let worker = Running::start(Worker::new(queue.clone(), hang));
    let dead = in_state(&queue, id, State::Dead).await;
    assert_eq!(dead.errors.len(), 2);
    assert!(
        dead.errors
            .iter()
            .all(|e| e.cause == Cause::Timeout && e.message == "ran longer than 50 ms")
    );
    worker.stop().await;
}

/// A queue with dead letters numbered 0 to `count` - 1, and their ids.
async fn graveyard(redis: &RedisServer, count: u32) -> (Queue, Vec<TaskId>) {
    let queue = queue(redis).await;
    let ids = ids(&queue.enqueue_many(tasks(0..count)).await.unwrap());
    let refuse = |_: LeasedTask| async {
        Outcome::Dead {
            error: "never".into(),
        }
    };
    let worker = Running::start(Worker::new(queue.clone(), refuse).concurrency(50));
    until(&redis.client().await, &queue, "all dead", |s| {
        s.dead == u64::from(count)
    })
    .await;
    worker.stop().await;
    (queue, ids)
}

#[tokio::test]
async fn redriven_letters_run_again_with_all_attempts_and_their_history() {
    let redis = RedisServer::start().await;
    let (queue, ids) = graveyard(&redis, 450).await;
    let some = Selection::Ids(vec![
        ids[3],
        ids[4],
        "00000000000000000000".parse().unwrap(),
    ]);
    assert_eq!(queue.redrive(some).await.unwrap().moved, 2);
    assert_eq!(
        queue.get(&ids[3]).await.unwrap().unwrap().state,
        State::Waiting
    );
    assert_eq!(queue.redrive(Selection::All).await.unwrap().moved, 448);
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let worker = Running::start(Worker::new(queue.clone(), move |task: LeasedTask| {
        sender.send((number(&task), task.attempt)).unwrap();
        async { Outcome::Completed(None) }
    }));
    for _ in 0..450 {
        let (_, attempt) = tokio::time::timeout(SOON, seen.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(attempt, 1);
    }
    let done = in_state(&queue, ids[9], State::Completed).await;
    assert_eq!(
        (done.attempts, done.errors[0].message.as_str()),
        (0, "never")
    );
    worker.stop().await;
    let figures = snapshot(&queue, &redis.client().await).await;
    assert_eq!((figures.dead, figures.counters.redriven), (0, 450));
}

#[tokio::test]
async fn purged_letters_are_gone() {
    let redis = RedisServer::start().await;
    let (queue, ids) = graveyard(&redis, 450).await;
    assert_eq!(queue.purge(Selection::Ids(vec![ids[0]])).await.unwrap(), 1);
    assert_eq!(queue.get(&ids[0]).await.unwrap(), None);
    assert_eq!(queue.purge(Selection::All).await.unwrap(), 449);
    assert_eq!(queue.purge(Selection::All).await.unwrap(), 0);
    let figures = snapshot(&queue, &redis.client().await).await;
    assert_eq!((figures.dead, figures.counters.purged), (0, 450));
}

#[tokio::test]
async fn a_page_of_letters_begins_with_the_newest() {
    let redis = RedisServer::start().await;
    let (queue, _) = graveyard(&redis, 30).await;
    let all = listed(&queue, &[Stage::Dead], 100).await;
    assert_eq!(all.len(), 30);
    assert!(
        all.windows(2)
            .all(|pair| pair[0].finished >= pair[1].finished)
    );
    assert_eq!(listed(&queue, &[Stage::Dead], 7).await, all);
}

#[tokio::test]
async fn the_bounds_of_the_dead_letters_hold_while_nothing_else_happens() {
    let redis = RedisServer::start().await;
    let (queue, _) = graveyard(&redis, 1_300).await;
    let mut policy = brisk();
    policy.dead_max_count = 10;
    queue.configure(&policy).await.unwrap();
    queue.promote().await.unwrap();
    let client = redis.client().await;
    assert_eq!(snapshot(&queue, &client).await.dead, 10);
    policy.dead_max_age = Duration::ZERO;
    queue.configure(&policy).await.unwrap();
    queue.promote().await.unwrap();
    assert_eq!(snapshot(&queue, &client).await.dead, 0);
}
