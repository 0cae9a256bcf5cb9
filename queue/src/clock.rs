//! The clock of the Redis server, as this process can tell it: every answer that carries the
//! server's time sets it, and the monotonic clock carries it on. So a local clock that jumps moves
//! nothing.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The server's time, estimated to within the time of a round trip.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// What to add to the milliseconds since `origin`.
    offset_ms: AtomicI64,
}

impl Clock {
    /// Until the server has been heard, the local clock must do.
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            offset_ms: AtomicI64::new(Timestamp::now().as_millisecond()),
        }
    }

    /// Notes that the server said `server_ms` between `sent` and now.
    pub(crate) fn hear(&self, sent: Instant, server_ms: u64) {
        let middle = self.millis_since_origin(sent) + millis(sent.elapsed()) / 2;
        let server = i64::try_from(server_ms).unwrap_or(i64::MAX);
        self.offset_ms
            .store(server.saturating_sub(middle), Ordering::Relaxed);
    }

    /// Milliseconds since 1970 by the server's clock.
    pub(crate) fn now_ms(&self) -> u64 {
        let since = self.millis_since_origin(Instant::now());
        // What a server says of its time need not make sense.
        let now = since.saturating_add(self.offset_ms.load(Ordering::Relaxed));
        u64::try_from(now).unwrap_or(0)
    }

    fn millis_since_origin(&self, at: Instant) -> i64 {
        millis(at.saturating_duration_since(self.origin))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A time from Redis as callers get it.
pub(crate) fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX)
}
