//! Which of several TaskQueues with one queue name keeps the queue. No I/O.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, ResourceExt, runtime::watcher};
use taskqueue_api::TaskQueue;

use super::Guarded;
use crate::key::Key;

/// The TaskQueue that holds the queue which `this` asks for, when it is another one.
///
/// Two TaskQueues clash when they share namespace, queue name and Redis as written. The older
/// keeps the queue; of two made in the same second, the one whose name sorts first.
pub fn held_by_another<'a>(
    this: &TaskQueue,
    others: impl IntoIterator<Item = &'a TaskQueue>,
) -> Option<&'a TaskQueue> {
    others
        .into_iter()
        .filter(|other| other.meta().uid != this.meta().uid)
        .filter(|other| other.meta().deletion_timestamp.is_none())
        .filter(|other| other.namespace() == this.namespace())
        .filter(|other| other.queue_name() == this.queue_name())
        .filter(|other| other.spec.redis == this.spec.redis)
        .filter(|other| age_order(other) < age_order(this))
        .min_by_key(|other| age_order(other))
}

fn age_order(resource: &TaskQueue) -> (Option<jiff::Timestamp>, String) {
    let created = resource.meta().creation_timestamp.as_ref();
    (created.map(|time| time.0), resource.name_any())
}

/// Who asks for which queue, so that a pass over one TaskQueue need not look at all of them.
#[derive(Default)]
pub struct Claims(Mutex<Claimants>);

/// By the hash of namespace and queue name. Two queues of one hash merely are looked at together.
#[derive(Default)]
struct Claimants {
    all: HashMap<u64, Vec<Key>>,
    /// Those of a list that is under way.
    listed: HashMap<u64, Vec<Key>>,
}

impl Claims {
    /// Follows the watch of TaskQueues.
    pub fn follow(&self, event: &watcher::Event<Guarded>) {
        let mut claimants = self.lock();
        let Claimants { all, listed } = &mut *claimants;
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(resource) => {
                add(all, resource);
                add(listed, resource);
            }
            watcher::Event::InitDone => *all = std::mem::take(listed),
            watcher::Event::Apply(resource) => add(all, resource),
            watcher::Event::Delete(resource) => remove(all, resource),
        }
    }

    /// Every other TaskQueue that may ask for the same queue.
    pub fn rivals(&self, this: &TaskQueue) -> Vec<Key> {
        let key = Key::of(this);
        let claimants = self.lock();
        let all = claimants.all.get(&place(this));
        let others = all.into_iter().flatten().filter(|other| **other != key);
        others.cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Claimants> {
        // The maps are consistent after every statement, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(claimants: &mut HashMap<u64, Vec<Key>>, resource: &Guarded) {
    // One that does not parse asks for nothing.
    if let Ok(parsed) = &resource.0 {
        let (key, place) = (Key::of(parsed), claimants.entry(place(parsed)).or_default());
        if !place.contains(&key) {
            place.push(key);
        }
    }
}

fn remove(claimants: &mut HashMap<u64, Vec<Key>>, resource: &Guarded) {
    if let Ok(parsed) = &resource.0 {
        let (key, place) = (Key::of(parsed), place(parsed));
        if let Some(keys) = claimants.get_mut(&place) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                claimants.remove(&place);
            }
        }
    }
}

fn place(resource: &TaskQueue) -> u64 {
    let mut hasher = DefaultHasher::new();
    (resource.namespace(), resource.queue_name()).hash(&mut hasher);
    hasher.finish()
}
