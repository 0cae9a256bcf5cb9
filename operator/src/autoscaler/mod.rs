//! The autoscaler: one task per Redis, each with one connection and one round trip a second.
//!
//! It carries out the orders that the reconcile left in the index: projects the policy into
//! Redis, moves due tasks, takes back the tasks of dead workers, runs schedules, decides how many workers there
//! shall be, and writes that number. It is apart from the reconcile so that waking from zero
//! waits for nothing but Redis and one write.

mod connection;
mod contention;
mod demand;
mod drains;
mod endings;
mod endpoint;
mod gate;
mod handshake;
mod jobs;
mod missing;
mod replicas;
mod rivals;
mod safety;
mod shields;
pub mod shrink;
mod sourced;
mod sources;
mod tell;
mod tend;
mod tending;
mod watched;
mod write;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use kube::{Client, runtime::reflector::Store};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    dialing::Dialing,
    endpoint::EndpointUrl,
    events::Events,
    fleet::Pods,
    index::{Index, Orders},
    key::Key,
    metrics::Metrics,
    targets::Targets,
    workload::Workload,
};

/// What the tasks of all endpoints share.
pub struct Shared {
    /// The API server.
    pub client: Client,
    /// Where orders come from and sights go.
    pub index: Arc<Index>,
    /// All Deployments that carry our label.
    pub workloads: Store<Workload>,
    /// All worker pods.
    pub pods: Arc<Pods>,
    /// The workers of sources.
    pub targets: Arc<Targets>,
    /// The bounds of connections to Redis.
    pub dialing: Dialing,
    /// Where Events go.
    pub events: Events,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// What one Redis is to serve otherwise than before: orders, or `None` for what is not its any more.
type Changes = Vec<(Key, Option<Arc<Orders>>)>;

/// Runs one task per Redis until `stop`.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut roster = Roster::default();
    let mut endpoints: HashMap<EndpointUrl, Running> = HashMap::new();
    let mut tasks = JoinSet::new();
    let writes = Arc::new(write::Writes::new(shared.client.clone()));
    loop {
        for (url, changes) in roster.take(shared.index.take_reordered()) {
            let running = endpoints.entry(url.clone()).or_insert_with(|| {
                // Several may name it; it is the first one's.
                let first = changes.iter().find(|(_, orders)| orders.is_some());
                let namespace = first.map_or_else(String::new, |(key, _)| key.namespace.clone());
                let (changes, receiver) = mpsc::unbounded_channel();
                let token = stop.child_token();
                tasks.spawn(endpoint::run(
                    (url.clone(), namespace),
                    (Arc::clone(&shared), Arc::clone(&writes)),
                    receiver,
                    token.clone(),
                ));
                Running {
                    changes,
                    _stop: token.drop_guard(),
                }
            });
            // It ends only when it is told to, or in a panic, which is told where it happens.
            let _ = running.changes.send(changes);
            if !roster.serves(&url) {
                endpoints.remove(&url);
            }
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
    changes: mpsc::UnboundedSender<Changes>,
    _stop: tokio_util::sync::DropGuard,
}

/// Which queue is in which Redis. It deals changes out to them, so that one edit among thousands
/// of TaskQueues costs no more than one among few. Pure.
#[derive(Default)]
struct Roster {
    places: HashMap<Key, EndpointUrl>,
    queues: HashMap<EndpointUrl, usize>,
}

impl Roster {
    /// Takes changes in, and returns what each Redis is to know.
    fn take(&mut self, changes: Changes) -> BTreeMap<EndpointUrl, Changes> {
        let mut dealt: BTreeMap<EndpointUrl, Changes> = BTreeMap::new();
        for (key, orders) in changes {
            let after = orders.as_ref().map(|orders| orders.endpoint.clone());
            let before = match &after {
                Some(after) => self.places.insert(key.clone(), after.clone()),
                None => self.places.remove(&key),
            };
            if before != after {
                if let Some(before) = before {
                    self.count(&before, -1);
                    dealt.entry(before).or_default().push((key.clone(), None));
                }
                if let Some(after) = &after {
                    self.count(after, 1);
                }
            }
            if let Some(after) = after {
                dealt.entry(after).or_default().push((key, orders));
            }
        }
        dealt
    }

    /// Whether there is any queue in it.
    fn serves(&self, url: &EndpointUrl) -> bool {
        self.queues.contains_key(url)
    }

    fn count(&mut self, url: &EndpointUrl, change: isize) {
        let queues = self.queues.entry(url.clone()).or_default();
        *queues = queues.saturating_add_signed(change);
        if *queues == 0 {
            self.queues.remove(url);
        }
    }
}
