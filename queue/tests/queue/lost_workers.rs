//! Workers that die, or that only seem dead: reclaim, quarantine, fencing.

use std::sync::Arc;
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Observer, Outcome, Worker};
use taskqueue_queue::{Cause, Reclaimed, State};
use tokio::sync::{Notify, mpsc};

use crate::testbed::proxy::Proxy;
use crate::testbed::pulse::Pulse;
use crate::testbed::{
    Running, SOON, brisk, name, next, number, queue, recording, snapshot, task, tasks, until,
};

const LEASE: Duration = Duration::from_millis(600);

fn hang(_: LeasedTask) -> std::future::Pending<Outcome> {
    std::future::pending()
}

#[tokio::test]
async fn a_dead_workers_tasks_run_elsewhere_within_a_lease_and_a_beat() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.enqueue_many(tasks(0..5)).await.unwrap();
    let doomed = Running::start(Worker::new(queue.clone(), hang).concurrency(5).lease(LEASE));
    until(&client, &queue, "all taken", |s| s.active == 5).await;
    let (handler, mut seen) = recording();
    let peer = Running::start(Worker::new(queue.clone(), handler).lease(LEASE));
    until(&client, &queue, "the peer is there", |s| s.workers == 2).await;
    let pulse = Pulse::beside(&redis).await;
    doomed.crash().await;
    let died = pulse.watch();
    // The oldest first, as they were enqueued.
    assert_eq!(next(&mut seen, 5).await, [0, 1, 2, 3, 4]);
    died.quick(LEASE + LEASE / 3 + Duration::from_millis(700));
    peer.stop().await;
    let figures = snapshot(&queue, &client).await;
    assert_eq!(
        (
            figures.counters.lost,
            figures.counters.failed,
            figures.expired_workers
        ),
        (5, 0, 0)
    );
}

#[tokio::test]
async fn reclaim_needs_no_worker_and_leaves_live_leases_alone() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.enqueue_many(tasks(0..4)).await.unwrap();
    let doomed = Running::start(Worker::new(queue.clone(), hang).concurrency(2).lease(LEASE));
    until(&client, &queue, "two taken", |s| s.active == 2).await;
    // With a lease so long that it does no maintenance meanwhile.
    let calm = Running::start(
        Worker::new(queue.clone(), hang)
            .concurrency(2)
            .lease(SOON * 10),
    );
    until(&client, &queue, "four taken", |s| s.active == 4).await;
    assert_eq!(queue.reclaim().await.unwrap(), Reclaimed::default());
    doomed.crash().await;
    let figures = until(&client, &queue, "lapsed", |s| s.expired_workers == 1).await;
    assert_eq!((figures.active, figures.lost), (4, 2));
    let expected = Reclaimed {
        released: 2,
        quarantined: 0,
        workers: 1,
    };
    assert_eq!(queue.reclaim().await.unwrap(), expected);
    // The calm one may have been woken and be full; the tasks wait.
    let figures = snapshot(&queue, &client).await;
    assert_eq!(
        (figures.active, figures.backlog(), figures.workers),
        (2, 2, 1)
    );
    assert_eq!(figures.lost, 0);
    calm.abort().await;
}

#[tokio::test]
async fn a_task_that_loses_too_many_workers_is_quarantined() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let mut policy = brisk();
    policy.max_losses = 1;
    queue.configure(&policy).await.unwrap();
    let id = queue.enqueue(task(1)).await.unwrap().id();
    for round in 0..2_u32 {
        let (sender, mut seen) = mpsc::unbounded_channel();
        let doomed = Running::start(
            Worker::new(queue.clone(), move |task: LeasedTask| {
                sender.send((task.attempt, task.losses)).unwrap();
                std::future::pending::<Outcome>()
            })
            .lease(LEASE),
        );
        let (attempt, losses) = tokio::time::timeout(SOON, seen.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((attempt, losses), (1, round), "a loss costs no attempt");
        doomed.crash().await;
        until(&client, &queue, "lapsed", |s| s.expired_workers == 1).await;
        let reclaimed = queue.reclaim().await.unwrap();
        assert_eq!(
            (reclaimed.released, reclaimed.quarantined),
            if round == 0 { (1, 0) } else { (0, 1) }
        );
    }
    let dead = queue.get(&id).await.unwrap().unwrap();
    assert_eq!(
        (dead.state, dead.losses, dead.attempts),
        (State::Dead, 2, 0)
    );
    assert!(
        dead.errors
            .iter()
            .all(|error| error.cause == Cause::WorkerLost)
    );
    let messages: Vec<_> = dead.errors.iter().map(|error| &error.message).collect();
    assert_eq!(messages, ["lost its worker", "lost its worker 2 times"]);
    assert_eq!(dead.payload.unwrap().parse::<u32>().unwrap(), 1);
}

#[derive(Default)]
struct Losses(std::sync::atomic::AtomicUsize);

impl Observer for Losses {
    fn lease_lost(&self, tasks: usize) {
        self.0
            .fetch_add(tasks, std::sync::atomic::Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_worker_that_comes_back_too_late_drops_its_results_and_goes_on_under_a_new_id() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let proxy = Proxy::before(redis.port()).await;
    let cut_off = proxy.client().await.queue(name("jobs"));
    queue.enqueue_many(tasks(0..2)).await.unwrap();

    let finish = Arc::new(Notify::new());
    let (told, mut hears) = mpsc::unbounded_channel();
    let (begins, mut begun) = mpsc::unbounded_channel();
    let losses = Arc::new(Losses::default());
    let worker = {
        let finish = Arc::clone(&finish);
        let handler = move |task: LeasedTask| {
            let (finish, told) = (Arc::clone(&finish), told.clone());
            // Redis may have leased what the worker has not heard of yet.
            begins.send(()).unwrap();
            async move {
                if number(&task) == 1 {
                    task.lease_lost().await;
                    told.send(task.worker).unwrap();
                } else if number(&task) == 0 {
                    finish.notified().await;
                }
                Outcome::Completed(None)
            }
        };
        Running::start(
            Worker::new(cut_off, handler)
                .concurrency(2)
                .lease(LEASE)
                .observer(Arc::clone(&losses)),
        )
    };
    for _ in 0..2 {
        let both = tokio::time::timeout(SOON, begun.recv()).await;
        assert_eq!(both.unwrap(), Some(()));
    }
    proxy.go_down();
    until(&client, &queue, "lapsed", |s| s.expired_workers == 1).await;
    assert_eq!(queue.reclaim().await.unwrap().released, 2);

    // Someone else completes one of them before the first worker is back.
    let (handler, mut seen) = recording();
    let peer = Running::start(Worker::new(queue.clone(), handler).lease(SOON));
    assert_eq!(next(&mut seen, 2).await, [0, 1]);
    peer.stop().await;
    finish.notify_one();
    proxy.come_back();
    let old = tokio::time::timeout(SOON, hears.recv())
        .await
        .unwrap()
        .unwrap();
    let third = queue.enqueue(task(7)).await.unwrap().id();
    let done = eventually(SOON, "the third ran", async || {
        queue
            .get(&third)
            .await
            .unwrap()
            .filter(|task| task.state == State::Completed)
    })
    .await;
    assert_ne!(done.worker.unwrap(), old, "a worker id is never used twice");
    let report = worker.stop().await;
    assert_eq!((report.completed, report.lost), (1, 2));
    assert_eq!(losses.0.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert_eq!(
        snapshot(&queue, &client).await.counters.completed,
        3,
        "each task once"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_lost_while_the_line_breaks_again_and_again() {
    const TASKS: u32 = 4_000;
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let proxy = Proxy::before(redis.port()).await;
    let runs = Arc::new(std::sync::Mutex::new(vec![0_u32; TASKS as usize]));
    let mut workers = Vec::new();
    for _ in 0..3 {
        let runs = Arc::clone(&runs);
        let handler = move |task: LeasedTask| {
            runs.lock().unwrap()[number(&task) as usize] += 1;
            async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Outcome::Completed(None)
            }
        };
        let consumer = proxy.client().await.queue(name("jobs"));
        let worker = Worker::new(consumer, handler).concurrency(10);
        workers.push(Running::start(worker.lease(LEASE)));
    }
    for round in 1..=20 {
        let batch = TASKS / 20;
        queue
            .enqueue_many(tasks((round - 1) * batch..round * batch))
            .await
            .unwrap();
        // Somewhere in the middle of the batch.
        let some = u64::from((round - 1) * batch + batch / 2);
        until(&client, &queue, "half a batch", |s| {
            s.counters.completed >= some
        })
        .await;
        proxy.go_down();
        if round % 5 == 0 {
            // Long enough for the leases to lapse and a stranger to take the tasks back.
            until(&client, &queue, "lapsed", |s| s.workers == 0).await;
            queue.reclaim().await.unwrap();
        }
        proxy.come_back();
    }
    let all = u64::from(TASKS);
    until(&client, &queue, "all done", |s| {
        s.counters.completed == all && s.active == 0
    })
    .await;
    let mut lost = 0;
    for worker in workers {
        lost += worker.stop().await.lost;
    }
    let figures = snapshot(&queue, &client).await;
    assert_eq!(
        (figures.backlog(), figures.dead, figures.scheduled),
        (0, 0, 0)
    );
    assert_eq!(figures.counters.completed, all);
    let runs = runs.lock().unwrap();
    let again: u64 = runs
        .iter()
        .map(|&runs| u64::from(runs.saturating_sub(1)))
        .sum();
    assert!(runs.iter().all(|&runs| runs > 0), "a task never ran");
    assert!(
        again <= lost,
        "{again} runs too many, but only {lost} leases lost"
    );
}
