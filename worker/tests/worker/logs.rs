//! A log that cannot be written costs lines, never work: the real program with a reader of its standard error that is gone,
//! or that does not read.

use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::json;
use taskqueue_queue::State;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStderr, Command};

use crate::process::{NATIVE, PROGRAM, Stage, Worker, shell};

/// A command with something to log.
const NOISY: &str = "for n in 1 2 3 4 5 6 7 8 9; do echo noise $n >&2; done; echo ok";

/// Starts a worker with this for its standard error.
fn start(stage: &Stage, handler: &str, stderr: impl Into<Stdio>) -> (Worker, Option<ChildStderr>) {
    let mut command = Command::new(PROGRAM);
    command
        .env("TASKQUEUE_REDIS_URL", stage.redis.url())
        .env("TASKQUEUE_HANDLER", handler)
        .env("TASKQUEUE_CONCURRENCY", "2");
    Worker::start_logging_to(&mut command, stderr)
}

/// Runs four tasks of a kind that the native handlers complete, and one that makes them panic, and stops the worker.
async fn works_and_stops(stage: &Stage, worker: Worker, handler: &str) {
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(stage.enqueue("echo", &json!("ok")).await);
    }
    // What the runtime says of a panic is lost as well.
    let bad = stage
        .enqueue("fail", &json!({"message": "as asked", "kind": "panic"}))
        .await;
    for id in ids {
        let task = stage.ended(&id).await;
        assert_eq!((task.state, task.attempts), (State::Completed, 0));
    }
    let bad = stage.ended(&bad).await;
    let wanted = if handler == NATIVE {
        (State::Dead, 3)
    } else {
        (State::Completed, 0)
    };
    assert_eq!((bad.state, bad.attempts), wanted);
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_reader_of_the_log_that_is_gone_costs_no_task_and_no_drain() {
    for handler in [shell(NOISY).as_str(), NATIVE] {
        let stage = Stage::new().await;
        let (worker, stderr) = start(&stage, handler, Stdio::piped());
        let mut lines = BufReader::new(stderr.expect("a pipe")).lines();
        loop {
            let line = lines.next_line().await.expect("a line");
            if line.expect("it goes on").contains("consuming") {
                break;
            }
        }
        drop(lines);
        works_and_stops(&stage, worker, handler).await;
    }
}

#[tokio::test]
async fn a_reader_of_the_log_that_does_not_read_costs_no_task_and_no_drain() {
    for handler in [shell(NOISY).as_str(), NATIVE] {
        let stage = Stage::new().await;
        let (unread, stderr) = std::io::pipe().expect("a pipe");
        // Keeps the pipe full.
        let _filling = Command::new("cat")
            .arg("/dev/zero")
            .stdout(stderr.try_clone().expect("a copy"))
            .kill_on_drop(true)
            .spawn()
            .expect("cat starts");
        let (worker, _) = start(&stage, handler, stderr);
        works_and_stops(&stage, worker, handler).await;
        drop(unread);
    }
}

#[tokio::test]
async fn a_program_that_cannot_say_why_it_ends_ends_with_the_same_code() {
    for stdout in [Stdio::null(), Stdio::piped()] {
        let mut command = Command::new(PROGRAM);
        let mut child = command
            .env_clear()
            .stdout(stdout)
            .stderr(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop((child.stdout.take(), child.stderr.take()));
        let status = child.wait().await.expect("it ends");
        assert_eq!(status.code(), Some(2));
    }
}

#[tokio::test]
async fn lines_come_in_their_order_and_the_last_ones_too() {
    let stage = Stage::new().await;
    let script = "for n in 1 2 3 4 5 6 7 8 9; do echo line $n >&2; done";
    let worker = stage
        .worker(&shell(script), &[("RUST_LOG", "info,=,loud")])
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    stage.ended(&id).await;
    worker.signal(Signal::SIGTERM);
    let log = worker.exit_with_log().await;
    let messages: Vec<String> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|event| event["message"].as_str().unwrap_or_default().to_owned())
        .collect();
    let noise: Vec<&str> = messages
        .iter()
        .filter_map(|message| message.strip_prefix("line "))
        .collect();
    assert_eq!(noise.concat(), "123456789");
    assert_eq!(messages.last().map(String::as_str), Some("drained"));
    assert!(messages[0].starts_with("RUST_LOG holds"), "{}", messages[0]);
}

#[tokio::test]
async fn a_panic_is_a_line_of_the_log() {
    let stage = Stage::new().await;
    let worker = stage.worker(NATIVE, &[]).await;
    let id = stage
        .enqueue("fail", &json!({"message": "as asked", "kind": "panic"}))
        .await;
    stage.ended(&id).await;
    worker.logged("panicked").await;
    let event = worker.event("panicked: as asked");
    assert_eq!(event["level"], "ERROR");
    let place = event["location"].as_str().expect("where it was");
    assert!(place.contains("native.rs:"), "{place}");
}

/// Clears a terminal, rings, does so by characters of C1, turns the direction of writing, and ends a line of the log.
const HOSTILE: &str = r"printf 'a\033[2Jb\007\302\2332J\342\200\256c\rforged\n' >&2; exit 65";

#[tokio::test]
async fn what_a_command_writes_steers_nobody_s_terminal_by_the_log() {
    for format in ["json", "text"] {
        let stage = Stage::new().await;
        let worker = stage.start(&shell(HOSTILE), &[("TASKQUEUE_LOG_FORMAT", format)]);
        let id = stage.enqueue("any", &json!(null)).await;
        assert_eq!(stage.ended(&id).await.state, State::Dead);
        worker.signal(Signal::SIGTERM);
        let log = worker.exit_with_log().await;
        let steers = |it: char| (it.is_control() && it != '\n') || it == '\u{202e}';
        assert!(!log.contains(steers), "{format}: {log:?}");
        assert!(log.contains("[2Jb"), "{format}: {log}");
        assert!(!log.lines().any(|line| line.starts_with("forged")), "{log}");
    }
}
