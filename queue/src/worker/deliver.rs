//! The worker's round trips: what has ended goes out, new tasks come in, and each answer or failure
//! is taken note of. When to make one is decided in `turn` and `drain`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;

use super::Handler;
use super::attempt;
use super::lease::Lease;
use super::turn::{Running, Supply, Turner};
use crate::fault::Fault;
use crate::lease::{Ack, End, Exchange, Exchanged, Leased, Settlement};
use crate::queue::Known;
use crate::record::Ending;
use crate::{TaskId, WorkerId};

/// A round trip under way.
pub(super) type Flight = Pin<Box<dyn Future<Output = Landing> + Send>>;

/// A round trip that is over.
pub(super) struct Landing {
    worker: WorkerId,
    slots: usize,
    token: Option<String>,
    acks: Vec<Ack>,
    settlements: Vec<Settlement>,
    refusals: Result<Vec<TaskId>, Fault>,
    exchanged: Result<Exchanged, Fault>,
}

impl<H: Handler> Turner<H> {
    /// Sends a round trip off: settlements and acks out, and up to `slots` tasks in.
    pub(super) fn launch(&mut self, slots: usize) {
        let Some(worker) = self.worker_id() else {
            return;
        };
        let (acks, settlements) = self.outbox.take();
        let token = self.mind.token.take();
        let listed = self.mind.listed || self.flying.listening > 0;
        let (queue, lease) = (self.queue.clone(), self.settings.lease);
        self.flying.slots += slots;
        self.flying.listening += usize::from(slots > 0);
        self.flying.flights.push(Box::pin(async move {
            let exchange = Exchange {
                worker,
                lease,
                slots,
                listen: slots > 0,
                listed,
                token: token.clone(),
                acks: &acks,
            };
            // Written to the connection one behind the other, so the rare outcomes cost no round
            // trip of their own.
            let settle = async {
                if settlements.is_empty() {
                    return Ok(Vec::new());
                }
                queue.settle(worker, &settlements).await
            };
            let (refusals, exchanged) = tokio::join!(settle, queue.exchange(&exchange));
            Landing {
                worker,
                slots,
                token,
                acks,
                settlements,
                refusals,
                exchanged,
            }
        }));
    }

    /// Waits for every round trip under way.
    pub(super) async fn land_all(&mut self) {
        while let Some(landing) = self.flying.flights.next().await {
            self.land(landing);
        }
    }

    /// Takes note of what a round trip brought.
    pub(super) fn land(&mut self, landing: Landing) {
        self.flying.slots -= landing.slots;
        self.flying.listening -= usize::from(landing.slots > 0);
        if self.worker_id() != Some(landing.worker) {
            // The lease was lost meanwhile, and with it all that was to be told.
            self.note_lost(landing.acks.len() + landing.settlements.len());
            return;
        }
        match landing.refusals {
            Ok(refused) => self.note_settled(landing.settlements, &refused),
            Err(fault) => {
                self.outbox.put_back_settlements(landing.settlements);
                self.note_fault(fault);
            }
        }
        match landing.exchanged {
            Ok(exchanged) => {
                self.vitals.note(&Ok(()));
                self.report.completed += (landing.acks.len() - exchanged.refused.len()) as u64;
                self.take_in(exchanged, landing.slots);
            }
            Err(fault) => {
                self.outbox.put_back_acks(landing.acks);
                self.mind.token = landing.token.or(self.mind.token.take());
                self.note_fault(fault);
            }
        }
    }

    fn take_in(&mut self, exchanged: Exchanged, slots: usize) {
        if exchanged.lapsed {
            self.lose(exchanged.refused.len());
            return;
        }
        self.note_refused(&exchanged.refused);
        self.recovered();
        if exchanged.missing > 0 {
            tracing::warn!(
                queue = %self.queue.name(),
                tasks = exchanged.missing,
                "tasks are missing that nobody ended: Redis evicted them (see its maxmemory-policy), or somebody deleted them"
            );
        }
        if slots > 0 {
            let filled = exchanged.asked > 0 && exchanged.leased.len() >= exchanged.asked;
            // As the script decided it.
            self.mind.supply = match (filled, exchanged.more) {
                (true, _) => Supply::Plenty,
                (false, true) => Supply::Unknown,
                (false, false) => Supply::Dry,
            };
            self.mind.listed = self.mind.supply == Supply::Dry && !exchanged.draining;
        }
        if let Some(session) = &self.session {
            session.lease.set_draining(exchanged.draining);
        }
        self.mind.next_due = exchanged.next_due.map(|span| Instant::now() + span);
        self.accept(exchanged.leased);
    }

    /// Runs what was leased; what came after the stop is handed back untouched.
    fn accept(&mut self, leased: Vec<Leased>) {
        let Some(session) = &self.session else {
            return;
        };
        if leased.is_empty() {
            return;
        }
        // Read before anything could be leased.
        let known = self
            .queue
            .remembered()
            .filter(|_| !self.stop.is_cancelled());
        let Some(known) = known else {
            for task in &leased {
                self.outbox.release(task.id);
            }
            return;
        };
        self.vitals.observer.fetched(leased.len());
        let now_ms = self.queue.link().clock().now_ms();
        for task in leased {
            let last_chance = task.losses > 0 && task.losses >= known.policy.max_losses;
            if last_chance && self.apart.taken() {
                // Another worker, or this one when it is done with that.
                self.outbox.release(task.id);
                self.mind.supply = Supply::Unknown;
            } else if last_chance {
                self.apart.waiting = Some(task);
            } else {
                let attempt = self.attempt(&known, session.lease.clone(), task, now_ms);
                self.running.insert(attempt.0, attempt.1);
            }
        }
    }

    /// Starts an attempt.
    fn attempt(
        &self,
        known: &Arc<Known>,
        lease: Lease,
        task: Leased,
        since_ms: u64,
    ) -> (TaskId, Running) {
        let id = task.id;
        let attempt = attempt::run(Arc::clone(&self.shop), Arc::clone(known), lease, task);
        let handle = tokio::spawn(attempt);
        (id, Running { handle, since_ms })
    }

    /// Runs the next of the tasks that are to run alone, once nothing else runs or is on its way.
    pub(super) fn run_apart(&mut self) {
        let alone = self.running.is_empty() && self.strays.is_empty() && self.flying.slots == 0;
        if !alone {
            return;
        }
        self.apart.running = false;
        let (Some(session), Some(known)) = (&self.session, self.queue.remembered()) else {
            return;
        };
        let Some(task) = self.apart.waiting.take() else {
            return;
        };
        tracing::info!(queue = %self.queue.name(), task = %task.id, losses = task.losses, "runs alone: one more loss would be its last");
        let now_ms = self.queue.link().clock().now_ms();
        let (id, running) = self.attempt(&known, session.lease.clone(), task, now_ms);
        self.running.insert(id, running);
        self.apart.running = true;
    }

    /// After a lost answer, and with no round trip under way: asks which tasks are leased to this
    /// worker that it does not know of.
    pub(super) async fn make_sure(&mut self) {
        let Some(worker) = self.worker_id() else {
            return;
        };
        let held: Vec<TaskId> = self
            .running
            .keys()
            .copied()
            .chain(self.outbox.ids())
            .chain(self.apart.waiting.iter().map(|task| task.id))
            .collect();
        match self.queue.held_unknown(worker, held).await {
            Ok(Some(leased)) => {
                self.mind.unsure = false;
                let (missing, leased): (Vec<_>, Vec<_>) =
                    leased.into_iter().partition(|task| task.record.is_empty());
                for task in missing {
                    self.outbox.release(task.id);
                }
                self.accept(leased);
            }
            Ok(None) => self.lose(0),
            Err(fault) => self.note_fault(fault),
        }
    }

    fn note_settled(&mut self, settlements: Vec<Settlement>, refused: &[TaskId]) {
        for settlement in settlements {
            if refused.contains(&settlement.id) {
                continue;
            }
            match settlement.end {
                End::Retry { .. } | End::Snooze { .. } => self.report.retried += 1,
                End::Dead { .. } | End::Quarantined { .. } => self.report.dead += 1,
                End::Release | End::Lost { .. } => self.report.released += 1,
                End::Done { ending, .. } => match ending {
                    Ending::Completed => self.report.completed += 1,
                    Ending::Cancelled | Ending::Expired | Ending::Dropped => {
                        self.report.ended += 1;
                    }
                },
            }
        }
        self.note_refused(refused);
    }

    /// Results that Redis did not take under a lease that holds.
    fn note_refused(&mut self, refused: &[TaskId]) {
        if let [first, ..] = refused {
            tracing::warn!(
                queue = %self.queue.name(),
                tasks = refused.len(),
                %first,
                "results are dropped: this worker holds those tasks no more; they were taken from it, or Redis lost its leases"
            );
        }
        self.note_lost(refused.len());
    }

    /// Attempts whose results are dropped.
    pub(super) fn note_lost(&mut self, attempts: usize) {
        if attempts > 0 {
            self.report.lost += attempts as u64;
            self.vitals.observer.lease_lost(attempts);
        }
    }

    /// A call failed. What was to be delivered stays where it is.
    pub(super) fn note_fault(&mut self, fault: Fault) {
        self.mind.unsure |= fault.maybe_done;
        self.vitals.note::<()>(&Err(fault.error));
        self.back_off();
    }

    pub(super) fn worker_id(&self) -> Option<WorkerId> {
        self.session.as_ref().map(|session| session.lease.worker())
    }
}
