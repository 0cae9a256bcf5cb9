//! Leases that somebody takes back because he knows that the worker is gone, or believes so.

use std::sync::Arc;
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker, WorkerInfo};
use taskqueue_queue::{Cause, Reclaimed, State};
use tokio::sync::{Semaphore, mpsc};

use crate::testbed::pulse::Pulse;
use crate::testbed::{self, Running, SOON, brisk, next, queue, recording, snapshot, task, until};

const RELEASED: Reclaimed = Reclaimed {
    released: 1,
    quarantined: 0,
    workers: 1,
};

fn in_pod(pod: &str) -> WorkerInfo {
    WorkerInfo {
        pod: pod.to_owned(),
        node: "node".to_owned(),
    }
}

#[tokio::test]
async fn the_task_of_a_pod_that_is_gone_runs_at_once_where_another_worker_waits() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let mut policy = brisk();
    policy.max_losses = 10_000;
    queue.configure(&policy).await.unwrap();
    let pulse = Pulse::beside(&redis).await;
    let mut quick = 0;
    for round in 0.. {
        let hang = |_: LeasedTask| std::future::pending::<Outcome>();
        // It would take ten seconds to find out.
        let worker = Worker::new(queue.clone(), hang).info(in_pod("gone"));
        let doomed = Running::start(worker);
        let id = queue.enqueue(task(round)).await.unwrap().id();
        until(&client, &queue, "taken", |s| s.active == 1).await;
        let (handler, mut seen) = recording();
        let peer = Running::start(Worker::new(queue.clone(), handler));
        eventually(SOON, "the other one blocks", async || {
            let clients: String = redis.command("CLIENT LIST").await;
            let blocks = |line: &str| line.contains("cmd=blpop") && line.contains("flags=b");
            clients.lines().any(blocks).then_some(())
        })
        .await;
        doomed.crash().await;

        let workers = queue.workers().await.unwrap();
        let gone: Vec<_> = workers
            .iter()
            .filter(|worker| worker.pod == "gone")
            .map(|worker| worker.id)
            .collect();
        let gone_is_known = pulse.watch();
        let released = queue.release(&gone, Cause::OomKilled, "").await.unwrap();
        assert_eq!(released, RELEASED);
        assert_eq!(next(&mut seen, 1).await, [round]);
        // Nobody has to find out: the other one would sleep for two seconds.
        gone_is_known.quick(Duration::from_millis(500));
        quick += usize::from(gone_is_known.took() < Duration::from_millis(50));

        let done = eventually(SOON, "completed", async || {
            let task = queue.get(&id).await.unwrap().unwrap();
            (task.state == State::Completed).then_some(task)
        })
        .await;
        assert_eq!((done.losses, done.attempts), (1, 0));
        assert_eq!(done.errors.len(), 1);
        assert_eq!(done.errors[0].cause, Cause::OomKilled);
        assert_eq!(done.errors[0].message, "lost its worker");
        // Once more is no harm: they are not known any more.
        let again = queue.release(&gone, Cause::OomKilled, "").await.unwrap();
        assert_eq!(again, Reclaimed::default());
        peer.stop().await;
        if quick == 4 {
            break;
        }
    }
}

#[tokio::test]
async fn why_a_worker_is_gone_is_kept_with_its_task_and_cut_where_it_is_long() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let mut policy = brisk();
    policy.max_losses = 1;
    queue.configure(&policy).await.unwrap();
    let id = queue.enqueue(task(1)).await.unwrap().id();
    let long = "ä".repeat(600);
    for (round, why) in ["exit code 137", &long].into_iter().enumerate() {
        let hang = |_: LeasedTask| std::future::pending::<Outcome>();
        let doomed = Running::start(Worker::new(queue.clone(), hang));
        until(&client, &queue, "taken", |s| s.active == 1).await;
        doomed.crash().await;
        let holder = queue.workers().await.unwrap()[0].id;
        let cause = Cause::WorkerLost;
        let released = queue.release(&[holder], cause, why).await.unwrap();
        assert_eq!(
            (released.released, released.quarantined),
            [(1, 0), (0, 1)][round]
        );
    }
    let dead = queue.get(&id).await.unwrap().unwrap();
    assert_eq!((dead.state, dead.losses), (State::Dead, 2));
    let messages: Vec<_> = dead
        .errors
        .iter()
        .map(|error| error.message.as_str())
        .collect();
    let cut = "ä".repeat(256);
    let last = format!("lost its worker 2 times: {cut}");
    assert_eq!(messages, ["lost its worker: exit code 137", &last]);
}

#[tokio::test]
async fn a_worker_that_was_taken_for_gone_is_told_has_its_acks_refused_and_goes_on() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let gate = Arc::new(Semaphore::new(0));
    let (told, mut hears) = mpsc::unbounded_channel();
    let handler = {
        let gate = Arc::clone(&gate);
        move |task: LeasedTask| {
            let (gate, told) = (Arc::clone(&gate), told.clone());
            async move {
                if task.losses == 0 && testbed::number(&task) == 1 {
                    task.lease_lost().await;
                    told.send(task.worker).unwrap();
                    gate.acquire().await.unwrap().forget();
                }
                Outcome::Completed(None)
            }
        }
    };
    let worker = Worker::new(queue.clone(), handler).info(in_pod("alive"));
    let worker = Running::start(worker);
    let id = queue.enqueue(task(1)).await.unwrap().id();
    until(&client, &queue, "taken", |s| s.active == 1).await;
    let before = queue.workers().await.unwrap()[0].id;
    let why = "pod alive: The node was low on resource: memory.";
    let released = queue.release(&[before], Cause::Evicted, why).await;
    let released = released.unwrap();
    assert_eq!(released, RELEASED);
    let notice = tokio::time::timeout(SOON, hears.recv()).await.unwrap();
    assert_eq!(notice, Some(before));
    gate.add_permits(1);
    let done = eventually(SOON, "completed", async || {
        let task = queue.get(&id).await.unwrap().unwrap();
        (task.state == State::Completed).then_some(task)
    })
    .await;
    let states = queue.workers().await.unwrap();
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].pod, "alive");
    assert_ne!(states[0].id, before, "a worker id is never used twice");
    assert_eq!(done.worker, Some(states[0].id));
    let error = &done.errors[0];
    assert_eq!((error.cause, error.attempt), (Cause::Evicted, 1));
    assert_eq!(error.message, format!("lost its worker: {why}"));
    let report = worker.stop().await;
    assert_eq!((report.completed, report.lost), (1, 1));
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.counters.completed, figures.counters.lost), (1, 1));
}
