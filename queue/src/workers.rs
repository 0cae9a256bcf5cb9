//! Who works for a queue.

use jiff::Timestamp;
use serde::Deserialize;

use crate::clock::timestamp;
use crate::queue::Queue;
use crate::snapshot::millis;
use crate::{Error, WorkerId, script};

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
    /// How many tasks it holds.
    pub active: u64,
    /// When its lease lapses, or has lapsed.
    pub lease_until: Timestamp,
}

/// What a worker says of itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    pod: String,
    node: String,
    concurrency: u32,
    started: Option<Timestamp>,
}

impl Queue {
    /// The workers of the queue, those included whose lease has lapsed and whose tasks were not
    /// taken back yet.
    pub async fn workers(&self) -> Result<Vec<WorkerState>, Error> {
        let known = self.known().await?;
        let call = self.call(&script::WORKERS, &known, &[]);
        let value = self.link().read(&call).await?;
        let mut reply = self.reply(&script::WORKERS, value)?;
        let _status: String = reply.next()?;
        let _now: u64 = reply.next()?;
        let ids: Vec<String> = reply.next()?;
        let lapses: Vec<f64> = reply.next()?;
        let infos: Vec<String> = reply.next()?;
        let counts: Vec<u64> = reply.next()?;
        let mut workers = Vec::with_capacity(ids.len());
        for (((id, lapse), info), active) in ids.iter().zip(lapses).zip(infos).zip(counts) {
            // What is no worker of ours is none.
            let Ok(id) = id.parse() else { continue };
            let said: Said = serde_json::from_str(&info).unwrap_or_default();
            workers.push(WorkerState {
                id,
                pod: said.pod,
                node: said.node,
                concurrency: said.concurrency,
                started: said.started,
                active,
                lease_until: timestamp(millis(lapse).unwrap_or_default()),
            });
        }
        Ok(workers)
    }
}
