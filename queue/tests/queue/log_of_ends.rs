//! The log of ends: what it tells, to whom, and that it stays within its bounds.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Cause, EndsBatch, EventLog, Happened, Logged, NewTask, Payload, Policy, Queue, Selection,
    State, TaskId,
};

use crate::testbed::{Running, SOON, brisk, queue, snapshot, task, tasks, until};

const NO_WAIT: Duration = Duration::ZERO;

fn logged(log: Logged) -> Policy {
    let mut policy = brisk();
    policy.retry.max_attempts = 2;
    policy.events = Some(EventLog {
        log,
        ..EventLog::default()
    });
    policy
}

/// Tasks of type `dead` die at once, those of type `failing` complete in their second attempt, all others in their first.
async fn by_type(task: LeasedTask) -> Outcome {
    let error = "it broke".to_owned();
    match (task.kind.as_str(), task.attempt) {
        ("dead", _) => Outcome::Dead { error },
        ("failing", 1) => Outcome::Retry { error, after: None },
        _ => Outcome::Completed(Some(Payload::of(&"result").unwrap())),
    }
}

async fn put(queue: &Queue, kind: &str) -> TaskId {
    let task = NewTask::new(kind, Payload::of(&7).unwrap());
    queue.enqueue(task).await.unwrap().id()
}

/// Reads until there are so many, and acknowledges them.
async fn read(queue: &Queue, reader: &str, count: usize) -> Vec<EndsBatch> {
    let mut reader = queue.ends("test", reader).unwrap();
    let mut batches: Vec<EndsBatch> = Vec::new();
    while batches.iter().map(|batch| batch.ends.len()).sum::<usize>() < count {
        let batch = reader.next(SOON).await.unwrap();
        assert!(!batch.is_empty(), "{batches:?}");
        reader.acknowledge(&batch).await.unwrap();
        batches.push(batch);
    }
    batches
}

#[tokio::test]
async fn each_end_is_told_once_with_all_there_is_to_know() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&logged(Logged::Ends)).await.unwrap();
    let full = NewTask::new("done", Payload::of(&7).unwrap())
        .priority("high")
        .unique("u", Duration::from_hours(1))
        .idempotency_key("i", Duration::from_hours(1))
        .concurrency_key("k");
    let done = queue.enqueue(full).await.unwrap().id();
    let plain = put(&queue, "done").await;
    let dead = put(&queue, "dead").await;
    let failing = put(&queue, "failing").await;
    let far = queue.enqueue(task(1).delay(SOON * 60)).await.unwrap().id();
    queue.cancel(&far).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    until(&client, &queue, "all have ended", |s| {
        s.counters.completed == 3 && s.counters.dead == 1
    })
    .await;
    worker.stop().await;

    let batches = read(&queue, "one", 5).await;
    let mut ends: Vec<_> = batches.into_iter().flat_map(|batch| batch.ends).collect();
    let numbers: Vec<u64> = ends.iter().map(|end| end.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    ends.sort_by_key(|end| end.task.id);
    let told: Vec<_> = ends.iter().map(|end| (end.task.id, end.what)).collect();
    let expected = [
        (done, Happened::Completed),
        (plain, Happened::Completed),
        (dead, Happened::Dead),
        (failing, Happened::Completed),
        (far, Happened::Cancelled),
    ];
    assert_eq!(told, expected);
    let first = &ends[0].task;
    assert_eq!(first.priority.as_deref(), Some("high"));
    assert_eq!(first.unique_key.as_deref(), Some("u"));
    assert_eq!(first.concurrency_key.as_deref(), Some("k"));
    assert_eq!(first.idempotency_key.as_deref(), Some("i"));
    assert_eq!(first.result, Some(Payload::of(&"result").unwrap()));
    assert_eq!(first.payload, Some(Payload::of(&7).unwrap()));
    assert!(first.worker.is_some() && first.started >= Some(first.created));
    let letter = &ends[2].task;
    assert_eq!((letter.state, letter.attempts), (State::Dead, 1));
    assert_eq!(letter.errors[0].message, "it broke");
    assert!(letter.worker.is_some());
    assert_eq!(ends[3].task.errors.len(), 1, "its first attempt");

    // A second death is another end.
    queue.redrive(Selection::All).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    let again = read(&queue, "one", 1).await;
    assert_eq!(
        (again[0].ends[0].number, again[0].ends[0].task.id),
        (6, dead)
    );
    worker.stop().await;
}

#[tokio::test]
async fn failed_and_lost_attempts_are_told_where_they_are_asked_for() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&logged(Logged::Attempts)).await.unwrap();
    let failing = put(&queue, "failing").await;
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    until(&client, &queue, "it has ended", |s| {
        s.counters.completed == 1
    })
    .await;
    worker.stop().await;
    let hangs = put(&queue, "hangs").await;
    let hang = |_: LeasedTask| std::future::pending();
    let doomed = Running::start(Worker::new(queue.clone(), hang));
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    let holder = queue.leases().await.unwrap()[0].1;
    doomed.crash().await;
    queue
        .release(&[holder], Cause::OomKilled, "pod a")
        .await
        .unwrap();

    let batches = read(&queue, "one", 3).await;
    let ends = batches.iter().flat_map(|batch| &batch.ends);
    let told: Vec<_> = ends.clone().map(|end| (end.task.id, end.what)).collect();
    let expected = [
        (failing, Happened::Failed),
        (failing, Happened::Completed),
        (hangs, Happened::Lost),
    ];
    assert_eq!(told, expected);
    let lost = ends.last().unwrap();
    assert_eq!(lost.task.losses, 1);
    assert!(lost.task.errors[0].message.contains("pod a"), "{lost:?}");
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was_and_another_takes_over_from_one_that_is_gone() {
    let redis = RedisServer::start_with_clock().await;
    let queue = queue(&redis).await;
    queue.configure(&logged(Logged::Ends)).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    queue.enqueue_many(tasks(0..10)).await.unwrap();
    let mut first = queue.ends("test", "first").unwrap();
    let count = async |reader: &mut taskqueue_queue::EndsReader, wanted: usize| {
        let mut batches = Vec::new();
        let mut ends = 0;
        while ends < wanted {
            let batch = reader.next(SOON).await.unwrap();
            ends += batch.ends.len();
            batches.push(batch);
        }
        assert_eq!(ends, wanted);
        batches
    };
    // Nothing is acknowledged, and it dies.
    count(&mut first, 10).await;
    let mut again = queue.ends("test", "first").unwrap();
    let batches = count(&mut again, 10).await;
    again.acknowledge(&batches[0]).await.unwrap();
    let acknowledged = batches[0].ends.len();
    let mut other = queue.ends("test", "other").unwrap();
    assert_eq!(other.next(NO_WAIT).await.unwrap().ends, []);
    // Another group has all of it for itself.
    let mut strangers = queue.ends("strangers", "first").unwrap();
    count(&mut strangers, 10).await;
    redis.move_clock(70);
    count(&mut other, 10 - acknowledged).await;
    assert_eq!(other.next(NO_WAIT).await.unwrap().ends, []);
    worker.stop().await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_stays_within_its_bounds_and_says_what_was_missed() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let mut policy = logged(Logged::Ends);
    let log = policy.events.as_mut().unwrap();
    log.max_entries = 1_000;
    queue.configure(&policy).await.unwrap();
    let mut reader = queue.ends("test", "slow").unwrap();
    let worker = Running::start(Worker::new(queue.clone(), by_type).concurrency(50));
    queue.enqueue_many(tasks(0..100)).await.unwrap();
    until(&client, &queue, "the first", |s| {
        s.counters.completed == 100
    })
    .await;
    let mut seen = 0;
    while seen < 100 {
        let batch = reader.next(SOON).await.unwrap();
        reader.acknowledge(&batch).await.unwrap();
        seen += batch.ends.len();
    }
    queue.enqueue_many(tasks(0..5_000)).await.unwrap();
    until(&client, &queue, "all", |s| s.counters.completed == 5_100).await;
    worker.stop().await;
    let held: Vec<_> = {
        let mut held = Vec::new();
        loop {
            let batch = reader.next(NO_WAIT).await.unwrap();
            if batch.ends.is_empty() {
                break held;
            }
            held.push(batch);
        }
    };
    let numbers = held
        .iter()
        .flat_map(|batch| batch.ends.iter().map(|end| end.number));
    let numbers: Vec<u64> = numbers.collect();
    assert!((800..=1_000).contains(&numbers.len()), "{}", numbers.len());
    let first = 5_101 - numbers.len() as u64;
    assert!(
        numbers.iter().copied().eq(first..5_101),
        "the last, without a gap"
    );
    let last = held.last().unwrap();
    assert_eq!((last.skipped, last.unread), (first - 101, 0));
    let counters = snapshot(&queue, &client).await.counters;
    assert_eq!((counters.logged, counters.unlogged), (5_100, 0));
}

#[tokio::test]
async fn by_bytes_too_and_a_log_that_is_switched_off_goes_in_a_week() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let mut policy = logged(Logged::Ends);
    let log = policy.events.as_mut().unwrap();
    log.max_bytes = 1024 * 1024;
    queue.configure(&policy).await.unwrap();
    let handler = |_: LeasedTask| async {
        let large = Payload::of(&"x".repeat(10_000)).unwrap();
        Outcome::Completed(Some(large))
    };
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(10));
    queue.enqueue_many(tasks(0..500)).await.unwrap();
    until(&client, &queue, "all", |s| s.counters.completed == 500).await;
    let bytes: u64 = redis
        .command("MEMORY USAGE tq:{test/jobs}:ends SAMPLES 0")
        .await;
    assert!((700_000..1_200_000).contains(&bytes), "{bytes}");
    policy.events = None;
    queue.configure(&policy).await.unwrap();
    let left: i64 = redis.command("TTL tq:{test/jobs}:ends").await;
    assert!(left > 600_000, "{left}");
    queue.enqueue(task(1)).await.unwrap();
    until(&client, &queue, "one more", |s| s.counters.completed == 501).await;
    worker.stop().await;
    assert_eq!(snapshot(&queue, &client).await.counters.logged, 500);
    // Switched on again, it stays.
    policy.events = Some(EventLog::default());
    queue.configure(&policy).await.unwrap();
    let left: i64 = redis.command("TTL tq:{test/jobs}:ends").await;
    assert_eq!(left, -1);
}

#[tokio::test]
async fn a_log_that_the_server_lost_goes_on_and_is_missed() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&logged(Logged::Ends)).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    let mut reader = queue.ends("test", "one").unwrap();
    assert!(reader.next(NO_WAIT).await.unwrap().is_empty());
    put(&queue, "done").await;
    until(&client, &queue, "one", |s| s.counters.completed == 1).await;
    let _: u64 = redis.command("DEL tq:{test/jobs}:ends").await;
    let second = put(&queue, "done").await;
    let batch = reader.next(SOON).await.unwrap();
    assert_eq!((batch.ends[0].task.id, batch.skipped), (second, 1));
    worker.stop().await;
}

#[tokio::test]
async fn what_others_have_written_into_the_log_is_passed_over() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&logged(Logged::Ends)).await.unwrap();
    for entry in ["a b c d", "n none x y", "n 1", "n 1 id record"] {
        let add = format!("XADD tq:{{test/jobs}}:ends * {entry}");
        let _: String = redis.command(&add).await;
    }
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    let done = put(&queue, "done").await;
    let batches = read(&queue, "one", 1).await;
    let ends: Vec<_> = batches.iter().flat_map(|batch| &batch.ends).collect();
    assert_eq!((ends.len(), ends[0].task.id), (1, done));
    worker.stop().await;
}

#[tokio::test]
async fn a_log_that_cannot_be_written_holds_up_nothing() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&logged(Logged::Ends)).await.unwrap();
    let _: String = redis.command("SET tq:{test/jobs}:ends none").await;
    let worker = Running::start(Worker::new(queue.clone(), by_type));
    queue.enqueue_many(tasks(0..10)).await.unwrap();
    put(&queue, "dead").await;
    let figures = eventually(SOON, "all have ended", async || {
        let figures = snapshot(&queue, &client).await;
        (figures.counters.completed == 10 && figures.counters.dead == 1).then_some(figures)
    })
    .await;
    assert_eq!(figures.counters.unlogged, 11);
    worker.stop().await;
}
