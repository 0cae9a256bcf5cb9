//! The body of a request, which knows whether the request is on its way: before that it waits for a connection, and in
//! HTTP/2 for a stream that is free, while the client holds the body already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes};
use http_body_util::Full;

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

/// A body.
pub(super) type Sending = Full<Marked>;

/// A body of these bytes.
pub(super) fn sending(bytes: Bytes, sent: Sent) -> Sending {
    Full::new(Marked { bytes, sent })
}

/// Bytes that tell when the first of them is written to a connection.
#[derive(Debug, Default)]
pub(super) struct Marked {
    bytes: Bytes,
    sent: Sent,
}

impl Buf for Marked {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.sent.0.store(true, Ordering::Relaxed);
        self.bytes.advance(count);
    }
}
