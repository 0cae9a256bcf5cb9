//! The replicas of one TaskQueue over time: what was asked for, decided, written and told. No I/O.

use std::time::Duration;

use jiff::Timestamp;
use taskqueue_scaling::{Decision, Reason};
use tokio::time::Instant;

use super::{
    contention::{Contention, Overwritten},
    gate::Gate,
};
use crate::index::{Change, Changes};

/// How long the number that was written last counts for more than the cache, which lags behind.
const CACHE_LAG: Duration = Duration::from_secs(2);
/// How long the number from before a write may be shown after it without being taken for one that
/// somebody has set since: longer than a watch is behind, but for a server in distress.
const LATE: Duration = Duration::from_secs(30);

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
    /// Somebody else has set another number than we did.
    pub(super) overwritten: Option<Overwritten>,
}

/// The replicas and their past.
#[derive(Default)]
pub(super) struct Replicas {
    /// Whether they may be written.
    pub(super) gate: Gate,
    /// A write is under way.
    pub(super) writing: bool,
    /// What was written last.
    asked: Option<Asked>,
    /// Who else writes them.
    pub(super) contention: Contention,
    /// The last decision and when its number or reason changed.
    last: Option<(Decision, Timestamp)>,
    /// Whether the last look could read Redis; `None` before the first.
    reachable: Option<bool>,
    changes: Changes,
    /// Why the last write failed.
    refused: Option<String>,
}

/// Replicas that we have written.
#[derive(Clone, Copy)]
struct Asked {
    replicas: u32,
    /// Those before.
    before: u32,
    at: Instant,
    /// The watch has shown them.
    shown: bool,
    /// Somebody has written over them, and that was counted.
    overwritten: bool,
}

/// What the watch shows of the replicas.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    /// How many there are asked for.
    pub(super) replicas: u32,
    /// Who has set them, if that was not us.
    pub(super) by: Option<&'a str>,
}

impl Replicas {
    /// Takes note of what the watch shows where `aim` replicas are to be come to, and returns
    /// whether somebody has written over ours, each time once.
    pub(super) fn shows(
        &mut self,
        shown: Shown<'_>,
        aim: u32,
        now: Instant,
    ) -> Option<Overwritten> {
        let asked = self.asked.as_mut()?;
        if shown.replicas == asked.replicas {
            asked.shown = true;
            return None;
        }
        // What is shown may be from before our write.
        let lag = if shown.replicas == asked.before {
            LATE
        } else {
            CACHE_LAG
        };
        let late = !asked.shown && now < asked.at + lag;
        let by = shown.by.filter(|_| !late && !asked.overwritten)?;
        if shown.replicas == aim {
            return None;
        }
        asked.overwritten = true;
        let numbers = (asked.replicas, shown.replicas);
        Some(self.contention.overwritten(by, numbers, now))
    }

    /// The number is for somebody else to set: whoever does so writes over nothing of ours.
    pub(super) fn leave(&mut self) {
        self.asked = None;
        self.contention = Contention::default();
    }

    /// How many are asked for by all that is known, where the cache holds `cached`, and whether
    /// that was asked just now.
    pub(super) fn standing(&self, cached: u32) -> (u32, bool) {
        let lately = self.asked.filter(|asked| asked.at.elapsed() < CACHE_LAG);
        lately.map_or((cached, false), |asked| (asked.replicas, true))
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
            overwritten: None,
        };
        (since, news)
    }

    /// They were written.
    pub(super) fn wrote(&mut self, step: &Step, at: Timestamp) {
        let now = Instant::now();
        self.asked = Some(Asked {
            replicas: step.to,
            before: step.from,
            at: now,
            shown: false,
            overwritten: false,
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    const HPA: &str = "kube-controller-manager";

    fn step(from: u32, to: u32) -> Step {
        Step {
            from,
            to,
            decision: Decision {
                replicas: to,
                wanted: to,
                reason: Reason::Backlog,
                limit: None,
                inputs: Vec::new(),
                clamps: Vec::new(),
                equation: String::new(),
            },
        }
    }

    /// Three written over five; times are since that write.
    struct Written {
        replicas: Replicas,
        start: Instant,
    }

    impl Written {
        fn new() -> Self {
            let mut replicas = Replicas::default();
            let start = Instant::now();
            replicas.wrote(&step(5, 3), Timestamp::UNIX_EPOCH);
            Self { replicas, start }
        }

        /// The watch shows a number by a manager; how often ours was written over, if it was now.
        fn shows(&mut self, replicas: u32, by: Option<&str>, seconds: u64) -> Option<u32> {
            let now = self.start + Duration::from_secs(seconds);
            let seen = Shown { replicas, by };
            self.replicas.shows(seen, 3, now).map(|over| over.times)
        }
    }

    #[test]
    fn a_number_that_another_manager_has_set_over_ours_counts_once() {
        let mut all = Written::new();
        assert_eq!(all.shows(3, None, 1), None);
        assert_eq!(all.shows(5, Some(HPA), 2), Some(1));
        assert_eq!(all.shows(5, Some(HPA), 3), None);
        assert_eq!(all.shows(6, Some(HPA), 4), None, "nothing of ours");
    }

    #[test]
    fn a_watch_that_is_late_is_no_other_writer() {
        let mut all = Written::new();
        assert_eq!(all.shows(5, Some(HPA), 20), None, "as before ours");
        assert_eq!(all.shows(7, Some(HPA), 1), None);
        assert_eq!(all.shows(7, Some(HPA), 3), Some(1), "a third number");
    }

    #[test]
    fn what_we_have_set_or_aim_at_is_written_over_by_nobody() {
        let mut all = Written::new();
        assert_eq!(all.shows(3, None, 1), None);
        assert_eq!(all.shows(4, None, 40), None, "the field is ours");
        let agreed = Shown {
            replicas: 4,
            by: Some(HPA),
        };
        let now = Instant::now();
        assert_eq!(all.replicas.shows(agreed, 4, now), None, "we agree");
        all.replicas.leave();
        assert_eq!(all.shows(9, Some(HPA), 50), None, "it is theirs");
    }
}
