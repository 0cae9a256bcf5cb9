//! A stdio child whose channels break while its process lives, or live while its process is gone: it is replaced, and what
//! it never had costs nothing.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use taskqueue_queue::{Cause, Policy, State, Task};

use crate::process::child::{child, child_with, python};
use crate::process::{self, Stage, gone, last_error, patient, policy, result};

/// Until this is told, nothing has been.
const ONCE: &str = r#"first = not os.path.exists(os.environ["SEEN"])
open(os.environ["SEEN"], "a").close()"#;

/// Enqueues so many tasks, and has a child run them that is broken by `fault` the first time it starts. None may have
/// cost anything.
async fn broken_at_first(fault: &str, told: &str) {
    broken_at_first_under(Policy::default().timeout, fault, told).await;
}

/// The same with this time for each attempt.
async fn broken_at_first_under(timeout: Duration, fault: &str, told: &str) {
    let mut policy = policy();
    policy.retry.max_attempts = 2;
    policy.timeout = timeout;
    let stage = Stage::with_policy(&policy).await;
    let start = format!("{ONCE}\nif first:\n    {}", fault.replace('\n', "\n    "));
    let handler = child_with(&start, r#"say(done={"id": id})"#);
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(stage.enqueue("any", &json!(null)).await);
    }
    let seen = stage.path("seen");
    let variables = [("TASKQUEUE_CONCURRENCY", "4"), ("SEEN", seen.as_str())];
    let worker = stage.start(&handler, &variables);
    for id in &ids {
        let task = stage.ended(id).await;
        assert_eq!(
            (task.state, task.attempts, task.losses),
            (State::Completed, 0, 0),
            "{:?}",
            task.errors
        );
        assert!(task.errors.is_empty(), "{:?}", task.errors);
    }
    worker.logged(told).await;
}

/// It has completed after it lost its child once, for a reason that says so.
fn completed_after_a_loss(task: &Task, reason: &str) {
    assert_eq!(
        (task.state, task.attempts, task.losses),
        (State::Completed, 0, 1)
    );
    assert!(last_error(task).contains(reason), "{}", last_error(task));
}

#[tokio::test]
async fn a_child_that_closes_its_input_is_replaced_and_tasks_that_it_never_had_cost_nothing() {
    broken_at_first(
        "say(ready={})\nos.close(0)\nwhile True: time.sleep(1)",
        "it has closed its standard input",
    )
    .await;
}

#[tokio::test]
async fn a_child_that_never_reads_its_input_is_replaced_and_its_tasks_cost_nothing() {
    broken_at_first(
        "say(ready={})\nwhile True: time.sleep(1)",
        "it does not read its standard input",
    )
    .await;
}

#[tokio::test]
async fn the_time_of_a_task_does_not_run_before_the_child_has_read_it() {
    broken_at_first_under(
        Duration::from_secs(2),
        "say(ready={})\nwhile True: time.sleep(1)",
        "it does not read its standard input",
    )
    .await;
}

/// A child that reads one line after the other, and none behind a task that it goes on with for ever.
#[tokio::test]
async fn tasks_behind_one_that_the_child_does_not_drop_are_handed_back_and_cost_nothing() {
    let mut policy = patient();
    policy.timeout = Duration::from_secs(2);
    let stage = Stage::with_policy(&policy).await;
    let script = r#"import json, os, sys, time
def say(**message): print(json.dumps(message), flush=True)
lines = open(0, "rb", buffering=0)
say(ready={})
while line := lines.readline():
    message = json.loads(line)
    if "task" in message:
        task = message["task"]
        if task["type"] == "stuck":
            open(task["payload"], "w").write("begun\n")
            time.sleep(1000)
        say(done={"id": task["id"]})"#;
    let _worker = stage
        .worker(&python(script), &[("TASKQUEUE_CONCURRENCY", "3")])
        .await;
    let stuck = stage.enqueue("stuck", &json!(stage.path("begun"))).await;
    stage.lines("begun", 1).await;
    let mut behind = Vec::new();
    for _ in 0..2 {
        behind.push(stage.enqueue("any", &json!(null)).await);
    }
    for id in &behind {
        let task = stage
            .task_when(id, "its attempt ends", |task| {
                task.finished.is_some() || !task.errors.is_empty()
            })
            .await;
        assert_eq!(
            (task.state, task.attempts, task.losses),
            (State::Completed, 0, 0),
            "{:?}",
            task.errors
        );
    }
    assert_eq!(stage.task(&stuck).await.errors[0].cause, Cause::Timeout);
}

#[tokio::test]
async fn a_child_that_ends_before_it_has_read_its_tasks_costs_them_nothing() {
    // It has a task in its pipe when it ends, as it sees without reading it.
    broken_at_first(
        r#"import select
say(ready={})
select.select([0], [], [])
print("out of cheese", file=sys.stderr, flush=True)
os._exit(7)"#,
        "exit status 7: out of cheese",
    )
    .await;
}

#[tokio::test]
async fn a_child_that_closes_its_input_finishes_what_it_has_while_another_takes_over() {
    let stage = Stage::with_policy(&patient()).await;
    // Nothing may be reading it at that time, or it would stay open as long.
    let script = r#"import json, os, sys, time
def say(**message): print(json.dumps(message), flush=True)
say(ready={})
for line in sys.stdin:
    task = json.loads(line)["task"]
    if task["type"] == "closing":
        os.close(0)
        while not os.path.exists(task["payload"]): time.sleep(0.01)
    say(done={"id": task["id"], "result": os.getpid()})"#;
    let worker = stage
        .worker(&python(script), &[("TASKQUEUE_CONCURRENCY", "2")])
        .await;
    let closing = stage.enqueue("closing", &json!(stage.path("gate"))).await;
    worker.logged("it has closed its standard input").await;
    let other = stage.enqueue("other", &json!(null)).await;
    let other = stage.ended(&other).await;
    assert_eq!((other.state, other.losses), (State::Completed, 0));
    std::fs::write(stage.path("gate"), "").expect("the gate opens");
    let closing = stage.ended(&closing).await;
    assert_eq!(
        (closing.state, closing.attempts, closing.losses),
        (State::Completed, 0, 0),
        "{:?}",
        closing.errors
    );
    assert_ne!(result(&closing), result(&other));
    gone(&result(&closing)).await;
}

#[tokio::test]
async fn a_child_that_closes_its_output_is_replaced_and_what_it_had_is_a_loss() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"if task["losses"] == 0:
    os.close(1)
    time.sleep(1000)
say(done={"id": id})"#;
    let _worker = stage.worker(&child(script), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    completed_after_a_loss(&task, "it closed its standard output");
}

#[tokio::test]
async fn a_child_that_ends_is_noticed_although_what_it_started_keeps_its_channels_open() {
    let mut policy = patient();
    policy.timeout = Duration::from_hours(1);
    let stage = Stage::with_policy(&policy).await;
    let script = r#"if task["losses"] == 0:
    subprocess.Popen(["setsid", "sleep", "1000"], close_fds=False)
    say(log={"id": id, "line": "the last that it says"})
    os._exit(7)
say(done={"id": id})"#;
    let _worker = stage.worker(&child(script), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    completed_after_a_loss(&task, "exit status 7");
    let logs = stage.queue.logs(&id).await.expect("a log");
    assert_eq!(logs, ["the last that it says"]);
}

#[tokio::test]
async fn what_a_child_started_outside_of_its_group_is_killed_with_it() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"if task["type"] == "crash" and task["losses"] == 0: os._exit(7)
if task["type"] == "start":
    pids = [subprocess.Popen(["sleep", "1000"], start_new_session=True).pid for _ in range(2)]
    open(task["payload"], "a").write("".join(f"{pid}\n" for pid in pids))
say(done={"id": id})"#;
    let worker = stage.worker(&child(script), &[]).await;
    let start = stage.enqueue("start", &json!(stage.path("pids"))).await;
    assert_eq!(stage.ended(&start).await.state, State::Completed);
    let first = stage.lines("pids", 2).await;
    for pid in &first {
        assert!(process::runs(pid), "it is left alone while the child runs");
    }
    let crash = stage.enqueue("crash", &json!(null)).await;
    assert_eq!(stage.ended(&crash).await.state, State::Completed);
    for pid in &first {
        gone(pid).await;
    }
    let start = stage.enqueue("start", &json!(stage.path("pids"))).await;
    assert_eq!(stage.ended(&start).await.state, State::Completed);
    let pids = stage.lines("pids", 4).await;
    worker.signal(Signal::SIGTERM);
    assert!(worker.exit().await.success());
    for pid in &pids {
        gone(pid).await;
    }
}
