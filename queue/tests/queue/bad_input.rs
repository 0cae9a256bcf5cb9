//! Refusals: typed, naming field, value and limit, and leaving nothing half-written behind.

use std::time::Duration;

use taskqueue_queue::testing::RedisServer;
use taskqueue_queue::{Error, NewTask, Payload, Policy};

use crate::testbed::{queue, task, tasks};

/// Everything that Redis holds.
async fn contents(redis: &RedisServer) -> Vec<(String, Vec<u8>)> {
    let mut raw = redis.connection().await;
    let mut keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut raw)
        .await
        .unwrap();
    keys.sort();
    let mut all = Vec::new();
    for key in keys {
        let dump = redis::cmd("DUMP")
            .arg(&key)
            .query_async(&mut raw)
            .await
            .unwrap();
        all.push((key, dump));
    }
    all
}

#[tokio::test]
async fn a_refused_task_leaves_no_trace_not_even_of_its_batch() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let policy = Policy {
        max_payload_bytes: 10,
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    queue.enqueue_many(tasks(0..3)).await.unwrap();
    let before = contents(&redis).await;
    let payload = |text: &str| Payload::of(text).unwrap();
    let refused = [
        (
            NewTask::new("t", payload("123456789")),
            "payload has 11 bytes, the limit is 10",
        ),
        (
            NewTask::new("", payload("x")),
            r#"type "" is not allowed: 1 to 128 bytes without control characters"#,
        ),
        (
            NewTask::new("a\nb", payload("x")),
            r#"type "a\nb" is not allowed: 1 to 128 bytes without control characters"#,
        ),
        (
            NewTask::new("t".repeat(129), payload("x")),
            "type has 129 bytes, the limit is 128",
        ),
        (
            task(1).priority("absent"),
            r#"priority "absent" is not a level of queue test/jobs; it has: high, normal, low"#,
        ),
        (
            task(1).delay(Duration::MAX),
            r#"delay "18446744073709551615999 ms" is not allowed: 0 ms to 10 years"#,
        ),
    ];
    for (bad, message) in refused {
        let alone = queue.enqueue(bad.clone()).await.unwrap_err();
        assert_eq!(alone.to_string(), message);
        assert!(!alone.is_transient());
        let mut batch = tasks(0..2_000);
        batch.push(bad);
        assert_eq!(queue.enqueue_many(batch).await.unwrap_err(), alone);
    }
    assert_eq!(contents(&redis).await, before);
    queue
        .enqueue(NewTask::new("t".repeat(128), payload("12345678")))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_refused_policy_changes_nothing() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&Policy::default()).await.unwrap();
    let before = contents(&redis).await;
    let mut policy = Policy::default();
    policy.retry.backoff.jitter = 2.0;
    let refusal = queue.configure(&policy).await.unwrap_err();
    assert!(
        matches!(
            refusal,
            Error::Invalid {
                field: "retry.backoff.jitter",
                ..
            }
        ),
        "{refusal}"
    );
    assert_eq!(contents(&redis).await, before);
}

#[tokio::test]
async fn a_policy_in_redis_that_cannot_be_read_is_an_error_that_names_the_queue() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut raw = redis.connection().await;
    let mut command = redis::cmd("HSET");
    command
        .arg("tq:{test/jobs}:config")
        .arg("version")
        .arg(1)
        .arg("policy")
        .arg("{");
    command.exec_async(&mut raw).await.unwrap();
    let fault = queue.enqueue(task(1)).await.unwrap_err();
    assert!(
        fault
            .to_string()
            .starts_with("the policy of queue test/jobs in Redis cannot be read"),
        "{fault}"
    );
}
