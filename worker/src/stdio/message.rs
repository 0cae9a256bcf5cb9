//! The lines between the worker and a `stdio` child: one JSON object each, with one field that names what it is. Pure.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use taskqueue_queue::worker::LeasedTask;
use taskqueue_queue::{Payload, TaskId};

/// What the worker writes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Order<'a> {
    Task(Task<'a>),
    Cancel { id: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Task<'a> {
    id: &'a str,
    r#type: &'a str,
    queue: String,
    attempt: u32,
    losses: u32,
    priority: &'a str,
    created: jiff::Timestamp,
    timeout_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    payload: &'a RawValue,
}

/// What a child writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Message {
    /// It takes tasks from now on.
    Ready {},
    /// The task is done.
    Done {
        id: TaskId,
        #[serde(default)]
        result: Option<Box<RawValue>>,
    },
    /// The attempt failed.
    Retry {
        id: TaskId,
        #[serde(default)]
        error: String,
        #[serde(default)]
        seconds: Option<f64>,
    },
    /// The task failed for good.
    Dead {
        id: TaskId,
        #[serde(default)]
        error: String,
    },
    /// The task is put off.
    Snooze { id: TaskId, seconds: f64 },
    /// How far the attempt is.
    Progress { id: TaskId, progress: Box<RawValue> },
    /// A line for the task's log.
    Log { id: TaskId, line: String },
    /// The attempt needs more time, from now.
    Extend { id: TaskId, seconds: f64 },
}

/// A line that is no message.
#[derive(Debug)]
pub(super) struct Malformed {
    line: String,
    reason: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, reason } = self;
        let head = &line[..line.floor_char_boundary(200)];
        write!(
            f,
            "it wrote {head:?} to its standard output, which is no message ({reason}): what is not for the worker belongs on standard error"
        )
    }
}

impl Message {
    /// Reads a line.
    pub(super) fn parse(line: &str) -> Result<Self, Malformed> {
        serde_json::from_str(line).map_err(|error| Malformed {
            line: line.to_owned(),
            reason: error.to_string(),
        })
    }
}

/// A span that a child has named; what is no time counts as none at all.
pub(super) fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The line that gives a task to a child.
pub(super) fn task(task: &LeasedTask) -> Vec<u8> {
    let payload = one_line(&task.payload);
    let Ok(payload) = serde_json::from_slice::<&RawValue>(&payload) else {
        // It is JSON by its type.
        return Vec::new();
    };
    line(&Order::Task(Task {
        id: task.id.as_str(),
        r#type: &task.kind,
        queue: task.queue.to_string(),
        attempt: task.attempt,
        losses: task.losses,
        priority: &task.priority,
        created: task.created,
        timeout_seconds: task.timeout.as_secs_f64(),
        traceparent: task.trace_parent.as_deref(),
        payload,
    }))
}

/// The line that tells a child to stop working on a task.
pub(super) fn cancel(id: TaskId) -> Vec<u8> {
    line(&Order::Cancel { id: id.as_str() })
}

/// Line breaks in JSON stand between values, where any white space is as good.
fn one_line(payload: &Payload) -> Vec<u8> {
    let mut bytes = payload.as_bytes().to_vec();
    for byte in &mut bytes {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    bytes
}

fn line(order: &Order<'_>) -> Vec<u8> {
    // Plain structs always have a JSON form; the empty fallback is never seen.
    let mut line = serde_json::to_vec(order).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567890123456789";

    fn parse(line: &str) -> Result<Message, Malformed> {
        Message::parse(&line.replace("ID", &format!("\"{ID}\"")))
    }

    #[test]
    fn every_message_is_read() {
        for line in [
            r#"{"ready":{}}"#,
            r#"{"done":{"id":ID}}"#,
            r#"{"done":{"id":ID,"result":{"width":640}}}"#,
            r#"{"retry":{"id":ID,"error":"busy","seconds":1.5}}"#,
            r#"{"retry":{"id":ID}}"#,
            r#"{"dead":{"id":ID,"error":"no such file"}}"#,
            r#"{"snooze":{"id":ID,"seconds":60}}"#,
            r#"{"progress":{"id":ID,"progress":0.5}}"#,
            r#"{"log":{"id":ID,"line":"half way"}}"#,
            r#"{"extend":{"id":ID,"seconds":30}}"#,
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
        }
    }

    #[test]
    fn what_is_no_message_is_quoted_with_the_reason() {
        for (line, reason) in [
            ("hello", "expected value"),
            (r#"{"done":{"id":"7"}}"#, "id"),
            (r#"{"finished":{"id":ID}}"#, "unknown variant `finished`"),
            (r#"{"snooze":{"id":ID}}"#, "missing field `seconds`"),
            ("", "EOF"),
        ] {
            let told = parse(line).expect_err("it is refused").to_string();
            assert!(told.contains(reason), "{told}");
            assert!(told.contains("standard error"), "{told}");
        }
    }

    #[test]
    fn a_result_is_kept_to_the_letter() {
        let line = r#"{"done":{"id":ID,"result":{"b": 1.50, "n": 12345678901234567890123}}}"#;
        let Ok(Message::Done { result, .. }) = parse(line) else {
            unreachable!("it is read");
        };
        let result = result.expect("a result");
        assert_eq!(result.get(), r#"{"b": 1.50, "n": 12345678901234567890123}"#);
    }

    #[test]
    fn a_payload_of_many_lines_is_written_in_one() {
        let payload = Payload::json("{\n  \"a\": \"x\\ny\"\r\n}").expect("it is JSON");
        assert_eq!(one_line(&payload), b"{   \"a\": \"x\\ny\"  }");
    }
}
