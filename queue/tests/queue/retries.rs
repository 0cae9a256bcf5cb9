//! What comes after a failed attempt beyond the plain backoff: rules, time limits, snoozes, losses.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    BackoffKind, Cause, Error, NewTask, Overrides, OwnBackoff, Payload, Policy, Queue, RetryAction,
    RetryRule, State, Task, TaskId, WorkerId,
};

use crate::testbed::{self, Running, SOON, brisk, queue, snapshot, task, until};

fn rule(cause: Option<Cause>, pattern: Option<&str>, action: RetryAction) -> RetryRule {
    RetryRule {
        cause,
        pattern: pattern.map(str::to_owned),
        action,
        counts_as_attempt: None,
        after: None,
    }
}

fn with_rules(rules: Vec<RetryRule>) -> Policy {
    let mut policy = brisk();
    policy.retry.max_attempts = 3;
    policy.retry.rules = rules;
    policy
}

async fn in_state(queue: &Queue, id: TaskId, state: State) -> Task {
    eventually(SOON, "the state", async || {
        let task = queue.get(&id).await.unwrap();
        task.filter(|task| task.state == state)
    })
    .await
}

/// Fails with its payload as message.
async fn fail(task: LeasedTask) -> Outcome {
    Outcome::Retry {
        error: task.payload.parse().unwrap(),
        after: None,
    }
}

fn failing(message: &str) -> NewTask {
    NewTask::new("fail", Payload::of(message).unwrap())
}

async fn hang(_: LeasedTask) -> Outcome {
    std::future::pending().await
}

#[tokio::test]
async fn the_first_rule_that_fits_the_message_decides() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let rules = vec![
        rule(None, Some("^no such (user|file)$"), RetryAction::DeadLetter),
        rule(None, Some("no such"), RetryAction::Drop),
    ];
    queue.configure(&with_rules(rules)).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), fail));
    let dead = queue.enqueue(failing("no such file")).await.unwrap().id();
    let dropped = queue.enqueue(failing("no such luck")).await.unwrap().id();
    let other = queue.enqueue(failing("other")).await.unwrap().id();
    let dead = in_state(&queue, dead, State::Dead).await;
    assert_eq!((dead.attempts, dead.errors.len()), (1, 1));
    let dropped = in_state(&queue, dropped, State::Dropped).await;
    assert_eq!(dropped.errors[0].message, "no such luck");
    let other = in_state(&queue, other, State::Dead).await;
    assert_eq!(other.attempts, 3);
    let report = worker.stop().await;
    assert_eq!((report.dead, report.ended, report.retried), (2, 1, 2));
    let counters = snapshot(&queue, &redis.client().await).await.counters;
    assert_eq!(
        (counters.dead, counters.dropped, counters.failed),
        (2, 1, 5)
    );
}

#[tokio::test]
async fn a_failure_that_does_not_count_is_tried_for_longer_than_the_attempts() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut busy = rule(None, Some("busy"), RetryAction::Retry);
    busy.counts_as_attempt = Some(false);
    busy.after = Some(Duration::from_millis(1));
    queue.configure(&with_rules(vec![busy])).await.unwrap();
    let tries = std::sync::atomic::AtomicU32::new(0);
    let worker = Running::start(Worker::new(queue.clone(), move |_: LeasedTask| {
        let tries = tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            if tries == 12 {
                return Outcome::Completed(None);
            }
            Outcome::Retry {
                error: "busy".to_owned(),
                after: None,
            }
        }
    }));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let done = in_state(&queue, id, State::Completed).await;
    assert_eq!((done.attempts, done.errors.len()), (0, 10));
    worker.stop().await;
}

#[tokio::test]
async fn a_timeout_has_a_rule_of_its_own() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let rules = vec![rule(Some(Cause::Timeout), None, RetryAction::Drop)];
    let mut policy = with_rules(rules);
    policy.timeout = Duration::from_millis(50);
    queue.configure(&policy).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), hang));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let dropped = in_state(&queue, id, State::Dropped).await;
    assert_eq!(dropped.errors[0].cause, Cause::Timeout);
    worker.stop().await;
}

#[tokio::test]
async fn no_attempt_begins_after_the_longest_time_of_failing() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = brisk();
    policy.retry.max_attempts = 1_000;
    policy.retry.backoff.initial = Duration::from_millis(50);
    policy.retry.backoff.max = Duration::from_millis(50);
    policy.retry.max_elapsed = Some(Duration::from_millis(400));
    queue.configure(&policy).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), fail));
    let id = queue.enqueue(failing("no")).await.unwrap().id();
    let dead = in_state(&queue, id, State::Dead).await;
    assert!((2..=9).contains(&dead.attempts), "{}", dead.attempts);
    // The wait before the last of them began with the failure before it, and was over in time.
    let (first, last_but_one) = (&dead.errors[0], &dead.errors[dead.errors.len() - 2]);
    let failed_for = Duration::try_from(last_but_one.at.duration_since(first.at)).unwrap();
    let most = Duration::from_millis(400 - 50);
    assert!(failed_for <= most, "{failed_for:?}");
    // A wait beyond it is none.
    let mut long = policy.clone();
    long.retry.backoff.initial = Duration::from_secs(1);
    long.retry.backoff.max = Duration::from_secs(1);
    queue.configure(&long).await.unwrap();
    let id = queue.enqueue(failing("no")).await.unwrap().id();
    assert_eq!(in_state(&queue, id, State::Dead).await.attempts, 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_snooze_costs_no_attempt_and_waits_as_long_as_asked() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let snoozed = std::sync::atomic::AtomicBool::new(false);
    let worker = Running::start(Worker::new(queue.clone(), move |task: LeasedTask| {
        let again = snoozed.swap(true, std::sync::atomic::Ordering::SeqCst);
        async move {
            assert_eq!(task.attempt, 1);
            if again {
                return Outcome::Completed(None);
            }
            Outcome::Snoozed {
                after: Duration::from_millis(400),
            }
        }
    }));
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let waits = in_state(&queue, id, State::Scheduled).await;
    assert_eq!((waits.attempts, waits.errors.len()), (0, 0));
    let done = in_state(&queue, id, State::Completed).await;
    assert_eq!((done.attempts, done.errors.len()), (0, 0));
    let early = done.started.unwrap().duration_since(waits.due.unwrap());
    assert!(early.as_millis() > -10, "{early}");
    worker.stop().await;
    let counters = snapshot(&queue, &redis.client().await).await.counters;
    assert_eq!((counters.snoozed, counters.failed), (1, 0));
}

/// A task that a worker holds, and that worker, which has crashed.
async fn orphan(redis: &RedisServer, queue: &Queue) -> (TaskId, WorkerId) {
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let worker = Running::start(Worker::new(queue.clone(), hang));
    let client = redis.client().await;
    until(&client, queue, "it runs", |s| s.active == 1).await;
    worker.crash().await;
    let holder = queue.get(&id).await.unwrap().unwrap().worker.unwrap();
    (id, holder)
}

#[tokio::test]
async fn a_worker_that_is_known_to_be_gone_gives_its_tasks_back_at_once_and_says_why() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (id, holder) = orphan(&redis, &queue).await;
    let released = queue.release(&[holder], Cause::Evicted, "").await.unwrap();
    assert_eq!((released.released, released.workers), (1, 1));
    let task = queue.get(&id).await.unwrap().unwrap();
    assert_eq!(
        (task.state, task.attempts, task.losses),
        (State::Waiting, 0, 1)
    );
    assert_eq!(task.errors[0].cause, Cause::Evicted);
    // Who is gone already, and who never was, is passed over.
    let never = redis.client().await.queue(testbed::name("other"));
    let (_, stranger) = orphan(&redis, &never).await;
    let again = queue
        .release(&[holder, stranger], Cause::Evicted, "")
        .await
        .unwrap();
    assert_eq!((again.released, again.workers), (0, 0));
    assert_eq!(queue.get(&id).await.unwrap().unwrap().losses, 1);
}

#[tokio::test]
async fn a_rule_says_what_the_loss_of_a_worker_does() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut evicted = rule(Some(Cause::Evicted), None, RetryAction::Retry);
    evicted.counts_as_attempt = Some(true);
    evicted.after = Some(Duration::from_hours(1));
    let rules = vec![
        // A rule for any cause speaks of failures, not of losses.
        rule(None, None, RetryAction::Drop),
        rule(Some(Cause::OomKilled), None, RetryAction::DeadLetter),
        evicted,
    ];
    queue.configure(&with_rules(rules)).await.unwrap();

    let (killed, holder) = orphan(&redis, &queue).await;
    let reclaimed = queue
        .release(&[holder], Cause::OomKilled, "")
        .await
        .unwrap();
    assert_eq!((reclaimed.released, reclaimed.quarantined), (0, 1));
    let task = queue.get(&killed).await.unwrap().unwrap();
    assert_eq!(task.state, State::Dead);
    assert_eq!(task.errors[0].cause, Cause::OomKilled);

    let (moved, holder) = orphan(&redis, &queue).await;
    queue.release(&[holder], Cause::Evicted, "").await.unwrap();
    let task = queue.get(&moved).await.unwrap().unwrap();
    assert_eq!((task.state, task.attempts), (State::Scheduled, 1));
    let wait = task.due.unwrap().duration_since(task.errors[0].at);
    assert_eq!(wait.as_secs(), 3_600);

    let (lost, holder) = orphan(&redis, &queue).await;
    queue
        .release(&[holder], Cause::WorkerLost, "")
        .await
        .unwrap();
    let task = queue.get(&lost).await.unwrap().unwrap();
    assert_eq!((task.state, task.attempts), (State::Waiting, 0));
}

#[tokio::test]
async fn a_retry_that_would_come_after_the_expiry_ends_the_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let worker = Running::start(Worker::new(queue.clone(), fail));
    let brief = failing("no").expires_in(Duration::from_millis(700));
    let id = queue.enqueue(brief).await.unwrap().id();
    // The default backoff is a second or so.
    let task = in_state(&queue, id, State::Expired).await;
    assert_eq!((task.attempts, task.errors.len()), (1, 1));
    worker.stop().await;
}

#[tokio::test]
async fn a_task_may_have_attempts_a_timeout_and_a_backoff_of_its_own() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&with_rules(Vec::new())).await.unwrap();
    let own = Overrides {
        max_attempts: Some(1),
        ..Overrides::default()
    };
    let once = queue.enqueue(failing("no").overrides(own)).await.unwrap();
    let thrice = queue.enqueue(failing("no")).await.unwrap();
    let own = Overrides {
        max_attempts: Some(9),
        timeout: Some(Duration::from_millis(50)),
        backoff: Some(OwnBackoff {
            kind: BackoffKind::Fixed,
            initial: Duration::from_hours(1),
            max: Duration::from_hours(2),
        }),
    };
    let slow = NewTask::new("hang", Payload::of(&0).unwrap()).overrides(own);
    let slow = queue.enqueue(slow).await.unwrap().id();
    let read = queue.get(&slow).await.unwrap().unwrap();
    assert_eq!(read.overrides, Some(own));
    let handler = async |task: LeasedTask| match task.kind.as_str() {
        "hang" => {
            assert_eq!(task.timeout, Duration::from_millis(50));
            hang(task).await
        }
        _ => fail(task).await,
    };
    let worker = Running::start(Worker::new(queue.clone(), handler));
    let once = in_state(&queue, once.id(), State::Dead).await;
    assert_eq!(
        (once.attempts, once.overrides.unwrap().max_attempts),
        (1, Some(1))
    );
    let thrice = in_state(&queue, thrice.id(), State::Dead).await;
    assert_eq!((thrice.attempts, thrice.overrides), (3, None));
    let put_off = in_state(&queue, slow, State::Scheduled).await;
    assert_eq!(put_off.errors[0].cause, Cause::Timeout);
    let wait = put_off.due.unwrap().duration_since(put_off.errors[0].at);
    assert!(
        (3_599..=3_600).contains(&wait.as_secs()),
        "{wait}: there is no jitter"
    );
    worker.stop().await;
}

#[tokio::test]
async fn what_a_task_has_of_its_own_holds_for_each_of_its_attempts() {
    const WAIT: Duration = Duration::from_millis(40);
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    // By the policy it would neither be tried so often nor so soon, nor run into its time.
    let mut policy = Policy::default();
    policy.retry.max_attempts = 1;
    policy.retry.backoff.jitter = 0.0;
    queue.configure(&policy).await.unwrap();
    let own = Overrides {
        max_attempts: Some(4),
        timeout: Some(Duration::from_millis(20)),
        backoff: Some(OwnBackoff {
            kind: BackoffKind::Linear,
            initial: WAIT,
            max: WAIT * 2,
        }),
    };
    let id = queue.enqueue(task(1).overrides(own)).await.unwrap().id();
    let (told, mut timeouts) = tokio::sync::mpsc::unbounded_channel();
    let worker = Running::start(Worker::new(queue.clone(), move |task: LeasedTask| {
        let _ = told.send((task.runnable, task.timeout));
        hang(task)
    }));
    let dead = in_state(&queue, id, State::Dead).await;
    worker.stop().await;
    assert_eq!((dead.attempts, dead.overrides), (4, Some(own)));
    assert!(dead.errors.iter().all(|it| it.cause == Cause::Timeout));
    let mut begun = Vec::new();
    while let Ok((runnable, timeout)) = timeouts.try_recv() {
        assert_eq!(timeout, Duration::from_millis(20));
        begun.push(runnable);
    }
    let failed = dead.errors.iter().map(|failure| failure.at);
    let waits = failed.zip(&begun[1..]);
    let waits: Vec<i128> = waits
        .map(|(failed, runnable)| runnable.duration_since(failed).as_millis())
        .collect();
    assert_eq!(waits, [40, 80, 80]);
}

#[tokio::test]
async fn overrides_out_of_range_are_refused_by_name() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let backoff = |initial, max| {
        Some(OwnBackoff {
            kind: BackoffKind::Linear,
            initial: Duration::from_millis(initial),
            max: Duration::from_millis(max),
        })
    };
    let none = Overrides::default();
    for (own, wanted) in [
        (
            Overrides {
                max_attempts: Some(0),
                ..none
            },
            "maxAttempts",
        ),
        (
            Overrides {
                timeout: Some(Duration::ZERO),
                ..none
            },
            "timeout",
        ),
        (
            Overrides {
                timeout: Some(Duration::MAX),
                ..none
            },
            "timeout",
        ),
        (
            Overrides {
                backoff: backoff(2, 1),
                ..none
            },
            "backoff.max",
        ),
    ] {
        let refused = queue.enqueue(task(1).overrides(own)).await.unwrap_err();
        let Error::Invalid { field, .. } = refused else {
            panic!("{refused}")
        };
        assert_eq!(field, wanted);
    }
}
