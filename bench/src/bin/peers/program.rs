//! A peer's program: started with a command of the contract (bench/peers/README.md), its JSON read.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use taskqueue_queue::QueueName;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::Fault;

/// Longest time of a command that ends by itself.
const PATIENCE: Duration = Duration::from_mins(2);
/// Longest time from a worker's start until it says that it is ready, and until it has ended.
const START: Duration = Duration::from_secs(30);

/// What the enqueueing commands tell.
#[derive(Debug, Deserialize)]
pub(crate) struct Enqueued {
    pub(crate) count: u64,
    pub(crate) seconds: f64,
}

/// What the latency commands tell.
#[derive(Debug, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) latencies_us: Vec<f64>,
}

/// What `version` tells.
#[derive(Debug, Deserialize)]
pub(crate) struct Version {
    pub(crate) version: String,
}

/// A program, and the server that it is to use.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) words: Vec<PathBuf>,
    /// The worker program, of ours alone.
    pub(crate) worker: Option<PathBuf>,
    pub(crate) redis: String,
}

impl Program {
    /// Runs a command to its end and reads its line.
    pub(crate) async fn run<T: DeserializeOwned>(&self, words: &[String]) -> Result<T, Fault> {
        let child = self.command(words)?.stdin(Stdio::null()).spawn()?;
        let ended = timeout(PATIENCE, child.wait_with_output())
            .await
            .map_err(|_| format!("it has not ended within {} s", PATIENCE.as_secs()))??;
        let told = String::from_utf8_lossy(&ended.stdout);
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.stderr);
            return Err(format!("{}: {}", ended.status, last_lines(&said)).into());
        }
        serde_json::from_str(told.trim()).map_err(|fault| {
            let begins: String = told.chars().take(80).collect();
            format!("{fault} in what begins {begins:?}").into()
        })
    }

    /// Starts a worker, and waits until it says that it is ready.
    pub(crate) async fn work(&self, slots: usize) -> Result<Working, Fault> {
        let words = ["work".to_owned(), slots.to_string()];
        let mut child = self
            .command(&words)?
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("it has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        timeout(START, lines.next_line())
            .await
            .map_err(|_| "its worker does not start")??
            .ok_or("its worker has ended at once")?;
        Ok(Working { child })
    }

    /// Starts the worker program as a user does, for a queue of ours.
    pub(crate) fn work_by_program(
        &self,
        queue: &QueueName,
        slots: usize,
    ) -> Result<Working, Fault> {
        let worker = self.worker.as_ref().ok_or("it has no worker program")?;
        let child = Command::new(worker)
            .env("TASKQUEUE_QUEUE", queue.to_string())
            .env("TASKQUEUE_REDIS_URL", &self.redis)
            .env("TASKQUEUE_CONCURRENCY", slots.to_string())
            .env("TASKQUEUE_HANDLER", r#"{"native":{}}"#)
            .env("TASKQUEUE_HTTP_ADDRESS", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Working { child })
    }

    fn command(&self, words: &[String]) -> Result<Command, Fault> {
        let (program, rest) = self.words.split_first().ok_or("it has no program")?;
        let mut command = Command::new(program);
        command
            .args(rest)
            .args(words)
            .env("REDIS_URL", &self.redis)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }
}

/// A worker that runs until its input ends, or, where it has none, until it is killed.
pub(crate) struct Working {
    child: Child,
}

impl Working {
    /// Its process, while it runs.
    pub(crate) fn process(&mut self) -> Result<u32, Fault> {
        match self.child.try_wait()? {
            Some(status) => Err(format!("its worker has ended: {status}").into()),
            None => self.child.id().ok_or_else(|| "it has no process".into()),
        }
    }

    /// Ends it, by force if need be.
    pub(crate) async fn end(mut self) -> Result<(), Fault> {
        let asked = self.child.stdin.take().is_some();
        if !asked || timeout(START, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(5)..].join(" / ");
    last.chars().take(500).collect()
}
