//! The one writer of statuses: at most once a second per TaskQueue, and only what changed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Client, Resource,
    api::{Patch, PatchParams},
    runtime::reflector::Store,
};
use serde_json::json;
use taskqueue_api::{TaskQueue, TaskQueueStatus};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::build;
use crate::{
    index::Index,
    key::Key,
    reconcile::{Guarded, apply::MANAGER},
};

/// Least time between two writes of one status.
const PACE: Duration = Duration::from_secs(1);
/// Writes under way at once.
const CONCURRENCY: usize = 8;

/// Writes statuses.
pub struct Writer {
    client: Client,
    index: Arc<Index>,
    resources: Store<Guarded>,
    deployments: Store<Deployment>,
    /// What was written last, since the store lags behind.
    written: HashMap<Key, Written>,
    /// When a write was last tried.
    tried: HashMap<Key, Instant>,
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
        deployments: Store<Deployment>,
    ) -> Self {
        Self {
            client,
            index,
            resources,
            deployments,
            written: HashMap::new(),
            tried: HashMap::new(),
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
            }
        }
    }

    /// Writes every wanted status that may be written now and returns when the next one may.
    async fn write_due(&mut self, wanted: &mut BTreeSet<Key>) -> Option<Instant> {
        let now = Instant::now();
        let due: Vec<Key> = wanted
            .iter()
            .filter(|key| self.due_at(key).is_none_or(|due| due <= now))
            .cloned()
            .collect();
        wanted.retain(|key| !due.contains(key));
        let writes: Vec<_> = due
            .into_iter()
            .filter_map(|key| self.changed(key))
            .collect();
        let mut patches = Vec::with_capacity(writes.len());
        for (key, uid, status) in writes {
            let client = self.client.clone();
            patches.push(async move {
                let outcome = patch(&client, &key, &status).await;
                (key, uid, status, outcome)
            });
        }
        let outcomes: Vec<_> = futures::stream::iter(patches)
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        for (key, uid, status, outcome) in outcomes {
            self.took(key, uid, status, outcome, wanted);
        }
        wanted
            .iter()
            .map(|key| self.due_at(key).unwrap_or(now))
            .min()
    }

    /// When the status may be written again; `None` when it never was.
    fn due_at(&self, key: &Key) -> Option<Instant> {
        self.tried.get(key).map(|&at| at + PACE)
    }

    /// The status of a TaskQueue, if it is another than it was.
    fn changed(&mut self, key: Key) -> Option<(Key, Option<String>, TaskQueueStatus)> {
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
        let deployment = self.deployments.get(&key.object_ref());
        let status = build::build(
            &key,
            &entry,
            deployment.as_deref(),
            &previous,
            Timestamp::now(),
        );
        (status != previous).then(|| (key, meta.uid.clone(), status))
    }

    fn took(
        &mut self,
        key: Key,
        uid: Option<String>,
        status: TaskQueueStatus,
        outcome: Result<(), kube::Error>,
        wanted: &mut BTreeSet<Key>,
    ) {
        self.tried.insert(key.clone(), Instant::now());
        match outcome {
            Ok(()) => {
                self.written.insert(key, Written { uid, status });
            }
            Err(kube::Error::Api(refusal)) if refusal.code == 404 => {
                self.written.remove(&key);
            }
            Err(error) => {
                tracing::warn!(queue = %key, %error, "cannot write the status");
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
