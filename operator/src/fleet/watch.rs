//! The watch that feeds [`Pods`].

use std::sync::Arc;

use futures::TryStreamExt;
use jiff::Timestamp;
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use taskqueue_api::NAME_LABEL;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{pods::Pods, state::WorkerPod};

/// Pods in one answer of a listing, which is held as a whole for a moment.
const PAGE: u32 = 250;

/// Watches worker pods, in one namespace or in all, until `stop`.
pub async fn watch(api: Api<WorkerPod>, pods: Arc<Pods>, stop: CancellationToken) {
    let config = watcher::Config::default()
        .labels(NAME_LABEL)
        .page_size(PAGE);
    let events = watcher(api, config).default_backoff();
    let mut events = std::pin::pin!(events);
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.try_next() => event,
        };
        match event {
            Ok(Some(event)) => pods.see(event, Instant::now(), Timestamp::now()),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the watch of the worker pods failed, trying again");
            }
        }
    }
}
