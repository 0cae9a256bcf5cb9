//! Worker processes killed at random under load. Every task completes; each run too many is one
//! that a lost lease explains.

use std::time::{Duration, Instant};

use futures::StreamExt;
use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Client, NewTask, Payload, Policy, Queue, Snapshot, State, TaskId};
use tokio_util::sync::CancellationToken;

use super::actor::{self, Actor, Part, Stage};
use super::{each_end_is_logged_once, logging, name, put_many};

const TASKS: u32 = 50_000;
const SECONDS: u64 = 30;
const WORKERS: usize = 4;
const SLOTS: usize = 40;
const LEASE: Duration = Duration::from_secs(1);
/// Between two kills, at most; half of it on average.
const LONGEST_PEACE_MS: u64 = 500;
/// How long the rest may take once the killing is over.
const DRAIN: Duration = Duration::from_mins(2);

/// A worker process: each run of a task is counted in another Redis at its begin and at its end.
pub(crate) async fn play(stage: Stage) {
    let effects = stage.effects;
    let handler = move |task: LeasedTask| {
        let mut effects = effects.clone();
        async move {
            let number: u32 = task.payload.parse().unwrap();
            count(&mut effects, "begun", number).await;
            let millis = 1 + u64::from(number) * 7_919 % 50;
            tokio::time::sleep(Duration::from_millis(millis)).await;
            count(&mut effects, "ended", number).await;
            Outcome::Completed(None)
        }
    };
    let worker = Worker::new(stage.queue, handler)
        .concurrency(SLOTS)
        .lease(LEASE);
    let report = worker.run(stage.stop, CancellationToken::new()).await;
    report.unwrap();
}

async fn count(effects: &mut redis::aio::MultiplexedConnection, key: &str, number: u32) {
    let mut command = redis::cmd("HINCRBY");
    command.arg(key).arg(number).arg(1);
    command.exec_async(effects).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_completes_while_workers_are_killed_and_each_run_too_many_is_a_lost_lease() {
    let asked = std::env::var("CRASH_SECONDS").ok();
    let seconds = asked.map_or(SECONDS, |text| text.parse().unwrap());
    let tasks = u32::try_from(u64::from(TASKS) * seconds / SECONDS).unwrap();
    let (redis, effects) = (RedisServer::start().await, RedisServer::start().await);
    let client = redis.client().await;
    let queue = client.queue(name());
    let policy = Policy {
        max_losses: 1_000_000,
        ..logging()
    };
    queue.configure(&policy).await.unwrap();

    let begun = Instant::now();
    let producing = tokio::spawn(produce(queue.clone(), tasks, seconds));
    let start = || Actor::start(Part::Worker, &redis.url(), &effects.url());
    let mut workers: Vec<Actor> = (0..WORKERS).map(|_| start()).collect();
    let mut kills = 0_u32;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let peace = rand::random_range(1..LONGEST_PEACE_MS);
        tokio::time::sleep(Duration::from_millis(peace)).await;
        let victim = rand::random_range(0..WORKERS);
        workers[victim].kill();
        workers[victim] = start();
        kills += 1;
    }
    let ids = producing.await.unwrap();
    let killing = begun.elapsed();
    let all = u64::from(tasks);
    eventually(DRAIN, "all completed", async || {
        let figures = figures(&client, &queue).await;
        (figures.counters.completed >= all && figures.active == 0).then_some(())
    })
    .await;
    let took = begun.elapsed();
    for worker in workers {
        worker.stop();
    }

    let figures = figures(&client, &queue).await;
    let (begins, ends) = (
        runs(&effects, "begun", tasks).await,
        runs(&effects, "ended", tasks).await,
    );
    let surplus = begins.iter().map(|&runs| u64::from(runs) - 1).sum::<u64>();
    let lost = figures.counters.lost;
    println!(
        "workers killed: {kills} kills in {killing:.1?}, {tasks} tasks in {took:.1?}; {lost} leases lost, {surplus} runs too many"
    );
    let rest = (figures.backlog(), figures.scheduled, figures.active);
    assert_eq!((rest, figures.dead), ((0, 0, 0), 0));
    let counters = figures.counters;
    assert_eq!((counters.enqueued, counters.completed), (all, all));
    assert!(ends.iter().all(|&runs| runs > 0), "completed without a run");
    assert!(u64::from(kills) >= seconds, "only {kills} kills");
    assert!(lost > 0, "no worker was killed at work");
    assert!(surplus <= lost, "{surplus} runs too many, {lost} lost");
    explain(&queue, &ids, &begins).await;
    each_end_is_logged_once(&queue, all).await;
}

/// Enqueues evenly over the time, and returns the ids in the order of the numbers.
async fn produce(queue: Queue, tasks: u32, seconds: u64) -> Vec<TaskId> {
    let mut ids = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let ticks = u32::try_from(seconds * 10).unwrap();
    for turn in 0..ticks {
        tick.tick().await;
        let numbers = tasks / ticks * turn..tasks / ticks * (turn + 1);
        // What does not divide evenly comes last.
        let numbers = if turn + 1 == ticks {
            numbers.start..tasks
        } else {
            numbers
        };
        let batch = numbers.map(|n| NewTask::new("effect", Payload::of(&n).unwrap()));
        ids.extend(put_many(&queue, batch.collect()).await.unwrap());
    }
    ids
}

/// Every task is completed, and knows of each loss that made it run again.
async fn explain(queue: &Queue, ids: &[TaskId], begins: &[u32]) {
    let checks = ids.iter().zip(begins).map(async |(id, &begins)| {
        let task = queue.get(id).await.unwrap();
        let task = task.unwrap_or_else(|| panic!("{id} is gone"));
        assert_eq!(task.state, State::Completed, "{id}");
        let losses = task.losses;
        assert!(begins <= 1 + losses, "{id}: {begins} runs, {losses} losses");
    });
    let checks = futures::stream::iter(checks).buffer_unordered(100);
    checks.collect::<()>().await;
}

/// How often each task ran.
async fn runs(effects: &RedisServer, key: &str, tasks: u32) -> Vec<u32> {
    let mut raw = actor::effects(&effects.url()).await;
    let mut command = redis::cmd("HMGET");
    command.arg(key);
    for number in 0..tasks {
        command.arg(number);
    }
    let runs: Vec<Option<u32>> = command.query_async(&mut raw).await.unwrap();
    let runs = runs.into_iter().enumerate();
    runs.map(|(number, runs)| runs.unwrap_or_else(|| panic!("task {number} never ran")))
        .collect()
}

async fn figures(client: &Client, queue: &Queue) -> Snapshot {
    let figures = client.snapshot(std::slice::from_ref(queue)).await;
    figures.into_iter().next().unwrap().unwrap()
}
