//! Our own decision as a decider, at the pace of the operator.

use std::time::Duration;

use jiff::Timestamp;

use super::Seen;
use crate::{Caps, Decision, Demand, Estimator, Fleet, History, Instant, Policy, decide};

/// How often the operator looks at a queue.
const LOOK: Duration = Duration::from_secs(1);

/// How long it looks at every tick after a queue at zero got a task.
const HOT: Duration = Duration::from_secs(1);

/// Decides by a policy as the operator does: every second, at once when a queue without workers
/// gets a task, and at every tick for a second after that.
#[derive(Debug)]
pub struct Follower {
    policy: Policy,
    caps: Caps,
    start_time: Duration,
    from: Timestamp,
    history: History,
    estimator: Estimator,
    looked: Option<Instant>,
    hot_until: Instant,
    aim: u32,
}

impl Follower {
    /// A follower of this policy. `start_time` is what a pod takes to start, `from` the time of day
    /// at which the trace begins, for the windows.
    pub fn new(policy: Policy, caps: Caps, start_time: Duration, from: Timestamp) -> Self {
        Self {
            policy,
            caps,
            start_time,
            from,
            history: History::default(),
            estimator: Estimator::default(),
            looked: None,
            hot_until: Instant::ZERO,
            aim: 0,
        }
    }

    /// Replicas to aim at.
    pub fn aim(&mut self, seen: &Seen) -> u32 {
        if let Some(decision) = self.look(seen) {
            self.aim = decision.replicas;
        }
        self.aim
    }

    /// The decision at this instant, where one is made.
    pub fn look(&mut self, seen: &Seen) -> Option<Decision> {
        if seen.replicas == 0 && seen.waiting > 0 && self.hot_until < seen.now {
            self.hot_until = seen.now + HOT;
        }
        let due = self.looked.is_none_or(|looked| looked + LOOK <= seen.now);
        if !due && self.hot_until < seen.now {
            return None;
        }
        self.looked = Some(seen.now);
        self.estimator
            .record(seen.now, seen.enqueued, seen.completed, seen.run);
        let demand = Demand {
            waiting: seen.waiting,
            active: seen.active,
            unseen: None,
            next_due: None,
            paused: false,
            caps: self.caps,
            flow: self.estimator.flow(),
        };
        let fleet = Fleet {
            replicas: seen.replicas,
            ready: seen.ready,
            start_time: self.start_time,
            handshake: true,
            ..Fleet::default()
        };
        let (history, now) = (&mut self.history, seen.now);
        let at = self.from.saturating_add(now).unwrap_or(Timestamp::MAX);
        Some(decide(
            &self.policy,
            Some(&demand),
            &fleet,
            history,
            now,
            at,
        ))
    }
}
