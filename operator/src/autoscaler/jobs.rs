//! What the looks lead to and takes longer than a look: writes to the API server, passes over
//! workers that are let go, chores in the queues, tasks of pods that ended. Each runs beside the
//! looks, at most one of a kind for a queue, so that none holds up another queue or a wake.

use std::{future::Future, sync::Arc, time::Duration};

use taskqueue_api::spec::TargetKind;
use taskqueue_queue::{Counters, Error, Reclaimed, Snapshot};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Shared,
    contention::Rival,
    drains::PassOrder,
    endings::{self, Released},
    handshake::{Pass, Passed},
    replicas::Step,
    shrink::Marks,
    tell::tell_scaled,
    tend::{Tended, tend},
    watched::Watched,
    write::{WriteError, Writes},
};
use crate::{
    endpoint::EndpointUrl,
    fleet::{
        Ending,
        shield::{self, Shield},
    },
    key::Key,
    targets::Target,
    turns::Turns,
};

/// Chores in the queues of one Redis under way at once, beside the look itself.
const CONCURRENCY: usize = 16;
/// Of one namespace.
const SHARE: usize = 12;
/// Longest time of the chores in one queue. What is left is done the next time.
const LONGEST_TENDING: Duration = Duration::from_mins(1);
/// How long it is tried to take back the tasks of a pod that ended. Its leases have lapsed by then.
const RELEASE: Duration = Duration::from_mins(1);

/// The jobs of one Redis.
pub(super) struct Jobs {
    url: EndpointUrl,
    shared: Arc<Shared>,
    writes: Arc<Writes>,
    turns: Arc<Turns>,
    running: JoinSet<Done>,
}

/// A job that has come to its end, and whose it was.
pub(super) struct Done {
    key: Key,
    life: u64,
    outcome: Outcome,
}

enum Outcome {
    Wrote {
        step: Step,
        /// When a task at zero replicas was announced.
        announced: Option<Instant>,
        outcome: Result<(), WriteError>,
    },
    Passed {
        step: Step,
        marks: Marks,
        outcome: Result<Passed, Error>,
    },
    Tended {
        /// What the queue had counted before.
        counters: Box<Counters>,
        outcome: Result<Tended, Error>,
    },
    Released {
        endings: Vec<Ending>,
        outcome: Result<Vec<Released>, Error>,
    },
    Shielded {
        shield: Shield,
        outcome: Result<(), Error>,
    },
    Rival(Rival),
    Told,
}

impl Done {
    /// Whose it was.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }
}

impl Jobs {
    pub(super) fn new(url: EndpointUrl, shared: Arc<Shared>, writes: Arc<Writes>) -> Self {
        Self {
            url,
            shared,
            writes,
            turns: Turns::new(CONCURRENCY, SHARE),
            running: JoinSet::new(),
        }
    }

    /// The next job that has ended; waits for ever while there is none.
    pub(super) async fn next(&mut self) -> Done {
        loop {
            match self.running.join_next().await {
                Some(Ok(done)) => return done,
                // A panic has been told where it happened; what the job was for is stuck then.
                Some(Err(error)) => tracing::error!(%error, "a job of the autoscaler ended badly"),
                None => return std::future::pending().await,
            }
        }
    }

    /// Writes replicas.
    pub(super) fn write(
        &mut self,
        key: &Key,
        watched: &mut Watched,
        step: Step,
        announced: Option<Instant>,
    ) {
        watched.replicas.writing = true;
        let (writes, queue) = (Arc::clone(&self.writes), key.clone());
        self.spawn(key, watched, async move {
            let outcome = writes.scale(&queue, step.to).await;
            Outcome::Wrote {
                step,
                announced,
                outcome,
            }
        });
    }

    /// Makes a pass over the workers of a queue. `now` is the time of the look.
    pub(super) fn pass(&mut self, key: &Key, watched: &Watched, order: PassOrder, now: Duration) {
        let Some(queue) = watched.queue.clone() else {
            return;
        };
        let PassOrder {
            step,
            marks,
            rolling,
            unobserved,
            counted,
        } = order;
        let pass = Pass {
            key: key.clone(),
            queue,
            pods: Arc::clone(&self.shared.pods),
            writes: Arc::clone(&self.writes),
            replicas: step.from,
            target: step.to,
            counted,
            rolling,
            unobserved,
            marks,
            now,
        };
        self.spawn(key, watched, async move {
            let (marks, outcome) = pass.run().await;
            Outcome::Passed {
                step,
                marks,
                outcome,
            }
        });
    }

    /// Brings a queue's policy and what else is to be done in it in order.
    pub(super) fn tend(&mut self, key: &Key, watched: &mut Watched, snapshot: &Snapshot) {
        let project = watched.needs_projection(snapshot.version);
        let chores = watched.chores(snapshot);
        let due = project || chores.any();
        let Some(queue) = watched.queue.clone().filter(|_| due && !watched.tending) else {
            return;
        };
        watched.tending = true;
        let project = project.then(|| Arc::clone(&watched.orders));
        let (turns, name, url) = (Arc::clone(&self.turns), key.clone(), self.url.clone());
        let (version, counters) = (snapshot.version, Box::new(snapshot.counters));
        self.spawn(key, watched, async move {
            let _turn = turns.take(&name.namespace).await;
            // After a start thousands wait for their turn: only those that have it take the room.
            let tending = Box::pin(tend(&name, queue, version, project, chores));
            let outcome = timeout(LONGEST_TENDING, tending).await;
            let outcome = outcome.unwrap_or_else(|_| {
                Err(Error::Timeout {
                    endpoint: url.to_string(),
                    after: LONGEST_TENDING,
                })
            });
            Outcome::Tended { counters, outcome }
        });
    }

    /// Takes back the tasks of pods that ended. They wait for nobody's turn.
    pub(super) fn release(&mut self, key: &Key, watched: &mut Watched) {
        let Some(queue) = watched.queue.clone().filter(|_| !watched.releasing) else {
            return;
        };
        let Some((endings, _)) = watched.endings.clone() else {
            return;
        };
        watched.releasing = true;
        self.spawn(key, watched, async move {
            let outcome = endings::release(&queue, &endings).await;
            Outcome::Released { endings, outcome }
        });
    }

    /// Looks after the shields of a queue's pods. `shielded`: one of them has one.
    pub(super) fn shield(&mut self, key: &Key, watched: &mut Watched, active: u64, shielded: bool) {
        let after = watched.orders.shield;
        let now = Instant::now();
        let due = watched.shields.due(after.is_some(), active, shielded, now);
        let (Some(mut shield), Some(queue)) = (due, watched.queue.clone()) else {
            return;
        };
        let (shared, name) = (Arc::clone(&self.shared), key.clone());
        self.spawn(key, watched, async move {
            let (client, pods) = (&shared.client, &shared.pods);
            let outcome = shield::keep(client, &queue, pods, &name, &mut shield, after).await;
            Outcome::Shielded { shield, outcome }
        });
    }

    /// Finds out who else sets the replicas of a queue's Deployment.
    pub(super) fn find_rival(&mut self, key: &Key, watched: &Watched) {
        let writes = Arc::clone(&self.writes);
        let target = Target {
            namespace: key.namespace.clone(),
            kind: TargetKind::Deployment,
            name: key.name.clone(),
        };
        self.spawn(key, watched, async move {
            Outcome::Rival(writes.rival(&target).await)
        });
    }

    fn spawn(
        &mut self,
        key: &Key,
        watched: &Watched,
        job: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let (key, life) = (key.clone(), watched.life);
        self.running.spawn(async move {
            Done {
                key,
                life,
                outcome: job.await,
            }
        });
    }

    /// Takes in what a job came to. Returns whether the queue is worth another look soon.
    pub(super) fn took(&mut self, done: Done, watched: Option<&mut Watched>) -> bool {
        let Done { key, life, outcome } = done;
        let Some(watched) = watched.filter(|watched| watched.life == life) else {
            return false;
        };
        match outcome {
            Outcome::Wrote {
                step,
                announced,
                outcome,
            } => {
                watched.replicas.writing = false;
                self.wrote(&key, watched, &step, announced, outcome);
                false
            }
            Outcome::Passed {
                step,
                marks,
                outcome,
            } => {
                watched.drains.returned(marks);
                self.passed(&key, watched, step, outcome)
            }
            Outcome::Tended { counters, outcome } => {
                watched.tending = false;
                match outcome {
                    Ok(tended) => {
                        if let Some((orders, version)) = tended.projected {
                            watched.projected(orders, version);
                        }
                        if let Some(tidied) = tended.tidied {
                            watched.tidied(tidied, *counters);
                        }
                    }
                    Err(error) => tracing::warn!(queue = %key, %error, "cannot tend to a queue"),
                }
                false
            }
            Outcome::Released { endings, outcome } => {
                watched.releasing = false;
                self.released(&key, watched, &endings, outcome)
            }
            Outcome::Told => false,
            Outcome::Rival(rival) => {
                watched.replicas.contention.found(rival);
                false
            }
            Outcome::Shielded { shield, outcome } => {
                watched.shields.back(shield);
                if let Err(error) = outcome {
                    tracing::warn!(queue = %key, %error, "cannot tell which pods to shield");
                }
                false
            }
        }
    }

    /// Takes in what a write of replicas came to. The queue itself is told of it too, and nothing waits for that.
    fn wrote(
        &mut self,
        key: &Key,
        watched: &mut Watched,
        step: &Step,
        announced: Option<Instant>,
        outcome: Result<(), WriteError>,
    ) {
        if let Some(queue) = watched.queue.clone().filter(|_| outcome.is_ok()) {
            let (name, step) = (key.clone(), step.clone());
            self.spawn(key, watched, async move {
                tell_scaled(&name, &queue, &step).await;
                Outcome::Told
            });
        }
        let replicas = &mut watched.replicas;
        self.shared.wrote(key, replicas, step, announced, outcome);
    }

    fn passed(
        &mut self,
        key: &Key,
        watched: &mut Watched,
        step: Step,
        outcome: Result<Passed, Error>,
    ) -> bool {
        let passed = match outcome {
            Ok(passed) => passed,
            Err(error) => {
                tracing::warn!(queue = %key, %error, "cannot drain workers");
                return false;
            }
        };
        let moves = passed.moves;
        watched.drains.passed(&passed);
        if let Some((to, outcome)) = passed.lowered {
            let step = Step { to, ..step };
            self.wrote(key, watched, &step, None, outcome);
        }
        moves
    }

    fn released(
        &self,
        key: &Key,
        watched: &mut Watched,
        endings: &[Ending],
        outcome: Result<Vec<Released>, Error>,
    ) -> bool {
        let released = match outcome {
            Ok(released) => released,
            Err(error) => {
                tracing::warn!(queue = %key, %error, "cannot take back the tasks of pods that ended");
                watched
                    .endings
                    .take_if(|(_, since)| since.elapsed() >= RELEASE);
                return false;
            }
        };
        // More may have come meanwhile.
        if let Some((left, _)) = &mut watched.endings {
            left.retain(|ending| !endings.contains(ending));
        }
        watched.endings.take_if(|(left, _)| left.is_empty());
        let mut any = false;
        for Released {
            cause,
            detail,
            reclaimed,
        } in released
        {
            let Reclaimed {
                released,
                quarantined,
                workers: _,
            } = reclaimed;
            tracing::info!(queue = %key, ?cause, detail, released, quarantined, "took back the tasks of a pod that ended");
            if released + quarantined > 0 {
                self.shared.events.released(key, cause, &detail, &reclaimed);
                any = true;
            }
        }
        any || watched.endings.is_some()
    }
}
