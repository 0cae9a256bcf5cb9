//! The autoscaler: one task per Redis, each with one connection and one round trip a second.
//!
//! It carries out the orders that the reconcile left in the index: projects the policy into
//! Redis, moves due tasks, takes back the tasks of dead workers, runs schedules, decides how many workers there
//! shall be, and writes that number. It is apart from the reconcile so that waking from zero
//! waits for nothing but Redis and one write.

mod demand;
mod drains;
mod endings;
mod endpoint;
mod gate;
mod handshake;
mod jobs;
mod shields;
pub mod shrink;
mod sourced;
mod sources;
mod tend;
mod tending;
mod watched;
mod write;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Client, runtime::reflector::Store};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    endpoint::EndpointUrl,
    events::Events,
    fleet::Pods,
    index::{Index, Orders},
    key::Key,
    metrics::Metrics,
    targets::Targets,
};

/// What the tasks of all endpoints share.
pub struct Shared {
    /// The API server.
    pub client: Client,
    /// Where orders come from and sights go.
    pub index: Arc<Index>,
    /// All Deployments that carry our label.
    pub deployments: Store<Deployment>,
    /// All worker pods.
    pub pods: Arc<Pods>,
    /// The workers of sources.
    pub targets: Arc<Targets>,
    /// Where Events go.
    pub events: Events,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The queues of one Redis.
type Assignment = Vec<(Key, Arc<Orders>)>;

/// Runs one task per Redis until `stop`.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut endpoints: HashMap<EndpointUrl, Running> = HashMap::new();
    let mut tasks = JoinSet::new();
    let writes = Arc::new(write::Writes::new(shared.client.clone()));
    loop {
        let mut wanted: BTreeMap<EndpointUrl, Assignment> = BTreeMap::new();
        for (key, orders) in shared.index.orders() {
            wanted
                .entry(orders.endpoint.clone())
                .or_default()
                .push((key, orders));
        }
        endpoints.retain(|url, _| wanted.contains_key(url));
        for (url, assignment) in wanted {
            if let Some(running) = endpoints.get(&url) {
                running.assignment.send_replace(assignment);
                continue;
            }
            let (sender, receiver) = watch::channel(assignment);
            let token = stop.child_token();
            tasks.spawn(endpoint::run(
                url.clone(),
                (Arc::clone(&shared), Arc::clone(&writes)),
                receiver,
                token.clone(),
            ));
            endpoints.insert(
                url,
                Running {
                    assignment: sender,
                    _stop: token.drop_guard(),
                },
            );
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = shared.index.orders_changed.notified() => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// A task that serves one Redis; it ends when this is dropped.
struct Running {
    assignment: watch::Sender<Assignment>,
    _stop: tokio_util::sync::DropGuard,
}
