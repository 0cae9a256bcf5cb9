//! One queue as the autoscaler follows it from look to look: what is known of it, what was decided
//! last, and what is under way for it. No I/O.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use taskqueue_queue::{Counters, Queue, Snapshot, Tidied};
use taskqueue_scaling::{Decision, Estimator, Fleet, History, Mode, Reason, decide};
use tokio::time::Instant;

use super::{
    contention::Overwritten,
    demand::{self, demand},
    drains::{Drains, PassOrder, Signs},
    missing::Missing,
    replicas::{News, Replicas, Shown, Step},
    shields::Shields,
    tending::{Chores, LastTidy},
};
use crate::{
    fleet::{Ending, FleetView},
    index::{Orders, Reading, Sight},
    rates::Rates,
    workload::Workload,
};

/// The pods with what their handlers are at fault of, unless something worse keeps them from working.
/// What is left in Redis of pods that are gone counts for nothing.
fn with_fault(view: FleetView, snapshot: Option<&Snapshot>) -> FleetView {
    let fault = snapshot.and_then(|snapshot| snapshot.fault.clone());
    let fault = fault.filter(|_| view.ready + view.starting > 0);
    let fault = fault.map(|message| ("HandlerFailing".to_owned(), message));
    FleetView {
        obstacle: view.obstacle.or(fault),
        ..view
    }
}

/// One queue and its past.
pub(super) struct Watched {
    pub(super) orders: Arc<Orders>,
    /// The queue in Redis; `None` until the first connection.
    pub(super) queue: Option<Queue>,
    /// Tells apart two queues that one TaskQueue stood for one after the other.
    pub(super) life: u64,
    history: History,
    rates: Rates,
    missing: Missing,
    estimator: Estimator,
    /// The next run of the policy's schedules, as of the policy it was computed for.
    next_run: Option<(Arc<Orders>, Option<Timestamp>)>,
    /// The orders whose policy was projected last and the version it got.
    projected: Option<(Arc<Orders>, u64)>,
    /// What the queue was tidied of last, what it had counted, and when that was.
    tidied: Option<(Tidied, Counters, Instant)>,
    /// What kept pods from working, in a word, when that was told last.
    blocked: Option<String>,
    pub(super) shields: Shields,
    pub(super) replicas: Replicas,
    /// The workers that are let go.
    pub(super) drains: Drains,
    /// Pods that ended and whose tasks were not taken back yet, and when the first was heard of.
    pub(super) endings: Option<(Vec<Ending>, Instant)>,
    /// Jobs that are under way, each at most once.
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
    /// It is to be found out who else sets the replicas.
    pub(super) asks_rival: bool,
    /// Something keeps pods from working, as reason and message, or does so no more, if that is
    /// news.
    pub(super) blocked: Option<Result<(), (String, String)>>,
    /// The first tasks in a long time were found gone from Redis, so many.
    pub(super) found_missing: Option<u64>,
    pub(super) news: News,
}

impl Watched {
    pub(super) fn new(orders: Arc<Orders>, life: u64) -> Self {
        Self {
            orders,
            queue: None,
            life,
            history: History::default(),
            rates: Rates::default(),
            missing: Missing::default(),
            estimator: Estimator::default(),
            next_run: None,
            projected: None,
            tidied: None,
            blocked: None,
            shields: Shields::default(),
            replicas: Replicas::default(),
            drains: Drains::default(),
            endings: None,
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
        workload: Option<&Workload>,
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
        let cached = workload.and_then(|workload| workload.replicas).unwrap_or(0);
        let (replicas, asked_lately) = self.replicas.standing(cached);
        let starting = view.starting;
        let view = with_fault(view, reading.as_ref().ok());
        let (blocked, obstacle) = (self.block(&view), view.obstacle.clone());
        let fleet = Fleet {
            handshake: synced,
            ..demand::fleet(replicas, workload, view, asked_lately)
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
        let readable = reading.as_ref().map(|_| ()).map_err(Clone::clone);
        let recommends = self.orders.scaling.mode == Mode::Recommend;
        let (decided_at, mut news) = self
            .replicas
            .decided(replicas, &decision, readable, recommends, at);
        news.overwritten = self.rival(workload, step.to);
        let signs = Signs {
            replicas,
            target: self.target(&decision, replicas),
            active: reading.as_ref().map_or(0, |snapshot| snapshot.active),
            ready: fleet.ready,
            starting,
        };
        let (write, pass) = match (workload, &reading) {
            // A person may say how many even if nobody knows how many are needed.
            (Some(_), Err(_)) if self.by_hand() => (self.write(&step, &signs), None),
            (Some(workload), Ok(_)) => {
                let write = self.write(&step, &signs);
                // Where no worker is waited for, there is only to take away what stands of marks.
                let shrinks_at_once = !self.orders.scaling.wait_for_idle;
                let target = if shrinks_at_once {
                    signs.target.max(replicas)
                } else {
                    signs.target
                };
                let signs = Signs { target, ..signs };
                let has_turn =
                    !self.replicas.writing && self.replicas.gate.open(false, Instant::now());
                let pass = self.drains.pass(&step, signs, has_turn, workload);
                (write, pass)
            }
            _ => (None, None),
        };
        let mut found_missing = None;
        let queue = reading.map(|snapshot| {
            self.rates.record(now, snapshot.counters);
            found_missing = self.missing.record(now, snapshot.counters.missing);
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
                refused: self.replicas.refused(),
                another_writer: self.replicas.contention.told(Instant::now()),
                obstacle,
                changes: self.replicas.changes(),
                missing: self.missing.late(),
                source: None,
            },
            write,
            pass,
            asks_rival: self.replicas.contention.asks(Instant::now()),
            blocked,
            found_missing,
            news,
        }
    }

    /// Takes note of whether somebody else has set another number than ours, where we set it.
    fn rival(&mut self, workload: Option<&Workload>, aim: u32) -> Option<Overwritten> {
        if self.orders.scaling.mode == Mode::Recommend {
            self.replicas.leave();
            return None;
        }
        let workload = workload?;
        let shown = Shown {
            replicas: workload.replicas?,
            by: workload.replicas_by.as_deref(),
        };
        self.replicas.shows(shown, aim, Instant::now())
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

    /// The number to come to: in mode Recommend that is for somebody else to do, and so it is for a
    /// while where somebody does it anyway.
    fn target(&self, decision: &Decision, replicas: u32) -> u32 {
        match self.orders.scaling.mode {
            Mode::Recommend => replicas,
            Mode::Auto | Mode::Paused(_) if self.replicas.contention.yields(Instant::now()) => {
                replicas
            }
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
        let opens = self.replicas.gate.open(signs.replicas == 0, Instant::now());
        (at_once && opens && !self.replicas.writing && self.drains.at_rest()).then(|| step.clone())
    }

    /// Pods of the queue have ended.
    pub(super) fn ended(&mut self, endings: Vec<Ending>) {
        let (all, _) = self
            .endings
            .get_or_insert_with(|| (Vec::new(), Instant::now()));
        all.extend(endings);
    }

    /// Whether Redis holds another policy than ordered.
    pub(super) fn needs_projection(&self, version: u64) -> bool {
        self.projected.as_ref().is_none_or(|(orders, projected)| {
            orders.policy != self.orders.policy || *projected != version
        })
    }

    /// The policy of these orders is in Redis under this version.
    pub(super) fn projected(&mut self, orders: Arc<Orders>, version: u64) {
        self.projected = Some((orders, version));
    }

    /// What is to be done in the queue.
    pub(super) fn chores(&self, snapshot: &Snapshot) -> Chores {
        let last = self.tidied.map(|(done, counters, at)| LastTidy {
            done,
            counters,
            ago: at.elapsed(),
        });
        Chores::of(&self.orders.policy, snapshot, last)
    }

    /// The queue was tidied of this; it had counted that when it was decided on.
    pub(super) fn tidied(&mut self, done: Tidied, counters: Counters) {
        self.tidied = Some((done, counters, Instant::now()));
    }

    /// When the schedules run next. It is computed anew only once that has come.
    fn next_run(&mut self, now: Timestamp) -> Option<Timestamp> {
        let known = self.next_run.as_ref().filter(|(orders, next)| {
            Arc::ptr_eq(orders, &self.orders) && next.is_none_or(|next| next > now)
        });
        if let Some((_, next)) = known {
            return *next;
        }
        let next = self.orders.policy.next_run(&self.orders.queue, now);
        self.next_run = Some((Arc::clone(&self.orders), next));
        next
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
}
