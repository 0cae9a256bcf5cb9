//! The stdio handler as a user meets it: the real program, a real Redis, real children.

use std::time::Duration;

use serde_json::{Value, json};
use taskqueue_queue::testing::eventually;
use taskqueue_queue::{Cause, Policy, State};

use crate::process::child::child;
use crate::process::{self, PATIENCE, Stage, last_error, patient, result};

/// Runs one task of a child and returns it after its first attempt.
async fn one(on_task: &str) -> taskqueue_queue::Task {
    let stage = Stage::with_policy(&patient()).await;
    let _worker = stage.worker(&child(on_task), &[]).await;
    let id = stage.enqueue("any", &json!({ "a": 1 })).await;
    stage
        .task_when(&id, "the first attempt ends", |task| {
            task.finished.is_some() || task.state == State::Scheduled
        })
        .await
}

#[tokio::test]
async fn message_done_completes_with_its_result() {
    let task = one(r#"say(done={"id": id, "result": task})"#).await;
    assert_eq!(task.state, State::Completed);
    let told: Value = serde_json::from_str(&result(&task)).expect("JSON");
    assert_eq!(told["payload"], json!({ "a": 1 }));
    assert_eq!(told["type"], "any");
    assert_eq!(told["queue"], "test/work");
    assert_eq!((&told["attempt"], &told["losses"]), (&json!(1), &json!(0)));
    assert_eq!(told["timeoutSeconds"], task_timeout());
}

fn task_timeout() -> Value {
    json!(Policy::default().timeout.as_secs_f64())
}

#[tokio::test]
async fn message_retry_is_a_failed_attempt() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"say(retry={"id": id, "error": "busy", "seconds": 120})"#;
    let _worker = stage.worker(&child(script), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage
        .task_when(&id, "the first attempt ends", |task| {
            !task.errors.is_empty()
        })
        .await;
    assert_eq!((task.state, task.attempts), (State::Scheduled, 1));
    assert_eq!(last_error(&task), "busy");
    // So long after some time between its making and now, all by the clock of Redis.
    let now: Vec<i64> = stage.redis.command("TIME").await;
    let due = task.due.expect("it is due").as_millisecond() - 120_000;
    let possible = task.created.as_millisecond()..=now[0] * 1_000 + 999;
    assert!(possible.contains(&due), "{due} is not in {possible:?}");
}

#[tokio::test]
async fn message_dead_is_a_dead_letter() {
    let task = one(r#"say(dead={"id": id, "error": "no such image"})"#).await;
    assert_eq!(task.state, State::Dead);
    assert_eq!(last_error(&task), "no such image");
}

#[tokio::test]
async fn message_snooze_puts_off_and_costs_no_attempt() {
    let task = one(r#"say(snooze={"id": id, "seconds": 3600})"#).await;
    assert_eq!((task.state, task.attempts), (State::Scheduled, 0));
    assert!(task.errors.is_empty());
}

#[tokio::test]
async fn message_progress_log_and_extend_are_heard_while_the_task_runs() {
    let mut policy = patient();
    policy.timeout = Duration::from_secs(3);
    let stage = Stage::with_policy(&policy).await;
    let script = r#"say(progress={"id": id, "progress": 0.5})
say(log={"id": id, "line": "half way"})
say(extend={"id": id, "seconds": 60})
while not os.path.exists(task["payload"]): time.sleep(0.01)
time.sleep(4)
say(done={"id": id})"#;
    let _worker = stage.worker(&child(script), &[]).await;
    let id = stage.enqueue("any", &json!(stage.path("gate"))).await;
    let task = stage
        .task_when(&id, "progress is seen", |task| task.progress.is_some())
        .await;
    assert_eq!(task.progress.expect("progress").as_bytes(), b"0.5");
    std::fs::write(stage.path("gate"), "").expect("the gate opens");
    assert_eq!(stage.ended(&id).await.state, State::Completed);
    assert_eq!(stage.queue.logs(&id).await.expect("a log"), ["half way"]);
}

#[tokio::test]
async fn message_cancel_comes_when_a_task_is_cancelled() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"while id not in cancelled: time.sleep(0.01)
say(retry={"id": id, "error": "cancelled"})"#;
    let _worker = stage.worker(&child(script), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    stage.active(1).await;
    stage.queue.cancel(&id).await.expect("it is marked");
    assert_eq!(stage.ended(&id).await.state, State::Cancelled);
}

#[tokio::test]
async fn many_tasks_run_in_one_child_at_once() {
    let stage = Stage::new().await;
    // Each waits for all the others, so they end only if they run at the same time.
    let script = r#"begun(id)
with changed: changed.wait_for(lambda: len(met) == 8)
say(done={"id": id, "result": os.getpid()})"#;
    let _worker = stage
        .worker(&child(script), &[("TASKQUEUE_CONCURRENCY", "8")])
        .await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(stage.enqueue("any", &json!(null)).await);
    }
    let mut children = std::collections::BTreeSet::new();
    for id in &ids {
        children.insert(result(&stage.ended(id).await));
    }
    assert_eq!(children.len(), 1);
}

#[tokio::test]
async fn several_children_share_the_tasks() {
    let stage = Stage::new().await;
    let script = r#"time.sleep(0.5)
say(done={"id": id, "result": os.getpid()})"#;
    let mut handler: Value = serde_json::from_str(&child(script)).expect("JSON");
    handler["stdio"]["processes"] = json!(2);
    let worker = stage.start(&handler.to_string(), &[("TASKQUEUE_CONCURRENCY", "8")]);
    worker.ready().await;
    let mut children = std::collections::BTreeSet::new();
    while children.len() < 2 {
        let mut ids = Vec::new();
        for _ in 0..8 {
            ids.push(stage.enqueue("any", &json!(null)).await);
        }
        for id in &ids {
            children.insert(result(&stage.ended(id).await));
        }
    }
}

#[tokio::test]
async fn a_child_that_crashes_hands_back_what_it_had_and_is_started_again() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"begun(task["type"])
if task["losses"] == 0:
    wait("poison")
    wait("other")
    if task["type"] == "other": time.sleep(1000)
    print("out of cheese", file=sys.stderr, flush=True)
    os._exit(7)
say(done={"id": id})"#;
    let _worker = stage
        .worker(&child(script), &[("TASKQUEUE_CONCURRENCY", "2")])
        .await;
    let poison = stage.enqueue("poison", &json!(null)).await;
    let other = stage.enqueue("other", &json!(null)).await;
    for id in [&poison, &other] {
        let task = stage.ended(id).await;
        assert_eq!(task.state, State::Completed, "{:?}", task.errors);
        assert_eq!(task.losses, 1);
        assert_eq!(task.attempts, 0);
        let told = last_error(&task);
        assert!(told.contains("exit status 7: out of cheese"), "{told}");
        assert_eq!(task.errors[0].cause, Cause::WorkerLost);
    }
}

#[tokio::test]
async fn a_child_that_exits_between_tasks_is_started_again_and_costs_no_attempt() {
    let stage = Stage::with_policy(&patient()).await;
    // The next task may already be on its way to it: that is a loss, and no attempt.
    let script = r#"say(done={"id": id})
os._exit(0)"#;
    let _worker = stage
        .worker(&child(script), &[("TASKQUEUE_CONCURRENCY", "1")])
        .await;
    for _ in 0..3 {
        let id = stage.enqueue("any", &json!(null)).await;
        let task = stage.ended(&id).await;
        assert_eq!((task.state, task.attempts), (State::Completed, 0));
    }
}

#[tokio::test]
async fn a_poison_task_is_quarantined_and_takes_no_other_with_it() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"if task["type"] == "poison":
    os.kill(os.getpid(), 9)
time.sleep(0.05)
say(done={"id": id})"#;
    let worker = stage
        .worker(&child(script), &[("TASKQUEUE_CONCURRENCY", "4")])
        .await;
    let poison = stage.enqueue("poison", &json!(null)).await;
    let mut others = Vec::new();
    for _ in 0..40 {
        others.push(stage.enqueue("other", &json!(null)).await);
    }
    let task = stage.ended(&poison).await;
    assert_eq!((task.state, task.attempts), (State::Dead, 0));
    let most = Policy::default().max_losses;
    let told = last_error(&task);
    assert!(
        told.contains(&format!("lost its worker {} times", most + 1)),
        "{told}"
    );
    assert!(told.contains("SIGKILL"), "{told}");
    for id in &others {
        let task = stage.ended(id).await;
        assert_eq!(
            (task.state, task.attempts),
            (State::Completed, 0),
            "{:?}",
            task.errors
        );
    }
    worker.logged("runs alone").await;
}

#[tokio::test]
async fn a_line_that_is_no_message_is_told_and_costs_no_attempt() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"if task["type"] == "odd":
    print("hello, world", flush=True)
say(done={"id": id, "result": os.getpid()})"#;
    let worker = stage.worker(&child(script), &[]).await;
    let mut children = std::collections::BTreeSet::new();
    for kind in ["odd", "even"] {
        let id = stage.enqueue(kind, &json!(null)).await;
        let task = stage.ended(&id).await;
        assert_eq!(
            (task.state, task.attempts, task.losses),
            (State::Completed, 0, 0)
        );
        assert!(task.errors.is_empty(), "{:?}", task.errors);
        children.insert(result(&task));
    }
    assert_eq!(children.len(), 1, "the child goes on");
    worker.logged("hello, world").await;
    worker.logged("belongs on standard error").await;
}

#[tokio::test]
async fn a_child_that_never_says_that_it_is_ready_gets_nothing_and_is_told_of() {
    let stage = Stage::new().await;
    let handler = json!({ "stdio": { "command": ["sh", "-c", "echo starting; sleep 100"] } });
    let worker = stage.start(&handler.to_string(), &[]);
    let id = stage.enqueue("any", &json!(null)).await;
    worker.logged("starting").await;
    let fault = eventually(PATIENCE, "the queue knows of it", || async {
        let queues = std::slice::from_ref(&stage.queue);
        stage.client.snapshot(queues).await.pop()?.ok()?.fault
    })
    .await;
    assert!(fault.contains("which is no message"), "{fault}");
    let told = worker.answers("/readyz", 503).await;
    assert!(told.contains("takes no tasks"), "{told}");
    let task = stage.task(&id).await;
    assert_eq!(
        (task.state, task.attempts, task.losses),
        (State::Waiting, 0, 0)
    );
}

#[tokio::test]
async fn a_child_that_does_not_start_is_started_again_after_pauses_that_grow() {
    let stage = Stage::new().await;
    let handler = json!({ "stdio": { "command": ["sh", "-c", "echo starting >&2; exit 3"] } });
    let worker = stage.start(&handler.to_string(), &[]);
    let pauses = eventually(PATIENCE, "it is started again and again", || async {
        let log = worker.log();
        let again = log
            .lines()
            .filter(|line| line.contains("starting the handler's process again"));
        let pauses = again.map(|line| {
            let event: Value = serde_json::from_str(line).expect("an event");
            event["pause"].as_str().expect("a pause").to_owned()
        });
        let pauses: Vec<String> = pauses.collect();
        (pauses.len() >= 4).then_some(pauses)
    })
    .await;
    assert_eq!(pauses[..4], ["100ms", "200ms", "400ms", "800ms"]);
    let told = worker.answers("/readyz", 503).await;
    assert!(told.contains("exit status 3: starting"), "{told}");
}

#[tokio::test]
async fn a_worker_is_ready_once_its_child_is() {
    let stage = Stage::new().await;
    let gate = stage.path("gate");
    let script = r#"while [ ! -e "$GATE" ]; do sleep 0.02; done; echo '{"ready":{}}'; sleep 100"#;
    let handler = json!({ "stdio": { "command": ["sh", "-c", script] } });
    let worker = stage.start(&handler.to_string(), &[("GATE", &gate)]);
    worker.logged("consuming").await;
    let told = worker.answers("/readyz", 503).await;
    assert!(told.contains("waiting for the handler"), "{told}");
    std::fs::write(&gate, "").expect("the gate opens");
    worker.ready().await;
}

#[tokio::test]
async fn a_child_that_goes_on_with_a_task_whose_time_is_over_is_replaced_and_its_others_finish() {
    let mut policy = patient();
    policy.timeout = Duration::from_secs(4);
    let stage = Stage::with_policy(&policy).await;
    let script = r#"if task["type"] == "deaf":
    time.sleep(1000)
if task["type"] == "long":
    while not os.path.exists(task["payload"]):
        say(extend={"id": id, "seconds": 5})
        time.sleep(0.1)
say(done={"id": id, "result": os.getpid()})"#;
    let _worker = stage
        .worker(&child(script), &[("TASKQUEUE_CONCURRENCY", "3")])
        .await;
    let first = stage.enqueue("short", &json!(null)).await;
    let before = result(&stage.ended(&first).await);
    let deaf = stage.enqueue("deaf", &json!(null)).await;
    let long = stage.enqueue("long", &json!(stage.path("gate"))).await;
    let task = stage
        .task_when(&deaf, "its time is over", |task| !task.errors.is_empty())
        .await;
    assert_eq!(task.errors[0].cause, Cause::Timeout);
    eventually(PATIENCE, "another child has taken over", || async {
        let id = stage.enqueue("short", &json!(null)).await;
        let task = stage.ended(&id).await;
        (result(&task) != before).then_some(())
    })
    .await;
    std::fs::write(stage.path("gate"), "").expect("the gate opens");
    let task = stage.ended(&long).await;
    assert_eq!(
        (task.state, task.losses),
        (State::Completed, 0),
        "{:?}",
        task.errors
    );
    assert_eq!(result(&task), before, "it finished where it had begun");
    process::gone(&before).await;
}

#[tokio::test]
async fn a_line_without_end_is_not_kept() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"if task["losses"] == 0:
    for _ in range(1024): sys.stdout.write("x" * (1 << 20))
say(done={"id": id})"#;
    let worker = stage.worker(&child(script), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!((task.state, task.losses), (State::Completed, 1));
    assert!(
        last_error(&task).contains("a line of more than"),
        "{}",
        last_error(&task)
    );
    assert!(
        worker.peak_memory() < 40 * 1024,
        "{} KiB",
        worker.peak_memory()
    );
}

#[tokio::test]
async fn a_child_and_what_it_started_are_gone_with_the_worker() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"import subprocess, signal
other = subprocess.Popen(["sleep", "1000"])
open(task["payload"], "w").write(f"{os.getpid()}\n{other.pid}\n")
time.sleep(1000)"#;
    let worker = stage
        .worker(&child(script), &[("TASKQUEUE_DRAIN_TIMEOUT", "100ms")])
        .await;
    let id = stage.enqueue("any", &json!(stage.path("pids"))).await;
    let pids = stage.lines("pids", 2).await;
    worker.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(worker.exit().await.success());
    for pid in &pids {
        process::gone(pid).await;
    }
    let task = stage.task(&id).await;
    assert_eq!(
        (task.state, task.attempts, task.losses),
        (State::Waiting, 0, 0)
    );
}
