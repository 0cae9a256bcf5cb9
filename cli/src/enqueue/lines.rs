//! From a stream of lines to batches of payloads, in bounded memory. Knows of no queue.

use std::io::{self, BufRead, BufReader, Read};

use taskqueue_queue::Payload;

use crate::input::{MARK, UTF_16, is_utf_16};

/// How many tasks go to Redis at once, at most; and how many bytes of them, beyond one task.
const BATCH_TASKS: usize = 1000;
const BATCH_BYTES: u64 = 1024 * 1024;

/// How much is read at once. A batch ends where that much has been used up and the rest has not arrived: lines that
/// come slowly are not held back.
const BUFFER: usize = 256 * 1024;

/// The end of a line on Windows.
const END: &[u8] = b"\r\n";

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
    /// Empty lines of text that were read and not given out: at the end of the stream they are none.
    empty: u64,
    /// The line behind them.
    held: Option<Result<Line, End>>,
}

/// One line, without its end.
enum Line {
    /// It makes a task, and was so many bytes of the stream.
    Payload(Payload, u64),
    /// It makes none, at least not yet.
    Empty,
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
            empty: 0,
            held: None,
        }
    }

    /// The next lines; `None` at the end of the stream. Waits for one payload, and then takes what is
    /// there.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let mut batch = Batch {
            payloads: Vec::new(),
            bytes: 0,
            end: None,
        };
        while let Some(line) = self.next_line() {
            match line {
                Ok(Line::Payload(payload, bytes)) => {
                    batch.payloads.push(payload);
                    batch.bytes += bytes;
                }
                Ok(Line::Empty) => {}
                Err(end) => {
                    batch.end = Some(end);
                    return Some(batch);
                }
            }
            let full = batch.payloads.len() == BATCH_TASKS || batch.bytes >= BATCH_BYTES;
            let more = self.held.is_some() || self.reader.buffer().contains(&b'\n');
            if !batch.payloads.is_empty() && (full || !more) {
                return Some(batch);
            }
        }
        (!batch.payloads.is_empty()).then_some(batch)
    }

    /// The next line. Empty lines of text are held back until another one comes.
    fn next_line(&mut self) -> Option<Result<Line, End>> {
        if self.held.is_none() {
            let line = self.read_line().transpose()?;
            match line {
                Ok(Line::Empty) => {
                    self.empty += u64::from(self.form == Form::Text);
                    return Some(Ok(Line::Empty));
                }
                line if self.empty == 0 => return Some(line),
                line => self.held = Some(line),
            }
        }
        if self.empty == 0 {
            return self.held.take();
        }
        self.empty -= 1;
        Some(
            self.payload(Vec::new())
                .map(|payload| Line::Payload(payload, 1)),
        )
    }

    /// Reads a line.
    fn read_line(&mut self) -> Result<Option<Line>, End> {
        // Two bytes for the end of the line and one to tell a line that is too long from one at the limit.
        let bound = self.limit + END.len() + 1 + MARK.len();
        let mut line = Vec::new();
        let read = (&mut self.reader)
            .take(bound as u64)
            .read_until(b'\n', &mut line)
            .map_err(End::Unreadable)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.number == 1 {
            if is_utf_16(&line) {
                return Err(self.refused(UTF_16.to_owned()));
            }
            if line.starts_with(MARK.as_bytes()) {
                line.drain(..MARK.len());
            }
        }
        if line.ends_with(END) {
            line.truncate(line.len() - END.len());
        } else if line.last() == Some(&b'\n') {
            line.pop();
        }
        let is_empty = match self.form {
            Form::Json => line.trim_ascii().is_empty(),
            Form::Text => line.is_empty(),
        };
        if is_empty {
            return Ok(Some(Line::Empty));
        }
        Ok(Some(Line::Payload(self.payload(line)?, read as u64)))
    }

    fn payload(&self, line: Vec<u8>) -> Result<Payload, End> {
        self.make(line).map_err(|reason| self.refused(reason))
    }

    fn refused(&self, reason: String) -> End {
        let number = self.number;
        End::Refused { number, reason }
    }

    fn make(&self, line: Vec<u8>) -> Result<Payload, String> {
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
        // Empty lines count, so that the number is that of an editor.
        assert!(
            read("1\n\n\r\n{oops\n", Form::Json, 100)
                .2
                .expect("it is refused")
                .starts_with("4: ")
        );
    }

    #[test]
    fn a_file_from_windows_makes_the_same_payloads() {
        let strings = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| format!("{text:?}")).collect()
        };
        for (input, payloads) in [
            ("a\r\n\r\nb", &["a", "", "b"][..]),
            ("a\r\nb\r\n", &["a", "b"]),
            ("\u{feff}a\r\nb", &["a", "b"]),
            ("\u{feff}\r\n\r\nb", &["", "", "b"]),
            // Only where it ends a line, and only one.
            ("a\rb\r\r\nc\r", &["a\rb\r", "c\r"]),
            // Only at the beginning.
            ("a\n\u{feff}b", &["a", "\u{feff}b"]),
            ("\u{feff}", &[]),
        ] {
            let (seen, _, end) = read(input, Form::Text, 100);
            let seen: Vec<String> = seen
                .iter()
                .map(|payload| serde_json::from_str::<String>(payload).expect("a string"))
                .map(|text| format!("{text:?}"))
                .collect();
            assert_eq!((seen, end), (strings(payloads), None), "{input:?}");
        }
        let (payloads, _, end) = read("\u{feff}{\"a\": 1}\r\n[1]\r\n", Form::Json, 100);
        assert_eq!(
            (payloads, end),
            (vec!["{\"a\": 1}".into(), "[1]".into()], None)
        );
    }

    #[test]
    fn empty_lines_are_no_values_and_at_the_end_no_texts() {
        let (payloads, _, end) = read("\n1\n\n \t\r\n2\n\n\n", Form::Json, 100);
        assert_eq!((payloads, end), (vec!["1".into(), "2".into()], None));
        for (input, payloads) in [
            ("a\nb\n\n", &["\"a\"", "\"b\""][..]),
            ("a\n\n\nb\n\n\n", &["\"a\"", "\"\"", "\"\"", "\"b\""]),
            ("\n\na", &["\"\"", "\"\"", "\"a\""]),
            ("\n\n\n", &[]),
            // A line of blanks is a text as good as any.
            ("a\n \n", &["\"a\"", "\" \""]),
        ] {
            let (seen, _, end) = read(input, Form::Text, 100);
            assert_eq!(seen, payloads, "{input:?}");
            assert_eq!(end, None);
        }
        // Those before a line that is refused are enqueued, as all before it.
        let long = format!("a\n\n{}\n", "x".repeat(60));
        let (payloads, _, end) = read(&long, Form::Text, 50);
        assert_eq!(payloads, ["\"a\"", "\"\""]);
        assert!(end.expect("it is refused").starts_with("3: is too long"));
    }

    #[test]
    fn a_text_in_utf_16_is_named_as_one() {
        for mark in [[0xff, 0xfe], [0xfe, 0xff]] {
            for form in [Form::Json, Form::Text] {
                let mut input = mark.to_vec();
                input.extend(b"\"\0a\0\"\0\n\0");
                let batch = Lines::new(Cursor::new(input), form, 100).next_batch();
                let end = batch.expect("a batch").end;
                assert!(
                    matches!(&end, Some(End::Refused { number: 1, reason })
                        if reason.contains("is UTF-16: convert it to UTF-8")),
                    "{end:?}"
                );
            }
        }
    }

    #[test]
    fn a_line_at_the_limit_is_taken_and_a_longer_one_is_not() {
        for form in [Form::Json, Form::Text] {
            let quotes = if form == Form::Json { "\"" } else { "" };
            let line = |payload: usize| format!("{quotes}{}{quotes}\n", "x".repeat(payload - 2));
            assert_eq!(read(&line(50), form, 50).2, None);
            let windows = format!("{MARK}{}", line(50).replace('\n', "\r\n"));
            assert_eq!(read(&windows, form, 50).2, None);
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

    #[test]
    fn a_line_is_not_held_back_by_empty_ones_behind_it() {
        /// Gives a line with an empty one behind it, and must not be read again before they came out.
        struct Once(bool);
        impl Read for Once {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                assert!(!std::mem::replace(&mut self.0, true), "read again");
                buffer[..3].copy_from_slice(b"1\n\n");
                Ok(3)
            }
        }
        for form in [Form::Json, Form::Text] {
            let batch = Lines::new(Once(false), form, 100).next_batch();
            assert_eq!(batch.expect("a batch").payloads.len(), 1);
        }
    }
}
