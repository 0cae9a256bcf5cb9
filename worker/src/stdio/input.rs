//! The standard input of a child: what is written to it, how much of that the child has read, and whether it still reads.
//! A task whose line the child has not read was never given to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How long a child that works on nothing may leave its tasks unread.
const UNREAD_BOUND: Duration = Duration::from_secs(10);

/// The standard input of a child.
pub(super) struct Input {
    lines: mpsc::UnboundedSender<Vec<u8>>,
    pipe: Arc<Sender>,
    /// How many bytes are in the pipe, or were.
    written: Arc<AtomicU64>,
    /// How many bytes were handed over to be written.
    sent: u64,
    /// The child has closed it.
    closed: CancellationToken,
    writing: AbortOnDropHandle<()>,
}

impl Input {
    /// Writes to a child that has just started.
    pub(super) fn new(stdin: ChildStdin) -> io::Result<Self> {
        let pipe = Arc::new(Sender::from_owned_fd(stdin.into_owned_fd()?)?);
        let (lines, receiver) = mpsc::unbounded_channel();
        let (written, closed) = (Arc::default(), CancellationToken::new());
        let until_closed = write(pipe.clone(), receiver, Arc::clone(&written));
        let told = closed.clone();
        let writing = tokio::spawn(async move {
            if let Err(error) = until_closed.await {
                tracing::debug!(%error, "cannot write to a handler's process");
                told.cancel();
            }
        });
        Ok(Self {
            lines,
            pipe,
            written,
            sent: 0,
            closed,
            writing: AbortOnDropHandle::new(writing),
        })
    }

    /// Has a line written. Returns the [amount read](Self::read) at which the child has all of it.
    pub(super) fn send(&mut self, line: Vec<u8>) -> u64 {
        self.sent += line.len() as u64;
        // Fails only when the child has closed it, which is told by `closed`.
        let _ = self.lines.send(line);
        // Its end is no part of a message.
        self.sent.saturating_sub(1)
    }

    /// Resolves when the child has closed it.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// How many bytes the child has read so far.
    pub(super) fn read(&self) -> u64 {
        // In this order: what is written between the two looks counts as unread.
        let written = self.written.load(Ordering::Acquire);
        let unread = rustix::io::ioctl_fionread(&*self.pipe).unwrap_or_default();
        written.saturating_sub(unread)
    }

    /// Writes no more. Returns how many bytes the child has read.
    pub(super) async fn stop(&mut self) -> u64 {
        self.writing.abort();
        let stopped = std::mem::replace(
            &mut self.writing,
            AbortOnDropHandle::new(tokio::spawn(std::future::ready(()))),
        );
        let _ = stopped.await;
        self.read()
    }
}

/// Writes what there is to write, many lines at once where there are many, until the child closes its end.
async fn write(
    pipe: Arc<Sender>,
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
    written: Arc<AtomicU64>,
) -> io::Result<()> {
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            biased;
            // The system tells it of a pipe that nobody reads, whether there is anything to write or not.
            closed = pipe.ready(Interest::ERROR) => {
                closed?;
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            count = lines.recv_many(&mut waiting, 256) => if count == 0 {
                return Ok(());
            }
        }
        let bytes = waiting.concat();
        waiting.clear();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            pipe.writable().await?;
            match pipe.try_write(rest) {
                Ok(length) => {
                    written.fetch_add(length as u64, Ordering::Release);
                    rest = &rest[length..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Since when a child leaves unread all that it has to do. Pure.
#[derive(Debug, Default)]
pub(super) struct Unread {
    since: Option<Instant>,
    read: u64,
}

impl Unread {
    /// Looks at how much the child has read, and whether any task waits and it works on none. Tells whether it is so for
    /// too long.
    pub(super) fn look(&mut self, read: u64, idle: bool, now: Instant) -> bool {
        if !idle || read != self.read {
            self.since = None;
        }
        self.read = read;
        let since = idle.then(|| *self.since.get_or_insert(now));
        since.is_some_and(|since| now.saturating_duration_since(since) >= UNREAD_BOUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_reads_nothing_and_works_on_nothing_is_told_of_after_a_while() {
        let (start, mut unread) = (Instant::now(), Unread::default());
        let at = |tenths: u32| start + UNREAD_BOUND / 10 * tenths;
        assert!(!unread.look(0, false, at(0)), "nothing is there to be read");
        assert!(!unread.look(0, true, at(20)));
        assert!(!unread.look(0, true, at(29)));
        assert!(unread.look(0, true, at(30)));
        assert!(!unread.look(5, true, at(31)), "it has read something");
        assert!(!unread.look(5, true, at(40)));
        assert!(unread.look(5, true, at(41)));
        assert!(!unread.look(5, false, at(42)), "it works on a task");
        assert!(!unread.look(5, true, at(60)));
    }
}
