//! Log lines on their way to where they are read. A thread of its own writes them, in their order, so that a reader who is
//! slow costs memory up to a bound, and one who has stopped to read, or is gone, costs lines; nobody who logs waits.
//!
//! `tracing-appender` does the same, but bounds the lines and not their bytes, does not tell of what was lost, and ends with
//! a `println!`, which waits or panics where standard output is the same pipe.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use taskqueue_plain as plain;

/// Most bytes that wait to be written: some 20,000 lines.
const MOST_WAITING: usize = 4 * 1024 * 1024;
/// The wait before a write is tried again where the other end made the pipe one that does not block.
const WRITE_AGAIN: Duration = Duration::from_millis(5);

/// Where lines go. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    sender: Sender<Item>,
    waiting: Arc<AtomicUsize>,
    lost: Counter,
}

enum Item {
    Line(Vec<u8>),
    /// All before it is written.
    Flushed(SyncSender<()>),
}

/// Takes lines and writes them.
struct Scribe<W> {
    target: W,
    items: Receiver<Item>,
    waiting: Arc<AtomicUsize>,
    lost: Counter,
}

impl Lines {
    /// Lines that are written to `target`. Those that are not are counted in `lost`, and `tell` is called with their number
    /// when lines can be written again.
    pub(super) fn new(
        target: impl Write + Send + 'static,
        lost: Counter,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, items) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let scribe = Scribe {
            target,
            items,
            waiting: Arc::clone(&waiting),
            lost: lost.clone(),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || scribe.write(tell))?;
        Ok(Self {
            sender,
            waiting,
            lost,
        })
    }

    /// Waits until what is here is written, for so long at most.
    pub(super) fn flush_within(&self, patience: Duration) {
        let (done, flushed) = sync_channel(1);
        if self.sender.send(Item::Flushed(done)).is_ok() {
            let _ = flushed.recv_timeout(patience);
        }
    }

    fn put(&self, line: &[u8]) {
        let before = self.waiting.fetch_add(line.len(), Ordering::Relaxed);
        let room = before.saturating_add(line.len()) <= MOST_WAITING;
        if !room || self.sender.send(Item::Line(line.to_vec())).is_err() {
            self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.lost.inc();
        }
    }
}

/// Each call is a line. Much of what is in it is of others, payloads, errors and servers: what would steer the terminal of
/// whoever reads the log, or begin a line of its own, is escaped. In a line of JSON that means the same.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = match text.strip_suffix('\n') {
            Some(text) => (text, "\n"),
            None => (&*text, ""),
        };
        match plain::line(text) {
            Cow::Borrowed(_) => self.put(line),
            Cow::Owned(text) => self.put(format!("{text}{end}").as_bytes()),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Scribe<W> {
    fn write(mut self, tell: impl Fn(u64)) {
        let mut told = 0;
        while let Ok(item) = self.items.recv() {
            let line = match item {
                Item::Line(line) => line,
                Item::Flushed(done) => {
                    let _ = done.send(());
                    continue;
                }
            };
            let written = write_whole(&mut self.target, &line);
            let waiting = self.waiting.fetch_sub(line.len(), Ordering::Relaxed) - line.len();
            let lost = self.lost.get();
            if written.is_err() {
                self.lost.inc();
            } else if lost > told && waiting < MOST_WAITING / 2 {
                tell(lost - told);
                told = lost;
            }
        }
    }
}

fn write_whole(target: &mut impl Write, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match target.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => rest = &rest[length..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(WRITE_AGAIN),
            Err(error) => return Err(error),
        }
    }
    target.flush()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Mutex;

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    /// Takes what it is given in the ways of this list, and then as it comes.
    struct Odd {
        answers: Vec<io::Result<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Odd {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = match self.answers.pop() {
                Some(answer) => answer?.min(bytes.len()),
                None => bytes.len(),
            };
            let mut written = self.written.lock().expect("a lock");
            written.extend(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_whole_and_in_their_order_whatever_a_write_answers() {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let odd = Odd {
            answers: vec![
                Ok(2),
                Err(ErrorKind::WouldBlock.into()),
                Ok(1),
                Err(ErrorKind::Interrupted.into()),
            ],
            written: Arc::clone(&written),
        };
        let lost = Counter::default();
        let mut lines = Lines::new(odd, lost.clone(), |_| ()).expect("a thread");
        for line in ["first\n", "second\n", "third\n"] {
            lines.write_all(line.as_bytes()).expect("it is taken");
        }
        lines.flush_within(PATIENCE);
        let written = String::from_utf8(written.lock().expect("a lock").clone());
        assert_eq!(written.expect("text"), "first\nsecond\nthird\n");
        assert_eq!(lost.get(), 0);
    }

    #[test]
    fn what_would_steer_a_terminal_or_begin_a_line_is_escaped() {
        let (mut reader, writer) = UnixStream::pair().expect("a pair");
        let mut lines = Lines::new(writer, Counter::default(), |_| ()).expect("a thread");
        for line in [
            "a\u{1b}[2J\u{9b}1m\nforged\u{202e}\n",
            "no end\r",
            "plain → text\n",
        ] {
            assert_eq!(
                lines.write(line.as_bytes()).expect("it is taken"),
                line.len()
            );
        }
        lines.flush_within(PATIENCE);
        drop(lines);
        let mut written = String::new();
        io::Read::read_to_string(&mut reader, &mut written).expect("text");
        let expected = "a\\u001b[2J\\u009b1m\\u000aforged\\u202e\nno end\\u000dplain → text\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn a_reader_that_is_gone_costs_lines_and_they_are_counted() {
        let (reader, writer) = UnixStream::pair().expect("a pair");
        drop(reader);
        let lost = Counter::default();
        let mut lines = Lines::new(writer, lost.clone(), |_| ()).expect("a thread");
        for _ in 0..3 {
            lines.write_all(b"into the void\n").expect("it is taken");
        }
        lines.flush_within(PATIENCE);
        assert_eq!(lost.get(), 3);
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_beyond_the_bound_and_is_told_when_it_reads() {
        let (mut reader, writer) = UnixStream::pair().expect("a pair");
        let lost = Counter::default();
        let (tell, told) = channel();
        let tell = move |lines| tell.send(lines).expect("somebody hears it");
        let mut lines = Lines::new(writer, lost.clone(), tell).expect("a thread");
        let line = vec![b'x'; 64 * 1024];
        let sent = 2 * MOST_WAITING / line.len();
        for _ in 0..sent {
            // Nobody reads, and this returns all the same.
            lines.write_all(&line).expect("it is taken");
        }
        let missing = lost.get();
        assert!(missing > 0, "{sent} lines are more than fit");
        lines.flush_within(Duration::ZERO);
        thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        assert_eq!(told.recv_timeout(PATIENCE), Ok(missing));
    }
}
