//! The task that serves all queues of one Redis.
//!
//! A look at the queues is one pipelined round trip. Looks are taken once a second, at once when
//! Redis announces that a queue has become non-empty, and a few times more right after that, so
//! that a burst that is still being written counts whole.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, future};
use jiff::Timestamp;
use taskqueue_queue::{
    Announcement, Announcements, Client, Configured, Error, Policy, Queue, QueueName, Snapshot,
    Tidied,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{Changes, Shared, tending::Chores, watched::Watched};
use crate::{endpoint::EndpointUrl, key::Key, reconcile::apply};

/// Time between two looks at all queues.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// Time between two looks at a queue that was just announced.
const HOT_TICK: Duration = Duration::from_millis(100);
/// How long a queue is looked at that often.
const HOT: Duration = Duration::from_secs(1);
/// Requests to Redis or to the API server under way at once, beside the look itself.
const CONCURRENCY: usize = 16;

/// Serves one Redis until `stop`.
pub(super) async fn run(
    url: EndpointUrl,
    shared: Arc<Shared>,
    mut changes: mpsc::UnboundedReceiver<Changes>,
    stop: CancellationToken,
) {
    let mut server = Server {
        url,
        shared,
        redis: None,
        queues: HashMap::new(),
        names: HashMap::new(),
        hot: HashMap::new(),
        origin: Instant::now(),
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hot_tick = interval(HOT_TICK);
    hot_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            orders = changes.recv() => {
                let Some(mut orders) = orders else {
                    break;
                };
                while let Ok(more) = changes.try_recv() {
                    orders.extend(more);
                }
                let news = server.assign(orders);
                server.look_at(news).await;
            }
            announced = announced(&mut server.redis) => server.woken(announced).await,
            _ = tick.tick() => server.look_at_all().await,
            _ = hot_tick.tick(), if !server.hot.is_empty() => server.look_at_hot().await,
        }
    }
}

/// A Redis and the queues in it.
struct Server {
    url: EndpointUrl,
    shared: Arc<Shared>,
    redis: Option<Redis>,
    queues: HashMap<Key, Watched>,
    names: HashMap<QueueName, Key>,
    /// Queues that were announced a moment ago, and until when they are looked at often.
    hot: HashMap<Key, Instant>,
    origin: Instant,
}

struct Redis {
    client: Client,
    announcements: Announcements,
}

/// The next announcements; several that are there already come together.
async fn announced(redis: &mut Option<Redis>) -> Vec<Announcement> {
    let Some(redis) = redis else {
        return future::pending().await;
    };
    let mut all = vec![redis.announcements.next().await];
    while let Some(next) = future::FutureExt::now_or_never(redis.announcements.next()) {
        all.push(next);
    }
    all
}

impl Server {
    /// Takes over changes of the queues to serve and returns those that are new or have other
    /// orders. Those that stay keep their past.
    fn assign(&mut self, changes: Changes) -> Vec<Key> {
        let mut news = Vec::new();
        for (key, orders) in changes {
            let past = self.queues.remove(&key);
            if let Some(past) = &past
                && self.names.get(&past.orders.queue) == Some(&key)
            {
                self.names.remove(&past.orders.queue);
            }
            let Some(orders) = orders else {
                self.hot.remove(&key);
                continue;
            };
            self.names.insert(orders.queue.clone(), key.clone());
            let watched = match past.filter(|past| past.orders.queue == orders.queue) {
                Some(past) => past.with_orders(orders),
                None => Watched::new(orders),
            };
            self.queues.insert(key.clone(), watched);
            news.push(key);
        }
        // One that changed twice meanwhile is looked at once.
        news.sort();
        news.dedup();
        news.retain(|key| self.queues.contains_key(key));
        news
    }

    /// Redis announced queues that have become non-empty, or that it may have missed some.
    async fn woken(&mut self, announced: Vec<Announcement>) {
        let at = Instant::now();
        if announced
            .iter()
            .any(|news| matches!(news, Announcement::Resync))
        {
            return self.look_at_all().await;
        }
        let mut keys: Vec<Key> = announced
            .into_iter()
            .filter_map(|news| match news {
                Announcement::Ready(name) => self.names.get(&name).cloned(),
                Announcement::Resync => None,
            })
            .collect();
        keys.sort();
        keys.dedup();
        for key in &keys {
            self.hot.insert(key.clone(), at + HOT);
        }
        let woke = self.look_at(keys).await;
        if woke {
            self.shared.metrics.woke(at.elapsed());
        }
    }

    async fn look_at_hot(&mut self) {
        let now = Instant::now();
        self.hot.retain(|_, until| *until > now);
        let keys = self.hot.keys().cloned().collect();
        self.look_at(keys).await;
    }

    async fn look_at_all(&mut self) {
        let keys = self.queues.keys().cloned().collect();
        self.look_at(keys).await;
    }

    /// Reads queues, decides, writes what was decided and then tends to the queues. Returns
    /// whether any workers were woken from zero.
    async fn look_at(&mut self, keys: Vec<Key>) -> bool {
        if keys.is_empty() {
            return false;
        }
        let readings = self.read(&keys).await;
        let (now, at) = (self.origin.elapsed(), Timestamp::now());
        let mut scales = Vec::new();
        let mut tended = Vec::new();
        for (key, reading) in keys.into_iter().zip(readings) {
            let Some(watched) = self.queues.get_mut(&key) else {
                continue;
            };
            let deployment = self.shared.deployments.get(&key.object_ref());
            if let Ok(snapshot) = &reading {
                tended.push((key.clone(), snapshot.clone()));
            }
            let look = watched.look(reading, deployment.as_deref(), now, at);
            if let Some(turned) = look.turned {
                self.shared.events.redis_turned(&key, turned.err());
            }
            if let Some((from, to)) = look.scale {
                scales.push((key.clone(), from, to, look.sight.decision.equation.clone()));
            }
            let sight = Arc::new(look.sight);
            if self.shared.index.see(&key, Arc::clone(&sight)) {
                self.shared.metrics.looked(&key, &sight);
            }
        }
        let woke = scales.iter().any(|(_, from, to, _)| *from == 0 && *to > 0);
        self.scale(scales).await;
        self.tend(tended).await;
        woke
    }

    /// One reading a queue, in the order of `keys`; the error is told to the user.
    async fn read(&mut self, keys: &[Key]) -> Vec<Result<Snapshot, String>> {
        if self.redis.is_none()
            && let Err(cause) = self.connect().await
        {
            return vec![Err(cause); keys.len()];
        }
        let Some(redis) = &self.redis else {
            return Vec::new();
        };
        let mut handles = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(watched) = self.queues.get_mut(key) {
                let name = &watched.orders.queue;
                let handle = watched
                    .queue
                    .get_or_insert_with(|| redis.client.queue(name.clone()));
                handles.push(handle.clone());
            }
        }
        let snapshots = redis.client.snapshot(&handles).await;
        snapshots
            .into_iter()
            .map(|snapshot| snapshot.map_err(|error| error.to_string()))
            .collect()
    }

    /// Makes the connection. The client bounds the time that this takes.
    async fn connect(&mut self) -> Result<(), String> {
        let told = |error: Error| error.to_string();
        let endpoint = self.url.endpoint().map_err(told)?;
        let client = Client::connect(&endpoint).await.map_err(told)?;
        tracing::info!(redis = %self.url, "connected");
        self.redis = Some(Redis {
            announcements: client.announcements(),
            client,
        });
        Ok(())
    }

    /// Writes replicas.
    async fn scale(&mut self, scales: Vec<(Key, u32, u32, String)>) {
        let mut writes = Vec::with_capacity(scales.len());
        for (key, from, to, equation) in scales {
            let client = self.shared.client.clone();
            writes.push(async move {
                let outcome = apply::scale(&client, &key, to).await;
                (key, from, to, equation, outcome)
            });
        }
        let outcomes = at_once(writes).await;
        for (key, from, to, equation, outcome) in outcomes {
            match outcome {
                Ok(_) => {
                    tracing::info!(queue = %key, from, to, equation, "scaled");
                    if let Some(watched) = self.queues.get_mut(&key) {
                        watched.asked(to);
                    }
                    self.shared.events.scaled(&key, from, to, &equation);
                }
                // The Deployment went between the look and the write: the reconcile sees to it.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::warn!(queue = %key, from, to, %error, "cannot scale");
                    self.shared.events.scale_failed(&key, from, to, &error);
                }
            }
        }
    }

    /// Brings each queue's policy and what else is to be done in it in order.
    async fn tend(&mut self, queues: Vec<(Key, Snapshot)>) {
        let mut tasks = Vec::new();
        for (key, snapshot) in queues {
            let Some(watched) = self.queues.get(&key) else {
                continue;
            };
            let project = watched.needs_projection(snapshot.version);
            let chores = watched.chores(&snapshot);
            if let Some(queue) = watched.queue.clone()
                && (project || chores.any())
            {
                let policy = project.then(|| watched.orders.policy.clone());
                tasks.push(tend(key, queue, snapshot.version, policy, chores));
            }
        }
        let outcomes = at_once(tasks).await;
        for outcome in outcomes {
            match outcome {
                Ok(tended) => {
                    if let Some(watched) = self.queues.get_mut(&tended.key) {
                        if let Some(version) = tended.projected {
                            watched.projected(version);
                        }
                        if let Some(tidied) = tended.tidied {
                            watched.tidied(tidied);
                        }
                    }
                }
                Err(error) => tracing::warn!(redis = %self.url, %error, "cannot tend to a queue"),
            }
        }
    }
}

/// What was done in a queue.
struct Tended {
    key: Key,
    /// The version that the policy got.
    projected: Option<u64>,
    tidied: Option<Tidied>,
}

/// Projects the policy, if given, and does the chores of one queue. `version` is that of the policy
/// in force.
async fn tend(
    key: Key,
    queue: Queue,
    version: u64,
    policy: Option<Policy>,
    chores: Chores,
) -> Result<Tended, Error> {
    let mut tended = Tended {
        key,
        projected: None,
        tidied: None,
    };
    if let Some(policy) = policy {
        tended.projected = Some(match queue.configure(&policy).await? {
            Configured::Unchanged => version,
            Configured::Changed { version } => version,
        });
    }
    if chores.promote {
        queue.promote().await?;
    }
    if chores.reclaim {
        let reclaimed = queue.reclaim().await?;
        tracing::info!(queue = %tended.key, ?reclaimed, "took back the tasks of lost workers");
    }
    if chores.tidy {
        let tidied = queue.tidy().await?;
        if tidied != Tidied::default() {
            tracing::debug!(queue = %tended.key, ?tidied, "tidied");
        }
        tended.tidied = Some(tidied);
    }
    Ok(tended)
}

/// Awaits all, a bounded number of them at once.
async fn at_once<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    futures::stream::iter(futures)
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await
}
