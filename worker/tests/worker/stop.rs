//! How a worker goes away: nothing is lost, and being stopped costs no task an attempt.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::json;
use taskqueue_queue::testing::eventually;
use taskqueue_queue::{NewTask, Payload, Snapshot, State};
use tokio::net::unix::pipe;

use crate::process::{self, NATIVE, PATIENCE, Stage, gone, shell};

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

/// What images have for their stop signals, by number: 37 is `SIGRTMIN+3`.
const STOP_SIGNALS: [(i32, &str); 9] = [
    (Signal::SIGTERM as i32, "SIGTERM"),
    (Signal::SIGINT as i32, "SIGINT"),
    (Signal::SIGQUIT as i32, "SIGQUIT"),
    (Signal::SIGHUP as i32, "SIGHUP"),
    (Signal::SIGUSR1 as i32, "SIGUSR1"),
    (Signal::SIGUSR2 as i32, "SIGUSR2"),
    (Signal::SIGPWR as i32, "SIGPWR"),
    (Signal::SIGWINCH as i32, "SIGWINCH"),
    (37, "SIGRTMIN+3"),
];

/// Without a terminal, and hearing what these tests themselves are kept from under nohup.
const AS_IN_A_CONTAINER: [&str; 3] = ["env", "--default-signal=HUP", "setsid"];

/// Sends a signal that may have no name here.
fn send(number: i32, pid: Pid) {
    let script = format!("kill -{number} {pid}");
    let sent = Command::new("bash").args(["-c", &script]).status();
    assert!(sent.expect("bash runs").success(), "{script}");
}

#[tokio::test]
async fn every_signal_that_an_image_may_stop_by_drains() {
    for (number, name) in STOP_SIGNALS {
        let stage = Stage::new().await;
        let (pids, gate) = (stage.path("pids"), stage.path("gate"));
        let variables = gated(&pids, &gate, "60s");
        let worker = stage.start_through(&AS_IN_A_CONTAINER, &shell(GATED), &variables);
        let id = stage.enqueue("any", &json!(null)).await;
        stage.lines("pids", 1).await;
        send(number, worker.pid);
        worker.logged("draining").await;
        assert_eq!(worker.event("told to stop: draining")["signal"], name);
        let left = stage.enqueue("any", &json!(null)).await;
        fs::write(&gate, "").expect("the gate opens");
        assert_eq!(worker.exit().await.code(), Some(0), "{name}");
        let task = stage.task(&id).await;
        assert_eq!(
            (task.state, task.attempts, task.losses),
            (State::Completed, 0, 0),
            "{name}"
        );
        let left = stage.task(&left).await;
        assert_eq!((left.state, left.attempts), (State::Waiting, 0), "{name}");
    }
}

/// As process 1 a program has no default action for any signal: what it does not hear does nothing.
#[tokio::test]
async fn process_1_of_a_container_drains_as_well() {
    for (number, name) in STOP_SIGNALS {
        let stage = Stage::new().await;
        let (pids, gate) = (stage.path("pids"), stage.path("gate"));
        let variables = gated(&pids, &gate, "60s");
        let mut words = AS_IN_A_CONTAINER.to_vec();
        words.push("unshare");
        if fs::metadata("/proc/self").expect("/proc is there").uid() != 0 {
            words.extend(["--user", "--map-root-user"]);
        }
        words.extend(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        let unshare = stage.start_through(&words, &shell(GATED), &variables);
        let id = stage.enqueue("any", &json!(null)).await;
        stage.lines("pids", 1).await;
        send(number, unshare.child().await);
        unshare.logged("draining").await;
        fs::write(&gate, "").expect("the gate opens");
        assert_eq!(unshare.exit().await.code(), Some(0), "{name}");
        let task = stage.task(&id).await;
        assert_eq!((task.state, task.losses), (State::Completed, 0), "{name}");
    }
}

#[tokio::test]
async fn what_nohup_keeps_away_does_not_stop_a_worker() {
    let stage = Stage::new().await;
    let worker = stage.start_through(&["nohup"], NATIVE, &[]);
    worker.ready().await;
    worker.signal(Signal::SIGHUP);
    let id = stage.enqueue("echo", &json!(1)).await;
    assert_eq!(stage.ended(&id).await.state, State::Completed);
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.event("told to stop: draining")["signal"], "SIGTERM");
    assert_eq!(worker.exit().await.code(), Some(0));
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
    eventually(PATIENCE, "it is at work with most of its slots", || async {
        let snapshot = counted(&stage, 1).await?;
        (snapshot.active > 50).then_some(())
    })
    .await;
    let told = Instant::now();
    first.signal(Signal::SIGTERM);
    assert_eq!(first.exit().await.code(), Some(0));
    println!("from SIGTERM to exit at full load: {:?}", told.elapsed());
    let left = counted(&stage, 0).await.expect("Redis answers");
    assert_eq!((left.active, left.counters.lost), (0, 0));
    assert!(left.counters.completed < TASKS, "it stopped before the end");
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
}

/// As a node that is taken away with a short notice: told to stop, and killed while it drains.
#[tokio::test]
async fn a_worker_that_is_killed_while_it_drains_loses_no_task() {
    let stage = Stage::new().await;
    let (pids, gate) = (stage.path("pids"), stage.path("gate"));
    let first = stage
        .worker(&shell(GATED), &gated(&pids, &gate, "60s"))
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    stage.lines("pids", 1).await;
    first.signal(Signal::SIGTERM);
    first.logged("draining").await;
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

/// Whoever reads a file that nothing is written to waits for ever, in a thread that nothing ends.
#[tokio::test]
async fn a_thread_that_a_task_left_behind_does_not_keep_the_worker() {
    let stage = Stage::new().await;
    let file = stage.path("fifo");
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("mkfifo runs").success());
    let worker = stage
        .worker(NATIVE, &[("TASKQUEUE_DRAIN_TIMEOUT", "100ms")])
        .await;
    let id = stage.enqueue("checksum", &json!(file)).await;
    let writer = eventually(PATIENCE, "a thread reads the file", || async {
        // Refused while nobody reads it.
        pipe::OpenOptions::new().open_sender(&file).ok()
    })
    .await;
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.exit().await.code(), Some(0));
    drop(writer);
    let task = stage.task(&id).await;
    assert_eq!((task.state, task.attempts), (State::Waiting, 0));
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
