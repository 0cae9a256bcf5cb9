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
mod tests;
