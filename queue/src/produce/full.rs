//! A queue that is full: what the producer is told. Pure.

use std::time::Duration;

use crate::reply::Reply;
use crate::{Error, Policy, QueueName};

/// What is said when it is not known how fast the queue drains.
const UNKNOWN: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// What the script saw of a full queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    now_ms: u64,
    waiting: u64,
    /// How many tasks were to be added.
    wanted: u64,
    completed: u64,
    /// How many had completed at that time, if that was ever noted.
    before: Option<(u64, u64)>,
}

/// Reads the answer from behind its time on.
pub(super) fn read(reply: &mut Reply<'_>, now_ms: u64, wanted: u64) -> Result<Full, Error> {
    let waiting = reply.next()?;
    let counters: Vec<Option<u64>> = reply.next()?;
    let counter = |place: usize| counters.get(place).copied().flatten();
    Ok(Full {
        now_ms,
        waiting,
        wanted,
        completed: counter(0).unwrap_or(0),
        before: counter(1).zip(counter(2)),
    })
}

impl Full {
    pub(super) fn refusal(&self, queue: &QueueName, policy: &Policy) -> Error {
        let limit = policy.limits.max_backlog.unwrap_or(u64::MAX);
        Error::Backlog {
            queue: queue.to_string(),
            waiting: self.waiting,
            limit,
            retry_after: self.retry_after(limit),
        }
    }

    /// How long until there is room, if the queue goes on as it did of late: what must go, divided
    /// by how much completed in a second.
    fn retry_after(&self, limit: u64) -> Duration {
        let Some((completed, at_ms)) = self.before else {
            return UNKNOWN;
        };
        let ended = self.completed.saturating_sub(completed);
        let millis = self.now_ms.saturating_sub(at_ms);
        let excess = (self.waiting + self.wanted).saturating_sub(limit);
        match excess.saturating_mul(millis).checked_div(ended) {
            Some(wait) => Duration::from_millis(wait).clamp(SHORTEST, LONGEST),
            None => UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(completed: u64, before: Option<(u64, u64)>) -> Full {
        Full {
            now_ms: 20_000,
            waiting: 100,
            wanted: 50,
            completed,
            before,
        }
    }

    #[test]
    fn the_wait_is_what_the_queue_needs_to_make_room() {
        // 10 s for 100 tasks; 50 of the 150 have to go.
        let wait = full(300, Some((200, 10_000))).retry_after(100);
        assert_eq!(wait, Duration::from_secs(5));
    }

    #[test]
    fn a_queue_that_does_not_drain_says_half_a_minute() {
        assert_eq!(full(200, Some((200, 10_000))).retry_after(100), UNKNOWN);
        assert_eq!(full(200, None).retry_after(100), UNKNOWN);
    }

    #[test]
    fn the_wait_is_bounded() {
        assert_eq!(
            full(1_000_000, Some((0, 10_000))).retry_after(100),
            SHORTEST
        );
        assert_eq!(full(1, Some((0, 10_000))).retry_after(100), LONGEST);
    }
}
