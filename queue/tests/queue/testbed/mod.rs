//! What the tests of this crate share: a queue on a fresh server, tasks, and a worker that runs
//! beside the test.

pub(crate) mod proxy;
pub(crate) mod pulse;

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome, Probe, Report, Worker};
use taskqueue_queue::{
    Client, Error, Limits, NewTask, Payload, Policy, Queue, QueueName, Snapshot,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here may take; machines that run tests are slow at times.
pub(crate) const SOON: Duration = Duration::from_mins(1);

pub(crate) fn name(queue: &str) -> QueueName {
    QueueName::new("test", queue).unwrap()
}

pub(crate) async fn queue(redis: &RedisServer) -> Queue {
    redis.client().await.queue(name("jobs"))
}

pub(crate) fn task(number: u32) -> NewTask {
    NewTask::new("count", Payload::of(&number).unwrap())
}

pub(crate) fn tasks(numbers: std::ops::Range<u32>) -> Vec<NewTask> {
    numbers.map(task).collect()
}

/// The same, with records that are large enough for shelves: 64 of them are a large batch.
pub(crate) fn large_tasks(numbers: std::ops::Range<u32>) -> Vec<NewTask> {
    let kind = "k".repeat(64);
    let task = |number| NewTask::new(kind.clone(), Payload::of(&number).unwrap());
    numbers.map(task).collect()
}

pub(crate) fn number(task: &LeasedTask) -> u32 {
    task.payload.parse().unwrap()
}

/// A policy that retries without delay or chance.
pub(crate) fn brisk() -> Policy {
    let mut policy = Policy::default();
    policy.retry.backoff.initial = Duration::from_millis(1);
    policy.retry.backoff.jitter = 0.0;
    policy
}

pub(crate) fn limited(limits: Limits) -> Policy {
    Policy {
        limits,
        ..Policy::default()
    }
}

/// A policy that lets so many tasks of a key run at a time.
pub(crate) fn per_key(most: Option<u32>) -> Policy {
    limited(Limits {
        per_key_concurrency: most,
        ..Limits::default()
    })
}

pub(crate) async fn snapshot(queue: &Queue, client: &Client) -> Snapshot {
    client
        .snapshot(std::slice::from_ref(queue))
        .await
        .remove(0)
        .unwrap()
}

/// Whether so many clients block.
pub(crate) async fn blocked(redis: &RedisServer, count: usize) -> Option<()> {
    let info: redis::InfoDict = redis.command("INFO clients").await;
    let blocked: usize = info.get("blocked_clients").unwrap();
    (blocked == count).then_some(())
}

/// Waits until a queue's figures are as wanted.
pub(crate) async fn until(
    client: &Client,
    queue: &Queue,
    what: &str,
    wanted: impl Fn(&Snapshot) -> bool,
) -> Snapshot {
    eventually(SOON, what, async || {
        let snapshot = client
            .snapshot(std::slice::from_ref(queue))
            .await
            .remove(0)
            .ok()?;
        wanted(&snapshot).then_some(snapshot)
    })
    .await
}

/// A worker that runs beside the test.
pub(crate) struct Running {
    stop: CancellationToken,
    abort: CancellationToken,
    probe: Probe,
    run: JoinHandle<Result<Report, Error>>,
}

impl Running {
    pub(crate) fn start<H: Handler>(worker: Worker<H>) -> Self {
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let probe = worker.probe();
        let run = tokio::spawn(worker.run(stop.clone(), abort.clone()));
        Self {
            stop,
            abort,
            probe,
            run,
        }
    }

    pub(crate) fn probe(&self) -> &Probe {
        &self.probe
    }

    pub(crate) fn tell_to_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn stop(self) -> Report {
        self.stop.cancel();
        self.ended().await
    }

    pub(crate) async fn abort(self) -> Report {
        self.abort.cancel();
        self.ended().await
    }

    pub(crate) async fn ended(self) -> Report {
        tokio::time::timeout(SOON, self.run)
            .await
            .expect("the worker ends")
            .unwrap()
            .unwrap()
    }

    /// As SIGKILL would end it: no farewell, no more heartbeats.
    pub(crate) async fn crash(self) {
        self.run.abort();
        let _ = self.run.await;
    }
}

/// A handler that reports each number it is given and completes.
pub(crate) fn recording() -> (impl Handler, UnboundedReceiver<u32>) {
    let (sender, receiver) = unbounded_channel();
    let handler = move |task: LeasedTask| {
        let sender: UnboundedSender<u32> = sender.clone();
        async move {
            let _ = sender.send(number(&task));
            Outcome::Completed(None)
        }
    };
    (handler, receiver)
}

/// The next `count` numbers.
pub(crate) async fn next(receiver: &mut UnboundedReceiver<u32>, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let next = tokio::time::timeout(SOON, receiver.recv()).await;
        numbers.push(
            next.unwrap_or_else(|_| panic!("got only {numbers:?}"))
                .unwrap(),
        );
    }
    numbers
}
