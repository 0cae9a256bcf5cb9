//! What a line of a child says: messages, something about one task that is not quite a message, or nothing. Strings and
//! numbers are read leniently, ids strictly: no task is charged for a line that does not name it. Pure.

use serde::de::IgnoredAny;
use taskqueue_queue::TaskId;

use super::lines::Line;
use super::message::Message;
use super::named::named;
use super::repair::repair;

/// How much of a line is quoted.
const EXCERPT_BYTES: usize = 200;
/// How much of a result that is too long is kept.
const RESULT_HEAD_BYTES: usize = 4 * 1024;

/// What a line says, or a part of it.
#[derive(Debug)]
pub(crate) enum Reading {
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
pub(crate) struct Odd {
    pub(crate) id: TaskId,
    pub(crate) kind: Kind,
    /// What it was and why it is no message.
    pub(crate) why: String,
}

/// What an odd line was to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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

/// What a line says and nobody has heard yet. Mostly that is one message; but those of several threads may come to stand in
/// one line, with the ends of their lines behind it, so that an empty line says nothing.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// What a line says that is not read bit by bit.
    all: Option<Reading>,
    text: String,
    /// How much of the text was read.
    at: usize,
    /// What was wrong with the line, if it had to be mended.
    wrong: Option<String>,
    /// It is in another encoding.
    utf_16: bool,
    /// The stream ended within it.
    cut: bool,
}

impl Said {
    /// What this line says.
    pub(crate) fn by(line: &Line) -> Self {
        match line {
            Line::Whole(bytes) => Self::text(bytes),
            Line::Unfinished(bytes) => Self {
                cut: true,
                ..Self::text(bytes)
            },
            Line::Long { head, bytes } => Self::all(long(&String::from_utf8_lossy(head), *bytes)),
            Line::Endless => Self::all(Reading::Stray("it wrote a line without an end".to_owned())),
        }
    }

    fn all(reading: Reading) -> Self {
        Self {
            all: Some(reading),
            ..Self::default()
        }
    }

    fn text(bytes: &[u8]) -> Self {
        let wrong = std::str::from_utf8(bytes).err();
        Self {
            text: String::from_utf8_lossy(bytes).into_owned(),
            wrong: wrong.map(|error| error.to_string()),
            utf_16: matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]),
            ..Self::default()
        }
    }

    /// Where the first of several things ends that are yet to be read.
    fn end_of_first(&mut self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let length = match object(rest) {
            Ok(length) => length,
            Err(error) => {
                let mended = repair(rest);
                let length = object(&mended).ok()?;
                if is_blank(&mended[length..]) {
                    return None;
                }
                self.wrong.get_or_insert(error);
                (self.text, self.at) = (mended, 0);
                length
            }
        };
        let end = self.at + length;
        (!is_blank(&self.text[end..])).then_some(end)
    }

    /// What a text says that is all of a message, or none.
    fn one(&self, text: &str) -> Reading {
        let error = match (serde_json::from_str(text), &self.wrong) {
            (Ok(message), None) => return Reading::Message(message),
            (Ok(message), Some(wrong)) => return Reading::Mended(message, wrong.clone()),
            (Err(error), _) => error,
        };
        let mended = repair(text);
        match serde_json::from_str(&mended) {
            Ok(message) => Reading::Mended(message, error.to_string()),
            Err(lasting) => {
                let why = no_message(text, &self.reason(&lasting));
                match named(&mended) {
                    Some((kind, id)) => odd(&kind, id, why),
                    None => Reading::Stray(why),
                }
            }
        }
    }

    fn reason(&self, error: &serde_json::Error) -> String {
        if self.utf_16 {
            return "it begins with the byte order mark of UTF-16: write UTF-8".to_owned();
        }
        error.to_string()
    }
}

/// Each is read when it is asked for: what a line says may take much more memory than the line.
impl Iterator for Said {
    type Item = Reading;

    fn next(&mut self) -> Option<Reading> {
        if let Some(all) = self.all.take() {
            return Some(all);
        }
        let rest = self.text[self.at..].trim_start_matches(is_skipped);
        self.at = self.text.len() - rest.len();
        if rest.is_empty() {
            return None;
        }
        let message = serde_json::from_str(rest).ok();
        if let (Some(message), None) = (message, &self.wrong) {
            self.at = self.text.len();
            return Some(Reading::Message(message));
        }
        if let Some(end) = self.end_of_first() {
            let first = self.one(&self.text[self.at..end]);
            self.at = end;
            return Some(first);
        }
        let last = self.one(self.text[self.at..].trim_end());
        self.at = self.text.len();
        Some(match last {
            // Its writer is gone, which is told for itself: no task is charged for what was cut with it.
            Reading::Odd(Odd { why, .. }) if self.cut => Reading::Stray(why),
            last => last,
        })
    }
}

/// The length of the object that a text begins with, or why it begins with none.
fn object(text: &str) -> Result<usize, String> {
    if !text.starts_with('{') {
        return Err("it is no object".to_owned());
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(_)) | None => Ok(values.byte_offset()),
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(is_skipped)
}

/// White space, and the byte order mark.
fn is_skipped(it: char) -> bool {
    it.is_whitespace() || it == '\u{feff}'
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

/// What a text is about one task that was to be of this kind, and is no message for this reason.
pub(crate) fn odd(kind: &str, id: TaskId, why: String) -> Reading {
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

fn no_message(line: &str, reason: &str) -> String {
    let head = &line[..line.floor_char_boundary(EXCERPT_BYTES)];
    format!(
        "it wrote {head:?} to its standard output, which is no message ({reason}): what is not for the worker belongs on standard error"
    )
}

#[cfg(test)]
mod tests;
