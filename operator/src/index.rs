//! What the operator knows of each TaskQueue, in memory.
//!
//! The reconcile puts in its orders, the autoscaler what it saw and decided; the status writer
//! takes both out. The index only holds and tells who has changed; it does no I/O.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use taskqueue_queue::{Policy, QueueName, Snapshot, server::Safety};
use taskqueue_scaling::{Decision, Reason};
use taskqueue_sources::Source;
use tokio::sync::Notify;

use crate::{
    endpoint::EndpointUrl,
    key::Key,
    rates::Rates,
    rights,
    targets::{Target, TargetView},
};

/// What the autoscaler shall do with one queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Orders {
    /// Generation of the spec that they come from.
    pub generation: i64,
    /// The queue in Redis.
    pub queue: QueueName,
    /// Its Redis.
    pub endpoint: EndpointUrl,
    /// What producers and workers shall read there.
    pub policy: Policy,
    /// How its workers are scaled.
    pub scaling: taskqueue_scaling::Policy,
    /// How long a task must have run for its pod to be shielded; `None` shields none.
    pub shield: Option<Duration>,
    /// A queue of another system. There is none of ours then, and the policy is put in force nowhere.
    pub source: Option<SourceOrders>,
}

/// A queue of another system and its workers.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceOrders {
    /// What is read.
    pub source: Source,
    /// Whether an operator has read it before.
    pub seen: bool,
    /// What is scaled.
    pub target: Target,
}

/// Why a TaskQueue is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Generation of the spec that it is about.
    pub generation: Option<i64>,
    /// The reason in a word.
    pub reason: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
    /// Another TaskQueue holds the queue.
    pub conflict: bool,
}

/// What the autoscaler saw and decided last.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The queue, or why it could not be read.
    pub queue: Result<Reading, String>,
    /// What was decided on it.
    pub decision: Decision,
    /// When the number or the reason last changed.
    pub decided_at: Timestamp,
    /// What a smaller number waits for, while workers are being let go.
    pub waits_for: Option<String>,
    /// Why the replicas could not be written, if the last try failed.
    pub refused: Option<String>,
    /// Who else sets the replicas, again and again, and what is done about it.
    pub another_writer: Option<String>,
    /// What keeps worker pods from working, as reason and message.
    pub obstacle: Option<(String, String)>,
    /// The last changes of the number.
    pub changes: Changes,
    /// How many tasks were found gone from Redis of late, though nobody ended them.
    pub missing: u64,
    /// Of a source, and what was found of its workers.
    pub source: Option<SourceSight>,
}

/// What there is to tell of a source besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSight {
    /// What keeps it from being scaled, though Redis answers.
    pub trouble: Option<Trouble>,
    /// Its workers, if they exist.
    pub target: Option<TargetView>,
    /// Tasks have been due for so long that none of its workers seems to move them on.
    pub due_not_moved: bool,
}

/// Why a source is not scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In a word.
    pub reason: &'static str,
    /// In full, with the exact names.
    pub message: String,
}

impl Trouble {
    /// It is with the source itself, of which nothing is known then.
    pub fn is_of_the_source(&self) -> bool {
        !matches!(self.reason, "TargetMissing" | rights::MISSING)
    }
}

/// A change of the replicas, or in mode Recommend of the number that is recommended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub time: Timestamp,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// What the tasks needed, before bounds in time.
    pub wanted: u32,
    /// Why, in a word.
    pub reason: Reason,
    /// The decision behind it.
    pub equation: String,
}

/// The last changes, newest first. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Arc<VecDeque<Change>>);

impl Changes {
    /// How many are kept.
    pub const MOST: usize = 20;

    /// Adds one.
    pub fn push(&mut self, change: Change) {
        let changes = Arc::make_mut(&mut self.0);
        changes.push_front(change);
        changes.truncate(Self::MOST);
    }

    /// From the newest to the oldest.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }
}

/// One reading of a queue.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Its figures.
    pub snapshot: Snapshot,
    /// Its counters over time.
    pub rates: Rates,
}

impl Sight {
    /// Whether the status would tell the same of both. The time of the reading is no part of it.
    pub fn tells_as(&self, other: &Self) -> bool {
        let Self {
            queue,
            decision,
            decided_at,
            waits_for,
            refused,
            another_writer,
            obstacle,
            changes,
            missing,
            source,
        } = self;
        let queues = match (queue, &other.queue) {
            (Ok(reading), Ok(other)) => reading.tells_as(other),
            (Err(cause), Err(other)) => cause == other,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        queues
            && *decision == other.decision
            && *decided_at == other.decided_at
            && *waits_for == other.waits_for
            && *refused == other.refused
            && *another_writer == other.another_writer
            && *obstacle == other.obstacle
            && *changes == other.changes
            && *missing == other.missing
            && *source == other.source
    }
}

impl Reading {
    fn tells_as(&self, other: &Self) -> bool {
        let Self { snapshot, rates } = self;
        let later = Snapshot {
            now: other.snapshot.now,
            ..snapshot.clone()
        };
        later == other.snapshot && rates.tell_as(&other.rates)
    }
}

/// One TaskQueue.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The outcome of the last reconcile; `None` before the first.
    pub orders: Option<Result<Arc<Orders>, Problem>>,
    /// The last good orders. They are carried out as long as nothing newer replaces them, since
    /// the workers that they made are still there; a conflict alone ends them.
    pub standing: Option<Arc<Orders>>,
    /// What the autoscaler saw last. It outlives a failed reconcile.
    pub sight: Option<Arc<Sight>>,
    /// Whether tasks are safe in its Redis, as was seen last; `None` before the first look.
    pub safety: Option<Arc<Safety>>,
}

/// All TaskQueues.
#[derive(Default)]
pub struct Index {
    state: Mutex<State>,
    /// Wakes the status writer.
    pub status_wanted: Notify,
    /// Wakes the autoscaler.
    pub orders_changed: Notify,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    dirty: BTreeSet<Key>,
    /// Those whose standing orders are others than the autoscaler took.
    reordered: BTreeSet<Key>,
}

impl Index {
    /// Publishes orders that are understood before they are in place, unless there are some. For
    /// the time after a start: queues whose workers stand need not wait until every TaskQueue has
    /// had its pass to its end.
    pub fn stand(&self, key: &Key, orders: &Orders) {
        let mut state = self.lock();
        let entry = state.entries.entry(key.clone()).or_default();
        if entry.standing.is_some() {
            return;
        }
        entry.standing = Some(Arc::new(orders.clone()));
        state.reordered.insert(key.clone());
        drop(state);
        self.orders_changed.notify_one();
    }

    /// Publishes the outcome of a reconcile.
    pub fn order(&self, key: &Key, outcome: Result<Orders, Problem>) {
        let mut state = self.lock();
        let entry = state.entries.entry(key.clone()).or_default();
        let before = entry.standing.take();
        let outcome = outcome.map(|orders| match &before {
            Some(before) if **before == orders => Arc::clone(before),
            _ => Arc::new(orders),
        });
        entry.standing = match &outcome {
            Ok(orders) => Some(Arc::clone(orders)),
            Err(problem) if problem.conflict => None,
            Err(_) => before.clone(),
        };
        let changed = match (&before, &entry.standing) {
            (Some(before), Some(now)) => !Arc::ptr_eq(before, now),
            (before, now) => before.is_some() != now.is_some(),
        };
        entry.orders = Some(outcome);
        state.dirty.insert(key.clone());
        if changed {
            state.reordered.insert(key.clone());
        }
        drop(state);
        self.status_wanted.notify_one();
        if changed {
            self.orders_changed.notify_one();
        }
    }

    /// Publishes what the autoscaler saw and decided. Returns whether anyone wants to know: a
    /// TaskQueue that was forgotten meanwhile stays forgotten.
    pub fn see(&self, key: &Key, sight: Arc<Sight>) -> bool {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else {
            return false;
        };
        // A quiet queue is looked at every second, and there may be thousands of them.
        let before = entry.sight.as_ref();
        let news = before.is_none_or(|before| !before.tells_as(&sight));
        entry.sight = Some(sight);
        if news {
            state.dirty.insert(key.clone());
            drop(state);
            self.status_wanted.notify_one();
        }
        true
    }

    /// Publishes whether tasks are safe in its Redis; `None` when that is not known yet of the Redis
    /// that it is in now.
    pub fn assess(&self, key: &Key, safety: Option<Arc<Safety>>) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else {
            return;
        };
        if entry.safety == safety {
            return;
        }
        entry.safety = safety;
        state.dirty.insert(key.clone());
        drop(state);
        self.status_wanted.notify_one();
    }

    /// Something else that its status tells may have changed: that of its Deployment.
    pub fn touch(&self, key: &Key) {
        let mut state = self.lock();
        if state.entries.contains_key(key) {
            state.dirty.insert(key.clone());
            drop(state);
            self.status_wanted.notify_one();
        }
    }

    /// Drops a TaskQueue.
    pub fn forget(&self, key: &Key) {
        let mut state = self.lock();
        state.dirty.remove(key);
        let known = state.entries.remove(key).is_some();
        if known {
            state.reordered.insert(key.clone());
        }
        drop(state);
        if known {
            self.orders_changed.notify_one();
        }
    }

    /// All orders that are to be carried out.
    pub fn orders(&self) -> Vec<(Key, Arc<Orders>)> {
        let state = self.lock();
        let ordered = state.entries.iter().filter_map(|(key, entry)| {
            let orders = entry.standing.as_ref()?;
            Some((key.clone(), Arc::clone(orders)))
        });
        ordered.collect()
    }

    /// Takes the TaskQueues whose standing orders have changed, with the orders as they are now;
    /// `None` where nothing is to be carried out any more.
    pub fn take_reordered(&self) -> Vec<(Key, Option<Arc<Orders>>)> {
        let mut state = self.lock();
        let reordered = std::mem::take(&mut state.reordered);
        let orders = reordered.into_iter().map(|key| {
            let entry = state.entries.get(&key);
            let orders = entry.and_then(|entry| entry.standing.clone());
            (key, orders)
        });
        orders.collect()
    }

    /// Whether there are any orders to carry out.
    pub fn has_orders(&self) -> bool {
        let state = self.lock();
        state.entries.values().any(|entry| entry.standing.is_some())
    }

    /// Every TaskQueue that is known.
    pub fn keys(&self) -> Vec<Key> {
        self.lock().entries.keys().cloned().collect()
    }

    /// One TaskQueue.
    pub fn get(&self, key: &Key) -> Option<Entry> {
        self.lock().entries.get(key).cloned()
    }

    /// Takes the TaskQueues whose status may have changed.
    pub fn take_dirty(&self) -> BTreeSet<Key> {
        std::mem::take(&mut self.lock().dirty)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The maps are consistent after every statement, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
