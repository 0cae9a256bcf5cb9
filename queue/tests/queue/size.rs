//! What a task costs Redis in memory.

use std::time::Duration;

use taskqueue_queue::testing::RedisServer;
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{NewTask, Payload};

use crate::testbed::{Running, queue, until};

const TASKS: u64 = 20_000;
/// On Redis 7.0, by which all is measured.
const MOST_BYTES: u64 = 300;
/// What the place in a sorted set by due time takes beside.
const MOST_BYTES_OF_TIME: u64 = 90;
/// On any other server: others allocate otherwise, Redis 8.0 a tenth more.
const MOST_BYTES_ELSEWHERE: u64 = 330;

async fn used(redis: &RedisServer) -> u64 {
    let info: redis::InfoDict = redis.command("INFO memory").await;
    info.get("used_memory").unwrap()
}

async fn promised(redis: &RedisServer) -> u64 {
    let info: redis::InfoDict = redis.command("INFO server").await;
    let version: String = info.get("redis_version").unwrap();
    if version.starts_with("7.0.") {
        MOST_BYTES
    } else {
        MOST_BYTES_ELSEWHERE
    }
}

fn batch(delay: Duration) -> Vec<NewTask> {
    let payload = Payload::of(&"x".repeat(98)).unwrap();
    (0..TASKS)
        .map(|_| NewTask::new("resize", payload.clone()).delay(delay))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_with_a_payload_of_100_bytes_takes_no_more_than_is_promised_in_any_state() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let empty = used(&redis).await;
    queue.enqueue_all(batch(Duration::ZERO)).await.unwrap();
    let waiting = (used(&redis).await - empty) / TASKS;

    let handler = |_: LeasedTask| async { Outcome::Completed(None) };
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(200));
    until(&client, &queue, "all done", |s| {
        s.counters.completed == TASKS
    })
    .await;
    worker.stop().await;
    let completed = (used(&redis).await - empty) / TASKS;

    let before = used(&redis).await;
    queue
        .enqueue_all(batch(Duration::from_hours(1)))
        .await
        .unwrap();
    let scheduled = (used(&redis).await - before) / TASKS;
    eprintln!(
        "bytes of Redis a task: {waiting} waiting, {completed} completed, {scheduled} scheduled"
    );
    let most = promised(&redis).await;
    for (state, bytes) in [
        ("waiting", waiting),
        ("completed", completed),
        ("scheduled", scheduled.saturating_sub(MOST_BYTES_OF_TIME)),
    ] {
        assert!(bytes <= most, "{bytes} bytes {state}");
    }
}
