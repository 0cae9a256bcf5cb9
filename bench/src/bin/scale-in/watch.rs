//! How often the replicas were raised and lowered, as a watch of the Deployments sees it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use taskqueue_e2e::Story;

/// Changes of replicas so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scaled(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    raised: AtomicU64,
    lowered: AtomicU64,
    to_zero: AtomicU64,
    /// Replicas that the lowering took away, together.
    taken: AtomicU64,
}

impl Scaled {
    /// Times that replicas were raised.
    pub(crate) fn raised(&self) -> u64 {
        self.0.raised.load(Ordering::Relaxed)
    }

    /// Times that replicas were lowered.
    pub(crate) fn lowered(&self) -> u64 {
        self.0.lowered.load(Ordering::Relaxed)
    }

    /// Of those, to zero.
    pub(crate) fn to_zero(&self) -> u64 {
        self.0.to_zero.load(Ordering::Relaxed)
    }

    /// Replicas taken away.
    pub(crate) fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    fn note(&self, before: i32, now: i32) {
        let counts = &self.0;
        if now > before {
            counts.raised.fetch_add(1, Ordering::Relaxed);
        } else if now < before {
            counts.lowered.fetch_add(1, Ordering::Relaxed);
            let taken = u64::from((before - now).unsigned_abs());
            counts.taken.fetch_add(taken, Ordering::Relaxed);
            counts
                .to_zero
                .fetch_add(u64::from(now == 0), Ordering::Relaxed);
        }
    }
}

impl fmt::Display for Scaled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "raised {} times, lowered {} times ({} to zero) by {} pods",
            self.raised(),
            self.lowered(),
            self.to_zero(),
            self.taken()
        )
    }
}

/// Counts from now on.
pub(crate) fn scaled(story: &Story) -> Scaled {
    let scaled = Scaled::default();
    let counting = scaled.clone();
    let deployments: Api<Deployment> = Api::namespaced(story.client.clone(), &story.namespace);
    tokio::spawn(async move {
        let mut known: HashMap<String, i32> = HashMap::new();
        let mut stream = watcher(deployments, watcher::Config::default())
            .default_backoff()
            .applied_objects()
            .boxed();
        while let Ok(Some(deployment)) = stream.try_next().await {
            let now = deployment.spec.replicas.unwrap_or(0);
            let before = known.insert(deployment.name_any(), now).unwrap_or(now);
            counting.note(before, now);
        }
    });
    scaled
}
