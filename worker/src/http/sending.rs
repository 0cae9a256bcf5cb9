//! The body of a request, which knows whether the request is on its way: before that it waits for a connection, and in
//! HTTP/2 for a stream that is free.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

/// Whether the request of an attempt was sent. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    /// Whether it was.
    pub(super) fn is_sent(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The server did not take it: it is as if it had not been.
    pub(super) fn was_not(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A body. It is asked for once there is a connection, and a stream.
#[derive(Debug, Default)]
pub(super) struct Sending {
    bytes: Full<Bytes>,
    sent: Sent,
}

impl Sending {
    /// A body of these bytes.
    pub(super) fn new(bytes: Bytes, sent: Sent) -> Self {
        Self {
            bytes: Full::new(bytes),
            sent,
        }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        body.sent.0.store(true, Ordering::Relaxed);
        Pin::new(&mut body.bytes).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}
