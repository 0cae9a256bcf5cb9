//! Which of several TaskQueues with one queue name keeps the queue, and which of several that scale
//! one object may do so. No I/O.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, ResourceExt, runtime::watcher};
use taskqueue_api::{TaskQueue, spec::TargetKind};

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
        .filter(|other| other.spec.source.is_none())
        .filter(|other| other.queue_name() == this.queue_name())
        .filter(|other| other.spec.redis == this.spec.redis)
        .filter(|other| age_order(other) < age_order(this))
        .min_by_key(|other| age_order(other))
}

/// The TaskQueue that scales the target of `this`, when it is another one: a source that is older,
/// or a queue of ours whose Deployment it is.
pub fn target_held_by_another<'a>(
    this: &TaskQueue,
    others: impl IntoIterator<Item = &'a TaskQueue>,
) -> Option<&'a TaskQueue> {
    let target = this.spec.target_ref.as_ref()?;
    let holds = |other: &&TaskQueue| match &other.spec.target_ref {
        Some(theirs) => {
            (theirs.kind, &theirs.name) == (target.kind, &target.name)
                && age_order(other) < age_order(this)
        }
        None => {
            target.kind == TargetKind::Deployment
                && other.spec.worker.is_some()
                && other.name_any() == target.name
        }
    };
    others
        .into_iter()
        .filter(|other| other.meta().uid != this.meta().uid)
        .filter(|other| other.meta().deletion_timestamp.is_none())
        .filter(|other| other.namespace() == this.namespace())
        .filter(holds)
        .min_by_key(|other| age_order(other))
}

fn age_order(resource: &TaskQueue) -> (Option<jiff::Timestamp>, String) {
    let created = resource.meta().creation_timestamp.as_ref();
    (created.map(|time| time.0), resource.name_any())
}

/// Who asks for which queue and scales which object, so that a pass over one TaskQueue need not
/// look at all of them.
#[derive(Default)]
pub struct Claims(Mutex<Claimants>);

/// By the hash of what is claimed. Two claims of one hash merely are looked at together.
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

    /// Every other TaskQueue that may ask for the same queue or scale the same object.
    pub fn rivals(&self, this: &TaskQueue) -> Vec<Key> {
        let key = Key::of(this);
        let claimants = self.lock();
        let all = places(this).filter_map(|place| claimants.all.get(&place));
        let mut others: Vec<_> = all.flatten().filter(|other| **other != key).collect();
        others.sort();
        others.dedup();
        others.into_iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Claimants> {
        // The maps are consistent after every statement, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(claimants: &mut HashMap<u64, Vec<Key>>, resource: &Guarded) {
    // One that does not parse asks for nothing.
    let Ok(parsed) = &resource.0 else { return };
    let key = Key::of(parsed);
    for place in places(parsed) {
        let keys = claimants.entry(place).or_default();
        if !keys.contains(&key) {
            keys.push(key.clone());
        }
    }
}

fn remove(claimants: &mut HashMap<u64, Vec<Key>>, resource: &Guarded) {
    let Ok(parsed) = &resource.0 else { return };
    let key = Key::of(parsed);
    for place in places(parsed) {
        if let Some(keys) = claimants.get_mut(&place) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                claimants.remove(&place);
            }
        }
    }
}

/// What a TaskQueue lays claim to, hashed: its queue, and the object whose replicas it writes.
fn places(resource: &TaskQueue) -> impl Iterator<Item = u64> {
    let spec = &resource.spec;
    let queue = spec.source.is_none().then(|| resource.queue_name());
    let scaled = match &spec.target_ref {
        Some(target) => (target.kind, target.name.clone()),
        None => (TargetKind::Deployment, resource.name_any()),
    };
    let namespace = resource.namespace();
    let queue = queue.map(|queue| hashed(&(&namespace, queue)));
    queue.into_iter().chain([hashed(&(&namespace, scaled))])
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
