//! The worker's end: running attempts finish in their time, the rest is handed back, acks are
//! delivered, and the worker leaves.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::turn::Turner;
use super::{Handler, Report};

/// How long the farewell may take: what Redis cannot be told in that time lapses with the lease.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a dropped attempt may take to notice; one that blocks its thread never does.
const DROPPING: Duration = Duration::from_secs(1);

impl<H: Handler> Turner<H> {
    /// From the stop on: nothing is fetched. `abort` ends the wait for running attempts at once.
    pub(super) async fn drain(mut self, abort: &CancellationToken) -> Report {
        let deadline = Instant::now() + self.settings.drain_timeout;
        self.shop.handler.draining(true);
        if let Some(task) = self.apart.waiting.take() {
            self.outbox.release(task.id);
        }
        while !(self.running.is_empty() && self.strays.is_empty()) {
            self.step().await;
            if self.running.is_empty() && self.strays.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = abort.cancelled() => break,
                () = tokio::time::sleep_until(deadline.into()) => break,
                () = self.wait() => {}
            }
        }
        self.drop_attempts().await;
        self.say_farewell().await;
        self.report.undelivered = self.outbox.len() as u64;
        self.report
    }

    /// Takes in what has ended and delivers it.
    async fn step(&mut self) {
        self.turned();
        self.land_all().await;
        self.collect().await;
        self.notice_loss();
        while self.may_call() && self.has_something_to_say() {
            if self.mind.unsure {
                self.make_sure().await;
            } else {
                self.launch(0);
                self.land_all().await;
            }
        }
    }

    fn has_something_to_say(&self) -> bool {
        self.session.is_some() && (!self.outbox.is_empty() || self.mind.unsure)
    }

    /// Drops the attempts that still run, and hands their tasks back.
    async fn drop_attempts(&mut self) {
        let running: Vec<_> = self
            .running
            .values_mut()
            .map(|running| &mut running.handle)
            .collect();
        let handles: Vec<_> = running
            .into_iter()
            .chain(self.strays.values_mut())
            .collect();
        for handle in &handles {
            handle.abort();
        }
        // One that ends just now has ended: its outcome counts, and is taken in below.
        let dropping = futures::future::join_all(handles);
        if tokio::time::timeout(DROPPING, dropping).await.is_err() {
            tracing::warn!(queue = %self.queue.name(), "attempts that block their threads are left behind");
        }
        self.collect().await;
        for (id, _) in self.running.drain() {
            self.outbox.release(id);
        }
        self.strays.clear();
    }

    /// Delivers what is left and leaves the queue.
    async fn say_farewell(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            self.step().await;
            let Some(worker) = self.worker_id() else {
                return;
            };
            if self.outbox.is_empty() && !self.mind.unsure && self.may_call() {
                match self.queue.leave(worker).await {
                    Ok(true) => {
                        self.session = None;
                        return;
                    }
                    // It holds what it does not know of; asking tells.
                    Ok(false) => self.mind.unsure = true,
                    Err(fault) => self.note_fault(fault),
                }
            } else {
                self.wait().await;
            }
        }
    }
}
