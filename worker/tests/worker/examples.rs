//! The examples of handlers in other languages, as a user runs them: the real program, a real Redis, the real interpreter.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use taskqueue_queue::State;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::process::{PATIENCE, Stage, last_error, result};

fn example(path: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/workers");
    let path = folder.join(path).canonicalize().expect("it is there");
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Gives a worker what it can do and what it cannot, and looks at what becomes of it.
async fn counts_words(stage: &Stage, handler: &Value, wanted: &Value) {
    let variables = [("TASKQUEUE_CONCURRENCY", "4")];
    let _worker = stage.worker(&handler.to_string(), &variables).await;
    let texts = json!(["to be", "or not to be"]);
    let id = stage.enqueue("count-words", &texts).await;
    let other = stage.enqueue("paint-it-black", &texts).await;
    let task = stage.ended(&id).await;
    assert_eq!(task.state, State::Completed, "{:?}", task.errors);
    let counted: Value = serde_json::from_str(&result(&task)).expect("JSON");
    assert_eq!(&counted, wanted);
    let task = stage.ended(&other).await;
    assert_eq!(task.state, State::Dead);
    assert!(
        last_error(&task).contains("no task of type paint-it-black"),
        "{}",
        last_error(&task)
    );
}

fn words() -> Value {
    json!({ "be": 2, "not": 1, "or": 1, "to": 2 })
}

/// Starts a server on a port that is free, and returns its handler.
async fn server(command: &mut Command) -> (Child, Value) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let child = command
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the server starts");
    (child, json!({ "http": { "port": port, "path": "/tasks" } }))
}

#[tokio::test]
async fn the_example_in_python_counts_words() {
    let stage = Stage::new().await;
    let mut command = Command::new("python3");
    let (_server, handler) = server(command.arg(example("python/service.py"))).await;
    counts_words(&stage, &handler, &words()).await;
}

#[tokio::test]
async fn the_example_of_batches_in_python_counts_words() {
    let stage = Stage::new().await;
    let command = ["python3", &example("python/batch.py")];
    let batch = json!({ "max": 4, "wait": "100ms" });
    let handler = json!({ "stdio": { "command": command, "batch": batch } });
    counts_words(&stage, &handler, &words()).await;
}

#[tokio::test]
async fn the_example_in_node_counts_words() {
    let stage = Stage::new().await;
    let handler = json!({ "stdio": { "command": ["node", example("node/worker.js")] } });
    counts_words(&stage, &handler, &words()).await;
}

#[tokio::test]
async fn the_example_in_shell_counts_words() {
    let stage = Stage::new().await;
    let handler = json!({ "exec": { "command": [example("shell/task.sh")] } });
    counts_words(&stage, &handler, &json!({ "words": 6 })).await;
}

#[tokio::test]
async fn the_example_in_go_counts_words() {
    let stage = Stage::new().await;
    let program = stage.path("worker");
    let compiling = Command::new("go")
        .args(["build", "-o", &program, "."])
        .current_dir(example("go"))
        .status();
    let built = tokio::time::timeout(PATIENCE * 3, compiling).await;
    assert!(
        built
            .expect("it takes long")
            .expect("go is there")
            .success()
    );
    let (_server, handler) = server(&mut Command::new(&program)).await;
    counts_words(&stage, &handler, &words()).await;
}
