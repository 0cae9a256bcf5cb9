//! The worker's identity: a worker id that is used once, its registration and its heartbeat, which
//! goes on by itself on a task of its own, and which also does the queue's maintenance.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::attempt::Lease;
use super::{Observer, Probe, Settings};
use crate::fault::Fault;
use crate::{Error, Queue};

/// The wait before a heartbeat that failed is tried again; the lease runs on.
const RETRY: Duration = Duration::from_millis(250);

/// One registration, from `open` until it is dropped or its lease is lost.
pub(super) struct Session {
    pub(super) lease: Lease,
    heart: AbortHandle,
}

impl Session {
    /// Registers under a new worker id, and beats from now on.
    pub(super) async fn open(
        queue: &Queue,
        settings: &Settings,
        vitals: &Vitals,
    ) -> Result<Self, Fault> {
        let lease = Lease {
            worker: queue.client().next_worker_id(),
            lost: CancellationToken::new(),
        };
        let info = settings.describe();
        queue.register(lease.worker, settings.lease, &info).await?;
        let heart = beat(queue.clone(), lease.clone(), settings.lease, vitals.clone());
        Ok(Self {
            lease,
            heart: tokio::spawn(heart).abort_handle(),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.heart.abort();
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
    loop {
        let beaten = queue.beat(lease.worker, span).await.map_err(Error::from);
        vitals.note(&beaten);
        let pause = match beaten {
            Ok(true) => {
                maintain(&queue).await;
                span / 3
            }
            Ok(false) => {
                lease.lost.cancel();
                return;
            }
            Err(_) => RETRY.min(span / 3),
        };
        tokio::time::sleep(pause).await;
    }
}

/// So that a queue keeps moving whoever else is alive. What fails now is done by the next beat, or
/// a peer's.
async fn maintain(queue: &Queue) {
    match queue.reclaim().await {
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
}
