//! The sources in one Redis: queues of other systems. They are read with each look at the queues of
//! ours, and nothing is ever done in them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use taskqueue_queue::Client;
use taskqueue_sources::{Asked, Depth, SourceError, Wakes, look};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Shared,
    contention::Rival,
    replicas::Step,
    sourced::Sourced,
    write::{WriteError, Writes},
};
use crate::{index::Orders, key::Key};

/// The sources of one Redis.
pub(super) struct Sources {
    shared: Arc<Shared>,
    writes: Arc<Writes>,
    all: HashMap<Key, Sourced>,
    /// Pushes, once there is a connection and a source that gives some.
    wakes: Option<Wakes>,
    running: JoinSet<Done>,
    lives: u64,
}

/// What took longer than a look has come to its end, and whose it was.
pub(super) struct Done {
    key: Key,
    life: u64,
    outcome: Outcome,
}

enum Outcome {
    /// Replicas were written, or not.
    Wrote {
        step: Step,
        announced: Option<Instant>,
        outcome: Result<(), WriteError>,
    },
    /// It was asked who else sets the replicas.
    Rival(Rival),
}

/// What woke the sources.
pub(super) enum Woken {
    /// These got something to do.
    Announced(Vec<Key>),
    /// Something has come to its end.
    Done(Box<Done>),
}

impl Sources {
    pub(super) fn new(shared: Arc<Shared>, writes: Arc<Writes>) -> Self {
        Self {
            shared,
            writes,
            all: HashMap::new(),
            wakes: None,
            running: JoinSet::new(),
            lives: 0,
        }
    }

    /// Takes over a source, or drops it without orders. One that stays keeps its past.
    pub(super) fn assign(&mut self, key: &Key, orders: Option<Arc<Orders>>) {
        let past = self.all.remove(key);
        let Some(orders) = orders else { return };
        let past = past.filter(|past| past.stands_for(&orders));
        let sourced = if let Some(past) = past {
            past.with_orders(orders)
        } else {
            self.lives += 1;
            Sourced::new(orders, self.lives)
        };
        self.all.insert(key.clone(), sourced);
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.all.contains_key(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.all.keys()
    }

    /// Reads sources, in the order of `keys`.
    pub(super) async fn read(
        &self,
        client: &Client,
        keys: &[Key],
    ) -> Vec<Result<Depth, SourceError>> {
        let asked: Vec<Asked<'_>> = keys
            .iter()
            .filter_map(|key| {
                let sourced = self.all.get(key)?;
                Some(Asked {
                    source: &sourced.orders.source.as_ref()?.source,
                    seen: sourced.seen,
                })
            })
            .collect();
        look(client, &asked, Timestamp::now()).await
    }

    /// Takes readings in, decides, and writes what was decided beside the looks. `announced` is when
    /// these sources were.
    pub(super) fn take(
        &mut self,
        keys: Vec<Key>,
        readings: Vec<Result<Depth, SourceError>>,
        now: Duration,
        announced: Option<Instant>,
    ) {
        let at = Timestamp::now();
        for (key, reading) in keys.into_iter().zip(readings) {
            let Some(sourced) = self.all.get_mut(&key) else {
                continue;
            };
            let Some(orders) = &sourced.orders.source else {
                continue;
            };
            let found = self.shared.targets.of(&orders.target);
            let target = orders.target.clone();
            let look = sourced.look(reading, &found, now, at);
            self.shared.tell(&key, look.news);
            if let Some(step) = look.write {
                sourced.replicas.writing = true;
                let (writes, key, life) = (Arc::clone(&self.writes), key.clone(), sourced.life);
                let target = target.clone();
                self.running.spawn(async move {
                    let outcome = writes.scale_target(&target, step.to).await;
                    let outcome = Outcome::Wrote {
                        step,
                        announced,
                        outcome,
                    };
                    Done { key, life, outcome }
                });
            }
            if look.asks_rival {
                let (writes, key, life) = (Arc::clone(&self.writes), key.clone(), sourced.life);
                self.running.spawn(async move {
                    let outcome = Outcome::Rival(writes.rival(&target).await);
                    Done { key, life, outcome }
                });
            }
            let sight = Arc::new(look.sight);
            let told = sight
                .source
                .as_ref()
                .and_then(|source| source.target.as_ref());
            let ready = told.map_or(0, |target| target.ready);
            if self.shared.index.see(&key, Arc::clone(&sight)) {
                self.shared.metrics.looked(&key, &sight, ready);
            }
        }
    }

    /// Waits for pushes to the sources that are at rest.
    pub(super) fn listen(&mut self, client: &Client) {
        let resting = self.all.values().filter(|sourced| sourced.at_rest);
        let streams: Vec<String> = resting
            .filter_map(|sourced| events_key(&sourced.orders))
            .collect();
        if streams.is_empty() && self.wakes.is_none() {
            return;
        }
        let wakes = self.wakes.get_or_insert_with(|| Wakes::start(client));
        wakes.wait_for(streams);
    }

    /// The next thing that happens by itself; waits for ever while nothing can.
    pub(super) async fn woken(&mut self) -> Woken {
        let pushed = async {
            match &mut self.wakes {
                Some(wakes) => wakes.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stream = pushed => {
                let named = |sourced: &Sourced| events_key(&sourced.orders).as_ref() == Some(&stream);
                let keys = self.all.iter().filter(|(_, sourced)| named(sourced));
                Woken::Announced(keys.map(|(key, _)| key.clone()).collect())
            }
            done = done(&mut self.running) => Woken::Done(Box::new(done)),
        }
    }

    /// Takes in what something came to.
    pub(super) fn took(&mut self, done: Done) {
        let Done { key, life, outcome } = done;
        let sourced = self.all.get_mut(&key);
        let Some(sourced) = sourced.filter(|sourced| sourced.life == life) else {
            return;
        };
        let replicas = &mut sourced.replicas;
        match outcome {
            Outcome::Wrote {
                step,
                announced,
                outcome,
            } => {
                replicas.writing = false;
                self.shared.wrote(&key, replicas, &step, announced, outcome);
            }
            Outcome::Rival(rival) => replicas.contention.found(rival),
        }
    }
}

/// The stream that tells of new tasks, where the system has one.
fn events_key(orders: &Orders) -> Option<String> {
    orders.source.as_ref()?.source.events_key()
}

async fn done(running: &mut JoinSet<Done>) -> Done {
    loop {
        match running.join_next().await {
            Some(Ok(done)) => return done,
            // A panic has been told where it happened.
            Some(Err(error)) => tracing::error!(%error, "a job for a source ended badly"),
            None => return std::future::pending().await,
        }
    }
}
