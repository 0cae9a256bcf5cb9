//! Who works for a queue, and who is to stop doing so.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::clock::timestamp;
use crate::keys::Key;
use crate::queue::Queue;
use crate::record::Site;
use crate::script::args;
use crate::snapshot::millis;
use crate::{Error, TaskId, WorkerId};

/// Bytes kept of what keeps workers from taking tasks.
const MOST_FAULT_BYTES: usize = 1_024;
/// Longest time that a worker can be marked as draining at once.
const LONGEST_DRAIN: Duration = Duration::from_hours(24);

/// A worker as Redis knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerState {
    /// Its id.
    pub id: WorkerId,
    /// The pod it runs in; empty if it said none.
    pub pod: String,
    /// The node that pod runs on; empty if it said none.
    pub node: String,
    /// How many tasks it runs at once.
    pub concurrency: u32,
    /// When it registered.
    pub started: Option<Timestamp>,
    /// The latest layout of a queue that it reads; 0 if it does not say. A queue may be written in a later
    /// one once no worker of an earlier one is registered.
    pub layout: u64,
    /// How many tasks it holds.
    pub active: u64,
    /// When its lease lapses, or has lapsed.
    pub lease_until: Timestamp,
    /// Whether it is to get no more tasks: see [`Queue::drain`].
    pub draining: bool,
}

/// What a worker says of itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    pod: String,
    node: String,
    concurrency: u32,
    started: Option<Timestamp>,
    layout: u64,
}

/// Where a worker is that says this of itself.
pub(crate) fn place_said(info: &[u8]) -> Site {
    let said: Said = serde_json::from_slice(info).unwrap_or_default();
    Site::of(&said.pod, &said.node)
}

impl Queue {
    /// Says what keeps workers from taking tasks, or with `None` that nothing does any more: whoever
    /// reads a [`Snapshot`](crate::Snapshot) of the queue sees it. The first KiB is kept, for `span`
    /// unless it is said again.
    pub async fn tell_fault(&self, fault: Option<&str>, span: Duration) -> Result<(), Error> {
        let known = self.known().await?;
        let fault = fault.unwrap_or_default();
        let told = args::Fault {
            fault: fault[..fault.floor_char_boundary(MOST_FAULT_BYTES)].into(),
            kept: span.into(),
        };
        let call = self.call(&known, &[], &told);
        Ok(self.link().call(&call).await.map(drop)?)
    }

    /// The workers of the queue, those included whose lease has lapsed and whose tasks were not
    /// taken back yet.
    pub async fn workers(&self) -> Result<Vec<WorkerState>, Error> {
        let known = self.known().await?;
        let (_, mut reply) = self.read(&self.call(&known, &[], &args::Workers)).await?;
        let ids: Vec<String> = reply.next()?;
        let lapses: Vec<f64> = reply.next()?;
        let infos: Vec<String> = reply.next()?;
        let counts: Vec<u64> = reply.next()?;
        let drains: Vec<bool> = reply.next()?;
        let mut workers = Vec::with_capacity(ids.len());
        let columns = ids.iter().zip(lapses).zip(infos).zip(counts).zip(drains);
        for ((((id, lapse), info), active), draining) in columns {
            // What is no worker of ours is none.
            let Ok(id) = id.parse() else { continue };
            let said: Said = serde_json::from_str(&info).unwrap_or_default();
            workers.push(WorkerState {
                id,
                pod: said.pod,
                node: said.node,
                concurrency: said.concurrency,
                started: said.started,
                layout: said.layout,
                active,
                lease_until: timestamp(millis(lapse).unwrap_or_default()),
                draining,
            });
        }
        Ok(workers)
    }

    /// Which worker holds which task, in no order; those of workers included whose lease has lapsed
    /// and whose tasks were not taken back yet. Proportional to what is in flight.
    pub async fn leases(&self) -> Result<Vec<(TaskId, WorkerId)>, Error> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.keys().get(Key::Active));
        let pairs: Vec<(String, String)> = self.ask_pairs(&command, "HGETALL").await?;
        // What is no id of ours is nothing of ours.
        let lease =
            |(task, worker): (String, String)| Some((task.parse().ok()?, worker.parse().ok()?));
        Ok(pairs.into_iter().filter_map(lease).collect())
    }

    /// Marks workers as draining for `span` from now by the clock of Redis, at most a day: from this
    /// call on they get no more tasks, whatever they have asked for. They finish what they hold, and
    /// their acks are taken.
    ///
    /// Returns each of them that is registered, with the number of tasks that it holds at that
    /// instant: one with none runs nothing, and will run nothing until [`Queue::undrain`] or until
    /// the mark lapses, which it does by itself, so that who marked them may die. To call again puts
    /// the new span in the old one's place. A worker that loses its lease goes on under a new id,
    /// and that one is not marked.
    pub async fn drain(
        &self,
        workers: &[WorkerId],
        span: Duration,
    ) -> Result<Vec<(WorkerId, u64)>, Error> {
        if workers.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.known().await?;
        let span = span.min(LONGEST_DRAIN).into();
        let mut call = self.call(&known, &[], &args::Drain { span });
        for worker in workers {
            call.push(worker.as_str());
        }
        let (_, mut reply) = self.answer(&call).await?;
        let ids: Vec<String> = reply.next()?;
        let counts: Vec<u64> = reply.next()?;
        let marked = ids.iter().zip(counts);
        marked.map(|(id, count)| Ok((id.parse()?, count))).collect()
    }

    /// Takes the marks of draining workers away: they fetch again within about 250 ms. Those that
    /// have none are left alone.
    pub async fn undrain(&self, workers: &[WorkerId]) -> Result<(), Error> {
        if workers.is_empty() {
            return Ok(());
        }
        let known = self.known().await?;
        let mut call = self.call(&known, &[], &args::Undrain);
        for worker in workers {
            call.push(worker.as_str());
        }
        self.link().call(&call).await?;
        Ok(())
    }
}
