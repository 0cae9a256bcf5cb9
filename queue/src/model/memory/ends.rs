//! How attempts and tasks end.

use std::collections::{BTreeMap, BTreeSet};

use super::Memory;
use crate::lease::End;
use crate::record::{Ending, Record};
use crate::retry::on_loss;
use crate::{Cause, Happened, Logged, TaskId, WorkerId};

impl Memory {
    pub(crate) fn holds(&self, worker: WorkerId, id: TaskId) -> bool {
        self.active.get(&id) == Some(&worker)
    }

    /// Tells the log of ends.
    fn log(&mut self, id: TaskId, what: Happened) {
        let asked = self.policy.events.as_ref().map(|log| log.log);
        let of_attempts = matches!(what, Happened::Failed | Happened::Lost);
        if asked == Some(Logged::Attempts) || asked.is_some() && !of_attempts {
            self.logged.push((id, what as u64));
        }
    }

    /// Counts a failure with others of its kind.
    fn count_failure(&mut self, cause: Cause) {
        *self.failures.entry(cause.number()).or_default() += 1;
    }

    /// Ends a task wherever it is.
    fn end(&mut self, id: TaskId, ending: Ending, record: Vec<u8>) {
        let was_runnable = self.lists.values().flatten().any(|listed| *listed == id)
            || self.active.contains_key(&id);
        let facts = self.facts.remove(&id).unwrap();
        self.parked.remove(&(facts.key.clone(), id));
        self.scheduled.remove(&id);
        self.active.remove(&id);
        self.progress.remove(&id);
        self.losses.remove(&id);
        self.marks.remove(&id);
        self.done.insert(id, record);
        self.aged.remove(id.bucket());
        self.log(id, ending.into());
        self.let_go(id, &facts.unique);
        self.begin_lapse(id, &facts.idempotency);
        let count = match ending {
            Ending::Completed => &mut self.counts.completed,
            Ending::Cancelled => &mut self.counts.cancelled,
            Ending::Expired => &mut self.counts.expired,
            Ending::Dropped => &mut self.counts.dropped,
        };
        *count += 1;
        if was_runnable {
            self.let_in(&facts.key);
        }
    }

    /// It has ended: from now on its idempotency key is kept for its time.
    pub(super) fn begin_lapse(&mut self, id: TaskId, key: &str) {
        if let Some(standing) = self.idempotency.get_mut(key)
            && standing.id == id
        {
            (standing.ended, standing.due) = (true, false);
        }
    }

    fn let_go(&mut self, id: TaskId, unique: &str) {
        self.expiry.remove(&id);
        if self
            .unique
            .get(unique)
            .is_some_and(|(holder, _)| *holder == id)
        {
            self.unique.remove(unique);
        }
    }

    /// It runs no more, and has not ended.
    fn stop(&mut self, id: TaskId) {
        self.active.remove(&id);
        self.progress.remove(&id);
        if self.facts[&id].expires {
            self.expiry.insert(id, false);
        }
    }

    fn bury(&mut self, id: TaskId) {
        self.stop(id);
        self.marks.remove(&id);
        self.dead.insert(id);
        self.counts.dead += 1;
        self.log(id, Happened::Dead);
        let facts = self.facts[&id].clone();
        self.let_go(id, &facts.unique);
        self.let_in(&facts.key);
    }

    fn schedule(&mut self, id: TaskId) {
        self.stop(id);
        self.scheduled.insert(id, false);
        let key = self.facts[&id].key.clone();
        self.let_in(&key);
    }

    /// Which of the acks are refused.
    pub(crate) fn ack(&mut self, worker: WorkerId, acks: &[(TaskId, Vec<u8>)]) -> Vec<TaskId> {
        let mut refused = Vec::new();
        for (id, record) in acks {
            if self.holds(worker, *id) {
                // The mark of a plain task that completes is left to who tidies up.
                let marked = self.marks.contains(id);
                self.end(*id, Ending::Completed, record.clone());
                if marked {
                    self.marks.insert(*id);
                }
            } else if self.done.get(id) != Some(record) {
                refused.push(*id);
            }
        }
        refused
    }

    /// Which of the settlements are refused: the newest first, as the calls write them.
    pub(crate) fn settle(
        &mut self,
        worker: WorkerId,
        ends: &BTreeMap<TaskId, End>,
        again: bool,
    ) -> Vec<TaskId> {
        let mut refused = Vec::new();
        for (id, end) in ends.iter().rev() {
            let id = *id;
            if !self.holds(worker, id) {
                let told = match end {
                    End::Done { done, .. } => self.done.get(&id) == Some(done),
                    End::Release => false,
                    // Records of two attempts are never the same.
                    _ => again && self.facts.contains_key(&id),
                };
                if !told {
                    refused.push(id);
                }
                continue;
            }
            match end {
                End::Retry { record, .. } => {
                    self.counts.failed += 1;
                    self.counts.retried += 1;
                    self.count_failure(Cause::Error);
                    self.log(id, Happened::Failed);
                    self.note(id, record);
                    self.schedule(id);
                }
                End::Snooze { record, .. } => {
                    self.counts.snoozed += 1;
                    self.note(id, record);
                    self.schedule(id);
                }
                End::Dead { record } => {
                    self.counts.failed += 1;
                    self.count_failure(Cause::Error);
                    self.note(id, record);
                    self.bury(id);
                }
                End::Quarantined { record } => {
                    self.counts.lost += 1;
                    self.count_failure(Cause::WorkerLost);
                    *self.losses.entry(id).or_default() += 1;
                    self.note(id, record);
                    self.bury(id);
                }
                End::Lost { record, after } => {
                    self.counts.lost += 1;
                    *self.losses.entry(id).or_default() += 1;
                    if let Some(record) = record {
                        self.note(id, record);
                        self.count_failure(Cause::WorkerLost);
                        self.log(id, Happened::Lost);
                    }
                    if after.is_some() {
                        self.schedule(id);
                    } else {
                        self.stop(id);
                        self.list(id).push_front(id);
                    }
                }
                End::Release => {
                    self.counts.released += 1;
                    self.stop(id);
                    self.list(id).push_front(id);
                }
                End::Done { ending, done, .. } => {
                    self.counts.failed += u64::from(*ending == Ending::Dropped);
                    self.end(id, *ending, done.clone());
                }
            }
        }
        refused
    }

    fn note(&mut self, id: TaskId, record: &[u8]) {
        let attempts = Record::unpack(record).unwrap().attempts;
        self.facts.get_mut(&id).unwrap().attempts = attempts;
    }

    /// Takes back what workers hold whose leases have lapsed.
    pub(crate) fn reclaim(&mut self) {
        let lapsed = self.workers.iter().filter(|(_, lapsed)| **lapsed);
        let lapsed = lapsed.map(|(id, _)| *id).collect();
        self.take_back(&lapsed, Cause::WorkerLost);
    }

    /// Takes back what these workers hold.
    pub(crate) fn take_back(&mut self, workers: &BTreeSet<WorkerId>, cause: Cause) {
        let known = |worker: &WorkerId| self.workers.contains_key(worker);
        let gone: BTreeSet<_> = workers.iter().copied().filter(known).collect();
        self.workers.retain(|worker, _| !gone.contains(worker));
        self.draining.retain(|worker| !gone.contains(worker));
        let held = self.active.iter().filter(|(_, by)| gone.contains(by));
        let held: Vec<_> = held.map(|(id, _)| *id).collect();
        let on_loss = on_loss(&self.policy.retry, cause);
        for id in held.into_iter().rev() {
            self.counts.lost += 1;
            self.count_failure(cause);
            let losses = self.losses.entry(id).or_default();
            *losses += 1;
            let quarantined = *losses > self.policy.max_losses;
            let facts = self.facts.get_mut(&id).unwrap();
            facts.attempts += u32::from(on_loss.counts);
            let of_type = self.policy.types.first().filter(|_| facts.ruled);
            let of_type = of_type.and_then(|of| of.retry.max_attempts);
            let most = facts.own_attempts.or(of_type);
            let most = most.unwrap_or(self.policy.retry.max_attempts);
            let spent = on_loss.counts && facts.attempts >= most;
            if on_loss.dead || quarantined || spent {
                self.bury(id);
                continue;
            }
            self.log(id, Happened::Lost);
            if on_loss.after.is_some() {
                self.schedule(id);
            } else {
                self.stop(id);
                self.list(id).push_front(id);
            }
        }
    }

    /// Cancels a task that has not ended: whether it is gone now, or asked of its worker.
    pub(crate) fn cancel(&mut self, id: TaskId) -> bool {
        if self.active.contains_key(&id) {
            self.marks.insert(id);
            return false;
        }
        self.end(id, Ending::Cancelled, Vec::new());
        true
    }

    /// What is late, marked or too old goes; how many expired, were cancelled and forgotten.
    pub(crate) fn tidy(&mut self) -> (u64, u64, u64) {
        let late = self.expiry.iter().filter(|(_, late)| **late);
        let late: Vec<_> = late.map(|(id, _)| *id).collect();
        let forgotten = self.to_forget();
        self.unique.retain(|_, (_, lapsed)| !*lapsed);
        self.idempotency
            .retain(|_, standing| !(standing.ended && standing.due));
        let keys = self.idempotency.values_mut();
        keys.for_each(|standing| standing.due = false);
        let (facts, dead) = (&self.facts, &self.dead);
        self.marks
            .retain(|id| facts.contains_key(id) && !dead.contains(id));
        let marked: Vec<_> = self.marks.iter().copied().collect();
        let mut expired = 0;
        for id in late {
            if self.active.contains_key(&id) {
                self.expiry.remove(&id);
            } else {
                self.end(id, Ending::Expired, Vec::new());
                expired += 1;
            }
        }
        let mut cancelled = 0;
        for id in marked {
            if self.facts.contains_key(&id) && !self.active.contains_key(&id) {
                self.end(id, Ending::Cancelled, Vec::new());
                cancelled += 1;
            }
        }
        let before = self.done.len();
        for bucket in forgotten {
            if self.aged.remove(&bucket).is_some() {
                self.done.retain(|id, _| id.bucket() != bucket);
            }
        }
        (expired, cancelled, (before - self.done.len()) as u64)
    }

    /// Done records by bucket.
    pub(crate) fn kept(&self) -> BTreeMap<String, u64> {
        let mut kept = BTreeMap::new();
        for id in self.done.keys() {
            *kept.entry(id.bucket().to_owned()).or_default() += 1;
        }
        kept
    }

    fn to_forget(&self) -> Vec<String> {
        let too_old = self.aged.iter().filter(|(_, too_old)| **too_old);
        let too_old: Vec<_> = too_old.map(|(bucket, _)| bucket.clone()).collect();
        let Some(most) = self.policy.completed_max_count else {
            return too_old;
        };
        if !too_old.is_empty() {
            return too_old;
        }
        let (kept, mut left) = (self.kept(), self.done.len() as u64);
        let mut forgotten = Vec::new();
        for bucket in self.aged.keys() {
            if left <= most.into() || left - kept[bucket] < most.into() {
                break;
            }
            left -= kept[bucket];
            forgotten.push(bucket.clone());
        }
        forgotten
    }
}
