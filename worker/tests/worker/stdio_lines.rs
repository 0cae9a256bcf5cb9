//! What a stdio child may write: odd lines cost the task that they name, or nobody.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use taskqueue_queue::State;

use crate::process::child::{child, child_with, python};
use crate::process::{Stage, last_error, patient, result};

/// Runs a task of type `odd`, which answers with `answer`, beside one that is at work meanwhile, in one child. Returns the
/// odd task and what the log says; nothing may have become of the other.
async fn beside_another(answer: &str) -> (taskqueue_queue::Task, String) {
    let stage = Stage::with_policy(&patient()).await;
    let script = format!(
        r#"if task["type"] == "other":
    begun("other")
    wait("odd")
    say(done={{"id": id, "result": os.getpid()}})
elif task["type"] == "last":
    say(done={{"id": id, "result": os.getpid()}})
else:
    wait("other")
    {answer}
    begun("odd")"#
    );
    let worker = stage
        .worker(&child(&script), &[("TASKQUEUE_CONCURRENCY", "3")])
        .await;
    let other = stage.enqueue("other", &json!(null)).await;
    let odd = stage.enqueue("odd", &json!({"a": 1})).await;
    let odd = stage
        .task_when(&odd, "the first attempt ends", |task| {
            task.finished.is_some() || task.state == State::Scheduled
        })
        .await;
    let other = stage.ended(&other).await;
    let last = stage.enqueue("last", &json!(null)).await;
    let last = stage.ended(&last).await;
    for task in [&other, &last] {
        assert_eq!(
            (task.state, task.attempts, task.losses),
            (State::Completed, 0, 0),
            "{:?}",
            task.errors
        );
    }
    assert_eq!(result(&other), result(&last), "the same child goes on");
    (odd, worker.log())
}

#[tokio::test]
async fn an_error_with_half_a_surrogate_is_the_task_s_own() {
    let (task, _) = beside_another(
        r#"say(dead={"id": id, "error": "cannot read " + os.fsdecode(b"\xe9t\xe9.txt")})"#,
    )
    .await;
    assert_eq!((task.state, task.losses), (State::Dead, 0));
    assert_eq!(last_error(&task), "cannot read \u{fffd}t\u{fffd}.txt");
}

#[tokio::test]
async fn a_line_in_another_encoding_is_read() {
    let (task, log) =
        beside_another(r#"out(b'{"dead":{"id":"%s","error":"caf\xe9"}}' % id.encode())"#).await;
    assert_eq!((task.state, task.losses), (State::Dead, 0));
    assert_eq!(last_error(&task), "caf\u{fffd}");
    assert!(log.contains("is not JSON in UTF-8"), "{log}");
}

#[tokio::test]
async fn a_number_that_is_none_is_null_and_that_is_said() {
    let (task, log) = beside_another(
        r#"say(done={"id": id, "result": {"mean": float("nan"), "most": float("inf")}})"#,
    )
    .await;
    assert_eq!((task.state, task.losses), (State::Completed, 0));
    assert_eq!(result(&task), r#"{"mean": null, "most": null}"#);
    assert!(log.contains("null for numbers that are none"), "{log}");
}

#[tokio::test]
async fn a_line_about_a_task_that_is_no_message_is_that_task_s_failure_alone() {
    for (answer, told) in [
        // It is told to drop the task, and does.
        (
            r#"say(finished={"id": id})
    while id not in cancelled: time.sleep(0.01)
    say(done={"id": id})"#,
            "unknown variant `finished`",
        ),
        (
            r#"out('{"done":{"id":"%s","result":undefined}}' % id)"#,
            "expected value",
        ),
        (r#"say(done={"id": id, "took": 5})"#, "unknown field `took`"),
        (r#"say(snooze={"id": id})"#, "missing field `seconds`"),
    ] {
        let (task, log) = beside_another(answer).await;
        assert_eq!(
            (task.state, task.attempts, task.losses),
            (State::Scheduled, 1, 0),
            "{answer}"
        );
        let error = last_error(&task);
        assert!(
            error.contains("which is no message") && error.contains(told),
            "{error}"
        );
        assert!(log.contains("which is no message"), "{log}");
    }
}

/// As `print` writes them in several threads: the ends of their lines come behind.
#[tokio::test]
async fn messages_that_came_to_stand_in_one_line_are_all_heard_and_an_odd_one_costs_its_own_task() {
    let script = r#"with changed:
    ids[task["type"]] = id
    changed.notify_all()
    changed.wait_for(lambda: len(ids) == 3)
if task["type"] == "one":
    out('{"done":{"id":"%s"}}{"done":{"id":"%s","took":5}} {"done":{"id":"%s","result":3}}\n\n' % (ids["one"], ids["two"], ids["three"]))"#;
    let stage = Stage::with_policy(&patient()).await;
    let worker = stage
        .worker(
            &child_with("ids = {}", script),
            &[("TASKQUEUE_CONCURRENCY", "3")],
        )
        .await;
    let mut tasks = Vec::new();
    for kind in ["one", "two", "three"] {
        let id = stage.enqueue(kind, &json!(null)).await;
        tasks.push((kind, id));
    }
    for (kind, id) in tasks {
        let task = stage
            .task_when(&id, "its attempt ends", |task| {
                task.finished.is_some() || !task.errors.is_empty()
            })
            .await;
        let wanted = if kind == "two" {
            (State::Scheduled, 1, 0)
        } else {
            (State::Completed, 0, 0)
        };
        assert_eq!((task.state, task.attempts, task.losses), wanted, "{kind}");
        if kind == "two" {
            assert!(last_error(&task).contains("unknown field `took`"));
        }
    }
    worker.signal(Signal::SIGTERM);
    let log = worker.exit_with_log().await;
    // Of the odd one, as a line of the process and as a failed attempt.
    assert_eq!(log.matches("which is no message").count(), 2, "{log}");
}

#[tokio::test]
async fn what_is_said_meanwhile_and_is_no_message_costs_nothing() {
    let (task, log) = beside_another(
        r#"say(progress={"id": id}); say(extend={"id": id, "seconds": "soon"}); say(done={"id": id})"#,
    )
    .await;
    assert_eq!(
        (task.state, task.attempts, task.losses),
        (State::Completed, 0, 0)
    );
    assert!(log.contains("missing field `progress`"), "{log}");
    assert!(log.contains("seconds is a number"), "{log}");
}

#[tokio::test]
async fn an_id_that_the_child_does_not_have_is_logged_and_nothing_else() {
    let (task, log) = beside_another(
        r#"say(dead={"id": "0" * 20, "error": "whose?"}); say(done={"id": id}); say(done={"id": id})"#,
    )
    .await;
    assert_eq!((task.state, task.losses), (State::Completed, 0));
    assert!(
        log.contains(&format!(
            "of task {}, which it does not have",
            "0".repeat(20)
        )),
        "{log}"
    );
    assert!(
        log.contains(&format!("of task {}, which it does not have", task.id)),
        "{log}"
    );
}

#[tokio::test]
async fn a_result_that_is_too_long_is_cut_and_says_so() {
    for (length, line) in [(100_000, 100_002), (3_000_000, 0)] {
        let (task, _) = beside_another(&format!(
            r#"say(done={{"id": id, "result": "x" * {length}}})"#
        ))
        .await;
        assert_eq!((task.state, task.losses), (State::Completed, 0));
        let told: Value = serde_json::from_str(&result(&task)).expect("JSON");
        assert_eq!(told["truncated"], true, "{told}");
        let bytes = told["bytes"].as_u64().expect("a number");
        assert!(bytes == line || (line == 0 && bytes > length), "{bytes}");
        assert!(
            told["head"].as_str().expect("a head").starts_with("\"xxx"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_flood_of_lines_that_are_no_messages_costs_no_task_and_a_bounded_share_of_the_log() {
    let (task, log) = beside_another(
        r#"for _ in range(50_000): out("noise")
    out("x" * 3_000_000)
    say(done={"id": id})"#,
    )
    .await;
    assert_eq!((task.state, task.losses), (State::Completed, 0));
    assert!(log.len() < 1024 * 1024, "{}", log.len());
}

#[tokio::test]
async fn a_byte_order_mark_before_the_first_line_is_skipped() {
    let stage = Stage::with_policy(&patient()).await;
    let start = r#"sys.stdout.buffer.write(b"\xef\xbb\xbf")"#;
    let script = r#"say(done={"id": id})"#;
    let _worker = stage.worker(&child_with(start, script), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    assert_eq!(stage.ended(&id).await.state, State::Completed);
}

#[tokio::test]
async fn a_line_before_the_child_is_ready_is_told_and_waited_out() {
    let stage = Stage::with_policy(&patient()).await;
    let start = r#"out("> worker@1.0.0 start")"#;
    let script = r#"say(done={"id": id})"#;
    let worker = stage.worker(&child_with(start, script), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    assert_eq!(stage.ended(&id).await.state, State::Completed);
    worker.logged("worker@1.0.0 start").await;
    worker.logged("belongs on standard error").await;
}

#[tokio::test]
async fn a_wait_above_the_most_is_the_most() {
    const A_LONG_TIME: u64 = 360 * 24 * 3600;
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"out('{"%s":{"id":"%s","seconds":%s}}' % (task["type"], id, task["payload"]))"#;
    let _worker = stage.worker(&child(script), &[]).await;
    for kind in ["snooze", "retry"] {
        for seconds in ["1e20", "1e400", "18446744073709551616"] {
            let id = stage.enqueue(kind, &json!(seconds)).await;
            let task = stage
                .task_when(&id, "it is put off", |task| task.state == State::Scheduled)
                .await;
            let wait = task.due.expect("it is due").duration_since(task.created);
            assert!(
                wait.unsigned_abs().as_secs() > A_LONG_TIME,
                "{kind} {seconds}: {wait:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_time_is_told_and_counts_as_none() {
    let stage = Stage::with_policy(&patient()).await;
    let script = r#"if task["type"] == "snooze" and not os.path.exists(task["payload"]):
    open(task["payload"], "w")
    say(snooze={"id": id, "seconds": -5})
elif task["type"] == "retry":
    say(retry={"id": id, "error": "x", "seconds": float("nan")})
else:
    say(extend={"id": id, "seconds": -1})
    say(done={"id": id})"#;
    let worker = stage.worker(&child(script), &[]).await;
    let snoozed = stage.enqueue("snooze", &json!(stage.path("seen"))).await;
    let task = stage.ended(&snoozed).await;
    assert_eq!((task.state, task.attempts), (State::Completed, 0));
    worker.logged("-5 seconds for task").await;
    worker.logged("-1 seconds for task").await;
    let retried = stage.enqueue("retry", &json!(null)).await;
    let task = stage
        .task_when(&retried, "it has failed", |task| !task.errors.is_empty())
        .await;
    // As the policy says, which is an hour.
    let wait = task.due.expect("it is due").duration_since(task.created);
    assert!(wait.unsigned_abs().as_secs() >= 3600, "{wait:?}");
}

#[tokio::test]
async fn a_child_that_writes_utf_16_is_told_so() {
    let stage = Stage::new().await;
    let script = r#"import sys, time
sys.stdout.buffer.write('\ufeff{"ready":{}}\n'.encode("utf-16-le"))
sys.stdout.flush()
time.sleep(1000)"#;
    let worker = stage.start(&python(script), &[]);
    let told = worker.answers("/readyz", 503).await;
    assert!(!told.is_empty());
    worker.logged("byte order mark of UTF-16").await;
}
