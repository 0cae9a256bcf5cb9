//! Handlers that break down, and handlers that take no tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{Handler, LeasedTask, Observer, Outcome, Worker};
use taskqueue_queue::{Cause, NewTask, Payload, Policy, State};

use tokio::sync::Notify;

use crate::testbed::{self, Running, SOON, queue, task};

/// Breaks down under each task of the type "poison", and sees how many tasks run at once.
#[derive(Clone, Default)]
struct Fragile {
    running: Arc<AtomicUsize>,
    /// Most tasks that ran beside one that had its last chance.
    beside: Arc<AtomicUsize>,
}

impl Handler for Fragile {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        let others = self.running.fetch_add(1, Ordering::SeqCst);
        let last_chance = task.losses > 0;
        if last_chance {
            self.beside.fetch_max(others, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = self.running.fetch_sub(1, Ordering::SeqCst);
        if last_chance {
            self.beside.fetch_max(now - 1, Ordering::SeqCst);
        }
        if task.kind == "poison" || (task.kind == "unlucky" && task.losses == 0) {
            let error = "it broke down".to_owned();
            return Outcome::Lost { error };
        }
        Outcome::Completed(None)
    }
}

#[tokio::test]
async fn a_task_whose_next_loss_would_be_the_last_runs_alone() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let policy = Policy {
        max_losses: 1,
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    let handler = Fragile::default();
    let worker = Worker::new(queue.clone(), handler.clone()).concurrency(8);
    let worker = Running::start(worker);
    let mut ids = Vec::new();
    for number in 0..200 {
        let kind = match number % 40 {
            0 => "poison",
            20 => "unlucky",
            _ => "harmless",
        };
        let new = NewTask::new(kind, Payload::null());
        ids.push((kind, queue.enqueue(new).await.unwrap().id()));
    }
    for (kind, id) in &ids {
        let task = eventually(SOON, "it ends", async || {
            let task = queue.get(id).await.unwrap()?;
            (task.state == State::Completed || task.state == State::Dead).then_some(task)
        })
        .await;
        let expected = match *kind {
            "poison" => (State::Dead, 2),
            "unlucky" => (State::Completed, 1),
            _ => (State::Completed, 0),
        };
        assert_eq!((task.state, task.losses), expected, "{kind}");
        assert_eq!(task.attempts, 0, "a loss costs no attempt");
        if *kind == "poison" {
            let last = task.errors.last().unwrap();
            assert_eq!(last.message, "lost its worker 2 times: it broke down");
            assert_eq!(last.cause, Cause::WorkerLost);
        }
    }
    assert_eq!(handler.beside.load(Ordering::SeqCst), 0);
    worker.stop().await;
}

/// Loses each task once, and holds on to those that it gets again.
#[derive(Clone, Default)]
struct Holds(Arc<Notify>);

impl Handler for Holds {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        if task.losses == 0 {
            let error = "it broke down".to_owned();
            return Outcome::Lost { error };
        }
        self.0.notified().await;
        Outcome::Completed(None)
    }
}

#[tokio::test]
async fn while_one_runs_alone_the_others_with_a_last_chance_are_held_by_nobody() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let policy = Policy {
        max_losses: 1,
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    let handler = Holds::default();
    let worker = Running::start(Worker::new(queue.clone(), handler.clone()).concurrency(8));
    // Fetched together, so that all are lost before one runs alone.
    queue.enqueue_many(testbed::tasks(0..5)).await.unwrap();
    for left in (0..5).rev() {
        testbed::until(&client, &queue, "one is held", |snapshot| {
            let waiting: u64 = snapshot.waiting.iter().map(|(_, count)| count).sum();
            (snapshot.active, waiting, snapshot.counters.lost) == (1, left, 5)
        })
        .await;
        handler.0.notify_one();
    }
    testbed::until(&client, &queue, "all end", |s| s.counters.completed == 5).await;
    worker.stop().await;
}

/// Takes tasks once it is told to.
struct Shy(Arc<AtomicBool>);

impl Handler for Shy {
    async fn handle(&self, _: LeasedTask) -> Outcome {
        Outcome::Completed(None)
    }

    fn available(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Counts how often the worker's loop turned.
#[derive(Default)]
struct Turns(AtomicUsize);

impl Observer for Turns {
    fn loop_turned(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn nothing_is_fetched_while_the_handler_takes_no_tasks() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let open = Arc::new(AtomicBool::new(false));
    let turns = Arc::new(Turns::default());
    let worker = Worker::new(queue.clone(), Shy(Arc::clone(&open)));
    let worker = Running::start(worker.observer(Arc::clone(&turns)));
    testbed::until(&client, &queue, "the worker is there", |s| s.workers == 1).await;
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let before = turns.0.load(Ordering::SeqCst);
    eventually(SOON, "the loop turns", async || {
        (turns.0.load(Ordering::SeqCst) > before + 2).then_some(())
    })
    .await;
    assert_eq!(queue.get(&id).await.unwrap().unwrap().state, State::Waiting);
    open.store(true, Ordering::SeqCst);
    eventually(SOON, "it runs", async || {
        let task = queue.get(&id).await.unwrap()?;
        (task.state == State::Completed).then_some(())
    })
    .await;
    worker.stop().await;
}
