//! What was applied before, and how a TaskQueue failed last.
//!
//! A reconcile that would apply what stands already writes nothing: passes come with every edit,
//! every restart and every change of a Secret, and an idle cluster must see no writes. Kept as
//! fingerprints, since there may be many thousands.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{apply::Applied, build::Children, error::Error, observe::Observed};
use crate::{
    key::Key,
    watch::{self, fingerprint},
};

/// Per TaskQueue what the next pass needs to know of the last ones.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<Key, Past>>);

#[derive(Default)]
struct Past {
    /// Fingerprint of the children as they were applied, and what they were after that.
    applied: Option<(u64, Applied)>,
    failures: u32,
    /// Fingerprint of the failure that was told last.
    told: Option<u64>,
}

/// What a failed pass is, beside those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How many failed in a row, this one included.
    pub times: u32,
    /// The last one failed otherwise, or there was none.
    pub anew: bool,
}

impl Memory {
    /// Whether the cluster may hold something else than these children: they are not what was
    /// applied last, or somebody changed one of them since.
    pub fn differs(&self, key: &Key, children: &Children, existing: &Observed) -> bool {
        let Some(current) = Applied::of(existing) else {
            return true;
        };
        let wanted = fingerprint(children);
        let mut memory = self.lock();
        let past = memory.entry(key.clone()).or_default();
        match past.applied {
            Some(applied) => applied != (wanted, current),
            // Nothing is remembered after a start, but the Deployment may bear witness.
            None if past.failures == 0 && stands(children, wanted, existing) => {
                past.applied = Some((wanted, current));
                false
            }
            None => true,
        }
    }

    /// Takes note of an apply.
    pub fn applied(&self, key: &Key, children: &Children, applied: Applied) {
        self.lock().entry(key.clone()).or_default().applied =
            Some((fingerprint(children), applied));
    }

    /// A pass came to its end.
    pub fn succeeded(&self, key: &Key) {
        if let Some(past) = self.lock().get_mut(key) {
            past.failures = 0;
            past.told = None;
        }
    }

    /// A pass failed.
    pub fn failed(&self, key: &Key, error: &Error) -> Failed {
        let told = fingerprint(&(error.reason(), error.chain()));
        let mut memory = self.lock();
        let past = memory.entry(key.clone()).or_default();
        past.applied = None;
        past.failures = past.failures.saturating_add(1);
        Failed {
            times: past.failures,
            anew: past.told.replace(told) != Some(told),
        }
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

/// Whether the cluster holds these children by the Deployment's own account. Children that are
/// not watched can have changed without a trace there.
fn stands(children: &Children, wanted: u64, existing: &Observed) -> bool {
    let Some(workload) = existing.workload.as_deref() else {
        return false;
    };
    children.is_deployment_alone()
        && existing.budget.is_none()
        && workload.scaler_owns_replicas
        && workload.applied == Some(watch::mark(wanted))
}
