//! One queue as the autoscaler follows it from look to look: what is known of it, what was decided
//! last, and what is under way for it. No I/O.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use taskqueue_queue::{Policy, Queue, Snapshot, Tidied};
use taskqueue_scaling::{Decision, Estimator, Fleet, History, Mode, Reason, decide};
use tokio::time::Instant;

use super::{
    demand::{self, demand},
    drains::{Drains, PassOrder, Signs},
    gate::Gate,
    shields::Shields,
    tending::Chores,
};
use crate::{
    fleet::{Ending, FleetView},
    index::{Change, Changes, Orders, Reading, Sight},
    rates::Rates,
};

/// How long the number that was written last counts for more than the cache, which lags behind.
pub(super) const CACHE_LAG: Duration = Duration::from_secs(2);

/// One queue and its past.
pub(super) struct Watched {
    pub(super) orders: Arc<Orders>,
    /// The queue in Redis; `None` until the first connection.
    pub(super) queue: Option<Queue>,
    /// Tells apart two queues that one TaskQueue stood for one after the other.
    pub(super) life: u64,
    history: History,
    rates: Rates,
    estimator: Estimator,
    /// The next run of the policy's schedules, as of the policy it was computed for.
    next_run: Option<(Arc<Orders>, Option<Timestamp>)>,
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
    changes: Changes,
    /// Why the last write of replicas failed.
    refused: Option<String>,
    /// What kept pods from working, in a word, when that was told last.
    blocked: Option<String>,
    pub(super) shields: Shields,
    /// Whether replicas may be written.
    pub(super) gate: Gate,
    /// The workers that are let go.
    pub(super) drains: Drains,
    /// Pods that ended and whose tasks were not taken back yet, and when the first was heard of.
    pub(super) endings: Option<(Vec<Ending>, Instant)>,
    /// Jobs that are under way, each at most once.
    pub(super) writing: bool,
    pub(super) tending: bool,
    pub(super) releasing: bool,
}

/// What a look at a queue led to.
pub(super) struct Look {
    /// What the status shall tell.
    pub(super) sight: Sight,
    /// Replicas to write, with what they were.
    pub(super) write: Option<Step>,
    /// A pass over the workers.
    pub(super) pass: Option<PassOrder>,
    /// The queue became readable or unreadable.
    pub(super) turned: Option<Result<(), String>>,
    /// Something keeps pods from working, as reason and message, or does so no more, if that is
    /// news.
    pub(super) blocked: Option<Result<(), (String, String)>>,
    /// The reason for which the number is held back, if that is news.
    pub(super) held: Option<Reason>,
    /// The number that is recommended is another one: from and to.
    pub(super) recommended: Option<Step>,
}

/// A change of the replicas.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) decision: Decision,
}

impl Watched {
    pub(super) fn new(orders: Arc<Orders>, life: u64) -> Self {
        Self {
            orders,
            queue: None,
            life,
            history: History::default(),
            rates: Rates::default(),
            estimator: Estimator::default(),
            next_run: None,
            projected: None,
            tidied: None,
            asked: None,
            last: None,
            reachable: None,
            changes: Changes::default(),
            refused: None,
            blocked: None,
            shields: Shields::default(),
            gate: Gate::default(),
            drains: Drains::default(),
            endings: None,
            writing: false,
            tending: false,
            releasing: false,
        }
    }

    /// The same queue under other orders.
    pub(super) fn with_orders(self, orders: Arc<Orders>) -> Self {
        Self { orders, ..self }
    }

    /// Takes a reading of the queue in and decides. `now` is the time since the origin of the
    /// autoscaler, `at` the same instant by the wall clock. `synced`: the pods are all known.
    pub(super) fn look(
        &mut self,
        reading: Result<Snapshot, String>,
        deployment: Option<&Deployment>,
        (view, synced): (FleetView, bool),
        now: Duration,
        at: Timestamp,
    ) -> Look {
        let demand = reading.as_ref().ok().map(|snapshot| {
            let counters = &snapshot.counters;
            self.estimator
                .record(now, counters.enqueued, counters.completed, counters.run);
            let next_run = self.next_run(snapshot.now);
            let flow = self.estimator.flow();
            demand(snapshot, &self.orders.policy, next_run, flow)
        });
        let (replicas, asked_lately) = self.replicas(deployment);
        let starting = view.starting;
        let (blocked, obstacle) = (self.block(&view), view.obstacle.clone());
        let fleet = Fleet {
            handshake: synced,
            ..demand::fleet(replicas, deployment, view, asked_lately)
        };
        let decision = decide(
            &self.orders.scaling,
            demand.as_ref(),
            &fleet,
            &mut self.history,
            now,
            at,
        );
        let step = Step {
            from: replicas,
            to: decision.replicas,
            decision: decision.clone(),
        };
        let decision = self.told(decision, replicas);
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
        let turned = self.turn(&reading);
        let recommended = self.recommend(before.as_ref(), &step, at);
        let held = held(before.as_ref(), &decision, replicas);
        let signs = Signs {
            replicas,
            target: self.target(&decision, replicas),
            active: reading.as_ref().map_or(0, |snapshot| snapshot.active),
            ready: fleet.ready,
            starting,
        };
        let (write, pass) = match (deployment, &reading) {
            // A person may say how many even if nobody knows how many are needed.
            (Some(_), Err(_)) if self.by_hand() => (self.write(&step, &signs), None),
            (Some(deployment), Ok(_)) => {
                let write = self.write(&step, &signs);
                // Where no worker is waited for, there is only to take away what stands of marks.
                let shrinks_at_once = !self.orders.scaling.wait_for_idle;
                let target = if shrinks_at_once {
                    signs.target.max(replicas)
                } else {
                    signs.target
                };
                let signs = Signs { target, ..signs };
                let has_turn = !self.writing && self.gate.open(false, Instant::now());
                let pass = self.drains.pass(&step, signs, has_turn, deployment);
                (write, pass)
            }
            _ => (None, None),
        };
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
                waits_for: self.drains.waits_for(),
                refused: self.refused.clone(),
                obstacle,
                changes: self.changes.clone(),
                source: None,
            },
            write,
            pass,
            turned,
            blocked,
            held,
            recommended,
        }
    }

    /// The decision as it is told: while workers are let go, that is why there are more of them.
    fn told(&self, decision: Decision, replicas: u32) -> Decision {
        let lets_go = decision.replicas < replicas && self.drains.waits_for().is_some();
        let reason = if lets_go && !self.by_hand() {
            Reason::Draining
        } else {
            decision.reason
        };
        Decision { reason, ..decision }
    }

    /// The number to come to: in mode Recommend that is for somebody else to do.
    fn target(&self, decision: &Decision, replicas: u32) -> u32 {
        match self.orders.scaling.mode {
            Mode::Recommend => replicas,
            Mode::Auto | Mode::Paused(_) => decision.replicas,
        }
    }

    fn by_hand(&self) -> bool {
        matches!(self.orders.scaling.mode, Mode::Paused(_))
    }

    /// The number to write at once: any that is higher, and a lower one where no handshake is
    /// asked for.
    fn write(&self, step: &Step, signs: &Signs) -> Option<Step> {
        let at_once = signs.target > signs.replicas
            || (signs.target < signs.replicas && !self.orders.scaling.wait_for_idle);
        let opens = self.gate.open(signs.replicas == 0, Instant::now());
        (at_once && opens && !self.writing && self.drains.at_rest()).then(|| step.clone())
    }

    /// Pods of the queue have ended.
    pub(super) fn ended(&mut self, endings: Vec<Ending>) {
        let (all, _) = self
            .endings
            .get_or_insert_with(|| (Vec::new(), Instant::now()));
        all.extend(endings);
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

    /// Whether Redis holds another policy than ordered.
    pub(super) fn needs_projection(&self, version: u64) -> bool {
        self.projected.as_ref().is_none_or(|(policy, projected)| {
            *policy != self.orders.policy || *projected != version
        })
    }

    /// The policy is in Redis under this version.
    pub(super) fn projected(&mut self, policy: Policy, version: u64) {
        self.projected = Some((policy, version));
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

    /// When the schedules run next. It is computed anew only once that has come.
    fn next_run(&mut self, now: Timestamp) -> Option<Timestamp> {
        let known = self.next_run.as_ref().filter(|(orders, next)| {
            Arc::ptr_eq(orders, &self.orders) && next.is_none_or(|next| next > now)
        });
        if let Some((_, next)) = known {
            return *next;
        }
        let next = self.orders.policy.next_run(now);
        self.next_run = Some((Arc::clone(&self.orders), next));
        next
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

    /// The replicas asked for last, and whether that was just now.
    fn replicas(&self, deployment: Option<&Deployment>) -> (u32, bool) {
        if let Some((replicas, at)) = self.asked
            && at.elapsed() < CACHE_LAG
        {
            return (replicas, true);
        }
        let replicas = deployment
            .and_then(|deployment| deployment.spec.replicas)
            .unwrap_or(0);
        (u32::try_from(replicas).unwrap_or(0), false)
    }

    /// Whether what keeps pods from working is news: the same trouble of another pod is none, and it
    /// is over only once a pod is ready.
    fn block(&mut self, view: &FleetView) -> Option<Result<(), (String, String)>> {
        match &view.obstacle {
            Some(obstacle) => {
                let before = self.blocked.replace(obstacle.0.clone());
                (before.as_ref() != Some(&obstacle.0)).then(|| Err(obstacle.clone()))
            }
            None => self.blocked.take_if(|_| view.ready > 0).map(|_| Ok(())),
        }
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

pub(super) fn change(step: &Step, at: Timestamp) -> Change {
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
pub(super) fn held(
    before: Option<&Decision>,
    decision: &Decision,
    replicas: u32,
) -> Option<Reason> {
    let is_held = |decision: &Decision| decision.wanted != decision.replicas;
    let was = before.is_some_and(|before| is_held(before) && before.reason == decision.reason);
    (is_held(decision) && decision.replicas == replicas && !was).then_some(decision.reason)
}
