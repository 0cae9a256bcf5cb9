//! One source as the autoscaler follows it from look to look: a queue of another system, and workers
//! that are not ours. No I/O.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use taskqueue_queue::{Counters, Snapshot};
use taskqueue_scaling::{
    Caps, Decision, Demand, Fleet, Flow, History, Mode, Obstacle, Reason, decide,
};
use taskqueue_sources::{Depth, Running, SourceError};
use tokio::time::Instant;

use super::{
    contention::Overwritten,
    replicas::{News, Replicas, Shown, Step},
};
use crate::{
    index::{Orders, Reading, Sight, SourceOrders, SourceSight, Trouble},
    rates::Rates,
    rights,
    targets::{Found, TargetView},
};

/// How long a pod takes to start, whose start nobody measures here: a task due within this time
/// counts as demand already.
const START_TIME: Duration = Duration::from_secs(2);
/// How long a rate limit counts as used up after it was seen to be. A limit of a second is filled for
/// a moment in each, and a look in that moment must not scale to the maximum.
const LIMIT: Duration = Duration::from_secs(10);
/// How long tasks must have been due, with workers that do nothing, before these seem not to move
/// them on. The schedulers of all systems look more often than this.
const DUE: Duration = Duration::from_mins(5);

/// One source and its past.
pub(super) struct Sourced {
    pub(super) orders: Arc<Orders>,
    /// Tells apart two sources that one TaskQueue stood for one after the other.
    pub(super) life: u64,
    /// Whether it was ever read.
    pub(super) seen: bool,
    /// Nothing was there to run at the last look, and no worker.
    pub(super) at_rest: bool,
    pub(super) replicas: Replicas,
    history: History,
    /// When its rate limit was last seen to be used up.
    limited: Option<Duration>,
    /// Since when tasks are due that idle workers do not move on.
    due: Option<Duration>,
}

/// What a look at a source led to.
pub(super) struct Look {
    pub(super) sight: Sight,
    /// Replicas to write, with what they were.
    pub(super) write: Option<Step>,
    /// It is to be found out who else sets the replicas.
    pub(super) asks_rival: bool,
    pub(super) news: News,
}

impl Sourced {
    pub(super) fn new(orders: Arc<Orders>, life: u64) -> Self {
        Self {
            seen: orders.source.as_ref().is_some_and(|source| source.seen),
            orders,
            life,
            at_rest: false,
            replicas: Replicas::default(),
            history: History::default(),
            limited: None,
            due: None,
        }
    }

    /// The same source under other orders.
    pub(super) fn with_orders(self, orders: Arc<Orders>) -> Self {
        Self { orders, ..self }
    }

    /// Whether these orders are about the same source and workers.
    pub(super) fn stands_for(&self, orders: &Orders) -> bool {
        let about = |orders: &Orders| {
            let of = |source: &SourceOrders| (source.source.clone(), source.target.clone());
            orders.source.as_ref().map(of)
        };
        about(&self.orders) == about(orders)
    }

    /// Takes a reading in and decides. `now` is the time since the origin of the autoscaler, `at` the
    /// same instant by the wall clock.
    pub(super) fn look(
        &mut self,
        reading: Result<Depth, SourceError>,
        found: &Found,
        now: Duration,
        at: Timestamp,
    ) -> Look {
        self.seen |= reading.is_ok();
        let target = match found {
            Found::There(view) => Some(view.clone()),
            Found::Missing | Found::Refused(_) | Found::Unknown => None,
        };
        let fleet = self.fleet(target.as_ref());
        let depth = reading.as_ref().ok();
        let demand = depth.map(|depth| self.demand(depth, now));
        let due_not_moved = self.due_not_moved(depth, target.as_ref(), now);
        let mut decision = decide(
            &self.orders.scaling,
            demand.as_ref(),
            &fleet,
            &mut self.history,
            now,
            at,
        );
        let trouble = self.trouble(&reading, found);
        explain(&mut decision, &reading, found, trouble.as_ref());
        self.at_rest = fleet.replicas == 0 && decision.replicas == 0;
        // Trouble with the source is none of Redis'.
        let redis = match &reading {
            Err(SourceError::Redis(error)) => Err(error.to_string()),
            Ok(_) | Err(_) => Ok(()),
        };
        let recommends = self.orders.scaling.mode == Mode::Recommend;
        let (decided_at, mut news) =
            self.replicas
                .decided(fleet.replicas, &decision, redis, recommends, at);
        news.overwritten = self.rival(target.as_ref(), decision.replicas);
        let step = Step {
            from: fleet.replicas,
            to: decision.replicas,
            decision: decision.clone(),
        };
        let write = self.write(step, target.is_some());
        let queue = told(reading, at);
        Look {
            sight: Sight {
                queue,
                decision,
                decided_at,
                waits_for: target.as_ref().and_then(held_back),
                refused: self.replicas.refused(),
                another_writer: self.replicas.contention.told(Instant::now()),
                obstacle: None,
                changes: self.replicas.changes(),
                missing: 0,
                source: Some(SourceSight {
                    trouble,
                    target,
                    due_not_moved,
                }),
            },
            write,
            asks_rival: self.replicas.contention.asks(Instant::now()),
            news,
        }
    }

    /// What the source needs workers for. Other systems do not count what was added and what was
    /// done.
    fn demand(&mut self, depth: &Depth, now: Duration) -> Demand {
        if depth.limited.is_some() {
            self.limited = Some(now);
        }
        let running = self.orders.source.as_ref().map(|of| of.source.running());
        Demand {
            waiting: depth.runnable + depth.deferred_due,
            active: depth.in_flight,
            unseen: match running {
                None | Some(Running::Shown) => None,
                Some(Running::Late(late)) => Some(late),
                Some(Running::Hidden { .. }) => Some(self.orders.scaling.idle),
            },
            next_due: depth.next_due,
            paused: depth.paused,
            caps: Caps {
                concurrency: depth.cap,
                rate: None,
                used_up: self.limited.is_some_and(|at| now < at + LIMIT),
            },
            flow: Flow::default(),
        }
    }

    /// Whether tasks have been due for long though workers are there that have nothing else to do.
    fn due_not_moved(
        &mut self,
        depth: Option<&Depth>,
        target: Option<&TargetView>,
        now: Duration,
    ) -> bool {
        let lies = depth.is_some_and(|depth| {
            let idle = depth.runnable + depth.in_flight == 0 && !depth.paused;
            depth.deferred_due > 0 && idle
        });
        if lies && target.is_some_and(|target| target.ready > 0) {
            now >= *self.due.get_or_insert(now) + DUE
        } else {
            self.due = None;
            false
        }
    }

    /// Takes note of whether somebody else has set another number than ours, where we set it.
    fn rival(&mut self, target: Option<&TargetView>, aim: u32) -> Option<Overwritten> {
        if self.orders.scaling.mode == Mode::Recommend {
            self.replicas.leave();
            return None;
        }
        let target = target?;
        let shown = Shown {
            replicas: target.replicas,
            by: target.replicas_by.as_deref(),
        };
        self.replicas.shows(shown, aim, Instant::now())
    }

    /// The workers there are. Nobody can drain them one by one.
    fn fleet(&self, target: Option<&TargetView>) -> Fleet {
        let cached = target.map_or(0, |target| target.replicas);
        Fleet {
            replicas: self.replicas.standing(cached).0,
            ready: target.map_or(0, |target| target.ready),
            rolling: target.is_some_and(|target| target.rolling),
            obstacle: target
                .and_then(|target| target.stuck.clone())
                .map(|message| Obstacle {
                    reason: "NoProgress".to_owned(),
                    message,
                }),
            start_time: START_TIME,
            handshake: false,
        }
    }

    fn trouble(&self, reading: &Result<Depth, SourceError>, found: &Found) -> Option<Trouble> {
        let (reason, message) = match (reading, found) {
            (Err(error @ SourceError::KeyMissing { .. }), _) => {
                ("SourceKeyMissing", error.to_string())
            }
            (Err(error @ SourceError::WrongType { .. }), _) => {
                ("SourceWrongType", error.to_string())
            }
            (Err(error @ SourceError::Unreadable { .. }), _) => {
                ("SourceUnreadable", error.to_string())
            }
            (_, Found::Missing) => {
                let target = self.orders.source.as_ref()?.target.clone();
                let message = format!(
                    "{target} named in spec.targetRef does not exist in namespace {}: create it, or correct the name",
                    target.namespace
                );
                ("TargetMissing", message)
            }
            (_, Found::Refused(words)) => (rights::MISSING, format!("{words}{}", rights::FIX)),
            (Ok(_) | Err(SourceError::Redis(_)), Found::There(_) | Found::Unknown) => return None,
        };
        Some(Trouble { reason, message })
    }

    /// The number to write, if it is for us to write one.
    fn write(&self, step: Step, there: bool) -> Option<Step> {
        let ours = self.orders.scaling.mode != Mode::Recommend
            && !self.replicas.contention.yields(Instant::now());
        let opens = self.replicas.gate.open(step.from == 0, Instant::now());
        (there && ours && opens && !self.replicas.writing && step.from != step.to).then_some(step)
    }
}

/// What a smaller number of a `StatefulSet` waits for.
fn held_back(target: &TargetView) -> Option<String> {
    (target.held_back > 0).then(|| {
        format!(
            "{} pods of the StatefulSet are to go, and a pod below them is not ready: it stops its highest pods only while all below are ready",
            target.held_back
        )
    })
}

/// Gives a decision the reason that it was made for, where that is not the queue's.
fn explain(
    decision: &mut Decision,
    reading: &Result<Depth, SourceError>,
    found: &Found,
    trouble: Option<&Trouble>,
) {
    let by_hand = decision.reason == Reason::ScalingPaused;
    match (reading, found, trouble) {
        (Err(SourceError::Redis(_)), ..) | (.., None) => {}
        (Err(_), _, Some(trouble)) if !by_hand => {
            decision.reason = Reason::SourceUnknown;
            decision.equation = format!("held at {}: {}", decision.replicas, trouble.message);
        }
        (_, Found::Missing, Some(_)) => decision.reason = Reason::TargetMissing,
        _ => {}
    }
}

/// A reading in the words of a queue of ours, or why there is none.
fn told(reading: Result<Depth, SourceError>, at: Timestamp) -> Result<Reading, String> {
    let depth = reading.map_err(|error| error.to_string())?;
    Ok(Reading {
        snapshot: Snapshot {
            now: at,
            waiting: vec![(String::new(), depth.runnable)],
            scheduled: depth.deferred,
            due: depth.deferred_due,
            active: depth.in_flight,
            lost: 0,
            dead: 0,
            blocked: 0,
            oldest_waiting: depth.oldest,
            next_due: depth.next_due.and_then(|left| at.checked_add(left).ok()),
            workers: 0,
            expired_workers: 0,
            tidy_at: None,
            fault: None,
            counters: Counters::default(),
            version: 0,
        },
        rates: Rates::default(),
    })
}

#[cfg(test)]
mod tests;
