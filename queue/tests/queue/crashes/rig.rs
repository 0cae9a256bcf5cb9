//! Producers and a worker that go on through the death of Redis, and write down what it
//! acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Report, Worker};
use taskqueue_queue::{NewTask, Payload, Queue, Snapshot, State, TaskId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::{each_end_is_logged_once, logging, name, put, put_many};

/// Producers of single tasks; one more enqueues batches.
const PRODUCERS: usize = 3;
const BATCH: usize = 30;
/// Between two calls of a producer, so that the worker keeps up.
const PACE: Duration = Duration::from_millis(10);
const SLOTS: usize = 20;
/// What a worker with a report completes before it stops.
const SHIFT: usize = 20;
/// Without a new acknowledgement, none is on its way.
const SILENCE: Duration = Duration::from_millis(100);
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    pub(crate) redis: RedisServer,
    pub(crate) queue: Queue,
    pub(crate) ledger: Arc<Ledger>,
    enough: CancellationToken,
    producers: Vec<JoinHandle<()>>,
    watcher: JoinHandle<()>,
    stop: CancellationToken,
    worker: JoinHandle<Report>,
}

impl Rig {
    pub(crate) async fn start(redis: RedisServer) -> Self {
        let queue = redis.client().await.queue(name());
        queue.configure(&logging()).await.unwrap();
        let ledger = Arc::new(Ledger::default());
        let enough = CancellationToken::new();
        let numbers = Arc::new(AtomicU64::new(0));
        let mut producers = Vec::new();
        for place in 0..=PRODUCERS {
            // A client of its own each, as in processes of their own.
            let queue = redis.client().await.queue(name());
            let batch = if place == PRODUCERS { BATCH } else { 1 };
            let (ledger, numbers) = (Arc::clone(&ledger), Arc::clone(&numbers));
            let producer = produce(queue, batch, numbers, ledger, enough.clone());
            producers.push(tokio::spawn(producer));
        }
        let (sender, ended) = unbounded_channel();
        let stop = CancellationToken::new();
        let consumer = redis.client().await.queue(name());
        let worker = Worker::new(consumer, telling(sender)).concurrency(SLOTS);
        let run = worker.run(stop.clone(), CancellationToken::new());
        let worker = tokio::spawn(async move { run.await.unwrap() });
        let observer = redis.client().await.queue(name());
        let watcher = tokio::spawn(watch(observer, ended, Arc::clone(&ledger)));
        Self {
            redis,
            queue,
            ledger,
            enough,
            producers,
            watcher,
            stop,
            worker,
        }
    }

    /// Waits until that much more was acknowledged.
    pub(crate) async fn progress(&self, enqueues: usize, completions: usize) {
        let before = self.ledger.lengths();
        eventually(SOON, "progress", async || {
            let now = self.ledger.lengths();
            (now.0 >= before.0 + enqueues && now.1 >= before.1 + completions).then_some(())
        })
        .await;
    }

    /// Waits, while Redis is dead, until nobody has an acknowledgement in hand any more.
    pub(crate) async fn silence(&self) {
        let mut before = self.ledger.lengths();
        loop {
            tokio::time::sleep(SILENCE).await;
            let now = self.ledger.lengths();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// A worker that completes some tasks, stops, and reports that all its acks were delivered.
    pub(crate) async fn shift(&self) {
        let (sender, mut ended) = unbounded_channel();
        let stop = CancellationToken::new();
        let queue = self.redis.client().await.queue(name());
        let worker = Worker::new(queue, telling(sender)).concurrency(5);
        let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
        let mut ids = Vec::new();
        while ids.len() < SHIFT {
            let next = tokio::time::timeout(SOON, ended.recv()).await;
            ids.push(next.expect("a task").expect("a worker"));
        }
        stop.cancel();
        let report = run.await.unwrap().unwrap();
        while let Ok(id) = ended.try_recv() {
            ids.push(id);
        }
        assert_eq!((report.lost, report.undelivered), (0, 0));
        assert_eq!(report.completed, ids.len() as u64);
        self.ledger.completed(&ids);
    }

    /// Stops the producers, waits for the worker to finish the rest, and checks that every
    /// acknowledged task is completed.
    pub(crate) async fn finish(self) -> (RedisServer, Report, Snapshot) {
        self.enough.cancel();
        for producer in self.producers {
            producer.await.unwrap();
        }
        // With a disk that others keep busy, each of its calls waits for that.
        let figures = eventually(SOON * 4, "all done", async || {
            let figures = figures(&self.queue, &self.redis).await?;
            let rest = figures.backlog() + figures.active + figures.scheduled;
            (rest == 0).then_some(figures)
        })
        .await;
        self.stop.cancel();
        let report = self.worker.await.unwrap();
        self.watcher.await.unwrap();
        assert_eq!(self.ledger.unfinished(&self.queue).await, 0);
        each_end_is_logged_once(&self.queue, figures.counters.completed).await;
        (self.redis, report, figures)
    }
}

async fn figures(queue: &Queue, redis: &RedisServer) -> Option<Snapshot> {
    let client = redis.client().await;
    let figures = client.snapshot(std::slice::from_ref(queue)).await;
    figures.into_iter().next()?.ok()
}

async fn produce(
    queue: Queue,
    batch: usize,
    numbers: Arc<AtomicU64>,
    ledger: Arc<Ledger>,
    enough: CancellationToken,
) {
    let task = || {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        NewTask::new("work", Payload::of(&number).unwrap())
    };
    while !enough.is_cancelled() {
        let acknowledged = if batch == 1 {
            put(&queue, task()).await.map(|id| vec![id])
        } else {
            put_many(&queue, (0..batch).map(|_| task()).collect()).await
        };
        match acknowledged {
            Ok(ids) => ledger.enqueued(&ids),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                (0..batch).for_each(|_| ledger.doubt());
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

/// A handler that works a little and tells which task it ran.
fn telling(sender: UnboundedSender<TaskId>) -> impl taskqueue_queue::worker::Handler {
    move |task: LeasedTask| {
        let sender = sender.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let _ = sender.send(task.id);
            Outcome::Completed(None)
        }
    }
}

/// Asks Redis for each task that has run until it says that the task is completed, and writes that
/// down: from then on it must stay so.
async fn watch(queue: Queue, mut ended: UnboundedReceiver<TaskId>, ledger: Arc<Ledger>) {
    while let Some(id) = ended.recv().await {
        loop {
            match queue.get(&id).await {
                Ok(Some(task)) if task.state == State::Completed => {
                    ledger.completed(&[id]);
                    break;
                }
                // Forgotten together with its enqueueing.
                Ok(None) => break,
                Ok(Some(_)) => tokio::task::yield_now().await,
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}
