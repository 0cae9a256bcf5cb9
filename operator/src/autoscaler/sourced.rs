//! One source as the autoscaler follows it from look to look: a queue of another system, and workers
//! that are not ours. No I/O.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use taskqueue_queue::{Counters, Snapshot};
use taskqueue_scaling::{
    Caps, Decision, Demand, Fleet, Flow, History, Mode, Obstacle, Reason, decide,
};
use taskqueue_sources::{Depth, SourceError};
use tokio::time::Instant;

use super::{
    gate::Gate,
    watched::{CACHE_LAG, Step, change, held},
};
use crate::{
    index::{Changes, Orders, Reading, Sight, SourceOrders, SourceSight, Trouble},
    rates::Rates,
    targets::{Found, TargetView},
};

/// How long a pod takes to start, whose start nobody measures here: a task due within this time
/// counts as demand already.
const START_TIME: Duration = Duration::from_secs(2);

/// One source and its past.
pub(super) struct Sourced {
    pub(super) orders: Arc<Orders>,
    /// Tells apart two sources that one TaskQueue stood for one after the other.
    pub(super) life: u64,
    /// Whether it was ever read.
    pub(super) seen: bool,
    /// Nothing was there to run at the last look, and no worker.
    pub(super) at_rest: bool,
    /// A write is under way.
    pub(super) writing: bool,
    history: History,
    /// The replicas that were written last, and when.
    asked: Option<(u32, Instant)>,
    /// The decision of the last look and when its number or reason changed.
    last: Option<(Decision, Timestamp)>,
    /// Whether Redis answered at the last look; `None` before the first.
    reachable: Option<bool>,
    changes: Changes,
    refused: Option<String>,
    gate: Gate,
}

/// What a look at a source led to.
pub(super) struct Look {
    pub(super) sight: Sight,
    /// Replicas to write, with what they were.
    pub(super) write: Option<Step>,
    /// Redis has become reachable or unreachable.
    pub(super) turned: Option<Result<(), String>>,
    /// The reason for which the number is held back, if that is news.
    pub(super) held: Option<Reason>,
    /// The number that is recommended is another one.
    pub(super) recommended: Option<Step>,
}

impl Sourced {
    pub(super) fn new(orders: Arc<Orders>, life: u64) -> Self {
        Self {
            seen: orders.source.as_ref().is_some_and(|source| source.seen),
            orders,
            life,
            at_rest: false,
            writing: false,
            history: History::default(),
            asked: None,
            last: None,
            reachable: None,
            changes: Changes::default(),
            refused: None,
            gate: Gate::default(),
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
            Found::Missing | Found::Unknown => None,
        };
        let fleet = self.fleet(target.as_ref());
        let demand = reading.as_ref().ok().map(demand);
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
        let before = self.last.take();
        let decided_at = match &before {
            Some((last, since))
                if last.replicas == decision.replicas && last.reason == decision.reason =>
            {
                *since
            }
            _ => at,
        };
        let before = before.map(|(decision, _)| decision);
        self.last = Some((decision.clone(), decided_at));
        let step = Step {
            from: fleet.replicas,
            to: decision.replicas,
            decision: decision.clone(),
        };
        let recommended = self.recommend(before.as_ref(), &step, at);
        let held = held(before.as_ref(), &decision, fleet.replicas);
        let write = self.write(step, target.is_some());
        // Trouble with the source is none of Redis'.
        let turned = match &reading {
            Err(SourceError::Redis(error)) => self.turn(Err(error.to_string())),
            Ok(_) | Err(_) => self.turn(Ok(())),
        };
        let queue = told(reading, at);
        Look {
            turned,
            sight: Sight {
                queue,
                decision,
                decided_at,
                waits_for: None,
                refused: self.refused.clone(),
                obstacle: None,
                changes: self.changes.clone(),
                source: Some(SourceSight { trouble, target }),
            },
            write,
            held,
            recommended,
        }
    }

    /// The workers there are. Nobody can drain them one by one.
    fn fleet(&self, target: Option<&TargetView>) -> Fleet {
        let asked = self.asked.filter(|(_, at)| at.elapsed() < CACHE_LAG);
        let standing = target.map_or(0, |target| target.replicas);
        Fleet {
            replicas: asked.map_or(standing, |(replicas, _)| replicas),
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
            (Ok(_) | Err(SourceError::Redis(_)), Found::There(_) | Found::Unknown) => return None,
        };
        Some(Trouble { reason, message })
    }

    /// The number to write, if it is for us to write one.
    fn write(&self, step: Step, there: bool) -> Option<Step> {
        let ours = self.orders.scaling.mode != Mode::Recommend;
        let opens = self.gate.open(step.from == 0, Instant::now());
        (there && ours && opens && !self.writing && step.from != step.to).then_some(step)
    }

    /// The replicas were written.
    pub(super) fn wrote(&mut self, step: &Step, at: Timestamp) {
        let now = Instant::now();
        self.asked = Some((step.to, now));
        self.refused = None;
        self.gate.passed(now);
        self.changes.push(change(step, at));
    }

    /// The replicas could not be written. Returns whether that is news.
    pub(super) fn not_written(&mut self, cause: String) -> bool {
        self.gate.shut(Instant::now());
        self.refused.replace(cause.clone()) != Some(cause)
    }

    /// In mode Recommend a number that is told for the first time, which is a change like any
    /// other.
    fn recommend(&mut self, before: Option<&Decision>, step: &Step, at: Timestamp) -> Option<Step> {
        let is_news = before.is_none_or(|before| before.replicas != step.to);
        if self.orders.scaling.mode != Mode::Recommend || !is_news || step.from == step.to {
            return None;
        }
        let from = before.map_or(step.from, |before| before.replicas);
        let step = Step {
            from,
            ..step.clone()
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

/// What the source needs workers for. Other systems do not count what was added and what was done.
fn demand(depth: &Depth) -> Demand {
    Demand {
        waiting: depth.runnable + depth.deferred_due,
        active: depth.in_flight,
        next_due: depth.next_due,
        paused: depth.paused,
        caps: Caps {
            concurrency: depth.cap,
            rate: None,
        },
        flow: Flow::default(),
    }
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
            counters: Counters::default(),
            version: 0,
        },
        rates: Rates::default(),
    })
}
