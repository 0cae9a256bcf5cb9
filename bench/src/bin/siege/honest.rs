//! The honest namespace: queues that get bursts of tasks at zero replicas, with workers that come
//! and go as the Deployments' replicas say. There are no pods: each worker runs in this process.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, ResourceExt,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use rand::{RngExt as _, SeedableRng, rngs::SmallRng};
use serde_json::json;
use taskqueue_api::TaskQueue;
use taskqueue_e2e::{Patience, eventually};
use taskqueue_queue::{
    NewTask, Payload, Queue, QueueName, Snapshot,
    testing::RedisServer,
    worker::{LeasedTask, Outcome, Worker},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::yardstick;

/// The namespace.
pub(crate) const NAMESPACE: &str = "honest";
/// Tasks that one worker runs at once.
const CONCURRENCY: usize = 5;
/// How long a wake is waited for once no more tasks come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The replicas of a Deployment, and since when a watch shows them.
pub(crate) type Seen = (i32, Instant);

/// The queues.
pub(crate) struct Honest {
    client: Client,
    redis: taskqueue_queue::Client,
    queues: Vec<(Queue, watch::Receiver<Seen>)>,
    /// The replicas of the yardstick.
    yardstick: watch::Receiver<Seen>,
}

/// From the enqueue of the first task at zero replicas to the replicas being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wake {
    /// When the task was enqueued.
    pub(crate) begun: Instant,
    /// How long it took, or at least so long.
    pub(crate) took: Duration,
}

/// What the tasks of a phase came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Harvest {
    /// All wakes.
    pub(crate) wakes: Vec<Wake>,
    /// What plain writes took meanwhile.
    pub(crate) writes: Vec<Wake>,
    /// Tasks enqueued.
    pub(crate) enqueued: u64,
    /// Those of them that were not completed once.
    pub(crate) lost: u64,
}

impl Honest {
    /// Makes so many TaskQueues in the operator's own Redis, and the workers of their Deployments.
    pub(crate) async fn make(client: &Client, redis: &RedisServer, count: usize) -> Self {
        let names: Vec<String> = (0..count).map(|it| format!("honest-{it:03}")).collect();
        let api: Api<TaskQueue> = Api::namespaced(client.clone(), NAMESPACE);
        for name in &names {
            let made = api.create(&PostParams::default(), &manifest(name)).await;
            made.expect("the TaskQueue can be made");
        }
        let followed: Vec<String> = names
            .iter()
            .cloned()
            .chain([yardstick::NAME.to_owned()])
            .collect();
        let seen = follow(client, &followed);
        let redis = redis.client().await;
        let queues = names.iter().map(|name| {
            let queue = redis.queue(QueueName::new(NAMESPACE, name).expect("the name is right"));
            tokio::spawn(staff(queue.clone(), seen[name].clone()));
            (queue, seen[name].clone())
        });
        Self {
            queues: queues.collect(),
            yardstick: seen[yardstick::NAME].clone(),
            client: client.clone(),
            redis,
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.queues.len()
    }

    /// Loads all queues until `stop`, and waits until all tasks are done.
    pub(crate) async fn load(&self, stop: CancellationToken) -> Harvest {
        let figures = self.figures().await;
        let completed = figures.iter().map(|it| it.counters.completed);
        let mut expected: Vec<u64> = completed.collect();
        let measured = yardstick::measure(&self.client, self.yardstick.clone(), stop.clone());
        let mut loads = JoinSet::new();
        for (place, (queue, seen)) in self.queues.iter().enumerate() {
            let (queue, seen, stop) = (queue.clone(), seen.clone(), stop.clone());
            loads.spawn(async move { (place, load(queue, seen, stop).await) });
        }
        let (writes, loads) = tokio::join!(measured, loads.join_all());
        let mut harvest = Harvest {
            writes,
            ..Harvest::default()
        };
        for (place, (wakes, enqueued)) in loads {
            harvest.wakes.extend(wakes);
            harvest.enqueued += enqueued;
            expected[place] += enqueued;
        }
        harvest.lost = self.unfinished(&expected).await;
        harvest
    }

    /// Waits until all tasks are done, as long as any of them gets done, and returns how many are
    /// not.
    async fn unfinished(&self, expected: &[u64]) -> u64 {
        let (mut open, mut since) = (u64::MAX, Instant::now());
        loop {
            let figures = self.figures().await;
            let left = figures.iter().zip(expected).map(|(it, expected)| {
                let at_hand = it.backlog() + it.scheduled + it.active;
                expected.saturating_sub(it.counters.completed).max(at_hand)
            });
            let left = left.sum();
            if left < open {
                (open, since) = (left, Instant::now());
            }
            if open > 0 && since.elapsed() < PATIENCE {
                sleep(Duration::from_millis(200)).await;
                continue;
            }
            return open;
        }
    }

    async fn figures(&self) -> Vec<Snapshot> {
        let queues: Vec<Queue> = self.queues.iter().map(|(queue, _)| queue.clone()).collect();
        eventually("the honest queues' figures", Patience::NORMAL, async || {
            let all = self.redis.snapshot(&queues).await;
            all.into_iter().collect::<Result<Vec<_>, _>>()
        })
        .await
    }

    /// Waits until no queue has workers.
    pub(crate) async fn rest(&self) {
        eventually("zero replicas", Patience::LONG, async || {
            let busy = self.queues.iter().filter(|(_, seen)| seen.borrow().0 != 0);
            match busy.count() {
                0 => Ok(()),
                busy => Err(format!("{busy} queues have workers")),
            }
        })
        .await;
    }
}

fn manifest(name: &str) -> TaskQueue {
    let manifest = json!({
        "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "worker": { "concurrency": CONCURRENCY, "handler": { "native": {} } },
            "scaling": {
                "maxReplicas": 3, "target": { "backlogPerReplica": CONCURRENCY }, "idle": "1s",
                // There are no pods to choose from; workers here finish what they run.
                "scaleDown": { "stabilization": "0s", "waitForIdle": false }
            }
        }
    });
    serde_json::from_value(manifest).expect("the manifest is right")
}

/// The replicas of these Deployments as a watch shows them.
fn follow(client: &Client, names: &[String]) -> HashMap<String, watch::Receiver<Seen>> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let senders: HashMap<String, watch::Sender<Seen>> = names
        .iter()
        .map(|name| (name.clone(), watch::Sender::new((-1, Instant::now()))))
        .collect();
    let receivers = senders.iter();
    let receivers = receivers.map(|(name, sender)| (name.clone(), sender.subscribe()));
    let receivers = receivers.collect();
    tokio::spawn(async move {
        let mut stream = watcher(api, watcher::Config::default())
            .default_backoff()
            .applied_objects()
            .boxed();
        loop {
            match stream.try_next().await {
                Ok(Some(deployment)) => {
                    let replicas = deployment.spec.replicas;
                    let now = (replicas.unwrap_or(0), Instant::now());
                    if let Some(sender) = senders.get(&deployment.name_any()) {
                        sender.send_if_modified(|seen| {
                            let is_news = seen.0 != now.0;
                            if is_news {
                                *seen = now;
                            }
                            is_news
                        });
                    }
                }
                Ok(None) => return,
                Err(error) => eprintln!("siege: the watch of Deployments failed: {error}"),
            }
        }
    });
    receivers
}

/// Runs as many workers as the Deployment has replicas.
async fn staff(queue: Queue, mut seen: watch::Receiver<Seen>) {
    let mut workers: Vec<CancellationToken> = Vec::new();
    loop {
        let wanted = usize::try_from(seen.borrow_and_update().0).unwrap_or(0);
        for stop in workers.drain(wanted.min(workers.len())..) {
            stop.cancel();
        }
        while workers.len() < wanted {
            let stop = CancellationToken::new();
            let worker = Worker::new(queue.clone(), run).concurrency(CONCURRENCY);
            let running = worker.run(stop.clone(), CancellationToken::new());
            tokio::spawn(async move {
                if let Err(error) = running.await {
                    eprintln!("siege: an honest worker ended: {error}");
                }
            });
            workers.push(stop);
        }
        if seen.changed().await.is_err() {
            return;
        }
    }
}

/// Sleeps as long as the payload says, in ms.
async fn run(task: LeasedTask) -> Outcome {
    match task.payload.parse::<u64>() {
        Ok(millis) => sleep(Duration::from_millis(millis)).await,
        Err(error) => {
            let error = error.to_string();
            return Outcome::Dead { error };
        }
    }
    Outcome::Completed(None)
}

/// Enqueues a burst whenever the queue has come to rest at zero replicas, until `stop`. Returns the
/// wakes, and how many tasks there were.
async fn load(
    queue: Queue,
    mut seen: watch::Receiver<Seen>,
    stop: CancellationToken,
) -> (Vec<Wake>, u64) {
    let mut random = SmallRng::from_rng(&mut rand::rng());
    let (mut wakes, mut enqueued) = (Vec::new(), 0);
    loop {
        let at_zero = stop.run_until_cancelled(seen.wait_for(|(replicas, _)| *replicas == 0));
        if at_zero.await.is_none() {
            break;
        }
        let pause = Duration::from_millis(random.random_range(100..2_000));
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            break;
        }
        let count = random.random_range(1..=20);
        let tasks: Vec<NewTask> = (0..count)
            .map(|_| {
                let millis: u64 = random.random_range(5..200);
                NewTask::new("sleep", Payload::of(&millis).expect("a number is JSON"))
            })
            .collect();
        let begun = Instant::now();
        let taken = queue.enqueue_all(tasks).await;
        taken.expect("the honest Redis takes the tasks");
        enqueued += count;
        let woken = seen.wait_for(|(replicas, _)| *replicas > 0);
        let woken = async {
            let woken = woken.await.map(|seen| seen.1);
            woken.expect("the watch goes on")
        };
        let given_up = async {
            stop.cancelled().await;
            sleep(PATIENCE).await;
        };
        let (at, goes_on) = tokio::select! {
            at = woken => (at, true),
            () = given_up => (Instant::now(), false),
        };
        let took = at.saturating_duration_since(begun);
        wakes.push(Wake { begun, took });
        if !goes_on {
            break;
        }
    }
    (wakes, enqueued)
}
