//! Idempotency keys: one task for each, also after its end. Time passes by putting into the past when a key is to be looked at.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Cancelled, Enqueued, Error, NewTask, Policy, Queue, Selection, State, TaskId, WorkerId,
};

use crate::testbed::proxy::Proxy;
use crate::testbed::{self, Running, SOON, name, next, queue, recording, snapshot, task, until};

const HOUR: Duration = Duration::from_hours(1);
const KEYS: &str = "tq:{test/jobs}:idempotency";
const LAPSES: &str = "tq:{test/jobs}:lapses";

fn keyed(number: u32, key: &str) -> NewTask {
    task(number).idempotency_key(key, HOUR)
}

fn is_new(answer: Enqueued) -> bool {
    matches!(answer, Enqueued::New(_))
}

/// Which task the error names.
fn conflict(result: Result<Enqueued, Error>) -> TaskId {
    match result {
        Err(Error::KeyConflict { id, .. }) => id,
        other => panic!("no conflict: {other:?}"),
    }
}

/// It is time to look at a key.
async fn pass(redis: &RedisServer, key: &str) {
    let () = redis.command(&format!("ZADD {LAPSES} 1 {key}")).await;
}

async fn in_state(queue: &Queue, id: TaskId, state: State) {
    eventually(SOON, "the state", async || {
        let task = queue.get(&id).await.unwrap();
        task.filter(|task| task.state == state)
    })
    .await;
}

/// Runs a worker until the task is in a state.
async fn work(queue: &Queue, id: TaskId, outcome: fn() -> Outcome, state: State) {
    let handler = move |_: LeasedTask| async move { outcome() };
    let worker = Running::start(Worker::new(queue.clone(), handler));
    in_state(queue, id, state).await;
    worker.stop().await;
}

fn complete() -> Outcome {
    Outcome::Completed(None)
}

fn die() -> Outcome {
    let error = "no".to_owned();
    Outcome::Dead { error }
}

#[tokio::test]
async fn the_same_id_comes_back_before_and_after_the_end_until_the_time_is_over() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let first = queue.enqueue(keyed(1, "order-7")).await.unwrap();
    assert!(is_new(first));
    let stands = Enqueued::Existing(first.id());
    // By anyone, and for another time.
    let other = testbed::queue(&redis).await;
    let again = task(1).idempotency_key("order-7", 2 * HOUR);
    assert_eq!(other.enqueue(again).await.unwrap(), stands);
    assert!(is_new(queue.enqueue(keyed(1, "order-8")).await.unwrap()));

    work(&queue, first.id(), complete, State::Completed).await;
    assert_eq!(queue.enqueue(keyed(1, "order-7")).await.unwrap(), stands);
    assert_eq!(snapshot(&queue, &client).await.counters.enqueued, 2);
    let lapse: u64 = redis.command(&format!("ZSCORE {LAPSES} order-7")).await;
    let now = snapshot(&queue, &client).await.now.as_millisecond();
    let left = i128::from(lapse) - i128::from(now);
    assert!((1..=3_600_000).contains(&left), "{left} ms");

    pass(&redis, "order-7").await;
    assert_eq!(queue.id_of_key("order-7").await.unwrap(), None);
    let anew = queue.enqueue(keyed(2, "order-7")).await.unwrap();
    assert!(is_new(anew));
    // The end of the one before is no end of this one.
    queue.tidy().await.unwrap();
    let again = queue.enqueue(keyed(2, "order-7")).await.unwrap();
    assert_eq!(again, Enqueued::Existing(anew.id()));
}

#[tokio::test]
async fn something_else_under_a_key_is_refused_and_the_error_names_key_and_task() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let first = queue.enqueue(keyed(1, "k")).await.unwrap().id();
    let refused = queue.enqueue(keyed(2, "k")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "idempotency key \"k\" of queue test/jobs stands for task {first}, which asks for something else: use another \
             key for another task, or repeat the call with the same type, payload and options"
        )
    );
    assert!(refused.is_final() && !refused.is_transient());
    for other in [
        keyed(1, "k").priority("high"),
        keyed(1, "k").delay(HOUR),
        keyed(1, "k").concurrency_key("c"),
    ] {
        assert_eq!(conflict(queue.enqueue(other).await), first);
    }
    let traced = keyed(1, "k").trace_parent("00-1-2-01");
    assert_eq!(
        queue.enqueue(traced).await.unwrap(),
        Enqueued::Existing(first)
    );
    // And after the end.
    work(&queue, first, complete, State::Completed).await;
    assert_eq!(conflict(queue.enqueue(keyed(2, "k")).await), first);
}

#[tokio::test]
async fn two_in_one_batch_are_one_task_and_a_conflict_refuses_the_batch_whole() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let batch = vec![keyed(1, "a"), task(2), keyed(1, "a"), keyed(1, "b")];
    let answers = queue.enqueue_many(batch).await.unwrap();
    let new: Vec<bool> = answers.iter().map(|answer| is_new(*answer)).collect();
    assert_eq!(new, [true, true, false, true]);
    assert_eq!(answers[2].id(), answers[0].id());
    // With a task of before, and among themselves.
    for batch in [
        vec![task(3), keyed(4, "c"), keyed(5, "b")],
        vec![task(3), keyed(4, "c"), keyed(5, "c")],
    ] {
        let refused = queue.enqueue_many(batch).await.unwrap_err();
        assert!(matches!(refused, Error::KeyConflict { .. }), "{refused}");
    }
    assert_eq!(snapshot(&queue, &client).await.counters.enqueued, 3);
    assert_eq!(queue.id_of_key("c").await.unwrap(), None);
}

#[tokio::test]
async fn callers_at_the_same_time_get_one_task_and_a_conflict_is_told_to_its_caller_alone() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let calls = (0..64).map(|n| queue.enqueue(keyed(n % 2, "only")));
    let answers = futures::future::join_all(calls).await;
    let plain = queue.enqueue(task(1)).await.unwrap();
    assert!(is_new(plain));
    let stands = queue.id_of_key("only").await.unwrap().unwrap();
    let new = answers.iter().flatten().filter(|answer| is_new(**answer));
    assert_eq!(new.count(), 1);
    let taken = answers.iter().flatten();
    assert!(taken.clone().all(|answer| answer.id() == stands));
    assert_eq!(taken.count(), 32);
    for refused in answers.into_iter().filter(Result::is_err) {
        assert_eq!(conflict(refused), stands);
    }
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_is_repeated_and_answers_as_the_first() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::before(redis.port()).await;
    let queue = proxy.client().await.queue(name("jobs"));
    queue.policy().await.unwrap();
    proxy.lose_answer_to_request_holding("doubtful");
    let first = queue.enqueue(keyed(1, "doubtful")).await.unwrap();
    assert!(is_new(first));
    proxy.lose_answer_to_request_holding("another");
    let batch = vec![keyed(1, "doubtful"), keyed(2, "another"), task(3)];
    let answers = queue.enqueue_many(batch).await.unwrap();
    assert_eq!(answers[0], Enqueued::Existing(first.id()));
    assert!(is_new(answers[1]) && is_new(answers[2]));
    assert_eq!(proxy.lost(), 2);
    let client = redis.client().await;
    assert_eq!(snapshot(&queue, &client).await.counters.enqueued, 3);
}

#[tokio::test]
async fn a_key_outlives_its_producer_a_killed_worker_and_a_killed_redis() {
    let log = [
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ];
    let mut redis = RedisServer::start_with(&log).await;
    let first = queue(&redis).await.enqueue(keyed(1, "k")).await.unwrap();
    let id = first.id();
    let hang = |_: LeasedTask| std::future::pending::<Outcome>();
    let worker = Running::start(Worker::new(queue(&redis).await, hang));
    in_state(&queue(&redis).await, id, State::Active).await;
    worker.crash().await;
    redis.kill();
    redis.restart().await;
    let queue = queue(&redis).await;
    let again = queue.enqueue(keyed(1, "k")).await.unwrap();
    assert_eq!(again, Enqueued::Existing(id));
    let workers = queue.workers().await.unwrap();
    let gone: Vec<WorkerId> = workers.iter().map(|worker| worker.id).collect();
    let lost = taskqueue_queue::Cause::WorkerLost;
    assert_eq!(queue.release(&gone, lost, "").await.unwrap().released, 1);
    work(&queue, id, complete, State::Completed).await;
    let again = queue.enqueue(keyed(1, "k")).await.unwrap();
    assert_eq!(again, Enqueued::Existing(id));
    let entry: String = redis.command(&format!("HGET {KEYS} k")).await;
    assert!(entry.ends_with('e'), "{entry}");
}

#[tokio::test]
async fn a_dead_letter_keeps_its_key_until_it_is_thrown_away() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let id = queue.enqueue(keyed(1, "k")).await.unwrap().id();
    let stands = Enqueued::Existing(id);
    let ended = async || {
        let entry: String = redis.command(&format!("HGET {KEYS} k")).await;
        entry.ends_with('e')
    };
    for _ in 0..2 {
        work(&queue, id, die, State::Dead).await;
        pass(&redis, "k").await;
        queue.tidy().await.unwrap();
        assert_eq!(queue.enqueue(keyed(1, "k")).await.unwrap(), stands);
        assert!(!ended().await);
        assert_eq!(queue.redrive(Selection::All).await.unwrap().moved, 1);
    }
    work(&queue, id, die, State::Dead).await;
    assert_eq!(queue.purge(Selection::All).await.unwrap(), 1);
    assert!(ended().await);
    assert_eq!(queue.enqueue(keyed(1, "k")).await.unwrap(), stands);
    assert_eq!(queue.get_by_key("k").await.unwrap(), None);
    assert_eq!(queue.id_of_key("k").await.unwrap(), Some(id));
    pass(&redis, "k").await;
    let anew = queue.enqueue(keyed(1, "k")).await.unwrap();
    assert!(is_new(anew));

    // Or goes as one too many.
    work(&queue, anew.id(), die, State::Dead).await;
    let policy = Policy {
        dead_max_count: 0,
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    queue.promote().await.unwrap();
    assert_eq!(queue.get(&anew.id()).await.unwrap(), None);
    assert!(ended().await);
}

#[tokio::test]
async fn every_end_starts_the_time() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let cancelled = queue.enqueue(keyed(1, "cancelled")).await.unwrap().id();
    assert_eq!(queue.cancel(&cancelled).await.unwrap(), Cancelled::Removed);
    let brief = keyed(1, "expired").expires_in(Duration::from_millis(1));
    let expired = queue.enqueue(brief).await.unwrap().id();
    eventually(SOON, "expired", async || {
        queue.tidy().await.unwrap();
        let task = queue.get(&expired).await.unwrap().unwrap();
        (task.state == State::Expired).then_some(())
    })
    .await;
    let waits = queue.enqueue(keyed(1, "waits")).await.unwrap().id();
    for (key, id, over) in [
        ("cancelled", cancelled, true),
        ("expired", expired, true),
        ("waits", waits, false),
    ] {
        let entry: String = redis.command(&format!("HGET {KEYS} {key}")).await;
        assert_eq!(entry.ends_with('e'), over, "{key}: {entry}");
        assert_eq!(queue.id_of_key(key).await.unwrap(), Some(id));
    }
}

#[tokio::test]
async fn beside_a_unique_key_each_has_its_say() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let both = |number, key: &str| keyed(number, key).unique("u", HOUR);
    let first = queue.enqueue(both(1, "a")).await.unwrap().id();
    let stands = Enqueued::Existing(first);
    assert_eq!(queue.enqueue(both(1, "a")).await.unwrap(), stands);
    // The unique key has that one stand, and the other key is not taken.
    assert_eq!(queue.enqueue(both(2, "b")).await.unwrap(), stands);
    assert_eq!(queue.id_of_key("b").await.unwrap(), None);
    work(&queue, first, complete, State::Completed).await;
    assert_eq!(queue.enqueue(both(1, "a")).await.unwrap(), stands);
    assert_eq!(conflict(queue.enqueue(both(2, "a")).await), first);
    assert!(is_new(queue.enqueue(both(2, "b")).await.unwrap()));
}

#[tokio::test]
async fn a_task_is_read_by_its_key_in_every_state() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    assert_eq!(queue.get_by_key("k").await.unwrap(), None);
    let id = queue.enqueue(keyed(1, "k").delay(HOUR)).await.unwrap().id();
    let read = async || queue.get_by_key("k").await.unwrap().unwrap();
    let scheduled = read().await;
    assert_eq!((scheduled.id, scheduled.state), (id, State::Scheduled));
    assert_eq!(scheduled.idempotency_key.as_deref(), Some("k"));
    let by_id = queue.get(&id).await.unwrap().unwrap();
    assert_eq!(by_id.idempotency_key.as_deref(), Some("k"));
    queue.cancel(&id).await.unwrap();
    let ended = read().await;
    assert_eq!((ended.id, ended.state), (id, State::Cancelled));
    assert_eq!(ended.idempotency_key.as_deref(), Some("k"));
    for bad in ["", "a\0b", &"x".repeat(257)] {
        assert!(queue.get_by_key(bad).await.is_err());
        assert!(queue.enqueue(keyed(1, bad)).await.is_err());
    }
    for keep in [Duration::ZERO, Duration::MAX] {
        let refused = queue.enqueue(task(1).idempotency_key("k", keep)).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("1 ms to 10 years"), "{refused}");
    }
}

#[tokio::test]
async fn ten_thousand_keys_lapse_a_bounded_number_at_a_time() {
    const MANY: u32 = 10_400;
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    for slice in (0..MANY).collect::<Vec<_>>().chunks(5_200) {
        let tasks = slice.iter().map(|n| keyed(*n, &format!("key-{n}")));
        queue.enqueue_many(tasks.collect()).await.unwrap();
    }
    let handler = |_: LeasedTask| async { complete() };
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(100));
    until(&client, &queue, "all completed", |s| {
        s.counters.completed == u64::from(MANY)
    })
    .await;
    worker.stop().await;
    let held: u32 = redis.command(&format!("HLEN {KEYS}")).await;
    assert_eq!(held, MANY);
    let figures = snapshot(&queue, &client).await;
    let wanted = figures.tidy_at.unwrap();
    assert!(wanted > figures.now, "nothing is to be done yet");
    let mut raw = redis.connection().await;
    let lapse = "for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], '1', key) end";
    let mut command = redis::cmd("EVAL");
    command.arg(lapse).arg(1).arg(LAPSES);
    command.exec_async(&mut raw).await.unwrap();
    let figures = snapshot(&queue, &client).await;
    assert!(figures.tidy_at.unwrap() <= figures.now, "{figures:?}");
    // What one call of all that tidying does may take, and the rest.
    queue.tidy().await.unwrap();
    let left: u32 = redis.command(&format!("HLEN {KEYS}")).await;
    assert_eq!(left, MANY - 10_000);
    queue.tidy().await.unwrap();
    for key in [KEYS, LAPSES] {
        let left: u32 = redis.command(&format!("EXISTS {key}")).await;
        assert_eq!(left, 0, "{key}");
    }
}

/// What a version does that knows no such keys: it acks, and says nothing of the end of the key.
#[tokio::test]
async fn a_task_that_an_earlier_version_ended_has_its_key_for_no_less_than_its_time() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let id = queue.enqueue(keyed(1, "k")).await.unwrap().id();
    let () = redis.command("DEL tq:{test/jobs}:wait:normal").await;
    let gone = format!("HDEL tq:{{test/jobs}}:tasks {}", id.as_str());
    let () = redis.command(&gone).await;
    let stands = Enqueued::Existing(id);
    assert_eq!(queue.enqueue(keyed(1, "k")).await.unwrap(), stands);
    pass(&redis, "k").await;
    // It is found to have ended, and its time begins.
    assert_eq!(queue.enqueue(keyed(1, "k")).await.unwrap(), stands);
    queue.tidy().await.unwrap();
    assert_eq!(queue.enqueue(keyed(1, "k")).await.unwrap(), stands);
    let lapse: i64 = redis.command(&format!("ZSCORE {LAPSES} k")).await;
    let now = snapshot(&queue, &client).await.now.as_millisecond();
    assert!(lapse > now, "{lapse} is not after {now}");
    pass(&redis, "k").await;
    assert!(is_new(queue.enqueue(keyed(1, "k")).await.unwrap()));
}

#[tokio::test]
async fn a_full_queue_answers_for_keys_that_stand() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut policy = Policy::default();
    policy.limits.max_backlog = Some(1);
    queue.configure(&policy).await.unwrap();
    let id = queue.enqueue(keyed(1, "k")).await.unwrap().id();
    let again = queue.enqueue(keyed(1, "k")).await.unwrap();
    assert_eq!(again, Enqueued::Existing(id));
    assert_eq!(conflict(queue.enqueue(keyed(2, "k")).await), id);
    let refused = queue.enqueue(keyed(1, "other")).await.unwrap_err();
    assert!(matches!(refused, Error::Backlog { .. }), "{refused}");
    assert_eq!(queue.id_of_key("other").await.unwrap(), None);
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    assert_eq!(next(&mut seen, 1).await, [1]);
    worker.stop().await;
    assert!(is_new(queue.enqueue(keyed(1, "other")).await.unwrap()));
}
