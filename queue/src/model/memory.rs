//! The queue as it should be, in plain memory: lists, sets and counters, and no cleverness.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{TaskId, WorkerId};

/// A queue in memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The levels in force, highest first, then the retired ones.
    pub(super) levels: Vec<String>,
    pub(super) lists: BTreeMap<String, VecDeque<TaskId>>,
    /// Whether each is due.
    pub(super) scheduled: BTreeMap<TaskId, bool>,
    pub(super) active: BTreeMap<TaskId, WorkerId>,
    pub(super) dead: BTreeSet<TaskId>,
    pub(super) done: BTreeSet<TaskId>,
    pub(super) losses: BTreeMap<TaskId, u32>,
    /// Registered workers, and whether their leases have lapsed.
    pub(super) workers: BTreeMap<WorkerId, bool>,
    level_of: BTreeMap<TaskId, String>,
    pub(super) counts: Counts,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) enqueued: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) retried: u64,
    pub(super) dead: u64,
    pub(super) lost: u64,
    pub(super) released: u64,
    pub(super) redriven: u64,
    pub(super) purged: u64,
}

impl Memory {
    pub(super) fn new(levels: &[&str]) -> Self {
        Self {
            levels: levels.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    pub(super) fn enqueue(&mut self, id: TaskId, level: &str, delayed: bool) {
        self.level_of.insert(id, level.to_owned());
        self.counts.enqueued += 1;
        if delayed {
            self.scheduled.insert(id, false);
        } else {
            self.list(id).push_back(id);
        }
    }

    /// All scheduled tasks become due.
    pub(super) fn pass_time(&mut self) {
        self.scheduled.values_mut().for_each(|due| *due = true);
    }

    pub(super) fn promote(&mut self) -> u64 {
        let due: Vec<_> = self
            .scheduled
            .iter()
            .filter(|(_, due)| **due)
            .map(|(id, _)| *id)
            .collect();
        for id in &due {
            self.scheduled.remove(id);
            self.list(*id).push_back(*id);
        }
        due.len() as u64
    }

    /// What a worker gets; `None` if its lease has lapsed for good.
    pub(super) fn fetch(&mut self, worker: WorkerId, slots: usize) -> Option<Vec<TaskId>> {
        *self.workers.get_mut(&worker)? = false;
        self.promote();
        let mut got = Vec::new();
        for level in &self.levels {
            let list = self.lists.entry(level.clone()).or_default();
            while got.len() < slots
                && let Some(id) = list.pop_front()
            {
                got.push(id);
            }
        }
        self.active.extend(got.iter().map(|id| (*id, worker)));
        Some(got)
    }

    /// Which of the acks are refused.
    pub(super) fn ack(&mut self, worker: WorkerId, ids: &[TaskId]) -> Vec<TaskId> {
        let (mine, refused): (Vec<_>, Vec<_>) = ids
            .iter()
            .partition(|id| self.active.get(id) == Some(&worker));
        for id in mine {
            self.active.remove(&id);
            self.losses.remove(&id);
            self.done.insert(id);
            self.counts.completed += 1;
        }
        refused
    }

    pub(super) fn holds(&self, worker: WorkerId, id: TaskId) -> bool {
        self.active.get(&id) == Some(&worker)
    }

    pub(super) fn retry(&mut self, id: TaskId) {
        self.active.remove(&id);
        self.scheduled.insert(id, false);
        self.counts.failed += 1;
        self.counts.retried += 1;
    }

    pub(super) fn bury(&mut self, id: TaskId) {
        self.active.remove(&id);
        self.dead.insert(id);
        self.counts.failed += 1;
        self.counts.dead += 1;
    }

    /// Handed back: to the heads, the oldest first.
    pub(super) fn release(&mut self, mut ids: Vec<TaskId>) {
        self.counts.released += ids.len() as u64;
        ids.sort();
        for id in ids.into_iter().rev() {
            self.active.remove(&id);
            self.list(id).push_front(id);
        }
    }

    pub(super) fn reclaim(&mut self, most_losses: u32) {
        let lapsed: BTreeSet<_> = self
            .workers
            .iter()
            .filter(|(_, lapsed)| **lapsed)
            .map(|(id, _)| *id)
            .collect();
        self.workers.retain(|worker, _| !lapsed.contains(worker));
        let held: Vec<_> = self
            .active
            .iter()
            .filter(|(_, worker)| lapsed.contains(worker))
            .map(|(id, _)| *id)
            .collect();
        for id in held.into_iter().rev() {
            self.active.remove(&id);
            self.counts.lost += 1;
            let losses = self.losses.entry(id).or_default();
            *losses += 1;
            if *losses > most_losses {
                self.dead.insert(id);
                self.counts.dead += 1;
            } else {
                self.list(id).push_front(id);
            }
        }
    }

    /// Dead letters in the order of their deaths, as the server has it.
    pub(super) fn redrive(&mut self, in_order: &[TaskId]) {
        for id in in_order {
            self.dead.remove(id);
            self.losses.remove(id);
            self.list(*id).push_back(*id);
            self.counts.redriven += 1;
        }
    }

    pub(super) fn purge(&mut self) {
        for id in std::mem::take(&mut self.dead) {
            self.losses.remove(&id);
            self.counts.purged += 1;
        }
    }

    pub(super) fn configure(&mut self, levels: &[&str]) {
        let mut wanted: Vec<String> = levels.iter().map(ToString::to_string).collect();
        for level in std::mem::take(&mut self.levels) {
            let holds_tasks = self.lists.get(&level).is_some_and(|list| !list.is_empty());
            if !wanted.contains(&level) && holds_tasks {
                wanted.push(level);
            }
        }
        self.levels = wanted;
    }

    /// The list of a task's level; of a level that is gone, the last one.
    fn list(&mut self, id: TaskId) -> &mut VecDeque<TaskId> {
        let level = &self.level_of[&id];
        let known = self.levels.iter().find(|known| *known == level);
        let level = known.or(self.levels.last()).cloned().unwrap_or_default();
        self.lists.entry(level).or_default()
    }
}
