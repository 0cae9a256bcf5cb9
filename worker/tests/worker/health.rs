//! What the worker says of itself: probes and metrics, with Redis there, away and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{self, Handler, LeasedTask, Outcome};
use taskqueue_worker::config::Concurrency;
use taskqueue_worker::fault::Fault;
use taskqueue_worker::health::{Drain, Health};
use taskqueue_worker::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::process::{NATIVE, PATIENCE, PROGRAM, Stage, Worker, get};

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

/// A handler that, once it is stuck, never comes back to whoever asks whether it takes tasks.
struct Sticky(Arc<AtomicBool>);

impl Handler for Sticky {
    async fn handle(&self, _: LeasedTask) -> Outcome {
        Outcome::Completed(None)
    }

    fn available(&self) -> bool {
        while self.0.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

#[tokio::test]
async fn a_fetch_loop_that_hangs_fails_liveness_until_it_turns_again() {
    let stage = Stage::new().await;
    let stuck = Arc::new(AtomicBool::new(false));
    let worker = worker::Worker::new(stage.queue.clone(), Sticky(Arc::clone(&stuck)));
    let drain = Drain::new(CancellationToken::new());
    let metrics = Metrics::new(Concurrency::default());
    let fault = Fault::new(metrics.handler_failures());
    let health = Health::new(metrics, fault, drain.clone());
    health.started(worker.probe());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let serving = tokio::spawn(health.serve(listener));
    // On a thread of its own, so that nothing else is held up.
    let stop = drain.stop.clone();
    let working = tokio::task::spawn_blocking(|| {
        Handle::current().block_on(worker.run(stop, CancellationToken::new()))
    });
    let answers = async |wanted: u16| {
        eventually(PATIENCE, "the probe answers so", || async {
            let (status, answer) = get(address, "/livez").await.ok()?;
            (status == wanted).then_some(answer)
        })
        .await
    };
    let id = stage.enqueue("any", &json!(1)).await;
    stage.ended(&id).await;
    answers(200).await;
    stuck.store(true, Ordering::Relaxed);
    let answer = answers(503).await;
    assert!(answer.contains("has not turned for"), "{answer}");
    stuck.store(false, Ordering::Relaxed);
    answers(200).await;
    drain.stop.cancel();
    working.await.expect("no panic").expect("it drains");
    serving.abort();
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

/// An evicting Redis takes tasks without a word; the worker has to say so.
#[tokio::test]
async fn a_redis_that_puts_tasks_at_risk_is_told_once_and_counted() {
    let stage = Stage::new().await;
    for setting in [
        "maxmemory 30mb",
        "maxmemory-policy allkeys-lru",
        "appendonly yes",
    ] {
        let _: () = stage.redis.command(&format!("CONFIG SET {setting}")).await;
    }
    let worker = stage.worker(NATIVE, &[]).await;
    worker
        .logged("CONFIG SET maxmemory-policy noeviction")
        .await;
    let metrics = eventually(PATIENCE, "the metric is there", || async {
        let (_, metrics) = worker.get("/metrics").await.ok()?;
        metrics.contains("redis_unsafe{").then_some(metrics)
    })
    .await;
    for line in [
        r#"taskqueue_worker_redis_unsafe{setting="maxmemory-policy"} 1"#,
        r#"taskqueue_worker_redis_unsafe{setting="appendonly"} 0"#,
        r#"taskqueue_worker_redis_unsafe{setting="role"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let log = worker.log();
    let told = log.lines().filter(|line| line.contains("EvictsTasks"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(
        told[0].contains("WARN") && told[0].contains("maxmemory-policy is allkeys-lru"),
        "{log}"
    );
}
