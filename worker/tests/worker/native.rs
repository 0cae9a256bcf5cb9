//! The built-in handlers, by way of a real queue.

use std::fs;

use serde_json::{Value, json};
use taskqueue_queue::{State, Task};

use crate::process::{NATIVE, Stage, last_error, result};

/// Runs one task of this type to its end.
async fn run(stage: &Stage, kind: &str, payload: Value) -> Task {
    let id = stage.enqueue(kind, &payload).await;
    stage.ended(&id).await
}

#[tokio::test]
async fn each_type_does_what_it_says() {
    let stage = Stage::new().await;
    let _worker = stage.worker(NATIVE, &[]).await;
    fs::write(stage.path("abc"), "abc").expect("a file");
    let abc = r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#;
    let file = stage.path("abc");
    for (kind, payload, expected) in [
        ("echo", json!({"a": [1, 2]}), r#"{"a":[1,2]}"#),
        ("sleep", json!({"ms": 1}), ""),
        ("checksum", json!(file), abc),
        ("checksum", json!({"path": file}), abc),
        ("checksum", json!({"text": "abc"}), abc),
    ] {
        let task = run(&stage, kind, payload.clone()).await;
        assert_eq!(
            (task.state, result(&task).as_str()),
            (State::Completed, expected),
            "{kind} {payload}"
        );
    }
}

#[tokio::test]
async fn failures_are_of_the_kind_asked_for() {
    let stage = Stage::new().await;
    let _worker = stage.worker(NATIVE, &[]).await;
    for (kind, attempts) in [("retry", 3), ("dead", 1), ("panic", 3)] {
        let task = run(&stage, "fail", json!({"message": "as asked", "kind": kind})).await;
        assert_eq!(
            (task.state, task.attempts),
            (State::Dead, attempts),
            "{kind}"
        );
        assert!(
            last_error(&task).contains("as asked"),
            "{kind}: {}",
            last_error(&task)
        );
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_tried_again_and_named() {
    let stage = Stage::new().await;
    let _worker = stage.worker(NATIVE, &[]).await;
    let task = run(&stage, "checksum", json!("/no/such/file")).await;
    assert_eq!(task.attempts, 3);
    assert!(
        last_error(&task).starts_with("/no/such/file: No such file"),
        "{}",
        last_error(&task)
    );
}

#[tokio::test]
async fn what_no_retry_can_help_is_a_dead_letter_that_names_the_fix() {
    let stage = Stage::new().await;
    let _worker = stage.worker(NATIVE, &[]).await;
    let unknown = run(&stage, "resize", json!(null)).await;
    assert_eq!((unknown.state, unknown.attempts), (State::Dead, 1));
    assert!(last_error(&unknown).contains(r#""resize"; there are: echo, sleep, checksum, fail"#));
    let shapeless = run(&stage, "sleep", json!("long")).await;
    assert_eq!((shapeless.state, shapeless.attempts), (State::Dead, 1));
    assert!(
        last_error(&shapeless).contains(r#"must be {"ms": 250}"#),
        "{}",
        last_error(&shapeless)
    );
}
