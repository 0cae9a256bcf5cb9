//! A stream that hands out what the server said before it hung up, as the answer to what is asked: a
//! server that takes no more clients says so unasked, closes, and resets whatever is sent to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Such a stream. Nothing is read before something was written: the client library throws away what comes
/// when it has asked nothing yet. After a write that failed since the other side is gone, writes go
/// nowhere and reads hand out what had arrived; only then they fail, as the write did.
pub(crate) struct LastWords<S> {
    stream: S,
    has_written: bool,
    /// Who waits for that.
    reader: Option<Waker>,
    gone: bool,
    fault: Option<io::Error>,
}

impl<S> LastWords<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            has_written: false,
            reader: None,
            gone: false,
            fault: None,
        }
    }

    /// What a write has come to. `done` is what it says if the other side is gone.
    fn wrote<T>(&mut self, outcome: io::Result<T>, done: T) -> io::Result<T> {
        self.has_written = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        match outcome {
            Err(fault) if is_gone(&fault) => {
                self.gone = true;
                self.fault = Some(fault);
                Ok(done)
            }
            outcome => outcome,
        }
    }
}

fn is_gone(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}

impl<S: AsyncRead + Unpin> AsyncRead for LastWords<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.has_written {
            this.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let outcome = ready!(Pin::new(&mut this.stream).poll_read(context, buffer));
        let at_end = outcome.is_err() || buffer.filled().len() == before;
        Poll::Ready(match this.fault.take_if(|_| at_end) {
            Some(fault) => Err(fault),
            None => outcome,
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LastWords<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.gone {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = ready!(Pin::new(&mut this.stream).poll_write(context, bytes));
        Poll::Ready(this.wrote(outcome, bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let all = parts.iter().map(|part| part.len()).sum();
        if this.gone {
            return Poll::Ready(Ok(all));
        }
        let outcome = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, parts));
        Poll::Ready(this.wrote(outcome, all))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gone {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gone {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// One that has said something and hung up.
    struct HungUp(&'static [u8]);

    impl AsyncRead for HungUp {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buffer.put_slice(std::mem::take(&mut self.0));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for HungUp {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_was_said_before_the_end_is_read_though_a_write_fails_first() {
        let mut stream = LastWords::new(HungUp(b"-ERR max number of clients reached\r\n"));
        // Not before anything was asked.
        let early = futures::FutureExt::now_or_never(stream.read_u8());
        assert!(early.is_none());
        stream.write_all(b"PING\r\n").await.unwrap();
        stream.flush().await.unwrap();
        let mut said = [0; 36];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"-ERR max number of clients reached\r\n");
        let end = stream.read_u8().await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::BrokenPipe);
    }
}
