//! How often the replicas of one queue are written. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Least time between two writes, so that a burst that is still being written does not become a
/// write each tenth of a second.
const PACE: Duration = Duration::from_millis(500);
/// How long a first failure is waited out; twice as long each time after, up to the most.
const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(30);

/// Lets writes through.
#[derive(Debug, Default)]
pub(super) struct Gate {
    last: Option<Instant>,
    failed: Option<(u32, Instant)>,
}

impl Gate {
    /// Whether a write may be made now. One that wakes from zero waits for no other, but for a
    /// server that failed.
    pub(super) fn open(&self, wakes: bool, now: Instant) -> bool {
        let paced = wakes || self.last.is_none_or(|last| now >= last + PACE);
        let rested = self.failed.is_none_or(|(times, at)| {
            let doublings = times.saturating_sub(1).min(16);
            now >= at + (FIRST * (1 << doublings)).min(MOST)
        });
        paced && rested
    }

    /// A write was made.
    pub(super) fn passed(&mut self, now: Instant) {
        self.last = Some(now);
        self.failed = None;
    }

    /// A write failed.
    pub(super) fn shut(&mut self, now: Instant) {
        let times = self.failed.map_or(0, |(times, _)| times);
        self.failed = Some((times.saturating_add(1), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_keep_their_distance_but_for_one_that_wakes() {
        let (start, mut gate) = (Instant::now(), Gate::default());
        assert!(gate.open(false, start));
        gate.passed(start);
        let soon = start + PACE / 2;
        assert!(!gate.open(false, soon) && gate.open(true, soon));
        assert!(gate.open(false, start + PACE));
    }

    #[test]
    fn failures_are_waited_out_longer_each_time() {
        let (start, mut gate) = (Instant::now(), Gate::default());
        for wait in [FIRST, FIRST * 2, FIRST * 4] {
            gate.shut(start);
            let almost = wait.saturating_sub(Duration::from_millis(1));
            assert!(!gate.open(true, start + almost), "{wait:?}");
            assert!(gate.open(true, start + wait), "{wait:?}");
        }
        for _ in 0..100 {
            gate.shut(start);
        }
        assert!(gate.open(true, start + MOST));
        gate.passed(start);
        gate.shut(start);
        assert!(gate.open(true, start + FIRST));
    }
}
