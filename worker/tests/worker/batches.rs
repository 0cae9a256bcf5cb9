//! Many tasks in one call, as a user meets it: the real program, a real Redis, real children and servers.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use taskqueue_queue::testing::{eventually, ids};
use taskqueue_queue::{Cause, NewTask, Payload, State, Task, TaskId};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::process::{PATIENCE, Stage, Worker, last_error, patient, result};

/// Enqueues tasks with these numbers as payloads, all at once.
async fn put(stage: &Stage, numbers: std::ops::Range<u32>) -> Vec<TaskId> {
    let tasks = numbers.map(|number| {
        let payload = Payload::of(&number).expect("a payload");
        NewTask::new("count", payload)
    });
    let enqueued = stage.queue.enqueue_many(tasks.collect()).await;
    ids(&enqueued.expect("they are enqueued"))
}

/// Starts a worker with so many slots, whose batches are full with as many tasks and wait for them for a minute.
async fn worker(stage: &Stage, handler: &Value, tasks: u32) -> Worker {
    let mut handler = handler.clone();
    let kind = handler.as_object().expect("an object").keys().next();
    let kind = kind.expect("a handler").clone();
    handler[kind]["batch"] = json!({ "max": tasks, "wait": "1m" });
    let slots = tasks.to_string();
    let variables = [("TASKQUEUE_CONCURRENCY", slots.as_str())];
    stage.worker(&handler.to_string(), &variables).await
}

/// The tasks as they are after their first attempt.
async fn after_one_attempt(stage: &Stage, tasks: &[TaskId]) -> Vec<Task> {
    let mut after = Vec::new();
    for id in tasks {
        let ended = stage.task_when(id, "the first attempt ends", |task| {
            task.finished.is_some() || task.state == State::Scheduled
        });
        after.push(ended.await);
    }
    after
}

/// A child that does this with each `batch`, sorted by payload, and with each `id` that is cancelled.
fn child(on_batch: &str, on_cancel: &str) -> Value {
    let on_batch = on_batch.replace('\n', "\n        ");
    let script = format!(
        r#"
import json, os, sys, time
def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
say(ready={{}})
for line in sys.stdin:
    message = json.loads(line)
    if "batch" in message:
        batch = sorted(message["batch"], key=lambda task: task["payload"])
        {on_batch}
    else:
        id = message["cancel"]["id"]
        {on_cancel}
"#
    );
    json!({ "stdio": { "command": ["python3", "-c", script] } })
}

/// A command that does this with its `batch`, sorted by payload.
fn command(on_batch: &str) -> Value {
    let script = format!(
        r#"
import json, os, sys, time
def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
batch = sorted((json.loads(line) for line in sys.stdin), key=lambda task: task["payload"])
{on_batch}
"#
    );
    json!({ "exec": { "command": ["python3", "-c", script] } })
}

/// A server that answers to each batch with this status and with what `answer` makes of the ids, sorted by payload; and
/// what it was sent.
async fn server(
    status: u16,
    answer: impl Fn(&[Value]) -> String + Clone + Send + Sync + 'static,
) -> (Value, UnboundedReceiver<(HeaderMap, Vec<Value>)>) {
    let (sender, receiver) = unbounded_channel();
    let status = StatusCode::from_u16(status).expect("a status");
    let take = post(async move |headers: HeaderMap, body: String| {
        let batch: Value = serde_json::from_str(&body).expect("JSON");
        let mut events = batch.as_array().expect("an array").clone();
        events.sort_by_key(|event| event["data"].as_u64());
        let ids: Vec<Value> = events.iter().map(|event| event["id"].clone()).collect();
        let _ = sender.send((headers, events));
        (status, answer(&ids))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let router = Router::new().route("/tasks", take);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (
        json!({ "http": { "port": port, "path": "/tasks" } }),
        receiver,
    )
}

#[tokio::test]
async fn tasks_of_a_batch_come_in_one_line_and_are_answered_by_lines_of_their_own() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"say(done={"id": batch[0]["id"], "result": [task["payload"] for task in batch]})
say(retry={"id": batch[1]["id"], "error": "busy"})
say(dead={"id": batch[2]["id"], "error": "no such number"})
say(snooze={"id": batch[3]["id"], "seconds": 3600})"#;
    let _worker = worker(&stage, &child(script, "pass"), 4).await;
    let ids = put(&stage, 0..4).await;
    let tasks = after_one_attempt(&stage, &ids).await;
    let states: Vec<State> = tasks.iter().map(|task| task.state).collect();
    let (completed, scheduled, dead) = (State::Completed, State::Scheduled, State::Dead);
    assert_eq!(states, [completed, scheduled, dead, scheduled]);
    assert_eq!(result(&tasks[0]), "[0, 1, 2, 3]");
    assert_eq!((last_error(&tasks[1]), tasks[1].attempts), ("busy", 1));
    assert_eq!(last_error(&tasks[2]), "no such number");
    assert_eq!((tasks[3].attempts, tasks[3].errors.len()), (0, 0));
}

#[tokio::test]
async fn a_child_that_crashes_hands_back_what_it_has_not_answered_of_its_batch() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"if batch[0]["losses"] == 0 and len(batch) == 2:
    say(done={"id": batch[0]["id"]})
    os._exit(3)
for task in batch: say(done={"id": task["id"]})"#;
    let mut handler = child(script, "pass");
    handler["stdio"]["batch"] = json!({ "max": 2, "wait": "1s" });
    let variables = [("TASKQUEUE_CONCURRENCY", "2")];
    let _worker = stage.worker(&handler.to_string(), &variables).await;
    let ids = put(&stage, 0..2).await;
    for (id, losses) in ids.iter().zip([0, 1]) {
        let task = stage.ended(id).await;
        assert_eq!((task.state, task.losses), (State::Completed, losses));
    }
}

#[tokio::test]
async fn a_task_of_a_batch_is_cancelled_by_its_id_and_the_others_go_on() {
    let stage = Stage::with_policy(&patient()).await;
    let on_cancel =
        r#"say(retry={"id": id, "error": "cancelled"}); say(done={"id": batch[1]["id"]})"#;
    let _worker = worker(&stage, &child("pass", on_cancel), 2).await;
    let ids = put(&stage, 0..2).await;
    stage.active(2).await;
    // It is told to the child once that has the batch.
    stage.queue.cancel(&ids[0]).await.expect("it is marked");
    assert_eq!(stage.ended(&ids[0]).await.state, State::Cancelled);
    assert_eq!(stage.ended(&ids[1]).await.state, State::Completed);
}

#[tokio::test]
async fn a_batch_begins_with_what_it_has_when_the_worker_drains() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"for task in batch: say(done={"id": task["id"], "result": len(batch)})"#;
    let worker = worker(&stage, &child(script, "pass"), 5).await;
    let ids = put(&stage, 0..2).await;
    // What comes after the signal would be handed back.
    eventually(PATIENCE, "both are in flight", || async {
        let (_, metrics) = worker.get("/metrics").await.ok()?;
        let both = metrics.contains("taskqueue_worker_in_flight 2");
        both.then_some(())
    })
    .await;
    worker.signal(Signal::SIGTERM);
    for task in after_one_attempt(&stage, &ids).await {
        assert_eq!(
            (task.state, result(&task).as_str()),
            (State::Completed, "2")
        );
    }
    assert!(worker.exit().await.success());
}

#[tokio::test]
async fn a_batch_is_an_array_of_cloud_events_and_the_answer_says_how_each_task_ended() {
    let stage = Stage::with_policy(&patient()).await;
    let (handler, mut sent) = server(200, |ids| {
        json!([
            { "dead": { "id": ids[1], "error": "no such number" } },
            { "done": { "id": ids[0], "result": { "a": 1 } } },
            { "retry": { "id": ids[2], "error": "busy", "seconds": 60 } },
        ])
        .to_string()
    })
    .await;
    let _worker = worker(&stage, &handler, 3).await;
    let ids = put(&stage, 0..3).await;
    let tasks = after_one_attempt(&stage, &ids).await;
    assert_eq!(result(&tasks[0]), r#"{"a":1}"#);
    assert_eq!(
        (tasks[1].state, last_error(&tasks[1])),
        (State::Dead, "no such number")
    );
    assert_eq!(
        (tasks[2].state, last_error(&tasks[2])),
        (State::Scheduled, "busy")
    );
    let (headers, batch) = sent.recv().await.expect("a request");
    assert_eq!(
        headers[header::CONTENT_TYPE],
        "application/cloudevents-batch+json"
    );
    for (number, (event, id)) in batch.iter().zip(&ids).enumerate() {
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["id"], id.to_string());
        assert_eq!(
            (&event["type"], &event["source"]),
            (&json!("count"), &json!("/taskqueue/test/work"))
        );
        assert_eq!(
            (&event["attempt"], &event["losses"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(event["data"], json!(number));
        let control = event["control"].as_str();
        assert!(control.is_some_and(|url| url.starts_with("http://127.0.0.1:")));
    }
}

#[tokio::test]
async fn a_success_with_an_empty_body_completes_the_whole_batch() {
    let stage = Stage::with_policy(&patient()).await;
    let (handler, _sent) = server(200, |_| String::new()).await;
    let _worker = worker(&stage, &handler, 2).await;
    let ids = put(&stage, 0..2).await;
    for task in after_one_attempt(&stage, &ids).await {
        assert_eq!((task.state, result(&task).as_str()), (State::Completed, ""));
    }
}

#[tokio::test]
async fn a_status_that_is_no_success_is_that_of_each_task_of_the_batch() {
    for (status, state) in [(503, State::Scheduled), (422, State::Dead)] {
        let stage = Stage::with_policy(&patient()).await;
        let (handler, _sent) = server(status, |_| "as it is".to_owned()).await;
        let _worker = worker(&stage, &handler, 2).await;
        let ids = put(&stage, 0..2).await;
        for task in after_one_attempt(&stage, &ids).await {
            assert_eq!((task.state, task.attempts), (state, 1));
            let error = last_error(&task);
            assert!(error.starts_with(&format!("answered {status}")), "{error}");
        }
    }
}

#[tokio::test]
async fn a_task_that_the_answer_leaves_out_has_failed_and_one_that_it_does_not_have_is_told() {
    let stage = Stage::with_policy(&patient()).await;
    let (handler, _sent) = server(200, |ids| {
        let stranger = "0".repeat(ids[0].as_str().expect("text").len());
        json!([
            { "done": { "id": ids[0], "result": "first" } },
            { "dead": { "id": ids[0], "error": "second" } },
            { "done": { "id": stranger } },
            { "fine": { "id": ids[1] } },
        ])
        .to_string()
    })
    .await;
    let worker = worker(&stage, &handler, 3).await;
    let ids = put(&stage, 0..3).await;
    let tasks = after_one_attempt(&stage, &ids).await;
    assert_eq!(
        (tasks[0].state, result(&tasks[0]).as_str()),
        (State::Completed, "\"first\"")
    );
    let error = last_error(&tasks[1]);
    assert!(error.contains("which is no outcome of a task"), "{error}");
    let error = last_error(&tasks[2]);
    assert!(
        error.contains("does not say how this task ended"),
        "{error}"
    );
    worker.logged("which is none of its batch").await;
    worker.logged("the first counts").await;
}

#[tokio::test]
async fn an_answer_that_is_no_array_fails_each_task_and_is_shown() {
    let stage = Stage::with_policy(&patient()).await;
    let (handler, _sent) = server(200, |_| "ok".to_owned()).await;
    let _worker = worker(&stage, &handler, 2).await;
    let ids = put(&stage, 0..2).await;
    for task in after_one_attempt(&stage, &ids).await {
        let error = last_error(&task);
        assert!(
            error.contains("\"ok\", which is no array of outcomes"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_batch_is_a_line_for_each_task_on_standard_input_and_so_are_the_outcomes() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"say(done={"id": batch[0]["id"], "result": [batch[2]["payload"], os.environ["TASK_BATCH"], os.environ["TASK_TYPE"], os.environ.get("TASK_ID")]})
say(retry={"id": batch[1]["id"], "error": "busy"})
say(log={"id": batch[2]["id"], "line": "heard"})
assert batch[2]["control"].startswith("http://127.0.0.1:")"#;
    let _worker = worker(&stage, &command(script), 3).await;
    let ids = put(&stage, 0..3).await;
    let tasks = after_one_attempt(&stage, &ids).await;
    assert_eq!(result(&tasks[0]), r#"[2, "3", "count", null]"#);
    assert_eq!(
        (tasks[1].state, last_error(&tasks[1])),
        (State::Scheduled, "busy")
    );
    // Of it nothing was said, and the status is 0.
    assert_eq!(
        (tasks[2].state, result(&tasks[2]).as_str()),
        (State::Completed, "")
    );
    assert_eq!(stage.queue.logs(&ids[2]).await.expect("a log"), ["heard"]);
}

#[tokio::test]
async fn an_exit_status_is_that_of_the_tasks_of_the_batch_without_a_line() {
    for (status, state) in [(1, State::Scheduled), (65, State::Dead)] {
        let stage = Stage::with_policy(&patient()).await;
        let script = format!(
            r#"say(done={{"id": batch[1]["id"]}})
sys.stderr.write("oh no\n")
sys.exit({status})"#
        );
        let _worker = worker(&stage, &command(&script), 2).await;
        let ids = put(&stage, 0..2).await;
        let tasks = after_one_attempt(&stage, &ids).await;
        assert_eq!(tasks[1].state, State::Completed);
        assert_eq!(tasks[0].state, state);
        let error = last_error(&tasks[0]);
        assert!(
            error.starts_with(&format!("exit status {status}")),
            "{error}"
        );
        assert!(error.ends_with("oh no"), "{error}");
    }
}

#[tokio::test]
async fn outcomes_that_came_before_the_time_was_over_count_and_the_other_tasks_time_out() {
    let mut policy = patient();
    policy.timeout = Duration::from_secs(5);
    let stage = Stage::with_policy(&policy).await;
    let script = r#"say(done={"id": batch[0]["id"]})
time.sleep(20)"#;
    for handler in [command(script), child(script, "pass")] {
        let _worker = worker(&stage, &handler, 2).await;
        let ids = put(&stage, 0..2).await;
        let tasks = after_one_attempt(&stage, &ids).await;
        assert_eq!(tasks[0].state, State::Completed, "{handler}");
        assert_eq!(tasks[1].state, State::Scheduled, "{handler}");
        assert_eq!(tasks[1].errors[0].cause, Cause::Timeout, "{handler}");
    }
}
