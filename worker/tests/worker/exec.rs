//! The exec handler as a user meets it: the real program, a real Redis, real commands.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use taskqueue_queue::testing::eventually;
use taskqueue_queue::{Cause, Policy, RetryPolicy, State};
use tokio::process::Command;

use crate::process::{self, PROGRAM, Stage, Worker, gone, last_error, policy, result, runs, shell};

#[tokio::test]
async fn the_payload_is_the_input_and_the_output_is_the_result() {
    let stage = Stage::new().await;
    let _worker = stage.worker(r#"{"exec":{"command":["cat"]}}"#, &[]).await;
    let id = stage.enqueue("any", &json!({"width": 640})).await;
    let task = stage.ended(&id).await;
    assert_eq!(task.state, State::Completed);
    assert_eq!(result(&task), r#"{"width":640}"#);
}

#[tokio::test]
async fn output_that_is_no_json_becomes_a_string() {
    let stage = Stage::new().await;
    let _worker = stage
        .worker(r#"{"exec":{"command":["xargs","sha256sum"]}}"#, &[])
        .await;
    fs::write(stage.path("empty file"), "").expect("a file");
    let id = stage.enqueue("any", &json!(stage.path("empty file"))).await;
    let task = stage.ended(&id).await;
    let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(
        result(&task),
        format!("\"{hash}  {}\"", stage.path("empty file"))
    );
}

#[tokio::test]
async fn a_command_knows_its_task_and_not_the_worker_s_secrets() {
    let stage = Stage::new().await;
    let variables = [
        ("ANY_OTHER", "is passed on"),
        ("OTEL_SERVICE_NAME", "is passed on too"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=hunter2"),
        ("TASKQUEUE_DRAIN_TOKEN", "hunter2"),
    ];
    let _worker = stage.worker(&shell("env"), &variables).await;
    let id = stage.enqueue("resize", &json!(null)).await;
    let environment = result(&stage.ended(&id).await);
    for variable in [
        &format!("TASK_ID={id}"),
        "TASK_TYPE=resize",
        "TASK_QUEUE=test/work",
        "TASK_ATTEMPT=1",
        "TASK_PRIORITY=normal",
        "ANY_OTHER=is passed on",
        "OTEL_SERVICE_NAME=is passed on too",
    ] {
        assert!(
            environment.contains(variable),
            "{variable} is not in {environment}"
        );
    }
    assert!(!environment.contains("TASKQUEUE_"), "{environment}");
    assert!(!environment.contains("redis://"), "{environment}");
    assert!(!environment.contains("hunter2"), "{environment}");
}

#[tokio::test]
async fn a_command_cannot_read_the_worker_s_environment_in_proc() {
    let stage = Stage::new().await;
    // Root may read everything, so the worker runs as someone else, as it does in a pod.
    let program = stage.path("worker");
    fs::copy(PROGRAM, &program).expect("a copy that anyone may run");
    fs::set_permissions(stage.folder.path(), fs::Permissions::from_mode(0o755))
        .expect("a folder for all");
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--",
        &program,
    ]);
    if fs::metadata("/proc/self").expect("/proc is there").uid() != 0 {
        command = Command::new(&program);
    }
    command
        .env("TASKQUEUE_REDIS_URL", stage.redis.url())
        .env("TASKQUEUE_HANDLER", shell("cat /proc/$PPID/environ"));
    let _worker = Worker::start(&mut command, stage.folder.path());
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!(task.state, State::Dead);
    assert!(
        last_error(&task).contains("Permission denied"),
        "{}",
        last_error(&task)
    );
}

#[tokio::test]
async fn exit_75_is_tried_again() {
    let stage = Stage::new().await;
    let script = r#"if [ "$TASK_ATTEMPT" = 1 ]; then echo "not yet" >&2; exit 75; fi; echo done"#;
    let worker = stage.worker(&shell(script), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!((task.state, task.attempts), (State::Completed, 1));
    assert_eq!(last_error(&task), "exit status 75 (EX_TEMPFAIL): not yet");
    for message in ["not yet", "attempt failed"] {
        let line = worker.event(message);
        let of = ["queue", "id", "type", "attempt"].map(|field| line[field].clone());
        let expected = json!(["test/work", id.to_string(), "any", 1]);
        assert_eq!(json!(of), expected, "{line}");
    }
    assert_eq!(worker.event("attempt failed")["error"], last_error(&task));
}

#[tokio::test]
async fn exit_65_is_a_dead_letter_at_once() {
    let stage = Stage::new().await;
    let _worker = stage
        .worker(&shell("echo no such image >&2; exit 65"), &[])
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!((task.state, task.attempts), (State::Dead, 1));
    assert_eq!(
        last_error(&task),
        "exit status 65 (EX_DATAERR): no such image"
    );
}

#[tokio::test]
async fn any_other_exit_status_is_tried_until_the_attempts_are_used_up() {
    let stage = Stage::new().await;
    let _worker = stage
        .worker(&shell("echo first >&2; echo last >&2; exit 3"), &[])
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!((task.state, task.attempts), (State::Dead, 3));
    assert_eq!(last_error(&task), "exit status 3: first\nlast");
}

#[tokio::test]
async fn a_signal_that_killed_the_command_is_named() {
    let stage = Stage::new().await;
    let _worker = stage.worker(&shell("kill -SEGV $$"), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    assert_eq!(last_error(&stage.ended(&id).await), "killed by SIGSEGV");
}

#[tokio::test]
async fn a_time_out_ends_the_whole_group_even_if_it_ignores_sigterm() {
    let once = RetryPolicy {
        max_attempts: 1,
        ..policy().retry
    };
    let stage = Stage::with_policy(&Policy {
        timeout: Duration::from_secs(2),
        retry: once,
        ..Policy::default()
    })
    .await;
    let script = r#"trap "" TERM; sleep 1000 & echo $$ >> "$PIDS"; echo $! >> "$PIDS"; wait"#;
    let worker = stage
        .worker(&shell(script), &[("PIDS", &stage.path("pids"))])
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!(
        task.errors.last().map(|failure| failure.cause),
        Some(Cause::Timeout)
    );
    for pid in stage.lines("pids", 2).await {
        gone(&pid).await;
    }
    worker.childless().await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_killed_and_reaped() {
    let stage = Stage::new().await;
    let worker = stage.worker(&shell("sleep 1000 & echo $!"), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!(task.state, State::Completed);
    gone(&result(&task)).await;
    worker.childless().await;
}

#[tokio::test]
async fn a_process_that_left_the_group_is_reaped_when_it_ends() {
    let stage = Stage::new().await;
    // The command waits for its daemon: what has not left the group by its end is killed with the group.
    let script = r#"setsid sh -c 'echo $$ > "$PIDS"; exec sleep 0.2' > /dev/null 2>&1 &
        while [ ! -s "$PIDS" ]; do sleep 0.01; done"#;
    let worker = stage
        .worker(&shell(script), &[("PIDS", &stage.path("pids"))])
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    assert_eq!(stage.ended(&id).await.state, State::Completed);
    gone(&stage.lines("pids", 1).await[0]).await;
    worker.childless().await;
}

#[tokio::test]
async fn what_left_the_group_is_killed_when_its_command_has_ended_and_no_other_s_is() {
    let stage = Stage::new().await;
    // One of them has lost its environment as well, so that it could be the other command's.
    let script = r#"start() { (setsid "$@" > /dev/null 2>&1 & echo $! >> "$PIDS.$TASK_TYPE"); }
        start sleep 1000; start env -i sleep 1000; start sh -c 'sleep 1000; true'
        while [ ! -e "$PIDS.$TASK_TYPE.end" ]; do sleep 0.01; done"#;
    let pids = stage.path("pids");
    let variables = [("PIDS", pids.as_str()), ("TASKQUEUE_CONCURRENCY", "2")];
    let worker = stage.worker(&shell(script), &variables).await;
    let first = stage.enqueue("first", &json!(null)).await;
    let second = stage.enqueue("second", &json!(null)).await;
    let of_first = stage.lines("pids.first", 3).await;
    let of_second = stage.lines("pids.second", 3).await;
    fs::write(stage.path("pids.first.end"), "").expect("a file");
    assert_eq!(stage.ended(&first).await.state, State::Completed);
    gone(&of_first[0]).await;
    gone(&of_first[2]).await;
    for pid in &of_second {
        assert!(runs(pid), "the other command's is left alone");
    }
    fs::write(stage.path("pids.second.end"), "").expect("a file");
    assert_eq!(stage.ended(&second).await.state, State::Completed);
    for pid in of_first.iter().chain(&of_second) {
        gone(pid).await;
    }
    worker.childless().await;
}

/// An agent of keys keeps others of its user from reading its environment.
#[tokio::test]
async fn a_daemon_that_is_to_stay_stays_although_its_environment_cannot_be_read() {
    let stage = Stage::new().await;
    let daemon = r#"import ctypes, os, sys, time
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
left, leave = os.pipe()
if os.fork() > 0:
    os.read(left, 1)
    sys.exit()
os.setsid()
for stream in (0, 1, 2): os.close(stream)
with open(os.environ["PIDS"], "a") as pids: pids.write(f"{os.getpid()}\n")
os.write(leave, b"!")
time.sleep(1000)"#;
    let script = r#"TASK_PROCESS= python3 -c "$DAEMON""#;
    let pids = stage.path("pids");
    // Root may read any environment.
    let words: &[&str] = if fs::metadata("/proc/self").expect("/proc is there").uid() == 0 {
        &["setpriv", "--bounding-set=-all"]
    } else {
        &[]
    };
    let variables = [("PIDS", pids.as_str()), ("DAEMON", daemon)];
    let worker = stage.start_through(words, &shell(script), &variables);
    for _ in 0..2 {
        let id = stage.enqueue("any", &json!(null)).await;
        assert_eq!(stage.ended(&id).await.state, State::Completed);
    }
    let pids = stage.lines("pids", 2).await;
    // By the end of the second command the first one's daemon would be gone and reaped.
    assert!(runs(&pids[0]), "it was to stay");
    worker.signal(Signal::SIGTERM);
    assert!(worker.exit().await.success());
    for pid in &pids {
        let pid = Pid::from_raw(pid.parse().expect("a process id"));
        let _ = kill(pid, Signal::SIGKILL);
    }
}

#[tokio::test]
async fn what_left_the_group_is_killed_with_an_attempt_that_is_cut_off() {
    let mut policy = policy();
    policy.timeout = Duration::from_secs(2);
    policy.retry.max_attempts = 1;
    let stage = Stage::with_policy(&policy).await;
    let script = r#"setsid sh -c 'trap "" TERM; echo $$ > "$PIDS"; sleep 1000; true' & sleep 1000"#;
    let worker = stage
        .worker(&shell(script), &[("PIDS", &stage.path("pids"))])
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!(task.errors[0].cause, Cause::Timeout);
    gone(&stage.lines("pids", 1).await[0]).await;
    worker.childless().await;
}

#[tokio::test]
async fn output_that_is_no_utf_8_says_so_and_nothing_of_it_is_replaced() {
    let stage = Stage::new().await;
    let worker = stage.worker(&shell(r"printf 'caf\351'"), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!(task.state, State::Completed);
    let told = r#"{"encoding":"base64","bytes":4,"data":"Y2Fm6Q=="}"#;
    assert_eq!(result(&task), told);
    worker.logged("result is not UTF-8").await;
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_the_output() {
    let stage = Stage::new().await;
    let script = r#"printf '\357\273\277{"width":640}\r\n'"#;
    let _worker = stage.worker(&shell(script), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    assert_eq!(result(&stage.ended(&id).await), r#"{"width":640}"#);
}

#[tokio::test]
async fn a_gigabyte_of_output_is_cut_and_costs_no_memory() {
    let stage = Stage::new().await;
    let worker = stage
        .worker(&shell("head -c 1073741824 /dev/zero"), &[])
        .await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!(task.state, State::Completed);
    assert!(
        result(&task).starts_with(r#"{"truncated":true,"bytes":1073741824,"head":"#),
        "{}",
        result(&task).len()
    );
    assert!(
        worker.peak_memory() < 64 * 1024,
        "{} KiB",
        worker.peak_memory()
    );
}

#[tokio::test]
async fn a_flood_of_errors_is_cut_in_the_log_and_the_message() {
    let stage = Stage::new().await;
    let script = "yes 'a line of noise' | head -c 100000000 >&2; echo the last words >&2; exit 65";
    let worker = stage.worker(&shell(script), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    let message = last_error(&task);
    assert!(
        message.starts_with("exit status 65 (EX_DATAERR): a line of noise\n"),
        "{message}"
    );
    assert!(
        message.ends_with("\nthe last words") && message.len() <= 1024,
        "{message}"
    );
    worker.logged("lines of stderr not logged").await;
    assert!(worker.log().len() < 1024 * 1024);
    assert!(
        worker.peak_memory() < 64 * 1024,
        "{} KiB",
        worker.peak_memory()
    );
}

#[tokio::test]
async fn a_command_need_not_read_its_payload() {
    let stage = Stage::new().await;
    let _worker = stage.worker(r#"{"exec":{"command":["true"]}}"#, &[]).await;
    let id = stage.enqueue("any", &json!("x".repeat(200_000))).await;
    let task = stage.ended(&id).await;
    assert_eq!((task.state, task.attempts), (State::Completed, 0));
}

#[tokio::test]
async fn a_command_that_vanishes_costs_no_attempt_and_readiness_names_it() {
    let stage = Stage::new().await;
    let program = stage.path("handler");
    let install = || {
        fs::write(&program, "#!/bin/sh\necho here again\n").expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it can be run");
    };
    install();
    let worker = stage
        .worker(&json!({"exec": {"command": [program]}}).to_string(), &[])
        .await;
    fs::remove_file(&program).expect("it is removed");
    let id = stage.enqueue("any", &json!(null)).await;
    let answer = worker.answers("/readyz", 503).await;
    assert!(
        answer.contains("handler cannot be started: No such file"),
        "{answer}"
    );
    install();
    let task = stage.ended(&id).await;
    assert_eq!((task.state, task.attempts), (State::Completed, 0));
    worker.ready().await;
}

#[tokio::test]
async fn commands_of_many_tasks_run_side_by_side() {
    let stage = Stage::new().await;
    // Each waits for all the others, so they end only if they run at the same time.
    let script = r#"echo x >> "$MET"; while [ "$(wc -l < "$MET")" -lt 8 ]; do sleep 0.01; done"#;
    let variables = [
        ("MET", stage.path("met")),
        ("TASKQUEUE_CONCURRENCY", "8".to_owned()),
    ];
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let worker = stage.worker(&shell(script), &variables).await;
    for _ in 0..8 {
        stage.enqueue("any", &json!(null)).await;
    }
    eventually(process::PATIENCE, "all are completed", || async {
        let (_, metrics) = worker.get("/metrics").await.ok()?;
        metrics
            .contains(r#"tasks_total{type="any",outcome="completed"} 8"#)
            .then_some(())
    })
    .await;
}
