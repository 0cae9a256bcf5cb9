//! What a policy says of some types: how many of their tasks run at once, how long, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually, listed};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Backoff, BackoffKind, Cause, Error, Missed, NewTask, Overrides, Payload, Policy, Queue,
    RetryAction, RetryRule, Schedule, Stage, State, Task, TaskId, TypePolicy, TypeRetry,
};

use crate::testbed::{Running, SOON, brisk, queue, snapshot, until};

const HOUR: Duration = Duration::from_hours(1);

fn of(name: &str) -> TypePolicy {
    TypePolicy {
        name: name.to_owned(),
        ..TypePolicy::default()
    }
}

fn limited(most: Option<u32>) -> Policy {
    let heavy = TypePolicy {
        concurrency: most,
        ..of("heavy")
    };
    Policy {
        types: vec![heavy],
        ..brisk()
    }
}

fn task(kind: &str) -> NewTask {
    NewTask::new(kind, Payload::null())
}

async fn in_state(queue: &Queue, id: TaskId, state: State) -> Task {
    eventually(SOON, "the state", async || {
        let task = queue.get(&id).await.unwrap();
        task.filter(|task| task.state == state)
    })
    .await
}

async fn hang(_: LeasedTask) -> Outcome {
    std::future::pending().await
}

/// Fails with its payload as message.
async fn fail(task: LeasedTask) -> Outcome {
    Outcome::Retry {
        error: task.payload.parse().unwrap(),
        after: None,
    }
}

#[tokio::test]
async fn no_more_tasks_of_a_type_run_than_it_may_and_others_are_not_held_up() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    queue.configure(&limited(Some(2))).await.unwrap();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = Arc::clone(&most);
    let handler = move |task: LeasedTask| {
        let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
        async move {
            if task.kind == "heavy" {
                peak.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                running.fetch_sub(1, SeqCst);
            }
            Outcome::Completed(None)
        }
    };
    let mut workers = Vec::new();
    for _ in 0..3 {
        let worker = Worker::new(self::queue(&redis).await, handler.clone()).concurrency(8);
        workers.push(Running::start(worker));
    }
    let tasks = (0..200).map(|n| task(if n % 2 == 0 { "heavy" } else { "light" }));
    queue.enqueue_many(tasks.collect()).await.unwrap();
    until(&client, &queue, "all done", |s| s.counters.completed == 200).await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(most.load(SeqCst), 2);
    for part in ["held", "holders", "parked"] {
        let left: u32 = redis
            .command(&format!("EXISTS tq:{{test/jobs}}:{part}"))
            .await;
        assert_eq!(left, 0, "{part}");
    }
}

#[tokio::test]
async fn a_limit_of_a_type_that_is_raised_or_taken_away_lets_in_who_waits() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    queue.configure(&limited(Some(1))).await.unwrap();
    let batch = (0..6).map(|_| task("heavy")).collect();
    queue.enqueue_many(batch).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), hang).concurrency(10));
    until(&client, &queue, "one runs", |s| {
        (s.active, s.blocked) == (1, 5)
    })
    .await;
    let blocked = listed(&queue, &[Stage::Blocked], 100).await;
    assert_eq!(blocked.len(), 5);
    assert!(blocked.iter().all(|task| task.concurrency_key.is_none()));
    queue.configure(&limited(Some(3))).await.unwrap();
    until(&client, &queue, "three run", |s| {
        (s.active, s.blocked) == (3, 3)
    })
    .await;
    // A lower one holds for those that come from then on.
    queue.configure(&limited(Some(2))).await.unwrap();
    queue.enqueue(task("heavy")).await.unwrap();
    assert_eq!(snapshot(&queue, &client).await.blocked, 4);
    queue.configure(&limited(None)).await.unwrap();
    until(&client, &queue, "all run", |s| {
        (s.active, s.blocked) == (7, 0)
    })
    .await;
    worker.abort().await;
    let fields: Vec<String> = redis.command("HKEYS tq:{test/jobs}:config").await;
    assert!(fields.iter().all(|field| !field.starts_with('\0')));
}

#[tokio::test]
async fn a_key_of_its_own_and_a_limit_of_its_type_are_refused_together() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let own = || task("heavy").concurrency_key("k");
    // Not because of a policy that is out of date.
    queue.enqueue(own()).await.unwrap();
    queue.configure(&limited(Some(1))).await.unwrap();
    let refused = queue.enqueue(own()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "concurrency key \"k\" is not allowed: none for tasks of type heavy, of which the policy's types say how many may \
         run at once"
    );
    queue
        .enqueue(task("light").concurrency_key("k"))
        .await
        .unwrap();
}

#[tokio::test]
async fn tasks_of_schedules_that_retry_or_are_redriven_take_places_of_their_type() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let mut policy = limited(Some(1));
    policy.schedules.push(Schedule {
        name: "often".to_owned(),
        cron: "@yearly".to_owned(),
        time_zone: "UTC".to_owned(),
        kind: "heavy".to_owned(),
        payload: Payload::of("scheduled").unwrap(),
        priority: None,
        suspend: false,
        missed: Missed::RunOnce,
        jitter: Duration::ZERO,
    });
    queue.configure(&policy).await.unwrap();
    queue.tidy().await.unwrap();
    let mut raw = redis.connection().await;
    let back = "local n = redis.call('HGET', KEYS[1], 'often')
        redis.call('HSET', KEYS[1], 'often', (string.gsub(n, '^%d+', function(ms) return string.format('%.0f', ms - 4e10) end)))";
    let mut command = redis::cmd("EVAL");
    command.arg(back).arg(1).arg("tq:{test/jobs}:schedules");
    command.exec_async(&mut raw).await.unwrap();
    let failing = NewTask::new("heavy", Payload::of("no").unwrap());
    let dead = queue.enqueue(failing).await.unwrap().id();
    assert_eq!(queue.tidy().await.unwrap().fired, 1);
    assert_eq!(snapshot(&queue, &client).await.blocked, 1);
    // Each comes in as the other waits for its next attempt.
    let worker = Running::start(Worker::new(queue.clone(), fail).concurrency(4));
    until(&client, &queue, "both are dead", |s| s.dead == 2).await;
    worker.stop().await;
    let most = policy.retry.max_attempts;
    assert_eq!(in_state(&queue, dead, State::Dead).await.attempts, most);
    queue
        .redrive(taskqueue_queue::Selection::All)
        .await
        .unwrap();
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.backlog(), figures.blocked), (1, 1));
}

#[tokio::test]
async fn a_tasks_own_goes_before_what_holds_for_its_type_and_that_before_the_queue() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let drop_it = RetryRule {
        cause: None,
        pattern: Some("drop".to_owned()),
        action: RetryAction::Drop,
        counts_as_attempt: None,
        after: None,
    };
    let policy = Policy {
        types: vec![
            TypePolicy {
                retry: TypeRetry {
                    max_attempts: Some(2),
                    rules: Some(vec![drop_it]),
                    ..TypeRetry::default()
                },
                ..of("twice")
            },
            TypePolicy {
                timeout: Some(Duration::from_millis(50)),
                retry: TypeRetry {
                    backoff: Some(Backoff {
                        kind: BackoffKind::Fixed,
                        initial: HOUR,
                        max: HOUR,
                        jitter: 0.0,
                    }),
                    ..TypeRetry::default()
                },
                ..of("brief")
            },
        ],
        ..brisk()
    };
    queue.configure(&policy).await.unwrap();
    let failing = |kind: &str, message: &str| NewTask::new(kind, Payload::of(message).unwrap());
    let own = Overrides {
        max_attempts: Some(3),
        ..Overrides::default()
    };
    let enqueue = async |task: NewTask| queue.enqueue(task).await.unwrap().id();
    let twice = enqueue(failing("twice", "no")).await;
    let thrice = enqueue(failing("twice", "no").overrides(own)).await;
    let plain = enqueue(failing("plain", "drop")).await;
    let dropped = enqueue(failing("twice", "drop")).await;
    let handler = |task: LeasedTask| async move {
        if task.kind == "brief" {
            return hang(task).await;
        }
        fail(task).await
    };
    let brief = enqueue(task("brief")).await;
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(8));
    for (id, attempts) in [(twice, 2), (thrice, 3), (plain, 5)] {
        assert_eq!(in_state(&queue, id, State::Dead).await.attempts, attempts);
    }
    in_state(&queue, dropped, State::Dropped).await;
    let put_off = in_state(&queue, brief, State::Scheduled).await;
    assert_eq!(put_off.errors[0].cause, Cause::Timeout);
    let wait = put_off.due.unwrap().duration_since(put_off.errors[0].at);
    assert!((3_599..=3_600).contains(&wait.as_secs()), "{wait}");
    worker.stop().await;
}

#[tokio::test]
async fn what_a_policy_says_of_types_is_stored_and_checked() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let policy = limited(Some(7));
    queue.configure(&policy).await.unwrap();
    assert_eq!(queue.policy().await.unwrap().value.types, policy.types);
    // Whoever edits something else leaves them.
    queue.pause().await.unwrap();
    assert_eq!(queue.policy().await.unwrap().value.types, policy.types);
    let refused = queue.configure(&limited(Some(0))).await.unwrap_err();
    let Error::Invalid { field, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!(field, "types.concurrency");
}
