//! The one writer of statuses: at most once a second per TaskQueue, at a steady pace for all of
//! them together, in turn by namespace, and only what changed. Nothing waits for it: replicas are written elsewhere.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Client, Resource,
    api::{Patch, PatchParams},
    runtime::reflector::Store,
};
use serde_json::json;
use taskqueue_api::{TaskQueue, TaskQueueStatus};
use tokio::time::{Instant, error::Elapsed, timeout};
use tokio_util::sync::CancellationToken;

use super::{build, order::Order, redis};
use crate::{
    events::Events,
    index::Index,
    key::Key,
    pace::Bucket,
    reconcile::{Guarded, apply::MANAGER},
    workload::Workload,
};

/// Least time between two writes of one status.
const PACE: Duration = Duration::from_secs(1);
/// Time in which one more status may be written, of whichever TaskQueue. An operator that starts
/// among thousands of them, and thousands that are busy, leave the API server room.
const EVERY: Duration = Duration::from_millis(10);
/// Writes that may follow each other at once after a quiet time.
const BURST: u32 = 100;
/// Writes under way at once.
const CONCURRENCY: usize = 8;
/// How long an answer is waited for, so that a server that is stuck holds up no other status for
/// longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Least time between two looks at which written statuses the cache has caught up with.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Writes statuses.
pub struct Writer {
    client: Client,
    index: Arc<Index>,
    resources: Store<Guarded>,
    workloads: Store<Workload>,
    events: Events,
    /// What was written last, until the store, which lags behind, has it too.
    written: HashMap<Key, Written>,
    /// When a write was last tried, as long as that counts.
    tried: HashMap<Key, Instant>,
    order: Order,
    bucket: Bucket,
    caught_up: Instant,
}

/// A status to write.
struct Change {
    key: Key,
    uid: Option<String>,
    status: TaskQueueStatus,
    /// A risk that it is the first to tell of, as reason and message.
    risk: Option<(String, String)>,
}

struct Written {
    uid: Option<String>,
    status: TaskQueueStatus,
}

impl Writer {
    /// A writer that has written nothing yet.
    pub fn new(
        client: Client,
        index: Arc<Index>,
        resources: Store<Guarded>,
        workloads: Store<Workload>,
        events: Events,
    ) -> Self {
        Self {
            client,
            index,
            resources,
            workloads,
            events,
            written: HashMap::new(),
            tried: HashMap::new(),
            order: Order::default(),
            bucket: Bucket::new(EVERY, BURST, Instant::now()),
            caught_up: Instant::now(),
        }
    }

    /// Writes until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut wanted = BTreeSet::new();
        loop {
            wanted.append(&mut self.index.take_dirty());
            let next = self.write_due(&mut wanted).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.index.status_wanted.notified(), if next.is_none() => {}
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                () = tokio::time::sleep_until(self.caught_up + CATCH_UP), if !self.written.is_empty() => self.catch_up(&wanted),
            }
        }
    }

    /// Writes every wanted status that may be written now and returns when the next one may.
    async fn write_due(&mut self, wanted: &mut BTreeSet<Key>) -> Option<Instant> {
        let now = Instant::now();
        let due = wanted
            .iter()
            .filter(|key| self.due_at(key).is_none_or(|due| due <= now))
            .map(|key| (key.clone(), self.tried.get(key).copied()))
            .collect();
        let mut writes = Vec::new();
        for key in self.order.of(due) {
            if !self.bucket.take(now) {
                break;
            }
            wanted.remove(&key);
            match self.changed(key) {
                Some(write) => {
                    self.order.had(&write.key);
                    writes.push(write);
                }
                None => self.bucket.put_back(),
            }
        }
        let mut patches = Vec::with_capacity(writes.len());
        for change in writes {
            let client = self.client.clone();
            patches.push(async move {
                let write = patch(&client, &change.key, &change.status);
                let outcome = timeout(PATIENCE, write).await;
                (change, outcome)
            });
        }
        let outcomes: Vec<_> = futures::stream::iter(patches)
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        for (change, outcome) in outcomes {
            self.took(change, outcome, wanted);
        }
        let next = wanted
            .iter()
            .map(|key| self.due_at(key).unwrap_or(now))
            .min()?;
        Some(next.max(self.bucket.next()))
    }

    /// Forgets what the cache knows as well by now: one copy of each status is enough.
    fn catch_up(&mut self, wanted: &BTreeSet<Key>) {
        let now = Instant::now();
        self.caught_up = now;
        let resources = &self.resources;
        self.written.retain(|key, written| {
            let Some(resource) = resources.get(&key.object_ref()) else {
                return false;
            };
            let parsed = resource.0.as_ref().ok();
            let status = parsed.and_then(|parsed| parsed.status.as_ref());
            resource.meta().uid != written.uid || status != Some(&written.status)
        });
        self.written
            .shrink_to(usize::try_from(BURST).unwrap_or_default());
        // While some wait, it counts how long.
        if wanted.is_empty() {
            self.tried.retain(|_, at| *at + PACE > now);
            self.order.forget();
        }
    }

    /// When the status may be written again; `None` when it never was.
    fn due_at(&self, key: &Key) -> Option<Instant> {
        self.tried.get(key).map(|&at| at + PACE)
    }

    /// The status of a TaskQueue, if it is another than it was.
    fn changed(&mut self, key: Key) -> Option<Change> {
        let Some(resource) = self.resources.get(&key.object_ref()) else {
            self.written.remove(&key);
            self.tried.remove(&key);
            return None;
        };
        let entry = self.index.get(&key)?;
        let meta = resource.meta();
        let known = self
            .written
            .get(&key)
            .filter(|last| last.uid == meta.uid)
            .map(|last| last.status.clone());
        let stored = || {
            let parsed = resource.0.as_ref().ok();
            parsed.and_then(|parsed| parsed.status.clone())
        };
        let previous = known.or_else(stored).unwrap_or_default();
        // After a start the status of an earlier operator stands until the queue was looked at:
        // to tell every user that it starts, and a second later that it did, would be two writes
        // for nothing.
        if entry.sight.is_none()
            && matches!(entry.orders, Some(Ok(_)))
            && previous.desired_replicas.is_some()
        {
            return None;
        }
        let workload = self.workloads.get(&key.object_ref());
        let status = build::build(
            &key,
            &entry,
            workload.as_deref(),
            &previous,
            Timestamp::now(),
        );
        (status != previous).then(|| Change {
            uid: meta.uid.clone(),
            risk: redis::news(&previous, &status),
            key,
            status,
        })
    }

    fn took(
        &mut self,
        change: Change,
        outcome: Result<Result<(), kube::Error>, Elapsed>,
        wanted: &mut BTreeSet<Key>,
    ) {
        let Change {
            key,
            uid,
            status,
            risk,
        } = change;
        self.tried.insert(key.clone(), Instant::now());
        match outcome {
            Ok(Ok(())) => {
                if let Some((reason, message)) = risk {
                    self.events.redis_unsafe(&key, &reason, message);
                }
                self.written.insert(key, Written { uid, status });
            }
            Ok(Err(kube::Error::Api(refusal))) if refusal.code == 404 => {
                self.written.remove(&key);
            }
            Ok(Err(error)) => {
                tracing::warn!(queue = %key, %error, "cannot write the status");
                wanted.insert(key);
            }
            Err(_) => {
                tracing::warn!(queue = %key, seconds = PATIENCE.as_secs(), "no answer to the write of a status");
                wanted.insert(key);
            }
        }
    }
}

async fn patch(client: &Client, key: &Key, status: &TaskQueueStatus) -> Result<(), kube::Error> {
    let patch = json!({
        "apiVersion": TaskQueue::api_version(&()),
        "kind": TaskQueue::kind(&()),
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    // The answer is read as bare metadata: a resource that does not parse has a status too.
    let request = kube::core::Request::new(TaskQueue::url_path(&(), Some(&key.namespace)))
        .patch_subresource("status", &key.name, &params, &Patch::Apply(&patch))
        .map_err(kube::Error::BuildRequest)?;
    client.request::<serde_json::Value>(request).await?;
    Ok(())
}
