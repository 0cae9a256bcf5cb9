//! The lines between the worker and a `stdio` child: one JSON object each, with one field that names what it is. Pure.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use taskqueue_queue::worker::LeasedTask;
use taskqueue_queue::{Payload, TaskId};

use crate::wait;

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
    /// Where the task's handler can be heard, if not by lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<&'a str>,
    payload: &'a RawValue,
}

impl<'a> Task<'a> {
    fn new(task: &'a LeasedTask, control: Option<&'a str>, payload: &'a RawValue) -> Self {
        Self {
            id: task.id.as_str(),
            r#type: &task.kind,
            queue: task.queue.to_string(),
            attempt: task.attempt,
            losses: task.losses,
            priority: &task.priority,
            created: task.created,
            timeout_seconds: task.timeout.as_secs_f64(),
            traceparent: task.trace_parent.as_deref(),
            control,
            payload,
        }
    }
}

/// What a child writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Message {
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
        error: Words,
        #[serde(default)]
        seconds: Option<Seconds>,
    },
    /// The task failed for good.
    Dead {
        id: TaskId,
        #[serde(default)]
        error: Words,
    },
    /// The task is put off.
    Snooze { id: TaskId, seconds: Seconds },
    /// How far the attempt is.
    Progress { id: TaskId, progress: Box<RawValue> },
    /// A line for the task's log.
    Log { id: TaskId, line: Words },
    /// The attempt needs more time, from now.
    Extend { id: TaskId, seconds: Seconds },
}

impl Message {
    /// The task that it is about.
    pub(crate) fn id(&self) -> Option<TaskId> {
        match self {
            Self::Ready {} => None,
            Self::Done { id, .. }
            | Self::Retry { id, .. }
            | Self::Dead { id, .. }
            | Self::Snooze { id, .. }
            | Self::Progress { id, .. }
            | Self::Log { id, .. }
            | Self::Extend { id, .. } => Some(*id),
        }
    }
}

/// Text for people. An object, a number or whatever else a child gives instead is taken as its JSON.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) String);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        match json.get() {
            "null" => Ok(Self::default()),
            text if text.starts_with('"') => serde_json::from_str(text)
                .map(Self)
                .map_err(D::Error::custom),
            other => Ok(Self(other.to_owned())),
        }
    }
}

/// A span that a child has named, which may be no time at all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) Result<Duration, String>);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not by way of a number, which has bounds.
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let text = json.get();
        let number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        if !number {
            return Err(D::Error::custom(format!(
                "seconds is a number such as 1.5, and not {text}"
            )));
        }
        Ok(Self(wait::seconds(text).ok_or_else(|| text.to_owned())))
    }
}

/// The line that gives a task to a child.
pub(super) fn task(task: &LeasedTask) -> Vec<u8> {
    let payload = one_line(&task.payload);
    let Ok(payload) = serde_json::from_slice::<&RawValue>(&payload) else {
        // It is JSON by its type.
        return Vec::new();
    };
    line(&Order::Task(Task::new(task, None, payload)))
}

/// The line that gives many tasks to a child.
pub(super) fn batch(tasks: &[&LeasedTask]) -> Vec<u8> {
    let mut line = b"{\"batch\":[".to_vec();
    for (place, task) in tasks.iter().enumerate() {
        if place > 0 {
            line.push(b',');
        }
        line.extend(json(task, None));
    }
    line.extend(b"]}\n");
    line
}

/// A task as JSON in one line, without its end; `control` is where its handler can be heard, if not by lines.
pub(crate) fn json(task: &LeasedTask, control: Option<&str>) -> Vec<u8> {
    let payload = one_line(&task.payload);
    let Ok(payload) = serde_json::from_slice::<&RawValue>(&payload) else {
        // It is JSON by its type.
        return Vec::new();
    };
    serde_json::to_vec(&Task::new(task, control, payload)).unwrap_or_default()
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

    #[test]
    fn a_payload_of_many_lines_is_written_in_one() {
        let payload = Payload::json("{\n  \"a\": \"x\\ny\"\r\n}").expect("it is JSON");
        assert_eq!(one_line(&payload), b"{   \"a\": \"x\\ny\"  }");
    }
}
