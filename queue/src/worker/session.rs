//! The worker's identity: a worker id that is used once, its registration and its heartbeat, which
//! goes on by itself on a task of its own, brings what its attempts are to be told, delivers what
//! they say, and also does the queue's maintenance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::lease::Lease;
use super::{Observer, Probe, Settings};
use crate::fault::Fault;
use crate::queue::Known;
use crate::{Error, MAINTENANCE_PERIOD, Queue};

/// The wait before a heartbeat that failed is tried again; the lease runs on.
const RETRY: Duration = Duration::from_millis(250);
/// While attempts run, so often at least: it is how they learn that they are to be cancelled.
const WHILE_RUNNING: Duration = Duration::from_secs(1);
/// While the worker drains: it is how it learns that it does so no more.
const WHILE_DRAINING: Duration = Duration::from_millis(250);
/// Notes are delivered this often at most.
const NOTES_EVERY: Duration = Duration::from_millis(300);

/// One registration, from `open` until it is dropped or its lease is lost.
pub(super) struct Session {
    pub(super) lease: Lease,
    tasks: [AbortHandle; 2],
}

impl Session {
    /// Registers under a new worker id, and beats from now on.
    pub(super) async fn open(
        queue: &Queue,
        settings: &Settings,
        vitals: &Vitals,
    ) -> Result<Self, Fault> {
        let lease = Lease::new(queue.client().next_worker_id());
        let info = settings.describe();
        queue
            .register(lease.worker(), settings.lease, &info)
            .await?;
        let heart = beat(queue.clone(), lease.clone(), settings.lease, vitals.clone());
        let scribe = write_down(queue.clone(), lease.clone());
        Ok(Self {
            lease,
            tasks: [
                tokio::spawn(heart).abort_handle(),
                tokio::spawn(scribe).abort_handle(),
            ],
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Whom to tell whether Redis answers.
#[derive(Clone)]
pub(super) struct Vitals {
    pub(super) probe: Probe,
    pub(super) observer: Arc<dyn Observer>,
}

impl Vitals {
    /// Notes whether a call got through.
    pub(super) fn note<T>(&self, result: &Result<T, Error>) {
        match result {
            Ok(_) => {
                if self.probe.answered() {
                    self.observer.reconnected();
                    tracing::info!("Redis answers again");
                }
            }
            Err(error) => {
                if self.probe.failed() {
                    tracing::warn!(%error, "Redis does not answer; what runs goes on");
                }
            }
        }
    }
}

async fn beat(queue: Queue, lease: Lease, span: Duration, vitals: Vitals) {
    let mut maintained: Option<Instant> = None;
    loop {
        let runs = lease.untold_runs();
        let beaten = queue.beat(lease.worker(), span, runs.as_deref()).await;
        let beaten = beaten.map_err(Error::from);
        vitals.note(&beaten);
        if let (Ok(_), Some(runs)) = (&beaten, runs) {
            lease.runs_are_told(runs);
        }
        let (draining, pause) = match beaten {
            Ok(Some(told)) => {
                lease.cancel(told.cancelled);
                lease.set_draining(told.draining);
                let rhythm = rhythm(&queue, span);
                if maintained.is_none_or(|at| at.elapsed() >= rhythm) {
                    maintain(&queue, span).await;
                    maintained = Some(Instant::now());
                }
                // An exchange may have told it something newer.
                let draining = lease.is_draining();
                let pause = if draining {
                    WHILE_DRAINING.min(span / 3)
                } else if vitals.probe.running() > 0 {
                    WHILE_RUNNING.min(span / 3)
                } else {
                    rhythm
                };
                (draining, pause)
            }
            Ok(None) => {
                lease.lost().cancel();
                return;
            }
            Err(_) => (lease.is_draining(), RETRY.min(span / 3)),
        };
        tokio::select! {
            () = rest(pause, &vitals.probe) => {}
            () = lease.draining_is(!draining) => {}
        }
    }
}

/// How often the queue is maintained, and an idle worker beats: the tasks of a worker that died wait
/// for a lease and this long. More often if schedules wait for their time.
fn rhythm(queue: &Queue, span: Duration) -> Duration {
    let scheduled = |known: Arc<Known>| !known.policy.schedules.is_empty();
    if queue.remembered().is_some_and(scheduled) {
        MAINTENANCE_PERIOD.min(span / 5)
    } else {
        span / 5
    }
}

/// Sleeps; but not for long once attempts run.
async fn rest(pause: Duration, probe: &Probe) {
    let until = Instant::now() + pause;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        tokio::time::sleep(left.min(WHILE_RUNNING)).await;
        if probe.running() > 0 {
            return;
        }
    }
}

/// Delivers what attempts say while they run. What could not be delivered is lost: it is news, and
/// there will be more.
async fn write_down(queue: Queue, lease: Lease) {
    loop {
        lease.noted().await;
        let notes = lease.take_notes();
        if !notes.is_empty()
            && let Err(fault) = queue.note(lease.worker(), &notes).await
        {
            tracing::debug!(queue = %queue.name(), error = %fault.error, "notes were not delivered");
        }
        tokio::time::sleep(NOTES_EVERY).await;
    }
}

/// So that a queue keeps moving whoever else is alive. What fails now is done by the next beat, or
/// a peer's.
async fn maintain(queue: &Queue, lease: Duration) {
    match queue.reclaim_beside(lease).await {
        Ok(reclaimed) if reclaimed.workers > 0 => {
            tracing::warn!(
                queue = %queue.name(),
                workers = reclaimed.workers,
                released = reclaimed.released,
                quarantined = reclaimed.quarantined,
                "took back the tasks of lapsed workers"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(queue = %queue.name(), %error, "reclaim failed"),
    }
    if let Err(error) = queue.promote().await {
        tracing::debug!(queue = %queue.name(), %error, "promotion failed");
    }
    match queue.tidy().await {
        Ok(tidied) if tidied.stranded + tidied.put_back > 0 => {
            tracing::warn!(
                queue = %queue.name(),
                tasks = tidied.stranded,
                put_back = tidied.put_back,
                "tasks lay nowhere: Redis evicted the list, the leases or the times that held them, or somebody deleted those"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(queue = %queue.name(), %error, "tidying failed"),
    }
}
