//! The handlers that are built into the worker, for trying things out: chosen by the task's type, they show what a
//! task can do without any image of one's own.
//!
//! | type | payload | does |
//! |---|---|---|
//! | `echo` | anything | completes with the payload as its result |
//! | `sleep` | `{"ms": 250}` | completes after that time |
//! | `checksum` | `"/a/file"`, `{"path": "/a/file"}` or `{"text": "…"}` | completes with the SHA-256 in hexadecimal |
//! | `fail` | `{"message": "…", "kind": "retry"}`, or kind `dead` or `panic` | fails in that way |
//!
//! A payload of another shape and an unknown type are dead letters: no retry can help.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use taskqueue_queue::Payload;
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome};

/// The types that [`Native`] knows.
const TYPES: &str = "echo, sleep, checksum, fail";

/// How much of a file is read at once.
const PIECE: usize = 64 * 1024;

/// The built-in handlers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

#[derive(Deserialize)]
struct Sleep {
    ms: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Checksum {
    Bare(String),
    File { path: String },
    Text { text: String },
}

#[derive(Deserialize)]
struct Fail {
    message: String,
    #[serde(default)]
    kind: Kind,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Retry,
    Dead,
    Panic,
}

impl Handler for Native {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        let outcome = match task.kind.as_str() {
            "echo" => Ok(Outcome::Completed(Some(task.payload))),
            "sleep" => sleep(&task).await,
            "checksum" => checksum(&task).await,
            "fail" => fail(&task),
            unknown => Err(format!(
                "no native handler for tasks of type {unknown:?}; there are: {TYPES}"
            )),
        };
        outcome.unwrap_or_else(|error| Outcome::Dead { error })
    }
}

async fn sleep(task: &LeasedTask) -> Result<Outcome, String> {
    let Sleep { ms } = parse(task, r#"{"ms": 250}"#)?;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(Outcome::Completed(None))
}

async fn checksum(task: &LeasedTask) -> Result<Outcome, String> {
    let what = parse(
        task,
        r#""/a/file", {"path": "/a/file"} or {"text": "some text"}"#,
    )?;
    let hashed = tokio::task::spawn_blocking(move || match what {
        Checksum::Bare(path) | Checksum::File { path } => {
            hash_file(&path).map_err(|error| format!("{path}: {error}"))
        }
        Checksum::Text { text } => Ok(hexadecimal(&Sha256::digest(text))),
    });
    match hashed.await {
        Ok(Ok(hash)) => Payload::of(&hash)
            .map(|hash| Outcome::Completed(Some(hash)))
            .map_err(|error| error.to_string()),
        Ok(Err(error)) => Ok(Outcome::Retry { error, after: None }),
        Err(error) => Ok(Outcome::Retry {
            error: error.to_string(),
            after: None,
        }),
    }
}

#[allow(
    clippy::panic,
    reason = "a handler that panics is what this kind of failure shows"
)]
fn fail(task: &LeasedTask) -> Result<Outcome, String> {
    let Fail { message, kind } = parse(
        task,
        r#"{"message": "why", "kind": "retry" | "dead" | "panic"}"#,
    )?;
    match kind {
        Kind::Retry => Ok(Outcome::Retry {
            error: message,
            after: None,
        }),
        Kind::Dead => Ok(Outcome::Dead { error: message }),
        Kind::Panic => panic!("{message}"),
    }
}

fn parse<T: DeserializeOwned>(task: &LeasedTask, shape: &str) -> Result<T, String> {
    serde_json::from_slice(task.payload.as_bytes()).map_err(|error| {
        format!(
            "the payload of a {} task must be {shape}: {error}",
            task.kind
        )
    })
}

fn hash_file(path: &str) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            length => hasher.update(&piece[..length]),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
