//! The task that serves all queues of one Redis.
//!
//! A look at the queues is one pipelined round trip. Looks are taken once a second, at once when
//! Redis announces that a queue has become non-empty, and a few times more right after that, so
//! that a burst that is still being written counts whole.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future;
use jiff::Timestamp;
use taskqueue_queue::{Announcement, Error, QueueName, Snapshot, server::Safety};
use taskqueue_sources::{Depth, SourceError};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Changes, Shared,
    connection::Connection,
    jobs::{Done, Jobs},
    safety::Settings,
    sources::{Sources, Woken},
    watched::Watched,
    write::Writes,
};
use crate::{endpoint::EndpointUrl, index::Orders, key::Key};

/// Time between two looks at all queues.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// Time between two looks at a queue that was just announced.
const HOT_TICK: Duration = Duration::from_millis(100);
/// How long a queue is looked at that often.
const HOT: Duration = Duration::from_secs(1);
/// Longest time that the reading of a look may take; each of its calls has five seconds. A server that
/// answers at its leisure must not keep changes of the orders waiting.
const LONGEST_LOOK: Duration = Duration::from_secs(15);
/// Queues that one round trip asks for. What it needs in memory grows with them.
const MOST: usize = 1_000;

/// Something to be done.
enum Event {
    Changed(Changes),
    /// Pods have ended.
    Ended,
    Announced(Vec<Announcement>),
    SourceWoken(Woken),
    Done(Box<Done>),
    Assessed(Arc<Safety>),
    Tick,
    HotTick,
}

/// Serves one Redis, which a TaskQueue of `namespace` names, until `stop`: whatever is under way then is
/// dropped.
pub(super) async fn run(
    (url, namespace): (EndpointUrl, String),
    (shared, writes): (Arc<Shared>, Arc<Writes>),
    mut changes: mpsc::UnboundedReceiver<Changes>,
    stop: CancellationToken,
) {
    let mut pods = shared.pods.changes();
    let mut server = Server {
        sources: Sources::new(Arc::clone(&shared), Arc::clone(&writes)),
        jobs: Jobs::new(url.clone(), Arc::clone(&shared), writes),
        settings: Settings::new(Arc::clone(&shared), url.clone()),
        connection: Connection::new(
            url.clone(),
            shared.dialing.bounds(&url, &namespace),
            !shared.dialing.is_default(&url),
        ),
        shared,
        url,
        queues: HashMap::new(),
        names: HashMap::new(),
        hot: HashMap::new(),
        lives: 0,
        origin: Instant::now(),
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hot_tick = interval(HOT_TICK);
    hot_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            orders = changes.recv() => {
                let Some(mut orders) = orders else {
                    break;
                };
                while let Ok(more) = changes.try_recv() {
                    orders.extend(more);
                }
                Event::Changed(orders)
            }
            // Pods outlive whoever watches them.
            Ok(()) = pods.changed() => Event::Ended,
            announced = server.connection.announced() => Event::Announced(announced),
            woken = server.sources.woken() => Event::SourceWoken(woken),
            done = server.jobs.next() => Event::Done(Box::new(done)),
            safety = server.settings.changed() => Event::Assessed(safety),
            _ = tick.tick() => Event::Tick,
            _ = hot_tick.tick(), if !server.hot.is_empty() => Event::HotTick,
        };
        if stop
            .run_until_cancelled(server.handle(event))
            .await
            .is_none()
        {
            break;
        }
    }
}

/// What was read of queues, and of sources.
type Readings = (
    Vec<Result<Snapshot, String>>,
    Vec<Result<Depth, SourceError>>,
);

/// A Redis and the queues in it.
struct Server {
    url: EndpointUrl,
    shared: Arc<Shared>,
    connection: Connection,
    /// Boxed, so that the room for growth is small.
    queues: HashMap<Key, Box<Watched>>,
    names: HashMap<QueueName, Key>,
    /// Queues that were announced a moment ago, and until when they are looked at often.
    hot: HashMap<Key, Instant>,
    jobs: Jobs,
    /// Queues of other systems.
    sources: Sources,
    /// Whether tasks are safe in it.
    settings: Settings,
    /// Queues that were taken over so far.
    lives: u64,
    origin: Instant,
}

impl Server {
    /// Does it. May be dropped: what it decides it does in one go, after it has read.
    async fn handle(&mut self, event: Event) {
        match event {
            Event::Changed(orders) => {
                let news = self.assign(orders);
                self.look_at(news).await;
            }
            Event::Ended => self.release(),
            Event::Announced(announced) => self.woken(announced).await,
            Event::SourceWoken(woken) => self.source_woken(woken).await,
            Event::Done(done) => self.took(*done),
            Event::Assessed(safety) => self.assess(&safety),
            Event::Tick => self.look_at_all().await,
            Event::HotTick => self.look_at_hot().await,
        }
    }

    /// Takes over changes of the queues to serve and returns those that are new or have other
    /// orders. Those that stay keep their past.
    fn assign(&mut self, changes: Changes) -> Vec<Key> {
        let mut news = Vec::new();
        for (key, orders) in changes {
            // A queue of ours may have become a source, or the other way round.
            let (queue, source) = match orders {
                Some(orders) if orders.source.is_some() => (None, Some(orders)),
                orders => (orders, None),
            };
            if queue.is_none() && source.is_none() {
                self.hot.remove(&key);
            }
            news.push(key.clone());
            if queue.is_some() || source.is_some() {
                self.shared.index.assess(&key, self.settings.seen());
            }
            self.sources.assign(&key, source);
            self.assign_queue(key, queue);
        }
        // One that changed twice meanwhile is looked at once, one that went not at all.
        news.sort();
        news.dedup();
        news.retain(|key| self.queues.contains_key(key) || self.sources.contains(key));
        news
    }

    fn assign_queue(&mut self, key: Key, orders: Option<Arc<Orders>>) {
        let past = self.queues.remove(&key);
        if let Some(past) = &past
            && self.names.get(&past.orders.queue) == Some(&key)
        {
            self.names.remove(&past.orders.queue);
        }
        let Some(orders) = orders else { return };
        self.names.insert(orders.queue.clone(), key.clone());
        let past = past.filter(|past| past.orders.queue == orders.queue);
        let watched = if let Some(past) = past {
            Box::new(past.with_orders(orders))
        } else {
            self.lives += 1;
            Box::new(Watched::new(orders, self.lives))
        };
        self.queues.insert(key, watched);
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
        self.look(keys, Some(at)).await;
    }

    /// A source got something to do, or its replicas were written.
    async fn source_woken(&mut self, woken: Woken) {
        match woken {
            Woken::Announced(keys) => {
                let at = Instant::now();
                for key in &keys {
                    self.hot.insert(key.clone(), at + HOT);
                }
                self.look(keys, Some(at)).await;
            }
            Woken::Done(done) => self.sources.took(*done),
        }
    }

    async fn look_at_hot(&mut self) {
        let now = Instant::now();
        self.hot.retain(|_, until| *until > now);
        let keys = self.hot.keys().cloned().collect();
        self.look_at(keys).await;
    }

    async fn look_at_all(&mut self) {
        if let Some(client) = self.connection.client() {
            self.settings.look(client);
        }
        let keys = self.queues.keys().chain(self.sources.keys());
        let keys = keys.cloned().collect();
        self.look_at(keys).await;
    }

    async fn look_at(&mut self, keys: Vec<Key>) {
        for some in keys.chunks(MOST) {
            self.look(some.to_vec(), None).await;
        }
    }

    /// Reads queues and decides; whatever follows from that runs beside. `announced` is when these
    /// queues were.
    async fn look(&mut self, keys: Vec<Key>, announced: Option<Instant>) {
        if keys.is_empty() {
            return;
        }
        let began = Instant::now();
        let (sources, keys) = keys
            .into_iter()
            .partition::<Vec<_>, _>(|key| self.sources.contains(key));
        let (readings, depths) = self.read(&keys, &sources).await;
        let (now, at) = (self.origin.elapsed(), Timestamp::now());
        let synced = self.shared.pods.synced();
        for (key, reading) in keys.into_iter().zip(readings) {
            let Some(watched) = self.queues.get_mut(&key) else {
                continue;
            };
            let workload = self.shared.workloads.get(&key.object_ref());
            let snapshot = reading.as_ref().ok().cloned();
            let fleet = (self.shared.pods.view(&key), synced);
            let (ready, shielded) = (fleet.0.ready, fleet.0.shielded);
            let look = watched.look(reading, workload.as_deref(), fleet, now, at);
            self.shared.tell(&key, look.news);
            if let Some(blocked) = look.blocked {
                self.shared.events.blocked(&key, blocked.err());
            }
            if let Some(count) = look.found_missing {
                self.shared.events.tasks_missing(&key, count);
            }
            // The wake comes first: everything else can wait for it.
            if let Some(step) = look.write {
                self.jobs.write(&key, watched, step, announced);
            }
            if let Some(order) = look.pass {
                self.jobs.pass(&key, watched, order, now);
            }
            if look.asks_rival {
                self.jobs.find_rival(&key, watched);
            }
            if let Some(snapshot) = snapshot {
                self.jobs.tend(&key, watched, &snapshot);
                self.jobs.release(&key, watched);
                self.jobs.shield(&key, watched, snapshot.active, shielded);
            }
            let sight = Arc::new(look.sight);
            if self.shared.index.see(&key, Arc::clone(&sight)) {
                self.shared.metrics.looked(&key, &sight, ready);
            }
        }
        if !sources.is_empty() {
            self.sources.take(sources, depths, now, announced);
            if let Some(client) = self.connection.client() {
                self.sources.listen(client);
            }
        }
        self.shared.metrics.decided(began.elapsed());
    }

    /// The settings of the Redis are others than they were.
    fn assess(&self, safety: &Arc<Safety>) {
        for key in self.queues.keys().chain(self.sources.keys()) {
            self.shared.index.assess(key, Some(Arc::clone(safety)));
        }
    }

    /// A job has ended.
    fn took(&mut self, done: Done) {
        let key = done.key().clone();
        if self
            .jobs
            .took(done, self.queues.get_mut(&key).map(Box::as_mut))
        {
            self.hot.insert(key, Instant::now() + HOT);
        }
    }

    /// Pods have ended: what their workers held can run again.
    fn release(&mut self) {
        for key in self.shared.pods.endings_of(self.queues.keys()) {
            let Some(watched) = self.queues.get_mut(&key) else {
                continue;
            };
            watched.ended(self.shared.pods.take_endings(&key));
            self.jobs.release(&key, watched);
        }
    }

    /// One reading a queue, in the order of `keys`, and one a source, in the order of `sources`: at
    /// the same time, over one connection.
    async fn read(&mut self, keys: &[Key], sources: &[Key]) -> Readings {
        let reading = timeout(LONGEST_LOOK, self.read_in_time(keys, sources));
        let cause = match reading.await {
            Ok(Ok(read)) => return read,
            Ok(Err(cause)) => cause,
            Err(_) => Error::Timeout {
                endpoint: self.url.to_string(),
                after: LONGEST_LOOK,
            },
        };
        let told = cause.to_string();
        (
            vec![Err(told); keys.len()],
            vec![Err(cause.into()); sources.len()],
        )
    }

    async fn read_in_time(&mut self, keys: &[Key], sources: &[Key]) -> Result<Readings, Error> {
        self.connection.make().await?;
        let Some(client) = self.connection.client() else {
            return Ok((Vec::new(), Vec::new()));
        };
        let mut handles = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(watched) = self.queues.get_mut(key) {
                let name = &watched.orders.queue;
                let handle = watched
                    .queue
                    .get_or_insert_with(|| client.queue(name.clone()));
                handles.push(handle.clone());
            }
        }
        let snapshots = client.snapshot(&handles);
        let depths = self.sources.read(client, sources);
        let (snapshots, depths) = future::join(snapshots, depths).await;
        let snapshots = snapshots.into_iter();
        let told = |snapshot: Result<_, Error>| snapshot.map_err(|error| error.to_string());
        Ok((snapshots.map(told).collect(), depths))
    }
}
