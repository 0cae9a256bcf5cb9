//! How a worker goes away: nothing is lost, and being stopped costs no task an attempt.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use taskqueue_queue::testing::eventually;
use taskqueue_queue::{NewTask, Payload, Snapshot, State};

mod process;

use process::{NATIVE, PATIENCE, Stage, gone, shell};

/// Commands that run until the gate is opened, or the stage is gone; each tells its process id.
const GATED: &str = r#"echo $$ >> "$PIDS"; while [ -e "$PIDS" ] && [ ! -e "$GATE" ]; do sleep 0.02; done; echo through"#;

/// The variables of a worker whose commands wait at the gate of the stage.
fn gated<'a>(pids: &'a str, gate: &'a str, drain_timeout: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("PIDS", pids),
        ("GATE", gate),
        ("TASKQUEUE_CONCURRENCY", "2"),
        ("TASKQUEUE_DRAIN_TIMEOUT", drain_timeout),
    ]
}

#[tokio::test]
async fn sigterm_lets_running_tasks_finish_and_takes_no_more() {
    let stage = Stage::new().await;
    let (pids, gate) = (stage.path("pids"), stage.path("gate"));
    let worker = stage
        .worker(&shell(GATED), &gated(&pids, &gate, "60s"))
        .await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(stage.enqueue("any", &json!(null)).await);
    }
    stage.lines("pids", 2).await;
    worker.signal(Signal::SIGTERM);
    worker.logged("draining").await;
    fs::write(&gate, "").expect("the gate opens");
    assert_eq!(worker.exit().await.code(), Some(0));
    for id in &ids[..2] {
        let task = stage.task(id).await;
        assert_eq!(
            (task.state, task.attempts, task.losses),
            (State::Completed, 0, 0)
        );
    }
    let left = stage.task(&ids[2]).await;
    assert_eq!(
        (left.state, left.attempts, left.losses),
        (State::Waiting, 0, 0)
    );
}

#[tokio::test]
async fn a_drain_that_takes_too_long_hands_back_and_ends_the_commands() {
    let stage = Stage::new().await;
    let (pids, gate) = (stage.path("pids"), stage.path("gate"));
    let worker = stage
        .worker(&shell(GATED), &gated(&pids, &gate, "200ms"))
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    let commands = stage.lines("pids", 1).await;
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.exit().await.code(), Some(0));
    let task = stage.task(&id).await;
    assert_eq!((task.state, task.attempts), (State::Waiting, 0));
    gone(&commands[0]).await;
}

#[tokio::test]
async fn a_second_signal_hands_back_at_once() {
    let stage = Stage::new().await;
    let (pids, gate) = (stage.path("pids"), stage.path("gate"));
    let worker = stage
        .worker(&shell(GATED), &gated(&pids, &gate, "1h"))
        .await;
    let ids = [
        stage.enqueue("any", &json!(null)).await,
        stage.enqueue("any", &json!(null)).await,
    ];
    let commands = stage.lines("pids", 2).await;
    worker.signal(Signal::SIGTERM);
    worker.logged("draining").await;
    worker.signal(Signal::SIGINT);
    assert_eq!(worker.exit().await.code(), Some(0));
    for (id, command) in ids.iter().zip(&commands) {
        let task = stage.task(id).await;
        assert_eq!((task.state, task.attempts), (State::Waiting, 0));
        gone(command).await;
    }
}

#[tokio::test]
async fn what_is_handed_back_runs_elsewhere() {
    let stage = Stage::new().await;
    let (pids, gate) = (stage.path("pids"), stage.path("gate"));
    let first = stage
        .worker(&shell(GATED), &gated(&pids, &gate, "0s"))
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    stage.lines("pids", 1).await;
    let _second = stage.worker(&shell("echo second"), &[]).await;
    first.signal(Signal::SIGTERM);
    let task = stage.ended(&id).await;
    assert_eq!((task.state, task.attempts), (State::Completed, 0));
    assert_eq!(process::result(&task), r#""second""#);
}

/// The queue's figures, once so many tasks are completed.
async fn counted(stage: &Stage, at_least: u64) -> Option<Snapshot> {
    let queues = std::slice::from_ref(&stage.queue);
    let snapshot = stage.client.snapshot(queues).await.pop()?.ok()?;
    (snapshot.counters.completed >= at_least).then_some(snapshot)
}

#[tokio::test]
#[allow(clippy::print_stdout, reason = "the figures are of interest")]
async fn a_drain_at_full_load_loses_nothing_and_spends_no_attempt() {
    const TASKS: u64 = 20_000;
    let stage = Stage::new().await;
    let many = [("TASKQUEUE_CONCURRENCY", "100")];
    let first = stage.worker(NATIVE, &many).await;
    let payload = Payload::of(&json!({ "ms": 15 })).expect("a payload");
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| NewTask::new("sleep", payload.clone()))
        .collect();
    for some in tasks.chunks(1_000) {
        stage
            .queue
            .enqueue_many(some.to_vec())
            .await
            .expect("they are enqueued");
    }
    let loaded = eventually(PATIENCE, "it is at work", || counted(&stage, 2_000)).await;
    assert!(loaded.active > 50, "{} at once", loaded.active);
    let told = Instant::now();
    first.signal(Signal::SIGTERM);
    assert_eq!(first.exit().await.code(), Some(0));
    let took = told.elapsed();
    let left = counted(&stage, 0).await.expect("Redis answers");
    assert_eq!((left.active, left.counters.lost), (0, 0));
    assert!(left.counters.completed < TASKS, "it stopped before the end");
    println!("from SIGTERM to exit at full load: {} ms", took.as_millis());
    let _second = stage.worker(NATIVE, &many).await;
    let done = eventually(PATIENCE, "all are done", || counted(&stage, TASKS)).await;
    let counters = done.counters;
    assert_eq!(
        (
            counters.completed,
            counters.failed,
            counters.retried,
            counters.dead
        ),
        (TASKS, 0, 0, 0)
    );
    // As a node that is taken away with two seconds' notice.
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn two_seconds_of_grace_lose_nothing() {
    let stage = Stage::new().await;
    let (pids, gate) = (stage.path("pids"), stage.path("gate"));
    let first = stage
        .worker(&shell(GATED), &gated(&pids, &gate, "60s"))
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    stage.lines("pids", 1).await;
    first.signal(Signal::SIGTERM);
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.signal(Signal::SIGKILL);
    assert_eq!(first.exit().await.code(), None);
    let _second = stage.worker(&shell("echo second"), &[]).await;
    let task = stage.ended(&id).await;
    assert_eq!(
        (task.state, task.attempts, task.losses),
        (State::Completed, 0, 1)
    );
}

#[tokio::test]
async fn tasks_of_a_killed_worker_run_elsewhere_and_lose_no_attempt() {
    let stage = Stage::new().await;
    let (pids, gate) = (stage.path("pids"), stage.path("gate"));
    let first = stage
        .worker(&shell(GATED), &gated(&pids, &gate, "60s"))
        .await;
    let ids = [
        stage.enqueue("any", &json!(null)).await,
        stage.enqueue("any", &json!(null)).await,
    ];
    stage.lines("pids", 2).await;
    first.signal(Signal::SIGKILL);
    assert_eq!(first.exit().await.code(), None);
    let _second = stage.worker(&shell("echo second"), &[]).await;
    for id in &ids {
        let task = stage.ended(id).await;
        assert_eq!(
            (task.state, task.attempts, task.losses),
            (State::Completed, 0, 1)
        );
    }
}

#[tokio::test]
async fn a_worker_that_was_frozen_ends_the_commands_whose_tasks_it_lost() {
    let stage = Stage::new().await;
    let (pids, gate) = (stage.path("pids"), stage.path("gate"));
    let first = stage
        .worker(&shell(GATED), &gated(&pids, &gate, "60s"))
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    let commands = stage.lines("pids", 1).await;
    first.signal(Signal::SIGSTOP);
    let _second = stage.worker(&shell("echo second"), &[]).await;
    let task = stage.ended(&id).await;
    assert_eq!(
        (process::result(&task).as_str(), task.losses),
        (r#""second""#, 1)
    );
    first.signal(Signal::SIGCONT);
    gone(&commands[0]).await;
    let metrics = first.answers("/metrics", 200).await;
    assert!(
        metrics.contains("taskqueue_worker_lease_losses_total 1"),
        "{metrics}"
    );
    first.ready().await;
}

#[tokio::test]
async fn a_worker_that_never_reached_redis_stops_all_the_same() {
    let mut stage = Stage::new().await;
    stage.redis.stop().await;
    let worker = stage.start(NATIVE, &[]);
    worker.logged("waiting for Redis").await;
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.exit().await.code(), Some(0));
}
