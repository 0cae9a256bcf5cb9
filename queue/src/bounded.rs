//! A stream that breaks when the answers on it would take more memory than they may. A server that is
//! hostile, or a key that somebody let grow, must not fill the process: the client library keeps an
//! answer until it is whole, and those of a pipeline until all of them are.
//!
//! RESP itself tells where an answer ends, so both directions are followed, without keeping any of
//! them: how much was asked, and how much of it is answered. What is counted together is what was
//! awaited together, however many calls share the connection, and whether they came in one pipeline or
//! one by one; a connection that is never idle is counted anew all the same. Messages of a
//! subscription, which nobody asked for, are counted one by one.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bounds::{Bounds, permits};
use crate::resp::Follower;

/// Answers that take more than this are large, and wait for their turn.
const LARGE: usize = 256 * 1024;

type Permits = Vec<OwnedSemaphorePermit>;

/// Such a stream.
pub(crate) struct Bounded<S> {
    stream: S,
    /// The most that the answers may take. Without it nothing is followed.
    most: Option<usize>,
    excess: Excess,
    questions: Follower,
    answers: Follower,
    /// How many questions were sent.
    asked: u64,
    /// How many of them are answered.
    answered: u64,
    /// The answers up to this one are counted together.
    until: u64,
    /// What they take so far, in bytes.
    taken: usize,
    turn: Turn,
    /// Kept for as long as the connection stands.
    _standing: Option<OwnedSemaphorePermit>,
}

/// The turn to read large answers.
struct Turn {
    large: Vec<Arc<Semaphore>>,
    waiting: Option<Pin<Box<dyn Future<Output = Permits> + Send + Sync>>>,
    held: Option<Permits>,
}

/// Why such a stream broke: how many bytes the answers may take.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer takes more than {0} bytes")]
pub(crate) struct TooLarge(pub(crate) usize);

/// Tells that a stream broke for this reason: the client library forgets it where several calls wait.
pub(crate) type Excess = Arc<OnceLock<TooLarge>>;

impl<S> Bounded<S> {
    pub(crate) fn new(stream: S, bounds: &Bounds, standing: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            stream,
            most: bounds.largest_answer,
            excess: Excess::default(),
            questions: Follower::default(),
            answers: Follower::default(),
            asked: 0,
            answered: 0,
            until: 0,
            taken: 0,
            turn: Turn {
                large: bounds.large.clone(),
                waiting: None,
                held: None,
            },
            _standing: standing,
        }
    }

    /// Holds the reason once the stream broke.
    pub(crate) fn excess(&self) -> Excess {
        Arc::clone(&self.excess)
    }

    fn ask(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let step = self.questions.follow(bytes);
            bytes = &bytes[step.bytes..];
            self.asked += u64::from(step.ended);
        }
        if self.answered >= self.until {
            self.until = self.asked;
        }
    }

    fn hear(&mut self, mut bytes: &[u8], most: usize) -> io::Result<()> {
        while !bytes.is_empty() {
            let step = self.answers.follow(bytes);
            bytes = &bytes[step.bytes..];
            self.taken = self.taken.saturating_add(step.cost);
            if self.taken > most {
                return Err(io::Error::other(
                    *self.excess.get_or_init(|| TooLarge(most)),
                ));
            }
            if step.ended {
                // What comes unasked answers nothing that will be asked.
                self.answered = (self.answered + 1).min(self.asked);
                if self.answered >= self.until {
                    self.until = self.asked;
                    self.taken = 0;
                    self.turn.held = None;
                }
            }
        }
        Ok(())
    }
}

impl Turn {
    /// Waits for it, unless it is held or there is none.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.held.is_none() && !self.large.is_empty() {
            let wait = || Box::pin(permits(self.large.clone())) as Pin<Box<_>>;
            let waiting = self.waiting.get_or_insert_with(wait);
            self.held = Some(ready!(waiting.as_mut().poll(context)));
            self.waiting = None;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(most) = this.most else {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        };
        if this.taken > LARGE {
            ready!(this.turn.poll(context));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        Poll::Ready(this.hear(&buffer.filled()[before..], most))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        if this.most.is_some() {
            this.ask(&bytes[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
