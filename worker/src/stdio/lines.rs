//! The lines that a child writes, found in its stream of bytes. Each takes a bounded amount of memory, and one that is
//! too long costs its end and not the child. Pure.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::Decoder;

/// Longest line that is kept whole. A result is at most 64 KiB, and its JSON may be several times as long.
pub(crate) const MOST_LINE_BYTES: usize = 1024 * 1024;
/// How much is kept of a longer one.
const HEAD_BYTES: usize = 8 * 1024;
/// After so many bytes a line is taken to have no end.
pub(crate) const ENDLESS_BYTES: u64 = 16 * 1024 * 1024;

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// All of it.
    Whole(Bytes),
    /// Of one that is too long: how it began, and how many bytes it had.
    Long { head: Bytes, bytes: u64 },
    /// The stream ended within it.
    Unfinished(Bytes),
    /// It goes on and on. Nothing can be read after it.
    Endless,
}

/// Splits a stream into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// How much of the buffer was searched for the end of the line.
    searched: usize,
    /// Of a line that is too long: how it began, and how many bytes of it are gone.
    long: Option<(Bytes, u64)>,
}

impl Lines {
    /// Takes the next so many bytes, which end a line.
    fn line(&mut self, source: &mut BytesMut, length: usize) -> Line {
        let bytes = source.split_to(length).freeze();
        self.searched = 0;
        match self.long.take() {
            Some((head, before)) => Line::Long {
                head,
                bytes: before + length as u64,
            },
            None => Line::Whole(bytes),
        }
    }
}

impl Decoder for Lines {
    type Item = Line;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<Line>> {
        let end = source[self.searched..]
            .iter()
            .position(|&byte| byte == b'\n');
        if let Some(end) = end {
            let line = self.line(source, self.searched + end);
            source.advance(1);
            return Ok(Some(line));
        }
        self.searched = source.len();
        if self.long.is_none() && source.len() <= MOST_LINE_BYTES {
            return Ok(None);
        }
        // A piece of its own: what is kept of the line must not keep all of it.
        let (_, gone) = self.long.get_or_insert_with(|| {
            let head = &source[..source.len().min(HEAD_BYTES)];
            (Bytes::copy_from_slice(head), 0)
        });
        *gone += source.len() as u64;
        let endless = *gone > ENDLESS_BYTES;
        source.clear();
        self.searched = 0;
        Ok(endless.then_some(Line::Endless))
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> io::Result<Option<Line>> {
        if let Some(line) = self.decode(source)? {
            return Ok(Some(line));
        }
        self.searched = 0;
        let rest = source.split().freeze();
        Ok(match self.long.take() {
            Some((head, _)) => Some(Line::Unfinished(head)),
            None if rest.is_empty() => None,
            None => Some(Line::Unfinished(rest)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a stream that arrives in pieces of this size.
    fn lines(stream: &[u8], piece: usize) -> Vec<Line> {
        let (mut decoder, mut buffer, mut found) = (Lines::default(), BytesMut::new(), Vec::new());
        for piece in stream.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(line) = decoder.decode(&mut buffer).expect("nothing is refused") {
                found.push(line);
            }
        }
        while let Some(line) = decoder.decode_eof(&mut buffer).expect("nothing is refused") {
            found.push(line);
        }
        found
    }

    fn whole(line: &'static str) -> Line {
        Line::Whole(Bytes::from_static(line.as_bytes()))
    }

    #[test]
    fn lines_are_found_however_they_arrive() {
        for piece in [1, 2, 3, 100] {
            assert_eq!(
                lines(b"one\ntwo\r\n\nthr\xffe\nfo", piece),
                [
                    whole("one"),
                    whole("two\r"),
                    whole(""),
                    Line::Whole(Bytes::from_static(b"thr\xffe")),
                    Line::Unfinished(Bytes::from_static(b"fo")),
                ],
                "in pieces of {piece}"
            );
        }
        assert_eq!(lines(b"", 1), []);
        assert_eq!(lines(b"one\n", 1), [whole("one")]);
    }

    #[test]
    fn a_line_at_the_limit_is_whole_and_of_a_longer_one_the_beginning_is_kept() {
        for more in [0, 1, 70_000, 5_000_000] {
            let mut stream = b"begin".repeat(MOST_LINE_BYTES / 5 + 1);
            stream.truncate(MOST_LINE_BYTES);
            stream.extend(std::iter::repeat_n(b'x', more));
            stream.extend(b"\nnext\n");
            let found = lines(&stream, 64 * 1024);
            assert_eq!(found.len(), 2, "{more}");
            assert_eq!(found[1], whole("next"), "{more}");
            match &found[0] {
                Line::Whole(line) if more == 0 => assert_eq!(line.len(), MOST_LINE_BYTES),
                // One that came whole in the same piece as its end needs no cut.
                Line::Whole(line) => assert!(line.len() < MOST_LINE_BYTES + 64 * 1024),
                Line::Long { head, bytes } => {
                    assert_eq!(*bytes, (MOST_LINE_BYTES + more) as u64);
                    assert_eq!(head.len(), HEAD_BYTES);
                    assert!(head.starts_with(b"beginbegin"));
                }
                other => unreachable!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_line_without_end_is_told_and_not_kept() {
        let (mut decoder, mut buffer) = (Lines::default(), BytesMut::new());
        let piece = b"x".repeat(64 * 1024);
        for _ in 0..ENDLESS_BYTES / (64 * 1024) {
            buffer.extend_from_slice(&piece);
            assert_eq!(decoder.decode(&mut buffer).expect("it goes on"), None);
            assert!(buffer.len() <= MOST_LINE_BYTES);
        }
        buffer.extend_from_slice(&piece);
        let line = decoder.decode(&mut buffer).expect("nothing is refused");
        assert_eq!(line, Some(Line::Endless));
    }

    #[test]
    fn a_long_line_that_the_stream_ends_in_is_unfinished() {
        let found = lines(&b"x".repeat(MOST_LINE_BYTES + 70_000), 64 * 1024);
        assert!(matches!(found.as_slice(), [Line::Unfinished(head)] if head.len() == HEAD_BYTES));
    }
}
