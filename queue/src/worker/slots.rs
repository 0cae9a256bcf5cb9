//! What the worker looks at once a second: which attempts have run for a while, and which are over without having said so. An attempt reports however it ends (`attempt`); should one of
//! them not, its slot would be taken and its task leased for as long as the worker lives.

use std::time::Instant;

use super::Handler;
use super::turn::{TICK, Turner};
use crate::runs::{self, LEAST_AGE_MS};

impl<H: Handler> Turner<H> {
    /// Looks once a second for attempts that ended without a report, frees their slots and hands their tasks back; and lists
    /// those that have run for a while.
    pub(super) fn free_silent_slots(&mut self) {
        if self.looked.elapsed() < TICK {
            return;
        }
        self.looked = Instant::now();
        let running = self.running.iter();
        let over: Vec<_> = running
            .filter(|(_, running)| running.handle.is_finished())
            .map(|(id, _)| *id)
            .collect();
        let strays = self.strays.iter();
        let strays_over: Vec<_> = strays
            .filter(|(_, handle)| handle.is_finished())
            .map(|(stray, _)| *stray)
            .collect();
        // What those have reported is here by now.
        while let Ok(delivery) = self.ended.try_recv() {
            self.put(delivery);
        }
        for id in over {
            if self.running.remove(&id).is_some() {
                tracing::error!(queue = %self.queue.name(), task = %id, "an attempt ended without a report: handing its task back");
                self.outbox.release(id);
            }
        }
        for stray in strays_over {
            self.strays.remove(&stray);
        }
        self.list_runs();
    }

    /// Lists the attempts that have run for a while, for the next heartbeat to tell.
    fn list_runs(&self) {
        let Some(session) = &self.session else {
            return;
        };
        let now_ms = self.queue.link().clock().now_ms();
        let running = self.running.iter();
        let old = running.filter(|(_, it)| it.since_ms.saturating_add(LEAST_AGE_MS) <= now_ms);
        let old = old.map(|(id, it)| (*id, it.since_ms));
        session.lease.set_runs(runs::write(old));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::testing::{RedisServer, eventually};
    use crate::worker::observer::{Probe, Unobserved};
    use crate::worker::session::Vitals;
    use crate::worker::turn::Running;
    use crate::worker::{LeasedTask, Outcome, Settings, WorkerInfo};
    use crate::{NewTask, Payload, QueueName, State};

    const PATIENCE: Duration = Duration::from_mins(1);

    async fn complete(_: LeasedTask) -> Outcome {
        Outcome::Completed(None)
    }

    /// A worker with one slot, which holds the task of an attempt that ended without a report.
    #[tokio::test]
    async fn a_slot_is_free_again_whatever_ended_its_attempt() {
        let redis = RedisServer::start().await;
        let client = redis.client().await;
        let queue = client.queue(QueueName::new("test", "slots").expect("a good name"));
        let settings = Settings {
            concurrency: 1,
            lease: Duration::from_secs(10),
            drain_timeout: Duration::ZERO,
            info: WorkerInfo::default(),
        };
        let vitals = Vitals {
            probe: Probe::new(),
            observer: std::sync::Arc::new(Unobserved),
        };
        let stop = CancellationToken::new();
        let started = Turner::start(queue.clone(), complete, settings, vitals, stop.clone()).await;
        let mut turner = started.expect("Redis answers").expect("it was not stopped");
        let worker = turner.worker_id().expect("it is registered");
        let payload = Payload::of(&1).expect("a payload");
        let task = queue.enqueue(NewTask::new("any", payload)).await;
        let id = task.expect("it is enqueued").id();
        let asking = crate::lease::Exchange {
            worker,
            lease: Duration::from_secs(10),
            slots: 1,
            listen: false,
            listed: false,
            token: None,
            acks: &[],
        };
        let leased = queue.exchange(&asking).await;
        assert_eq!(leased.map(|got| got.leased.len()).ok(), Some(1));
        let handle = tokio::spawn(async {});
        let since_ms = 0;
        turner.running.insert(id, Running { handle, since_ms });
        let done = async {
            eventually(PATIENCE, "the task completes", async || {
                let task = queue.get(&id).await.expect("Redis answers")?;
                (task.state == State::Completed).then_some(task)
            })
            .await
        };
        let task = tokio::select! {
            task = done => task,
            () = turner.work() => unreachable!("nobody stops it"),
        };
        assert_eq!((task.attempts, task.losses), (0, 0));
    }
}
