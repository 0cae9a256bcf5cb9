//! What a command writes to standard error: which lines go into the log, and which last words become the error message.
//!
//! Pure: bytes and the time in, lines out. A command that floods its standard error costs bounded memory and a
//! bounded share of the log.

use std::collections::VecDeque;
use std::time::Instant;

use super::Allowance;

/// How much of a line is logged; the rest of the line is dropped.
const LINE_LIMIT: usize = 4 * 1024;

/// How many of the last bytes become the error message; what the exit status adds to it fits in 1 KiB with it.
const TAIL_LIMIT: usize = 900;

/// The standard error of one attempt, taken in pieces.
#[derive(Debug)]
pub(crate) struct Complaint {
    /// The line that has no newline yet, cut at its limit.
    line: Vec<u8>,
    tail: VecDeque<u8>,
    /// Whether `tail` lost its beginning.
    cut: bool,
    allowance: Allowance,
    suppressed: u64,
}

impl Complaint {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            line: Vec::new(),
            tail: VecDeque::new(),
            cut: false,
            allowance: Allowance::new(now),
            suppressed: 0,
        }
    }

    /// Takes the next piece of the stream and gives each line that ended in it, and may be logged, to `log`.
    pub(crate) fn push(&mut self, piece: &[u8], now: Instant, mut log: impl FnMut(&str)) {
        self.keep_tail(piece);
        let mut lines = piece.split(|&byte| byte == b'\n').peekable();
        while let Some(part) = lines.next() {
            let room = LINE_LIMIT.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if lines.peek().is_some() {
                self.end_line(now, &mut log);
            }
        }
    }

    /// Ends the last line if it had no newline. Returns how many lines were not logged.
    pub(crate) fn finish(&mut self, now: Instant, mut log: impl FnMut(&str)) -> u64 {
        self.end_line(now, &mut log);
        self.suppressed
    }

    /// The last words: whole lines where possible, without the last newline.
    pub(crate) fn last_words(&self) -> String {
        let (front, back) = self.tail.as_slices();
        let bytes = [front, back].concat();
        let start = match bytes
            .trim_ascii_end()
            .iter()
            .position(|&byte| byte == b'\n')
        {
            Some(newline) if self.cut => newline + 1,
            _ => 0,
        };
        String::from_utf8_lossy(&bytes[start..])
            .trim_end()
            .to_owned()
    }

    fn end_line(&mut self, now: Instant, log: &mut impl FnMut(&str)) {
        if self.line.is_empty() {
            return;
        }
        if self.allowance.take(now) {
            log(String::from_utf8_lossy(&self.line).trim_end());
        } else {
            self.suppressed += 1;
        }
        self.line.clear();
    }

    fn keep_tail(&mut self, piece: &[u8]) {
        let new = &piece[piece.len().saturating_sub(TAIL_LIMIT)..];
        let excess = (self.tail.len() + new.len()).saturating_sub(TAIL_LIMIT);
        self.cut |= excess > 0 || new.len() < piece.len();
        self.tail.drain(..excess);
        self.tail.extend(new);
    }
}

#[cfg(test)]
mod tests {
    use super::super::allowance::{BURST, REFILL};
    use super::*;

    /// The lines logged, the lines not logged, and the last words of a stream that arrives in the given pieces.
    fn take(pieces: &[&[u8]]) -> (Vec<String>, u64, String) {
        let now = Instant::now();
        let mut complaint = Complaint::new(now);
        let mut lines = Vec::new();
        for piece in pieces {
            complaint.push(piece, now, |line| lines.push(line.to_owned()));
        }
        let suppressed = complaint.finish(now, |line| lines.push(line.to_owned()));
        (lines, suppressed, complaint.last_words())
    }

    #[test]
    fn lines_are_logged_whole_however_they_arrive() {
        let (lines, suppressed, words) = take(&[b"one\ntw", b"o\r\n\n", b"three"]);
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(suppressed, 0);
        assert_eq!(words, "one\ntwo\r\n\nthree");
    }

    #[test]
    fn the_last_words_are_the_last_whole_lines() {
        let long = format!("{}\nlast but one\nlast\n", "x".repeat(2000));
        let (_, _, words) = take(&[long.as_bytes()]);
        assert_eq!(words, "last but one\nlast");
    }

    #[test]
    fn a_last_line_that_is_too_long_is_cut_at_its_start() {
        let (lines, _, words) = take(&[&[b'x'; 5000], b"end\n"]);
        assert_eq!(words.len(), TAIL_LIMIT - 1);
        assert!(words.ends_with("xend"));
        assert_eq!(lines, ["x".repeat(LINE_LIMIT)]);
    }

    #[test]
    fn a_flood_is_counted_and_not_logged() {
        let (lines, suppressed, words) = take(&[&b"noise\n".repeat(100_000)]);
        assert_eq!(lines.len(), BURST as usize);
        assert_eq!(suppressed, 100_000 - u64::from(BURST));
        assert!(words.len() <= TAIL_LIMIT);
    }

    #[test]
    fn a_slow_stream_is_logged_in_full() {
        let start = Instant::now();
        let mut complaint = Complaint::new(start);
        let mut logged = 0;
        for tick in 1..=1000 {
            complaint.push(b"tick\n", start + REFILL * tick, |_| logged += 1);
        }
        assert_eq!((logged, complaint.finish(start, |_| ())), (1000, 0));
    }
}
