//! What a worker tells those who watch it: callbacks for metrics, and a probe for health checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Called by the worker as things happen. Each call must return at once.
pub trait Observer: Send + Sync + 'static {
    /// `tasks` were leased in one round trip.
    fn fetched(&self, tasks: usize) {
        let _ = tasks;
    }
    /// An attempt began.
    fn started(&self, kind: &str) {
        let _ = kind;
    }
    /// An attempt ended; its ack is on its way.
    fn finished(&self, finished: &Finished<'_>) {
        let _ = finished;
    }
    /// The lease lapsed; the results of `tasks` attempts are dropped.
    fn lease_lost(&self, tasks: usize) {
        let _ = tasks;
    }
    /// Redis answers again after it did not.
    fn reconnected(&self) {}
    /// The fetch loop has turned once.
    fn loop_turned(&self) {}
}

/// One observer may watch many workers.
impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn fetched(&self, tasks: usize) {
        (**self).fetched(tasks);
    }
    fn started(&self, kind: &str) {
        (**self).started(kind);
    }
    fn finished(&self, finished: &Finished<'_>) {
        (**self).finished(finished);
    }
    fn lease_lost(&self, tasks: usize) {
        (**self).lease_lost(tasks);
    }
    fn reconnected(&self) {
        (**self).reconnected();
    }
    fn loop_turned(&self) {
        (**self).loop_turned();
    }
}

/// An attempt that ended.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// The task's type.
    pub kind: &'a str,
    /// How it ended.
    pub ended: Ended,
    /// From when the task was runnable until this attempt began.
    pub wait: Duration,
    /// From when this attempt began until it ended.
    pub run: Duration,
}

/// How an attempt ended, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// Completed.
    Completed,
    /// Failed, and will be tried again.
    Retried,
    /// Failed, and is a dead letter now.
    Dead,
    /// Ran into its timeout, and will be tried again.
    TimedOut,
    /// Put off by its handler.
    Snoozed,
    /// Handed back.
    Released,
    /// Handed back because what ran it broke down.
    Lost,
    /// Cancelled.
    Cancelled,
    /// Not begun, because it was too late.
    Expired,
    /// Failed, and dropped by a retry rule.
    Dropped,
}

/// Watches nothing.
pub(crate) struct Unobserved;

impl Observer for Unobserved {}

/// How the worker fares, to be asked from anywhere at any time.
#[derive(Debug, Clone)]
pub struct Probe(Arc<Vitals>);

#[derive(Debug)]
struct Vitals {
    born: Instant,
    redis_up: AtomicBool,
    ever_up: AtomicBool,
    last_turn_ms: AtomicU64,
    running: AtomicUsize,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Vitals {
            born: Instant::now(),
            redis_up: AtomicBool::new(false),
            ever_up: AtomicBool::new(false),
            last_turn_ms: AtomicU64::new(0),
            running: AtomicUsize::new(0),
        }))
    }

    /// Whether Redis answered the last call.
    pub fn redis_up(&self) -> bool {
        self.0.redis_up.load(Ordering::Relaxed)
    }

    /// How long ago the fetch loop turned. It turns at least every two seconds, also while Redis is
    /// away; more than a few of those, and the worker hangs.
    pub fn last_turn(&self) -> Duration {
        let last = Duration::from_millis(self.0.last_turn_ms.load(Ordering::Relaxed));
        self.0.born.elapsed().saturating_sub(last)
    }

    /// Attempts that run now.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::Relaxed)
    }

    pub(crate) fn turned(&self, running: usize) {
        let now = u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_turn_ms.store(now, Ordering::Relaxed);
        self.0.running.store(running, Ordering::Relaxed);
    }

    /// Notes an answer of Redis; whether it comes after a failure that followed an earlier answer.
    pub(crate) fn answered(&self) -> bool {
        let again = !self.0.redis_up.swap(true, Ordering::Relaxed);
        let before = self.0.ever_up.swap(true, Ordering::Relaxed);
        again && before
    }

    /// Notes that Redis did not answer; whether it did before.
    pub(crate) fn failed(&self) -> bool {
        self.0.redis_up.swap(false, Ordering::Relaxed)
    }
}
