//! What was wanted and what there was before: the memory behind stabilization, steps and idle
//! time.

use std::{collections::VecDeque, time::Duration};

use crate::{Instant, Policy};

/// The past of one queue. It holds at most one entry for each change within the windows of the
/// policy, so it stays short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Wanted numbers with the last instant at which each was wanted, highest first: an entry
    /// that is both older and lower than another can never be the highest again.
    highest: VecDeque<(Instant, u32)>,
    /// The same for the lowest.
    lowest: VecDeque<(Instant, u32)>,
    /// The replicas there were, each with the instant from which on.
    replicas: VecDeque<(Instant, u32)>,
    /// The last instant at which the queue was not empty or not known, or the first at which it
    /// was seen.
    last_busy: Option<Instant>,
}

impl History {
    /// Takes note of the replicas there are. Where nothing is known yet they count as wanted:
    /// somebody wanted them. So a restart does not cut a stabilization window short.
    pub(crate) fn see(&mut self, now: Instant, replicas: u32, policy: &Policy) {
        if self.replicas.is_empty() {
            self.want(now, replicas, policy);
        }
        if self
            .replicas
            .back()
            .is_none_or(|&(_, last)| last != replicas)
        {
            self.replicas.push_back((now, replicas));
        }
        let per = |pace: &crate::Pace| pace.step.map_or(Duration::ZERO, |step| step.per);
        let longest = per(&policy.up).max(per(&policy.down));
        while self
            .replicas
            .get(1)
            .is_some_and(|&(from, _)| from + longest <= now)
        {
            self.replicas.pop_front();
        }
    }

    /// Takes note of the number wanted now, before any bound in time.
    pub(crate) fn want(&mut self, now: Instant, wanted: u32, policy: &Policy) {
        record(
            &mut self.highest,
            now,
            wanted,
            policy.down.stabilization,
            |old| old <= wanted,
        );
        record(
            &mut self.lowest,
            now,
            wanted,
            policy.up.stabilization,
            |old| old >= wanted,
        );
    }

    /// Takes note of whether anything waits, runs or is due.
    pub(crate) fn busy(&mut self, now: Instant, busy: bool) {
        if busy || self.last_busy.is_none() {
            self.last_busy = Some(now);
        }
    }

    /// The highest number wanted within the window that ends now; `None` when there was none.
    pub(crate) fn highest(&self, now: Instant, window: Duration) -> Option<u32> {
        within(&self.highest, now, window)
    }

    /// The lowest number wanted within the window that ends now; `None` when there was none.
    pub(crate) fn lowest(&self, now: Instant, window: Duration) -> Option<u32> {
        within(&self.lowest, now, window)
    }

    /// The replicas there were so long ago, or as long ago as anything is known of.
    pub(crate) fn replicas_before(&self, now: Instant, span: Duration) -> Option<u32> {
        let then = now.checked_sub(span);
        let known = self
            .replicas
            .iter()
            .rev()
            .find(|&&(from, _)| Some(from) <= then);
        known
            .or(self.replicas.front())
            .map(|&(_, replicas)| replicas)
    }

    /// How long the queue has been empty.
    pub(crate) fn empty_for(&self, now: Instant) -> Duration {
        self.last_busy
            .map_or(Duration::ZERO, |busy| now.saturating_sub(busy))
    }
}

fn record(
    wants: &mut VecDeque<(Instant, u32)>,
    now: Instant,
    wanted: u32,
    window: Duration,
    outdone: impl Fn(u32) -> bool,
) {
    while wants.back().is_some_and(|&(_, want)| outdone(want)) {
        wants.pop_back();
    }
    wants.push_back((now, wanted));
    while wants.front().is_some_and(|&(at, _)| at + window < now) {
        wants.pop_front();
    }
}

/// The first want within the window. Without a window only what is wanted now counts, also where
/// something else was wanted at the same instant.
fn within(wants: &VecDeque<(Instant, u32)>, now: Instant, window: Duration) -> Option<u32> {
    if window.is_zero() {
        return None;
    }
    let first = wants.iter().find(|&&(at, _)| at + window >= now);
    first.map(|&(_, want)| want)
}
