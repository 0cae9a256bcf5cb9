//! What a line of a child says: a message, something about one task that is not quite a message, or nothing. Strings and
//! numbers are read leniently, ids strictly: no task is charged for a line that does not name it. Pure.

use std::borrow::Cow;

use taskqueue_queue::TaskId;

use super::lines::Line;
use super::message::Message;
use super::named::named;
use super::repair::repair;

/// How much of a line is quoted.
const EXCERPT_BYTES: usize = 200;
/// How much of a result that is too long is kept.
const RESULT_HEAD_BYTES: usize = 4 * 1024;

/// What a line says.
#[derive(Debug)]
pub(super) enum Reading {
    /// A message.
    Message(Message),
    /// A message once its strings and numbers were mended, and what was wrong with it.
    Mended(Message, String),
    /// No message, but it names the task that it is about.
    Odd(Odd),
    /// Nothing that is meant for the worker, for this reason.
    Stray(String),
}

/// A line about one task that is no message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Odd {
    pub(super) id: TaskId,
    pub(super) kind: Kind,
    /// What it was and why it is no message.
    pub(super) why: String,
}

/// What an odd line was to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The task's end, well or not.
    End,
    /// The end of a task that no retry can help.
    Dead,
    /// The end of a task that is done, with a result that is too long: how it began, and the bytes of the line.
    Oversized { head: String, bytes: u64 },
    /// Something that is said meanwhile. Nothing is lost with it.
    Aside,
    /// Nobody knows, nor whether the child goes on with the task.
    Unknown,
}

/// Reads a line.
pub(super) fn read(line: &Line) -> Reading {
    match line {
        Line::Whole(bytes) => whole(bytes),
        Line::Long { head, bytes } => long(&String::from_utf8_lossy(head), *bytes),
        // Its writer is gone, which is told for itself: no task is charged for what was cut with it.
        Line::Unfinished(bytes) => match whole(bytes) {
            Reading::Odd(Odd { why, .. }) => Reading::Stray(why),
            reading => reading,
        },
        Line::Endless => Reading::Stray("it wrote a line without an end".to_owned()),
    }
}

fn whole(bytes: &[u8]) -> Reading {
    let (text, garbled) = match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(error) => (String::from_utf8_lossy(bytes), Some(error)),
    };
    let text = text.trim_start_matches('\u{feff}').trim();
    let error = match (serde_json::from_str(text), garbled) {
        (Ok(message), None) => return Reading::Message(message),
        (Ok(message), Some(error)) => return Reading::Mended(message, error.to_string()),
        (Err(error), _) => error,
    };
    let mended = repair(text);
    match serde_json::from_str(&mended) {
        Ok(message) => Reading::Mended(message, error.to_string()),
        Err(lasting) => {
            let why = no_message(text, &reason(bytes, &lasting));
            match named(&mended) {
                Some((kind, id)) => odd(&kind, id, why),
                None => Reading::Stray(why),
            }
        }
    }
}

fn long(head: &str, bytes: u64) -> Reading {
    let head = head.trim_start_matches('\u{feff}').trim_start();
    let why = no_message(head, &format!("it is {bytes} bytes long"));
    match named(head) {
        Some((kind, id)) if kind == "done" => {
            let result = head
                .split_once("\"result\"")
                .map_or("", |(_, result)| result);
            let result = result.trim_start().trim_start_matches(':').trim_start();
            let kept = &result[..result.floor_char_boundary(RESULT_HEAD_BYTES)];
            let kind = Kind::Oversized {
                head: kept.to_owned(),
                bytes,
            };
            Reading::Odd(Odd { id, kind, why })
        }
        Some((kind, id)) => odd(&kind, id, why),
        None => Reading::Stray(why),
    }
}

fn odd(kind: &str, id: TaskId, why: String) -> Reading {
    let kind = match kind {
        "done" | "retry" | "snooze" => Kind::End,
        "dead" => Kind::Dead,
        "progress" | "log" | "extend" => Kind::Aside,
        // What the child was told, come back: of use to whoever looks for a fault in it.
        "task" | "cancel" => return Reading::Stray(why),
        _ => Kind::Unknown,
    };
    Reading::Odd(Odd { id, kind, why })
}

fn reason(bytes: &[u8], error: &serde_json::Error) -> String {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            "it begins with the byte order mark of UTF-16: write UTF-8".to_owned()
        }
        _ => error.to_string(),
    }
}

fn no_message(line: &str, reason: &str) -> String {
    let head = &line[..line.floor_char_boundary(EXCERPT_BYTES)];
    format!(
        "it wrote {head:?} to its standard output, which is no message ({reason}): what is not for the worker belongs on standard error"
    )
}

#[cfg(test)]
mod tests;
