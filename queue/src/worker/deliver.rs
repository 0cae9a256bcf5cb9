//! The worker's round trip: what has ended goes out, new tasks come in, and each answer or failure
//! is taken note of. When to make one is decided in `turn` and `drain`.

use std::sync::Arc;
use std::time::Instant;

use super::Handler;
use super::attempt;
use super::turn::Turner;
use crate::TaskId;
use crate::fault::Fault;
use crate::lease::{End, Exchange, Exchanged, Leased};

impl<H: Handler> Turner<H> {
    /// One round trip: settlements and acks out, and up to `slots` tasks in.
    pub(super) async fn deliver_and_fetch(&mut self, slots: usize) {
        let Some(worker) = self.session.as_ref().map(|session| session.lease.worker) else {
            return;
        };
        if self.mind.unsure && !self.make_sure().await {
            return;
        }
        let slots = slots.min(self.free());
        let (acks, settlements) = self.outbox.next();
        let (acked, settled) = (acks.len(), settlements.len());
        let exchange = Exchange {
            worker,
            lease: self.settings.lease,
            slots,
            listen: slots > 0,
            listed: self.mind.listed,
            token: self.mind.token.clone(),
            acks,
        };
        let queue = &self.queue;
        // Written to the connection one behind the other, so the rare outcomes cost no round trip
        // of their own.
        let settle = async {
            if settlements.is_empty() {
                return Ok(Vec::new());
            }
            queue.settle(worker, settlements).await
        };
        let (refusals, exchanged) = tokio::join!(settle, queue.exchange(&exchange));

        match refusals {
            Ok(refused) => self.note_settled(settled, &refused),
            Err(fault) => self.note_fault(fault),
        }
        match exchanged {
            Ok(exchanged) => {
                self.vitals.note(&Ok(()));
                self.outbox.acked(acked);
                self.report.completed += (acked - exchanged.refused.len()) as u64;
                self.take_in(exchanged, slots);
            }
            Err(fault) => self.note_fault(fault),
        }
    }

    fn take_in(&mut self, exchanged: Exchanged, slots: usize) {
        let refused = exchanged.refused.len();
        if exchanged.lapsed {
            self.lose(refused);
            return;
        }
        self.note_lost(refused);
        self.recovered();
        let filled = exchanged.asked > 0 && exchanged.leased.len() >= exchanged.asked;
        self.mind.token = None;
        self.mind.dry = slots > 0 && !filled;
        // As the script decided it.
        self.mind.listed = slots > 0 && !filled;
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
        for task in leased {
            let id = task.id;
            let lease = session.lease.clone();
            let attempt = attempt::run(Arc::clone(&self.shop), Arc::clone(&known), lease, task);
            self.running.insert(id, tokio::spawn(attempt));
        }
    }

    /// After a lost answer: asks which tasks are leased to this worker that it does not know of.
    /// Whether it knows now.
    async fn make_sure(&mut self) -> bool {
        let Some(worker) = self.session.as_ref().map(|session| session.lease.worker) else {
            return false;
        };
        let held: Vec<TaskId> = self
            .running
            .keys()
            .copied()
            .chain(self.outbox.ids())
            .collect();
        match self.queue.resume(worker, held).await {
            Ok(Some(leased)) => {
                self.mind.unsure = false;
                self.accept(leased);
                true
            }
            Ok(None) => {
                self.lose(0);
                false
            }
            Err(fault) => {
                self.note_fault(fault);
                false
            }
        }
    }

    fn note_settled(&mut self, count: usize, refused: &[TaskId]) {
        for settlement in self.outbox.settled(count) {
            if refused.contains(&settlement.id) {
                continue;
            }
            match settlement.end {
                End::Retry { .. } => self.report.retried += 1,
                End::Dead { .. } => self.report.dead += 1,
                End::Release => self.report.released += 1,
            }
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
}
