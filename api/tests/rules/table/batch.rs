//! Handlers that take many tasks at once.

use serde_json::{Value, json};

use super::{Edit, Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = [
        (
            "exec",
            "exec.batch.max must not be above worker.concurrency",
            json!({"command": ["true"]}),
        ),
        (
            "stdio",
            "stdio.batch.max must not be above worker.concurrency",
            json!({"command": ["true"]}),
        ),
        (
            "http",
            "http.batch.max must not be above worker.concurrency",
            json!({"port": 8080}),
        ),
    ]
    .into_iter()
    .map(|(name, message, handler)| {
        let batch = |max| batch(name, &handler, max, "50ms");
        row(message, [batch(1), batch(8)], [batch(9), batch(1_000)])
    })
    .collect();
    let exec = json!({"command": ["true"]});
    let wait = |wait| batch("exec", &exec, 2, wait);
    rows.push(row(
        "batch.wait must be a duration from 0s to 1m",
        [wait("0s"), wait("50ms"), wait("1m")],
        [wait("1m1s"), wait("61s"), wait("2h")],
    ));
    rows
}

/// A worker of eight slots.
fn batch(name: &str, handler: &Value, max: u32, wait: &str) -> Vec<Edit> {
    let mut handler = handler.clone();
    handler["batch"] = json!({"max": max, "wait": wait});
    vec![
        ("/spec/worker/concurrency", json!(8)),
        ("/spec/worker/handler", json!({name: handler})),
    ]
}
