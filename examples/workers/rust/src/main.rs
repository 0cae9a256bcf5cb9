//! Tasks in Rust: handlers in the worker's own process, with types.
//!
//!     handler: {native: {}}
//!
//! The worker around them, with its drain, probes, metrics and spans, is the library's.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::json;
use taskqueue_queue::worker::{LeasedTask, Routes, TaskError};
use taskqueue_worker::run;

async fn count_words(
    texts: Vec<String>,
    task: LeasedTask,
) -> Result<BTreeMap<String, u64>, TaskError> {
    let mut counts = BTreeMap::new();
    for (done, text) in texts.iter().enumerate() {
        for word in text.split_whitespace() {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
        task.progress(&json!({ "done": done + 1, "of": texts.len() }))?;
    }
    Ok(counts)
}

#[tokio::main]
async fn main() -> ExitCode {
    run::serve(Routes::new().on("count-words", count_words)).await
}
