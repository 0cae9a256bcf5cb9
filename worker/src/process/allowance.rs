//! How many lines a process may put into the worker's log: a burst at once, and a steady few after that. Pure.

use std::time::{Duration, Instant};

/// How many lines may be logged at once, and how soon one more.
pub(super) const BURST: u32 = 200;
pub(super) const REFILL: Duration = Duration::from_millis(50);

/// What is left of it.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u32,
    refilled: Instant,
}

impl Allowance {
    /// All of it.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            refilled: now,
        }
    }

    /// Whether one more line may be logged now.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.refilled);
        // Asked for each line of a flood: nothing is computed where nothing is earned.
        if waited >= REFILL {
            let earned = u32::try_from(waited.as_millis() / REFILL.as_millis()).unwrap_or(BURST);
            self.left = self.left.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}
