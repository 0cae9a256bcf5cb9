//! The consumer's runtime: leases tasks, runs them through a [`Handler`], acks them, and drains
//! when told to. This file is its public face; the loop is in `turn`.

mod attempt;
mod batch;
mod course;
mod deliver;
mod drain;
mod handler;
mod lease;
mod observer;
mod outbox;
mod routes;
mod session;
mod sleep;
mod slots;
mod turn;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::batch::{Batch, BatchHandler, Batched, Batching, MAX_BATCH_WAIT, Member};
pub use self::handler::{Handler, LeasedTask, Outcome};
use self::observer::Unobserved;
pub use self::observer::{Ended, Finished, Observer, Probe};
pub use self::routes::{Routes, TaskError};
use self::session::Vitals;
use self::turn::Turner;
use crate::config::LAYOUT;
use crate::{Error, Queue};

/// Most attempts that one worker runs at once; a fetch takes them all in one script.
pub const MAX_CONCURRENCY: usize = 1_000;
/// Shortest lease, of which a beat is a fifth.
const SHORTEST_LEASE: Duration = Duration::from_millis(300);
/// Longest lease: one that reaches further ahead is from before the clock went back.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_mins(1);
/// The lease of a worker that asked for no other, and what one is cut to that is longer than any can be.
pub(crate) const USUAL_LEASE: Duration = Duration::from_secs(10);

/// A worker of one queue.
pub struct Worker<H> {
    queue: Queue,
    handler: H,
    observer: Arc<dyn Observer>,
    probe: Probe,
    settings: Settings,
}

/// What a worker was told before it runs.
#[derive(Debug, Clone)]
struct Settings {
    concurrency: usize,
    lease: Duration,
    drain_timeout: Duration,
    info: WorkerInfo,
}

impl Settings {
    /// What is written beside the registration.
    fn describe(&self) -> String {
        let description = Description {
            pod: &self.info.pod,
            node: &self.info.node,
            concurrency: self.concurrency,
            started: jiff::Timestamp::now(),
            layout: LAYOUT,
        };
        serde_json::to_string(&description).unwrap_or_else(|_| "{}".to_owned())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    pod: &'a str,
    node: &'a str,
    concurrency: usize,
    started: jiff::Timestamp,
    layout: u64,
}

/// What a worker says of itself in Redis, for whoever looks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerInfo {
    /// The pod it runs in.
    pub pod: String,
    /// The node that pod runs on.
    pub node: String,
}

/// What a worker did between `run` and its return.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Attempts that completed, with their acks delivered.
    pub completed: u64,
    /// Attempts that failed or were put off, and are to be tried again.
    pub retried: u64,
    /// Tasks that went to the dead letters.
    pub dead: u64,
    /// Tasks that were cancelled, had expired, or were dropped by a retry rule.
    pub ended: u64,
    /// Tasks handed back.
    pub released: u64,
    /// Attempts whose results were dropped because the lease had lapsed.
    pub lost: u64,
    /// Acks and hand-backs that Redis could not take before the worker gave up; their leases lapse.
    pub undelivered: u64,
}

impl<H: Handler> Worker<H> {
    /// A worker with one slot, a lease of 10 s and a drain timeout of 30 s.
    pub fn new(queue: Queue, handler: H) -> Self {
        Self {
            queue,
            handler,
            observer: Arc::new(Unobserved),
            probe: Probe::new(),
            settings: Settings {
                concurrency: 1,
                lease: USUAL_LEASE,
                drain_timeout: Duration::from_secs(30),
                info: WorkerInfo::default(),
            },
        }
    }

    /// How many attempts run at once: 1 to [`MAX_CONCURRENCY`]; what is outside is brought inside.
    #[must_use]
    pub fn concurrency(mut self, slots: usize) -> Self {
        self.settings.concurrency = slots.clamp(1, MAX_CONCURRENCY);
        self
    }

    /// How long the worker's tasks stay leased after its last heartbeat: 300 ms to a minute; what is
    /// outside is brought inside. It beats five times in that span.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease.clamp(SHORTEST_LEASE, LONGEST_LEASE);
        self
    }

    /// How long running attempts may go on after `stop`; then they are dropped and handed back.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.settings.drain_timeout = timeout;
        self
    }

    /// What the worker says of itself in Redis.
    #[must_use]
    pub fn info(mut self, info: WorkerInfo) -> Self {
        self.settings.info = info;
        self
    }

    /// Who is told as things happen.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// How the worker fares; stays good while it runs and after.
    pub fn probe(&self) -> Probe {
        self.probe.clone()
    }

    /// Runs until `stop`: from then on nothing is fetched, running attempts finish within the drain
    /// timeout, the rest is handed back without costing an attempt, acks are delivered and the
    /// worker leaves. `abort`, at any time, hands back at once.
    ///
    /// Redis being away is waited for; only a fault that waiting cannot heal is an error
    /// (credentials, TLS, a queue whose config cannot be read), and only before the first task was
    /// fetched.
    pub async fn run(
        self,
        stop: CancellationToken,
        abort: CancellationToken,
    ) -> Result<Report, Error> {
        let vitals = Vitals {
            probe: self.probe,
            observer: self.observer,
        };
        // To abort is also to stop.
        let stop = stop.child_token();
        let aborting = {
            let (stop, abort) = (stop.clone(), abort.clone());
            tokio::spawn(async move {
                abort.cancelled().await;
                stop.cancel();
            })
        };
        let started = Turner::start(self.queue, self.handler, self.settings, vitals, stop).await;
        let report = match started {
            Ok(Some(mut turner)) => {
                turner.work().await;
                Ok(turner.drain(&abort).await)
            }
            Ok(None) => Ok(Report::default()),
            Err(error) => Err(error),
        };
        aborting.abort();
        report
    }
}
