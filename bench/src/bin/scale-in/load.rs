//! The tide: tasks that come in bursts of random size and length, and what became of them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng, rngs::SmallRng};
use taskqueue_e2e::Story;
use taskqueue_queue::{
    NewTask, Payload,
    worker::{LeasedTask, Outcome, Report},
};
use tokio_util::sync::CancellationToken;

/// The load of one queue.
pub(crate) struct Load {
    story: Arc<Story>,
    queue: String,
    random: SmallRng,
}

impl Load {
    pub(crate) fn new(story: Arc<Story>, queue: &str) -> Self {
        Self {
            story,
            queue: queue.to_owned(),
            random: SmallRng::from_rng(&mut rand::rng()),
        }
    }

    /// Enqueues until `stop` and returns the queue with how many tasks it got. Bursts come before
    /// the last one is done, so that replicas fall while tasks run.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> (String, u64) {
        let queue = self.story.queue(&self.queue);
        let mut enqueued = 0;
        while !stop.is_cancelled() {
            let count = self.random.random_range(1..=24);
            let tasks: Vec<NewTask> = (0..count)
                .map(|_| {
                    // Most are short; some go on while the others are long done.
                    let long = self.random.random_ratio(1, 6);
                    let millis = if long { 800..4_000 } else { 20..400 };
                    let millis: u64 = self.random.random_range(millis);
                    NewTask::new("sleep", Payload::of(&millis).expect("a number is JSON"))
                })
                .collect();
            enqueued += tasks.len() as u64;
            queue
                .enqueue_all(tasks)
                .await
                .expect("Redis takes the tasks");
            let pause = Duration::from_millis(self.random.random_range(200..3_000));
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        (self.queue, enqueued)
    }
}

/// The handler's side.
#[derive(Clone)]
pub(crate) struct Work {
    tally: Arc<Tally>,
}

impl Work {
    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self { tally }
    }

    /// Runs one task, and counts it if it has run before.
    pub(crate) async fn run(&self, task: LeasedTask) -> Outcome {
        if task.attempt > 1 || task.losses > 0 {
            self.tally.again.fetch_add(1, Ordering::Relaxed);
        }
        match task.payload.parse::<u64>() {
            Ok(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Err(error) => {
                return Outcome::Dead {
                    error: error.to_string(),
                };
            }
        }
        Outcome::Completed(None)
    }
}

/// What happened, counted where it happens.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) pods_deleted: AtomicU64,
    /// Tasks that ran in a pod at the moment it was deleted.
    pub(crate) interrupted: AtomicU64,
    /// Attempts of tasks that had run before.
    pub(crate) again: AtomicU64,
    /// Attempts that were handed back or lost by a worker.
    pub(crate) dropped: AtomicU64,
}

impl Tally {
    pub(crate) fn pod_deleted(&self, running: u64) {
        self.pods_deleted.fetch_add(1, Ordering::Relaxed);
        self.interrupted.fetch_add(running, Ordering::Relaxed);
    }

    pub(crate) fn worker_ended(&self, report: &Report) {
        let dropped = report.released + report.lost + report.undelivered;
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            formatter,
            "{} pods deleted, {} tasks interrupted, {} run again, {} dropped",
            of(&self.pods_deleted),
            of(&self.interrupted),
            of(&self.again),
            of(&self.dropped)
        )
    }
}
