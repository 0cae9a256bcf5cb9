//! What the worker says of itself: probes and metrics, with Redis there, away and back.

use serde_json::json;
use taskqueue_queue::testing::RedisServer;
use tokio::process::Command;

mod process;

use process::{NATIVE, PATIENCE, PROGRAM, Stage, Worker};

#[tokio::test]
async fn readiness_follows_redis_and_liveness_does_not() {
    let mut stage = Stage::new().await;
    let worker = stage.worker(NATIVE, &[]).await;
    stage.redis.stop().await;
    let answer = worker.answers("/readyz", 503).await;
    assert!(answer.ends_with("waiting for Redis to answer"), "{answer}");
    assert_eq!(worker.get("/livez").await.expect("it answers").0, 200);
    stage.redis.restart().await;
    worker.ready().await;
    let id = stage.enqueue("echo", &json!(1)).await;
    stage.ended(&id).await;
    let (_, metrics) = worker.get("/metrics").await.expect("it answers");
    assert!(
        metrics.contains("taskqueue_worker_reconnects_total 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_worker_started_before_redis_waits_for_it() {
    let mut stage = Stage::new().await;
    stage.redis.stop().await;
    let worker = stage.start(NATIVE, &[]);
    worker.logged("waiting for Redis").await;
    worker.answers("/readyz", 503).await;
    assert_eq!(worker.get("/livez").await.expect("it answers").0, 200);
    stage.redis.restart().await;
    worker.ready().await;
}

#[tokio::test]
async fn metrics_tell_tasks_by_type_and_outcome() {
    let stage = Stage::new().await;
    let worker = stage
        .worker(NATIVE, &[("TASKQUEUE_CONCURRENCY", "3")])
        .await;
    let echo = stage.enqueue("echo", &json!(1)).await;
    let fail = stage
        .enqueue("fail", &json!({"message": "no", "kind": "dead"}))
        .await;
    stage.ended(&echo).await;
    stage.ended(&fail).await;
    let answer = worker.answers("/metrics", 200).await;
    assert!(
        answer.contains("content-type: application/openmetrics-text"),
        "{answer}"
    );
    for line in [
        r#"taskqueue_worker_tasks_total{type="echo",outcome="completed"} 1"#,
        r#"taskqueue_worker_tasks_total{type="fail",outcome="dead"} 1"#,
        r#"taskqueue_worker_wait_seconds_count{type="echo"} 1"#,
        r#"taskqueue_worker_run_seconds_count{type="fail"} 1"#,
        "taskqueue_worker_in_flight 0",
        "taskqueue_worker_slots 3",
        "taskqueue_worker_lease_losses_total 0",
        "# EOF",
    ] {
        assert!(
            answer.lines().any(|found| found == line),
            "{line} is not in\n{answer}"
        );
    }
}

#[tokio::test]
async fn a_wrong_password_ends_the_worker_and_is_named_without_being_shown() {
    let redis = RedisServer::start_with(&["--requirepass", "correct"]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let address = redis
        .url()
        .rsplit_once(['/', '@'])
        .map(|(_, address)| address.to_owned())
        .expect("an address");
    let mut command = Command::new(PROGRAM);
    command
        .env("TASKQUEUE_REDIS_URL", format!("redis://:hunter2@{address}"))
        .env("TASKQUEUE_HANDLER", NATIVE);
    let worker = Worker::start(&mut command, folder.path());
    worker.logged("refused access").await;
    let log = worker.log();
    assert!(!log.contains("hunter2"), "{log}");
    let exited = tokio::time::timeout(PATIENCE, worker.exit())
        .await
        .expect("it exits");
    assert_eq!(exited.code(), Some(1));
}

#[tokio::test]
async fn a_redis_without_tls_needs_no_certificates() {
    let stage = Stage::new().await;
    // As in an image made from scratch.
    let nowhere = [
        ("SSL_CERT_FILE", "/nonexistent"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    stage.worker(NATIVE, &nowhere).await.ready().await;
}
