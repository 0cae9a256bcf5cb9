//! What keeps the handler from taking tasks. Said once, heard in four places: the log, the readiness probe, the metrics
//! and, through Redis, the condition of the `TaskQueue`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;

/// The fault of a handler, if it has one. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    told: Arc<Mutex<Option<String>>>,
    /// How often the handler broke down.
    failures: Counter,
}

impl Fault {
    /// No fault so far; `failures` counts them.
    pub fn new(failures: Counter) -> Self {
        Self {
            told: Arc::default(),
            failures,
        }
    }

    /// The handler cannot take tasks, for this reason. It is logged unless it was told last.
    pub(crate) fn set(&self, fault: String) {
        let mut told = self.lock();
        if told.as_ref() != Some(&fault) {
            self.failures.inc();
            tracing::error!("{fault}");
        }
        *told = Some(fault);
    }

    /// It can again.
    pub(crate) fn clear(&self) {
        if self.lock().take().is_some() {
            tracing::info!("the handler takes tasks again");
        }
    }

    /// Why the handler cannot take tasks, if it cannot.
    pub fn get(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
