//! The replicas of one TaskQueue over time: what was asked for, decided, written and told. No I/O.

use std::time::Duration;

use jiff::Timestamp;
use taskqueue_scaling::{Decision, Reason};
use tokio::time::Instant;

use super::gate::Gate;
use crate::index::{Change, Changes};

/// How long the number that was written last counts for more than the cache, which lags behind.
const CACHE_LAG: Duration = Duration::from_secs(2);

/// A change of the replicas.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) decision: Decision,
}

/// What a look found that is to be told once, and not in the status alone.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Redis has become readable or unreadable.
    pub(super) turned: Option<Result<(), String>>,
    /// The reason for which the number is held back.
    pub(super) held: Option<Reason>,
    /// The number that is recommended is another one.
    pub(super) recommended: Option<Step>,
}

/// The replicas and their past.
#[derive(Default)]
pub(super) struct Replicas {
    /// Whether they may be written.
    pub(super) gate: Gate,
    /// A write is under way.
    pub(super) writing: bool,
    /// What was written last, and when.
    asked: Option<(u32, Instant)>,
    /// The last decision and when its number or reason changed.
    last: Option<(Decision, Timestamp)>,
    /// Whether the last look could read Redis; `None` before the first.
    reachable: Option<bool>,
    changes: Changes,
    /// Why the last write failed.
    refused: Option<String>,
}

impl Replicas {
    /// How many are asked for by all that is known, where the cache holds `cached`, and whether
    /// that was asked just now.
    pub(super) fn standing(&self, cached: u32) -> (u32, bool) {
        let lately = self.asked.filter(|(_, at)| at.elapsed() < CACHE_LAG);
        lately.map_or((cached, false), |(asked, _)| (asked, true))
    }

    /// Takes note of a look: its decision on `from` replicas, and whether Redis could be read.
    /// `recommends`: nobody here writes the number. Returns since when number and reason are what
    /// they are, and what is news.
    pub(super) fn decided(
        &mut self,
        from: u32,
        decision: &Decision,
        redis: Result<(), String>,
        recommends: bool,
        at: Timestamp,
    ) -> (Timestamp, News) {
        let before = self.last.take();
        let since = match &before {
            Some((last, since))
                if last.replicas == decision.replicas && last.reason == decision.reason =>
            {
                *since
            }
            _ => at,
        };
        self.last = Some((decision.clone(), since));
        let before = before.map(|(decision, _)| decision);
        let news = News {
            turned: self.turn(redis),
            held: held(before.as_ref(), decision, from),
            recommended: recommends
                .then(|| self.recommend(before.as_ref(), from, decision, at))
                .flatten(),
        };
        (since, news)
    }

    /// They were written.
    pub(super) fn wrote(&mut self, step: &Step, at: Timestamp) {
        let now = Instant::now();
        self.asked = Some((step.to, now));
        self.refused = None;
        self.gate.passed(now);
        self.changes.push(change(step, at));
    }

    /// They could not be written. Returns whether that is news.
    pub(super) fn not_written(&mut self, cause: String) -> bool {
        self.gate.shut(Instant::now());
        self.refused.replace(cause.clone()) != Some(cause)
    }

    /// Why the last write failed.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.clone()
    }

    /// The last changes.
    pub(super) fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// A number that is recommended for the first time is a change like any other.
    fn recommend(
        &mut self,
        before: Option<&Decision>,
        from: u32,
        decision: &Decision,
        at: Timestamp,
    ) -> Option<Step> {
        let is_news = before.is_none_or(|before| before.replicas != decision.replicas);
        if !is_news || from == decision.replicas {
            return None;
        }
        let step = Step {
            from: before.map_or(from, |before| before.replicas),
            to: decision.replicas,
            decision: decision.clone(),
        };
        self.changes.push(change(&step, at));
        Some(step)
    }

    fn turn(&mut self, redis: Result<(), String>) -> Option<Result<(), String>> {
        let before = self.reachable.replace(redis.is_ok());
        match (before, &redis) {
            (Some(false), Ok(())) | (Some(true) | None, Err(_)) => Some(redis),
            _ => None,
        }
    }
}

fn change(step: &Step, at: Timestamp) -> Change {
    Change {
        time: at,
        from: step.from,
        to: step.to,
        wanted: step.decision.wanted,
        reason: step.decision.reason,
        equation: step.decision.equation.clone(),
    }
}

/// The reason for which another number is wanted and not aimed at, if it was another one before.
fn held(before: Option<&Decision>, decision: &Decision, replicas: u32) -> Option<Reason> {
    let is_held = |decision: &Decision| decision.wanted != decision.replicas;
    let was = before.is_some_and(|before| is_held(before) && before.reason == decision.reason);
    (is_held(decision) && decision.replicas == replicas && !was).then_some(decision.reason)
}
