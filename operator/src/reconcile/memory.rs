//! What was applied before, and how often a TaskQueue failed in a row.
//!
//! A reconcile that would apply what stands already writes nothing: a pass is triggered by every
//! change of a Deployment's status, and an idle cluster must see no writes.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{apply::Applied, build::Children, observe::Observed};
use crate::key::Key;

/// Per TaskQueue what the next pass needs to know of the last ones.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<Key, Past>>);

#[derive(Default)]
struct Past {
    /// Children as they were applied, and their generations after that.
    applied: Option<(Children, Applied)>,
    failures: u32,
}

impl Memory {
    /// Whether the cluster may hold something else than these children: they are not what was
    /// applied last, or somebody changed one of them since.
    pub fn differs(&self, key: &Key, children: &Children, existing: &Observed) -> bool {
        let past = self.lock();
        let Some((applied, after)) = past.get(key).and_then(|past| past.applied.as_ref()) else {
            return true;
        };
        applied != children || *after != Applied::of(existing)
    }

    /// Takes note of an apply.
    pub fn applied(&self, key: &Key, children: Children, applied: Applied) {
        self.lock().entry(key.clone()).or_default().applied = Some((children, applied));
    }

    /// A pass came to its end.
    pub fn succeeded(&self, key: &Key) {
        if let Some(past) = self.lock().get_mut(key) {
            past.failures = 0;
        }
    }

    /// A pass failed; returns how many did in a row.
    pub fn failed(&self, key: &Key) -> u32 {
        let mut memory = self.lock();
        let past = memory.entry(key.clone()).or_default();
        past.applied = None;
        past.failures = past.failures.saturating_add(1);
        past.failures
    }

    /// The TaskQueue is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Past>> {
        // The map is consistent after every statement, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
