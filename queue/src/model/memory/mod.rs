//! The queue as it should be, in plain memory: lists, sets and counters, and no cleverness. What
//! workers do to it is here and in `ends`; in which order it hands out tasks, in `order`.

mod ends;
mod order;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{Policy, TaskId, WorkerId};

/// A queue in memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) policy: Policy,
    /// The levels in force, highest first, then the retired ones.
    pub(super) levels: Vec<String>,
    /// Runnable tasks, and among them ids of tasks that are gone.
    pub(super) lists: BTreeMap<String, VecDeque<TaskId>>,
    /// Whether each is due.
    pub(super) scheduled: BTreeMap<TaskId, bool>,
    pub(super) parked: BTreeSet<(String, TaskId)>,
    pub(super) active: BTreeMap<TaskId, WorkerId>,
    pub(super) dead: BTreeSet<TaskId>,
    /// Records of ended tasks; empty where the test did not write it.
    pub(super) done: BTreeMap<TaskId, Vec<u8>>,
    pub(super) losses: BTreeMap<TaskId, u32>,
    /// Registered workers, and whether their leases have lapsed.
    pub(super) workers: BTreeMap<WorkerId, bool>,
    /// Workers that are to get no more tasks.
    pub(super) draining: BTreeSet<WorkerId>,
    /// Of every task that has not ended, dead ones included.
    pub(super) facts: BTreeMap<TaskId, Facts>,
    /// Who has a unique key, and whether its time has passed.
    pub(super) unique: BTreeMap<String, (TaskId, bool)>,
    /// Who stands for an idempotency key.
    pub(super) idempotency: BTreeMap<String, Standing>,
    /// What may expire, and whether it is time.
    pub(super) expiry: BTreeMap<TaskId, bool>,
    /// What is to be cancelled.
    pub(super) marks: BTreeSet<TaskId>,
    pub(super) progress: BTreeSet<TaskId>,
    /// Buckets of done records that got none of late, and whether that is past the policy's age.
    pub(super) aged: BTreeMap<String, bool>,
    pub(super) rate_used: u64,
    pub(super) turn: u32,
    pub(super) counts: Counts,
    /// What the log of ends was told, in no order.
    pub(super) logged: Vec<(TaskId, u64)>,
    /// How many failures there were, by the number of their cause.
    pub(super) failures: BTreeMap<u64, u64>,
}

/// What there is to know of a task.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) level: String,
    pub(super) unique: String,
    pub(super) key: String,
    pub(super) idempotency: String,
    /// What its call asked for.
    pub(super) asked: String,
    /// Whether it is of the type of which the policy may say more.
    pub(super) ruled: bool,
    /// Most attempts of its own.
    pub(super) own_attempts: Option<u32>,
    pub(super) expires: bool,
    /// Since when it is runnable, in ms.
    pub(super) since_ms: u64,
    /// Failed attempts that count.
    pub(super) attempts: u32,
}

/// The task that stands for an idempotency key.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) id: TaskId,
    asked: String,
    pub(super) ended: bool,
    /// Whether it is time to look at it.
    pub(super) due: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) enqueued: u64,
    pub(super) completed: u64,
    pub(super) cancelled: u64,
    pub(super) expired: u64,
    pub(super) dropped: u64,
    pub(super) failed: u64,
    pub(super) retried: u64,
    pub(super) snoozed: u64,
    pub(super) dead: u64,
    pub(super) lost: u64,
    pub(super) released: u64,
    pub(super) redriven: u64,
    pub(super) purged: u64,
}

/// Where a new task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Now,
    Scheduled,
}

/// What becomes of a task that is enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    Standing(TaskId),
    LeftOut,
    /// The task that stands for its idempotency key asks for something else.
    Conflict(TaskId),
}

/// What becomes of a batch.
#[derive(Debug)]
pub(super) enum Batch {
    Full,
    /// Because of the key of the first one, for which the other stands.
    Conflict(TaskId, TaskId),
    Done(BTreeMap<TaskId, Fate>),
}

/// A task about to be enqueued.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) id: TaskId,
    pub(super) place: Place,
    pub(super) facts: Facts,
}

impl Memory {
    /// Runnable or active tasks with the key.
    pub(super) fn held(&self, key: &str) -> u32 {
        let runnable = self.lists.values().flatten();
        let all = runnable.chain(self.active.keys());
        let has_it = |id: &&TaskId| self.facts.get(id).is_some_and(|facts| facts.key == key);
        u32::try_from(all.filter(has_it).count()).unwrap()
    }

    pub(super) fn has_room(&self, key: &str) -> bool {
        let most = match key.strip_prefix('\0') {
            Some(kind) => self.policy.of_type(kind).and_then(|of| of.concurrency),
            None => self.policy.limits.per_key_concurrency,
        };
        most.is_none_or(|most| self.held(key) < most)
    }

    /// Makes a task runnable, or parks it.
    fn append(&mut self, id: TaskId) {
        let key = self.facts[&id].key.clone();
        if key.is_empty() || self.has_room(&key) {
            self.list(id).push_back(id);
        } else {
            self.parked.insert((key, id));
        }
    }

    /// A task of the key is neither runnable nor active any more, or the key has more room.
    fn let_in(&mut self, key: &str) {
        while !key.is_empty() && self.has_room(key) {
            let first = self.parked.iter().find(|(parked, _)| parked == key);
            let Some((_, id)) = first.cloned() else {
                return;
            };
            self.parked.remove(&(key.to_owned(), id));
            self.list(id).push_back(id);
        }
    }

    /// The list of a task's level; of a level that is gone, the last one, whose level it takes.
    fn list(&mut self, id: TaskId) -> &mut VecDeque<TaskId> {
        let facts = self.facts.get_mut(&id).unwrap();
        if !self.levels.contains(&facts.level) {
            facts.level.clone_from(self.levels.last().unwrap());
        }
        self.lists.entry(facts.level.clone()).or_default()
    }

    fn exists(&self, id: TaskId) -> bool {
        self.facts.contains_key(&id) || self.done.contains_key(&id)
    }

    fn holder(&self, incoming: &Incoming) -> Option<TaskId> {
        let (holder, lapsed) = *self.unique.get(&incoming.facts.unique)?;
        (holder != incoming.id && !lapsed).then_some(holder)
    }

    /// Who stands for the task's idempotency key, and whether that was asked for in the same words.
    fn standing(&self, incoming: &Incoming) -> Option<(TaskId, bool)> {
        let standing = self.idempotency.get(&incoming.facts.idempotency)?;
        let over = standing.ended && standing.due;
        (!over).then(|| (standing.id, standing.asked == incoming.facts.asked))
    }

    /// The first of a batch whose idempotency key stands for something else, and who that is: a task of before, or one of
    /// the batch.
    fn conflict(&self, batch: &[Incoming], repeated: bool) -> Option<(TaskId, TaskId)> {
        let mut firsts: BTreeMap<&str, &Incoming> = BTreeMap::new();
        for task in batch {
            let mut standing = self.standing(task);
            let own = standing.is_some_and(|(id, _)| id == task.id);
            if task.facts.idempotency.is_empty() || own || repeated && self.exists(task.id) {
                continue;
            }
            if standing.is_none() && self.holder(task).is_none() {
                let first = *firsts.entry(&task.facts.idempotency).or_insert(task);
                standing = Some((first.id, first.facts.asked == task.facts.asked));
            }
            if let Some((id, false)) = standing {
                return Some((task.id, id));
            }
        }
        None
    }

    /// Takes a batch in, in the order in which the script does.
    pub(super) fn enqueue(&mut self, batch: &[Incoming], apart: bool, repeated: bool) -> Batch {
        if !apart && let Some((id, stands)) = self.conflict(batch, repeated) {
            return Batch::Conflict(id, stands);
        }
        let waiting = self.facts.len() - self.active.len() - self.dead.len();
        let most = self.policy.limits.max_backlog;
        let mut room = most.map_or(usize::MAX, |most| {
            usize::try_from(most).unwrap().saturating_sub(waiting)
        });
        let known = |memory: &Self, task: &Incoming| {
            let standing = memory.standing(task);
            repeated && memory.exists(task.id) || standing.is_some_and(|(id, _)| id == task.id)
        };
        let new = |task: &&Incoming| {
            !known(self, task) && self.standing(task).is_none() && self.holder(task).is_none()
        };
        if !apart && batch.iter().filter(new).count() > room {
            return Batch::Full;
        }
        let mut fates = BTreeMap::new();
        for task in batch {
            let fate = if known(self, task) {
                Fate::Taken
            } else if let Some((id, same)) = self.standing(task) {
                if same {
                    Fate::Standing(id)
                } else {
                    Fate::Conflict(id)
                }
            } else if let Some(holder) = self.holder(task) {
                Fate::Standing(holder)
            } else if room == 0 {
                Fate::LeftOut
            } else {
                room -= 1;
                self.take_in(task);
                Fate::Taken
            };
            fates.insert(task.id, fate);
        }
        Batch::Done(fates)
    }

    fn take_in(&mut self, task: &Incoming) {
        let (id, facts) = (task.id, task.facts.clone());
        if !facts.unique.is_empty() {
            self.unique.insert(facts.unique.clone(), (id, false));
        }
        if facts.expires {
            self.expiry.insert(id, false);
        }
        if !facts.idempotency.is_empty() {
            let standing = Standing {
                id,
                asked: facts.asked.clone(),
                ended: false,
                due: false,
            };
            self.idempotency.insert(facts.idempotency.clone(), standing);
        }
        self.facts.insert(id, facts);
        self.counts.enqueued += 1;
        match task.place {
            Place::Now => self.append(id),
            Place::Scheduled => drop(self.scheduled.insert(id, false)),
        }
    }

    /// All scheduled tasks become due.
    pub(super) fn pass_time(&mut self) {
        self.scheduled.values_mut().for_each(|due| *due = true);
    }

    pub(super) fn promote(&mut self, most: usize) -> u64 {
        let due = self.scheduled.iter().filter(|(_, due)| **due);
        let due: Vec<_> = due.map(|(id, _)| *id).take(most).collect();
        for id in &due {
            self.scheduled.remove(id);
            self.append(*id);
        }
        due.len() as u64
    }

    /// Dead letters in the order of their deaths, as the server has it. Returns those that stay, each
    /// with the task that has its unique key.
    pub(super) fn redrive(&mut self, in_order: &[TaskId]) -> Vec<(TaskId, TaskId)> {
        let mut outdone = Vec::new();
        for id in in_order {
            let facts = self.facts.get_mut(id).unwrap();
            let key = facts.unique.clone();
            match self.unique.get(&key) {
                Some((holder, false)) if holder != id => {
                    outdone.push((*id, *holder));
                    continue;
                }
                _ if key.is_empty() => {}
                _ => drop(self.unique.insert(key, (*id, false))),
            }
            (facts.expires, facts.attempts) = (false, 0);
            self.dead.remove(id);
            self.losses.remove(id);
            self.counts.redriven += 1;
        }
        // As one batch: their keys first, then their places.
        for id in in_order {
            if !self.dead.contains(id) {
                self.append(*id);
            }
        }
        outdone
    }

    /// Whether it is runnable now, `None` if it was not scheduled.
    pub(super) fn promote_now(&mut self, id: TaskId) -> Option<bool> {
        self.scheduled.remove(&id)?;
        self.append(id);
        Some(self.lists.values().flatten().any(|listed| *listed == id))
    }

    /// A task that does not run gets another level. Returns whether it had another one.
    pub(super) fn prioritize(&mut self, id: TaskId, level: &str) -> bool {
        let facts = self.facts.get_mut(&id).unwrap();
        let before = std::mem::replace(&mut facts.level, level.to_owned());
        let list = self.lists.entry(before.clone()).or_default();
        if before != level
            && let Some(place) = list.iter().position(|listed| *listed == id)
        {
            list.remove(place);
            self.lists
                .entry(level.to_owned())
                .or_default()
                .push_back(id);
        }
        before != level
    }

    pub(super) fn purge(&mut self) {
        for id in std::mem::take(&mut self.dead) {
            self.losses.remove(&id);
            let facts = self.facts.remove(&id).unwrap();
            self.begin_lapse(id, &facts.idempotency);
            self.counts.purged += 1;
        }
    }

    pub(super) fn configure(&mut self, policy: Policy) {
        let mut levels = policy.levels.clone();
        for level in std::mem::take(&mut self.levels) {
            let has_ids = self.lists.get(&level).is_some_and(|list| !list.is_empty());
            if !levels.contains(&level) && has_ids {
                levels.push(level);
            }
        }
        self.levels = levels;
        self.policy = policy;
        let keys: BTreeSet<String> = self.parked.iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.let_in(&key);
        }
    }
}
