//! From a stream of lines to batches of payloads, in bounded memory. Knows of no queue.

use std::io::{self, BufRead, BufReader, Read};

use taskqueue_queue::Payload;

/// How many tasks go to Redis at once, at most; and how many bytes of them, beyond one task.
const BATCH_TASKS: usize = 1000;
const BATCH_BYTES: u64 = 1024 * 1024;

/// How much is read at once. A batch ends where that much has been used up and the rest has not arrived: lines that
/// come slowly are not held back.
const BUFFER: usize = 256 * 1024;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON value.
    Json,
    /// Text, for which a JSON string is made.
    Text,
}

/// The lines of a stream.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    form: Form,
    /// The longest payload in bytes.
    limit: usize,
    /// How many lines were read.
    number: u64,
}

/// The payloads of some lines in a row.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) payloads: Vec<Payload>,
    /// How many bytes of the stream they were.
    pub(super) bytes: u64,
    /// Why there is no batch after this one, when the stream has not simply ended.
    pub(super) end: Option<End>,
}

/// Why the lines end before the stream does.
#[derive(Debug)]
pub(super) enum End {
    /// This line cannot be a payload.
    Refused { number: u64, reason: String },
    /// The stream broke off.
    Unreadable(io::Error),
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R, form: Form, limit: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER, source),
            form,
            limit,
            number: 0,
        }
    }

    /// The next lines; `None` at the end of the stream. Waits for one line, and then takes what is there.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let mut batch = Batch {
            payloads: Vec::new(),
            bytes: 0,
            end: None,
        };
        loop {
            match self.next_line() {
                Ok(None) => break,
                Ok(Some((payload, bytes))) => {
                    batch.payloads.push(payload);
                    batch.bytes += bytes;
                }
                Err(end) => {
                    batch.end = Some(end);
                    return Some(batch);
                }
            }
            let full = batch.payloads.len() == BATCH_TASKS || batch.bytes >= BATCH_BYTES;
            if full || !self.reader.buffer().contains(&b'\n') {
                return Some(batch);
            }
        }
        (!batch.payloads.is_empty()).then_some(batch)
    }

    /// The payload of the next line, and how many bytes the line was.
    fn next_line(&mut self) -> Result<Option<(Payload, u64)>, End> {
        // One byte for the newline and one to tell a line that is too long from one at the limit.
        let bound = self.limit as u64 + 2;
        let mut line = Vec::new();
        let read = (&mut self.reader)
            .take(bound)
            .read_until(b'\n', &mut line)
            .map_err(End::Unreadable)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let payload = self.payload(line).map_err(|reason| End::Refused {
            number: self.number,
            reason,
        })?;
        Ok(Some((payload, read as u64)))
    }

    fn payload(&self, line: Vec<u8>) -> Result<Payload, String> {
        let too_long = || {
            format!(
                "is too long: the queue takes payloads of at most {} bytes",
                self.limit
            )
        };
        if line.len() > self.limit {
            return Err(too_long());
        }
        let payload = match self.form {
            Form::Json => {
                Payload::json(line).map_err(|error| format!("cannot be a payload: {error}"))?
            }
            Form::Text => {
                let text = String::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?;
                Payload::of(&text).map_err(|error| format!("cannot be a payload: {error}"))?
            }
        };
        if payload.as_bytes().len() > self.limit {
            Err(too_long())
        } else {
            Ok(payload)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// All payloads as text, the sizes of the batches, and how the lines ended.
    fn read(input: &str, form: Form, limit: usize) -> (Vec<String>, Vec<usize>, Option<String>) {
        let mut lines = Lines::new(Cursor::new(input.to_owned()), form, limit);
        let (mut payloads, mut sizes, mut end) = (Vec::new(), Vec::new(), None);
        while let Some(batch) = lines.next_batch() {
            sizes.push(batch.payloads.len());
            payloads.extend(batch.payloads.into_iter().map(|payload| {
                String::from_utf8(payload.into_bytes()).expect("a payload is UTF-8")
            }));
            match batch.end {
                Some(End::Refused { number, reason }) => {
                    end = Some(format!("{number}: {reason}"));
                    break;
                }
                Some(End::Unreadable(error)) => end = Some(error.to_string()),
                None => (),
            }
        }
        (payloads, sizes, end)
    }

    #[test]
    fn a_line_of_text_becomes_a_string_as_it_is() {
        let (payloads, _, end) = read(
            "/usr/share/doc/a b\n\nit's \"quoted\"\nlast",
            Form::Text,
            100,
        );
        assert_eq!(
            payloads,
            [
                r#""/usr/share/doc/a b""#,
                r#""""#,
                r#""it's \"quoted\"""#,
                r#""last""#
            ]
        );
        assert_eq!(end, None);
    }

    #[test]
    fn a_line_of_json_stays_as_it_stands() {
        let (payloads, _, end) = read("{\"a\": 1.0}\n[1]\n", Form::Json, 100);
        assert_eq!(payloads, ["{\"a\": 1.0}", "[1]"]);
        assert_eq!(end, None);
    }

    #[test]
    fn the_first_bad_line_ends_the_lines_and_is_named() {
        let (payloads, _, end) = read("1\n2\n{oops\n4\n", Form::Json, 100);
        assert_eq!(payloads, ["1", "2"]);
        let end = end.expect("it is refused");
        assert!(
            end.starts_with("3: cannot be a payload: payload is not JSON"),
            "{end}"
        );
        assert!(
            read("1\n\n", Form::Json, 100)
                .2
                .expect("it is refused")
                .starts_with("2: ")
        );
    }

    #[test]
    fn a_line_at_the_limit_is_taken_and_a_longer_one_is_not() {
        for form in [Form::Json, Form::Text] {
            let quotes = if form == Form::Json { "\"" } else { "" };
            let line = |payload: usize| format!("{quotes}{}{quotes}\n", "x".repeat(payload - 2));
            assert_eq!(read(&line(50), form, 50).2, None);
            let end = read(&line(51), form, 50).2.expect("it is refused");
            assert_eq!(
                end,
                "1: is too long: the queue takes payloads of at most 50 bytes"
            );
        }
    }

    #[test]
    fn a_stream_without_newlines_is_refused_and_not_kept() {
        struct Endless;
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                Ok(buffer.len())
            }
        }
        let batch = Lines::new(Endless, Form::Text, 1000)
            .next_batch()
            .expect("a batch");
        assert!(matches!(batch.end, Some(End::Refused { number: 1, .. })));
    }

    #[test]
    fn batches_are_bounded_and_lose_nothing() {
        let numbers: Vec<String> = (0..2500).map(|number: u32| number.to_string()).collect();
        let (payloads, sizes, _) = read(&numbers.join("\n"), Form::Json, 100);
        assert_eq!(sizes, [1000, 1000, 499, 1]);
        assert_eq!(payloads, numbers);
    }

    #[test]
    fn what_is_there_is_not_held_back_for_what_is_not() {
        /// Gives one line a read, as a slow pipe does.
        struct Slow(u8);
        impl Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                buffer[..2].copy_from_slice(b"1\n");
                Ok(if self.0 > 3 { 0 } else { 2 })
            }
        }
        let mut lines = Lines::new(Slow(0), Form::Json, 100);
        let sizes: Vec<usize> = std::iter::from_fn(|| lines.next_batch())
            .map(|batch| batch.payloads.len())
            .collect();
        assert_eq!(sizes, [1, 1, 1]);
    }
}
