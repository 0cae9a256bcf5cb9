//! What a command writes to standard output, or an HTTP handler answers, as the task's result: how much of it is kept, and in what form.
//!
//! Pure: bytes in, JSON out. The contract:
//! - nothing (or only white space): the task has no result;
//! - one JSON value: that value, as it stands;
//! - anything else: a JSON string of it, without the last newline;
//! - too much of either: the head of it ([`Excess`]). The task still completes, because its work is done: a failed
//!   attempt would do it again and fail again. The object says that it is a part, so that nobody takes it for the whole.

use serde::Serialize;
use serde_json::value::RawValue;
use taskqueue_queue::Payload;
use taskqueue_queue::worker::{LeasedTask, Outcome};

/// How many bytes of the output are kept, and how long a result may be.
const RESULT_LIMIT: usize = 64 * 1024;

/// How many bytes of an output that is too long go into its result.
const HEAD_LIMIT: usize = 4 * 1024;

/// The beginning of a stream of any length, and that length.
#[derive(Debug, Default)]
pub(crate) struct Output {
    kept: Vec<u8>,
    total: u64,
}

/// The result of a task whose handler wrote more than a result can hold.
#[derive(Serialize)]
struct Excess {
    /// Always true.
    truncated: bool,
    /// How long the output was.
    bytes: u64,
    /// How it began.
    head: String,
}

impl Output {
    /// Takes the next piece of the stream; what does not fit is only counted.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let room = RESULT_LIMIT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
        self.total += piece.len() as u64;
    }

    /// How it began, as text of at most so many bytes.
    pub(crate) fn beginning(&self, bytes: usize) -> String {
        let text = String::from_utf8_lossy(&self.kept[..self.kept.len().min(bytes)]);
        text.into_owned()
    }

    /// The task's result, as JSON of at most [`RESULT_LIMIT`] bytes.
    pub(crate) fn into_result(self) -> Option<Vec<u8>> {
        if self.total > self.kept.len() as u64 {
            return Some(self.truncated());
        }
        let text = self.kept.trim_ascii();
        if text.is_empty() {
            return None;
        }
        if serde_json::from_slice::<&RawValue>(text).is_ok() {
            return Some(text.to_vec());
        }
        let line = self.kept.strip_suffix(b"\n").unwrap_or(&self.kept);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Escapes can make a string several times as long as what it says.
        let quoted = encode(&String::from_utf8_lossy(line));
        Some(if quoted.len() > RESULT_LIMIT {
            self.truncated()
        } else {
            quoted
        })
    }

    fn is_too_long(&self) -> bool {
        self.total > RESULT_LIMIT as u64
    }

    fn truncated(&self) -> Vec<u8> {
        let head = &self.kept[..self.kept.len().min(HEAD_LIMIT)];
        encode(&Excess {
            truncated: true,
            bytes: self.total,
            head: String::from_utf8_lossy(head).into_owned(),
        })
    }
}

/// The outcome of a task whose handler has done its work, and has written this.
pub(crate) fn completed(output: Output, task: &LeasedTask) -> Outcome {
    if output.is_too_long() {
        tracing::warn!(id = %task.id, r#type = task.kind, bytes = output.total, "result truncated");
    }
    match output.into_result().map(Payload::json).transpose() {
        Ok(result) => Outcome::Completed(result),
        Err(error) => Outcome::Dead {
            error: format!("the result cannot be stored: {error}"),
        },
    }
}

fn encode(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    // Strings and plain structs always have a JSON form; the empty fallback is never seen.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result_of(output: &[u8]) -> Option<String> {
        let mut kept = Output::default();
        output.chunks(1000).for_each(|piece| kept.push(piece));
        kept.into_result()
            .map(|json| String::from_utf8(json).expect("a result is UTF-8"))
    }

    #[test]
    fn no_output_is_no_result() {
        assert_eq!(result_of(b""), None);
        assert_eq!(result_of(b" \n\n"), None);
    }

    #[test]
    fn json_is_stored_as_it_stands() {
        assert_eq!(
            result_of(b"{\"b\": 1.50,  \"a\": [2]}\n").as_deref(),
            Some("{\"b\": 1.50,  \"a\": [2]}")
        );
        assert_eq!(
            result_of(b"12345678901234567890123\n").as_deref(),
            Some("12345678901234567890123")
        );
        assert_eq!(result_of(b"null").as_deref(), Some("null"));
    }

    #[test]
    fn text_becomes_a_string_without_its_last_newline() {
        assert_eq!(
            result_of(b"two\nlines\n").as_deref(),
            Some(r#""two\nlines""#)
        );
        assert_eq!(
            result_of(b"  keeps spaces \r\n").as_deref(),
            Some(r#""  keeps spaces ""#)
        );
        assert_eq!(
            result_of(b"{\"a\":1} {\"b\":2}\n").as_deref(),
            Some(r#""{\"a\":1} {\"b\":2}""#)
        );
        assert_eq!(
            result_of(b"not \xff UTF-8").as_deref(),
            Some("\"not \u{fffd} UTF-8\"")
        );
    }

    #[test]
    fn an_output_at_the_limit_is_whole_and_one_byte_more_is_truncated() {
        let whole = format!("\"{}\"", "x".repeat(RESULT_LIMIT - 2));
        assert_eq!(result_of(whole.as_bytes()).as_deref(), Some(whole.as_str()));

        let longer = format!("\"{}\"", "x".repeat(RESULT_LIMIT - 1));
        let result: serde_json::Value =
            serde_json::from_str(&result_of(longer.as_bytes()).expect("a result")).expect("JSON");
        assert_eq!(result["truncated"], true);
        assert_eq!(result["bytes"], RESULT_LIMIT as u64 + 1);
        assert_eq!(result["head"].as_str().map(str::len), Some(HEAD_LIMIT));
    }

    #[test]
    fn text_that_grows_over_the_limit_by_its_escapes_is_truncated() {
        let result = result_of(&vec![1; RESULT_LIMIT]).expect("a result");
        assert!(result.len() <= RESULT_LIMIT);
        assert!(result.starts_with(r#"{"truncated":true,"bytes":65536,"head":"\u0001"#));
    }
}
