//! What was wanted and what there was before: the memory behind stabilization, steps and idle
//! time.

use std::{collections::VecDeque, time::Duration};

use crate::{Instant, Pace, Policy, up::LONGEST_START};

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
    /// The fall that is thought of or under way.
    fall: Option<Fall>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fall {
    /// When it became possible.
    since: Instant,
    /// Where to, once it has begun.
    to: Option<u32>,
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
        let per = |pace: &Pace| pace.step.map_or(Duration::ZERO, |step| step.per);
        let longest = per(&policy.up).max(per(&policy.down)).max(LONGEST_START);
        // Two stay, so that it can be told whether the last change was a rise.
        while self.replicas.len() > 2
            && self
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

    /// The fewest and the most replicas there were in the time that ends now.
    pub(crate) fn extremes(&self, now: Instant, span: Duration) -> Option<(u32, u32)> {
        let then = now.checked_sub(span);
        // Newest first, up to the number that was in force at the start.
        let before = self
            .replicas
            .iter()
            .rev()
            .position(|&(from, _)| Some(from) <= then);
        let counted = before.map_or(self.replicas.len(), |place| place + 1);
        let counts = self
            .replicas
            .iter()
            .rev()
            .take(counted)
            .map(|&(_, count)| count);
        Some((counts.clone().min()?, counts.max()?))
    }

    /// Whether the replicas have risen within this time, and not from zero.
    pub(crate) fn rose_within(&self, now: Instant, span: Duration) -> bool {
        let mut entries = self.replicas.iter().rev();
        let (Some(&(since, last)), Some(&(_, before))) = (entries.next(), entries.next()) else {
            return false;
        };
        let fewest = self.extremes(now, span).map_or(0, |(fewest, _)| fewest);
        fewest > 0 && last > before && since + span > now
    }

    /// No fall is thought of any more.
    pub(crate) fn rest(&mut self) {
        self.fall = None;
    }

    /// What a fall comes to that waits for `span`, to take in one step what becomes possible
    /// meanwhile. One that has begun is finished before the next is thought of.
    pub(crate) fn gather(&mut self, now: Instant, current: u32, to: u32, span: Duration) -> u32 {
        if to >= current {
            self.fall = None;
            return to;
        }
        let fall = self.fall.get_or_insert(Fall {
            since: now,
            to: None,
        });
        match fall.to {
            Some(begun) if begun < current => return begun.max(to),
            Some(_) => {
                *fall = Fall {
                    since: now,
                    to: None,
                }
            }
            None => {}
        }
        if now.saturating_sub(fall.since) < span {
            return current;
        }
        fall.to = Some(to);
        to
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
