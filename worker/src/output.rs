//! What a command writes to standard output, or an HTTP handler answers, as the task's result: how much of it is kept, and in what form.
//!
//! Pure: bytes in, JSON out. The contract:
//! - a byte order mark of UTF-8 at the beginning is no part of it;
//! - nothing (or only white space): the task has no result;
//! - one JSON value: that value, as it stands;
//! - other text: a JSON string of it, without the last newline;
//! - bytes that are no text in UTF-8: an object that says so, with the bytes in base64 ([`Binary`]). Nothing is replaced,
//!   so that nobody takes what is spoilt for what was written;
//! - too much of any of these: the head of it ([`Excess`]). The task still completes, because its work is done: a failed
//!   attempt would do it again and fail again. The object says that it is a part, so that nobody takes it for the whole.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use taskqueue_queue::Payload;
use taskqueue_queue::worker::{LeasedTask, Outcome};

/// How many bytes of the output are kept, and how long a result may be.
const RESULT_LIMIT: usize = 64 * 1024;

/// How many bytes of an output that is too long go into its result.
const HEAD_LIMIT: usize = 4 * 1024;

/// What some writers of UTF-8 begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
    /// `base64`, if that is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
}

/// The result of a task whose handler wrote what is no text.
#[derive(Serialize)]
struct Binary {
    /// Always `base64`.
    encoding: &'static str,
    /// How long the output was.
    bytes: u64,
    /// All of it.
    data: String,
}

impl Output {
    /// Takes the next piece of the stream; what does not fit is only counted.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let room = RESULT_LIMIT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
        self.total += piece.len() as u64;
    }

    /// An output of so many bytes, of which only the beginning is known.
    pub(crate) fn beginning_of(head: &str, bytes: u64) -> Self {
        let mut output = Self::default();
        output.push(head.as_bytes());
        output.total = output.total.max(bytes);
        output
    }

    /// How it began, as text of at most so many bytes.
    pub(crate) fn beginning(&self, bytes: usize) -> String {
        let kept = self.marked_off();
        let text = String::from_utf8_lossy(&kept[..kept.len().min(bytes)]);
        text.into_owned()
    }

    /// The task's result, as JSON of at most [`RESULT_LIMIT`] bytes.
    pub(crate) fn into_result(self) -> Option<Vec<u8>> {
        if self.total > self.kept.len() as u64 {
            return Some(self.truncated());
        }
        let kept = self.marked_off();
        let trimmed = kept.trim_ascii();
        if trimmed.is_empty() {
            return None;
        }
        if serde_json::from_slice::<&RawValue>(trimmed).is_ok() {
            return Some(trimmed.to_vec());
        }
        let result = if let Ok(text) = std::str::from_utf8(kept) {
            let line = text.strip_suffix('\n').unwrap_or(text);
            encode(line.strip_suffix('\r').unwrap_or(line))
        } else {
            encode(&Binary {
                encoding: "base64",
                bytes: self.total,
                data: STANDARD.encode(&self.kept),
            })
        };
        // Escapes can make a string several times as long as what it says, and base64 adds a third.
        Some(if result.len() > RESULT_LIMIT {
            self.truncated()
        } else {
            result
        })
    }

    /// What is kept, without a byte order mark.
    fn marked_off(&self) -> &[u8] {
        let kept = &self.kept;
        kept.strip_prefix(BYTE_ORDER_MARK).unwrap_or(kept)
    }

    fn is_too_long(&self) -> bool {
        self.total > RESULT_LIMIT as u64
    }

    fn truncated(&self) -> Vec<u8> {
        let kept = self.marked_off();
        let head = &kept[..kept.len().min(HEAD_LIMIT)];
        let (head, encoding) = match std::str::from_utf8(head) {
            Ok(text) => (text.to_owned(), None),
            // Cut within a character.
            Err(error) if error.error_len().is_none() && head.len() < kept.len() => {
                let whole = &head[..error.valid_up_to()];
                (String::from_utf8_lossy(whole).into_owned(), None)
            }
            Err(_) => (STANDARD.encode(head), Some("base64")),
        };
        encode(&Excess {
            truncated: true,
            bytes: self.total,
            head,
            encoding,
        })
    }
}

/// The outcome of a task whose handler has done its work, and has written this.
pub(crate) fn completed(output: Output, task: &LeasedTask) -> Outcome {
    if output.is_too_long() {
        tracing::warn!(id = %task.id, r#type = task.kind, bytes = output.total, "result truncated");
    } else if std::str::from_utf8(&output.kept).is_err() {
        tracing::warn!(id = %task.id, r#type = task.kind, bytes = output.total, "result is not UTF-8: kept in base64");
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
    }

    #[test]
    fn what_is_no_text_says_so_and_nothing_of_it_is_replaced() {
        for (output, result) in [
            (
                b"caf\xe9".as_slice(),
                r#"{"encoding":"base64","bytes":4,"data":"Y2Fm6Q=="}"#,
            ),
            (
                b"not \xff UTF-8\n",
                r#"{"encoding":"base64","bytes":12,"data":"bm90IP8gVVRGLTgK"}"#,
            ),
            // A string in Latin-1, and text in UTF-16.
            (
                b"\"\xe9\"",
                r#"{"encoding":"base64","bytes":3,"data":"Iuki"}"#,
            ),
            (
                b"\xff\xfe1\0",
                r#"{"encoding":"base64","bytes":4,"data":"//4xAA=="}"#,
            ),
        ] {
            assert_eq!(result_of(output).as_deref(), Some(result), "{output:?}");
        }
    }

    #[test]
    fn bytes_that_do_not_fit_in_base64_are_truncated_and_say_what_they_are() {
        let most =
            (RESULT_LIMIT - r#"{"encoding":"base64","bytes":49110,"data":""}"#.len()) / 4 * 3;
        let whole = result_of(&vec![0xff; most]).expect("a result");
        assert!(
            whole.starts_with(r#"{"encoding":"base64","bytes":"#) && whole.len() <= RESULT_LIMIT
        );
        for longer in [most + 1, RESULT_LIMIT, RESULT_LIMIT * 2] {
            let result: serde_json::Value =
                serde_json::from_str(&result_of(&vec![0xff; longer]).expect("a result"))
                    .expect("JSON");
            assert_eq!(result["truncated"], true, "{longer}");
            assert_eq!(result["bytes"], longer as u64);
            assert_eq!(result["encoding"], "base64");
            let head = STANDARD
                .decode(result["head"].as_str().expect("a head"))
                .expect("base64");
            assert_eq!(head, vec![0xff; HEAD_LIMIT]);
        }
    }

    #[test]
    fn a_head_is_cut_between_characters() {
        for first in ["", "x", "xx"] {
            let text = format!("{first}{}", "\u{20ac}".repeat(RESULT_LIMIT));
            let result: serde_json::Value =
                serde_json::from_str(&result_of(text.as_bytes()).expect("a result")).expect("JSON");
            let head = result["head"].as_str().expect("a head");
            assert!(
                text.starts_with(head) && head.len() + 3 > HEAD_LIMIT,
                "{}",
                head.len()
            );
            assert_eq!(result.get("encoding"), None);
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_result() {
        assert_eq!(
            result_of(b"\xef\xbb\xbf{\"a\":1}\n").as_deref(),
            Some(r#"{"a":1}"#)
        );
        assert_eq!(
            result_of(b"\xef\xbb\xbftext\r\n").as_deref(),
            Some("\"text\"")
        );
        assert_eq!(result_of(b"\xef\xbb\xbf\n"), None);
        let long = format!("\u{feff}{}", "x".repeat(RESULT_LIMIT)).into_bytes();
        let long = result_of(&long).expect("a result");
        assert!(long.contains(r#""head":"xxx"#), "{}", &long[..100]);
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
