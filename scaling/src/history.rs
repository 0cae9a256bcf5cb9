//! What was wanted before: the memory behind stabilization and idle time.

use std::{collections::VecDeque, time::Duration};

use crate::Instant;

/// Past wants of one queue. It holds at most one entry for each change of the wanted number
/// within the stabilization window, and in it only a falling sequence, so it stays short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Wanted numbers with the last instant at which each was wanted, highest first: an entry
    /// that is both older and lower than another can never be the maximum again.
    wants: VecDeque<(Instant, u32)>,
    /// The last instant at which the queue was not empty, or the first at which it was seen.
    last_busy: Option<Instant>,
}

impl History {
    /// Begins with the replicas there are, where nothing is known yet: somebody wanted them. So a
    /// restart does not cut the stabilization window short.
    pub fn begin(&mut self, now: Instant, replicas: u32, window: Duration) {
        if self.wants.is_empty() && !window.is_zero() {
            self.wants.push_back((now, replicas));
        }
    }

    /// Takes note of the number wanted now, before any bound in time. `busy` tells whether
    /// anything waited, ran or was due.
    pub fn record(&mut self, now: Instant, wanted: u32, busy: bool, window: Duration) {
        while self.wants.back().is_some_and(|&(_, want)| want <= wanted) {
            self.wants.pop_back();
        }
        self.wants.push_back((now, wanted));
        while self.wants.front().is_some_and(|&(at, _)| at + window < now) {
            self.wants.pop_front();
        }
        if busy || self.last_busy.is_none() {
            self.last_busy = Some(now);
        }
    }

    /// The highest number wanted within the window that ends now; 0 when nothing was recorded.
    pub fn highest(&self, now: Instant, window: Duration) -> u32 {
        self.wants
            .iter()
            .find(|&&(at, _)| at + window >= now)
            .map_or(0, |&(_, want)| want)
    }

    /// How long the queue has been empty.
    pub fn empty_for(&self, now: Instant) -> Duration {
        self.last_busy
            .map_or(Duration::ZERO, |busy| now.saturating_sub(busy))
    }
}
