//! One queue as the autoscaler follows it from look to look.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use taskqueue_queue::{Policy, Queue, Rate, Snapshot, Tidied};
use taskqueue_scaling::{Caps, Decision, Demand, Estimator, Fleet, History, Mode, decide};
use tokio::time::Instant;

use super::tending::Chores;
use crate::{
    index::{Orders, Reading, Sight},
    rates::Rates,
};

/// How long the number that was written last counts for more than the cache, which lags behind.
const CACHE_LAG: Duration = Duration::from_secs(2);

/// How long a pod takes to start: a task due within this time counts as demand already.
const POD_START_TIME: Duration = Duration::from_secs(2);

/// One queue and its past.
pub(super) struct Watched {
    pub(super) orders: Arc<Orders>,
    /// The queue in Redis; `None` until the first connection.
    pub(super) queue: Option<Queue>,
    history: History,
    estimator: Estimator,
    rates: Rates,
    /// The policy that was projected last and the version it got.
    projected: Option<(Policy, u64)>,
    /// What the queue was tidied of last, and when.
    tidied: Option<(Tidied, Instant)>,
    /// The replicas that were written last, and when.
    asked: Option<(u32, Instant)>,
    /// The decision of the last look and when its number or reason changed.
    last: Option<(Decision, Timestamp)>,
    /// Whether the last look could read the queue; `None` before the first.
    reachable: Option<bool>,
}

/// What a look at a queue led to.
pub(super) struct Look {
    /// What the status shall tell.
    pub(super) sight: Sight,
    /// Replicas to write, with what they were: `(from, to)`.
    pub(super) scale: Option<(u32, u32)>,
    /// The queue became readable or unreadable.
    pub(super) turned: Option<Result<(), String>>,
}

impl Watched {
    pub(super) fn new(orders: Arc<Orders>) -> Self {
        Self {
            orders,
            queue: None,
            history: History::default(),
            estimator: Estimator::default(),
            rates: Rates::default(),
            projected: None,
            tidied: None,
            asked: None,
            last: None,
            reachable: None,
        }
    }

    /// The same queue under other orders.
    pub(super) fn with_orders(self, orders: Arc<Orders>) -> Self {
        Self { orders, ..self }
    }

    /// Takes a reading of the queue in and decides. `now` is the time since the origin of the
    /// autoscaler, `at` the same instant by the wall clock.
    pub(super) fn look(
        &mut self,
        reading: Result<Snapshot, String>,
        deployment: Option<&Deployment>,
        now: Duration,
        at: Timestamp,
    ) -> Look {
        if let Ok(Snapshot { counters, .. }) = &reading {
            let (enqueued, completed) = (counters.enqueued, counters.completed);
            self.estimator
                .record(now, enqueued, completed, counters.run);
        }
        let demand = reading.as_ref().ok().map(|snapshot| self.demand(snapshot));
        let fleet = Fleet {
            replicas: self.replicas(deployment),
            start_time: POD_START_TIME,
            ..Fleet::default()
        };
        let decision = decide(
            &self.orders.scaling,
            demand.as_ref(),
            &fleet,
            &mut self.history,
            now,
            at,
        );
        let decided_at = match &self.last {
            Some((last, since))
                if last.replicas == decision.replicas && last.reason == decision.reason =>
            {
                *since
            }
            _ => at,
        };
        self.last = Some((decision.clone(), decided_at));
        let turned = self.turn(&reading);
        let writes = deployment.is_some() && self.orders.scaling.mode != Mode::Recommend;
        let scale = (writes && decision.replicas != fleet.replicas)
            .then_some((fleet.replicas, decision.replicas));
        let queue = reading.map(|snapshot| {
            self.rates.record(now, snapshot.counters);
            Reading {
                snapshot,
                rates: self.rates.clone(),
            }
        });
        Look {
            sight: Sight {
                queue,
                decision,
                decided_at,
            },
            scale,
            turned,
        }
    }

    /// The replicas were written.
    pub(super) fn asked(&mut self, replicas: u32) {
        self.asked = Some((replicas, Instant::now()));
    }

    /// Whether Redis holds another policy than ordered.
    pub(super) fn needs_projection(&self, version: u64) -> bool {
        self.projected.as_ref().is_none_or(|(policy, projected)| {
            *policy != self.orders.policy || *projected != version
        })
    }

    /// The policy is in Redis under this version.
    pub(super) fn projected(&mut self, version: u64) {
        self.projected = Some((self.orders.policy.clone(), version));
    }

    /// What is to be done in the queue.
    pub(super) fn chores(&self, snapshot: &Snapshot) -> Chores {
        let tidied = self.tidied.map(|(tidied, at)| (tidied, at.elapsed()));
        Chores::of(&self.orders.policy, snapshot, tidied)
    }

    /// The queue was tidied of this.
    pub(super) fn tidied(&mut self, tidied: Tidied) {
        self.tidied = Some((tidied, Instant::now()));
    }

    fn demand(&self, snapshot: &Snapshot) -> Demand {
        let next_due = snapshot.next_due.map(|due| {
            let left = due.duration_since(snapshot.now);
            Duration::try_from(left).unwrap_or(Duration::ZERO)
        });
        Demand {
            waiting: snapshot.backlog(),
            active: snapshot.active,
            next_due,
            paused: self.orders.policy.paused,
            caps: self.caps(),
            flow: self.estimator.flow(),
        }
    }

    fn caps(&self) -> Caps {
        let limits = &self.orders.policy.limits;
        let rate = |rate: &Rate| f64::from(rate.count) / rate.per.as_secs_f64();
        Caps {
            concurrency: limits.concurrency.map(u64::from),
            rate: limits.rate.as_ref().map(rate),
        }
    }

    fn replicas(&self, deployment: Option<&Deployment>) -> u32 {
        if let Some((replicas, at)) = self.asked
            && at.elapsed() < CACHE_LAG
        {
            return replicas;
        }
        let replicas = deployment
            .and_then(|deployment| deployment.spec.replicas)
            .unwrap_or(0);
        u32::try_from(replicas).unwrap_or(0)
    }

    fn turn(&mut self, reading: &Result<Snapshot, String>) -> Option<Result<(), String>> {
        let before = self.reachable.replace(reading.is_ok());
        match (before, reading) {
            (Some(false), Ok(_)) => Some(Ok(())),
            (Some(true) | None, Err(cause)) => Some(Err(cause.clone())),
            _ => None,
        }
    }
}
