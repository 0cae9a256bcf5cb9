//! Every call, and workers, on a damaged database. One bad task stops nothing: all that were not
//! touched are delivered.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use tokio_util::sync::CancellationToken;

use super::damage::{Damage, Vandal};
use super::wreck::{self, SOON, figures};
use super::{Cases, Named, connection, dice, panics};
use crate::testing::{RedisServer, eventually};
use crate::worker::{LeasedTask, Outcome, Worker};
use crate::{Client, Enqueued, NewTask, Payload, Policy, Queue, QueueName, TaskId};

const CASES: u64 = 64;
/// Cases that run side by side: they mostly wait.
const ABREAST: usize = 8;
const LEASE: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(100);

/// What becomes of a task before the damage, by its number.
const DEAD: std::ops::Range<u64> = 0..3;
const DONE: std::ops::Range<u64> = 3..6;
const HELD: std::ops::Range<u64> = 6..10;
const WAITING: std::ops::Range<u64> = 10..34;
const SCHEDULED: std::ops::Range<u64> = 34..38;

#[test]
fn on_a_damaged_database_every_call_ends_and_every_untouched_task_is_delivered() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let panicked = panics();
    let redis = Arc::new(runtime.block_on(RedisServer::start()));
    let cases = Arc::new(Mutex::new(Cases::new(CASES)));
    let (tried, whole, touched) = runtime.block_on(async {
        let mut lanes = Vec::new();
        for _ in 0..ABREAST {
            let (cases, redis) = (Arc::clone(&cases), Arc::clone(&redis));
            lanes.push(tokio::spawn(async move {
                let (mut tried, mut whole, mut touched) = (0, 0, 0);
                let next = || cases.lock().unwrap().next();
                while let Some(case) = next() {
                    let _named = Named("database", case);
                    let damage = tokio::time::timeout(LONGEST, one(case, &redis)).await;
                    let damage = damage.expect("no call hangs");
                    touched += damage.touched.len();
                    whole += usize::from(!damage.shared);
                    tried += 1;
                }
                (tried, whole, touched)
            }));
        }
        let mut sum = (0, 0, 0);
        for lane in lanes {
            let (tried, whole, touched) = lane.await.unwrap();
            sum = (sum.0 + tried, sum.1 + whole, sum.2 + touched);
        }
        sum
    });
    println!(
        "{tried} damaged queues, {touched} tasks touched; in {whole} nothing that all share, and all others were delivered"
    );
    assert!(whole > 0, "always something that all share");
    assert_eq!(panics(), panicked, "something panicked");
}

/// One case.
async fn one(case: u64, redis: &RedisServer) -> Damage {
    let mut chance = dice(case);
    let client = redis.client().await;
    let name = QueueName::new("database", &format!("case-{case}")).unwrap();
    let queue = client.queue(name.clone());
    // Now and then those that are held have lost enough workers.
    let max_losses = chance.random_range(1..4);
    let tasks = populate(redis, &client, &queue, max_losses).await;
    let ids: BTreeSet<_> = tasks.iter().map(|id| id.as_str().into()).collect();

    let harms = chance.random_range(1..5);
    let replaces = chance.random_bool(0.1);
    let mut vandal = Vandal {
        raw: connection(redis).await,
        dice: &mut chance,
        queue: &name,
        ids: &ids,
        damage: Damage::default(),
    };
    for _ in 0..harms {
        if vandal.dice.random_bool(0.5) {
            vandal.change().await;
        } else {
            vandal.invent().await;
        }
    }
    if replaces {
        vandal.replace().await;
    }
    let mut damage = std::mem::take(&mut vandal.damage);

    // Strangers to what was known of the queue before.
    let client = redis.client().await;
    let queue = client.queue(name.clone());
    let seen: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let seeing = Arc::clone(&seen);
    let handler = move |task: LeasedTask| {
        if let Ok(number) = task.payload.parse() {
            seeing.lock().unwrap().insert(number);
        }
        async { Outcome::Completed(None) }
    };
    let stop = CancellationToken::new();
    let worker = Worker::new(queue, handler)
        .concurrency(4)
        .drain_timeout(Duration::from_secs(1))
        .lease(LEASE);
    let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    wreck::call_everything(&client, &name, &mut dice(case)).await;
    if !damage.shared {
        let held = if max_losses > 1 { HELD } else { 0..0 };
        let all = held.chain(WAITING).chain(SCHEDULED);
        let untouched: BTreeSet<u64> = all
            .filter(|&number| {
                let id = tasks[usize::try_from(number).unwrap()];
                !damage.touched.contains(id.as_str().as_bytes())
            })
            .collect();
        let missing = || {
            let seen = seen.lock().unwrap();
            untouched.difference(&seen).copied().collect::<Vec<_>>()
        };
        let patience = std::time::Instant::now() + SOON;
        while !missing().is_empty() {
            let log = damage.log.join("\n");
            assert!(
                std::time::Instant::now() < patience,
                "case {case}: not delivered: {:?}\n{log}",
                missing()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    wreck::call_everything(&client, &name, &mut dice(case)).await;
    stop.cancel();
    // An error of the start, or a report; not a panic.
    let _ = run.await.unwrap();
    if !damage.shared {
        vandal.damage = damage;
        let lost = vandal.lost_sight_of().await;
        damage = vandal.damage;
        let log = damage.log.join("\n");
        assert!(lost.is_empty(), "case {case}: in no state: {lost:?}\n{log}");
    }
    damage
}

/// A queue with tasks in every state. Their ids by number.
async fn populate(
    redis: &RedisServer,
    client: &Client,
    queue: &Queue,
    max_losses: u32,
) -> Vec<TaskId> {
    let mut policy = Policy {
        max_losses,
        ..Policy::default()
    };
    policy.retry.backoff.initial = Duration::from_millis(1);
    queue.configure(&policy).await.unwrap();
    let task = |number: u64| {
        let level = ["high", "normal", "low"][usize::try_from(number).unwrap() % 3];
        // Large enough for a shelf.
        let kind = "any".repeat(20);
        let task = NewTask::new(kind, Payload::of(&number).unwrap()).priority(level);
        let task = if number.is_multiple_of(3) {
            task.idempotency_key(format!("own {number}"), Duration::from_mins(1))
        } else {
            task
        };
        match number % 4 {
            0 => task.unique(format!("key {number}"), Duration::from_mins(1)),
            1 => task.expires_in(Duration::from_hours(1)),
            2 => task.concurrency_key(format!("key {number}")),
            _ => task,
        }
    };
    let mut ids = Vec::new();
    for number in DEAD.chain(DONE) {
        ids.push(queue.enqueue(task(number)).await.unwrap().id());
    }
    let handler = |task: LeasedTask| async move {
        if DEAD.contains(&task.payload.parse().unwrap()) {
            let error = "no".to_owned();
            return Outcome::Dead { error };
        }
        Outcome::Completed(None)
    };
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.clone(), handler).concurrency(6);
    let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    eventually(SOON, "dead and done", async || {
        let figures = figures(client, queue).await.unwrap();
        (figures.dead == 3 && figures.counters.completed == 3).then_some(())
    })
    .await;
    stop.cancel();
    run.await.unwrap().unwrap();

    for number in HELD {
        ids.push(queue.enqueue(task(number)).await.unwrap().id());
    }
    // Twice, so that they have lost a worker before. Of those with a last chance a worker holds one.
    hold(redis, client, queue, 4).await;
    let looked = queue.reclaim_beside(Duration::from_hours(1));
    assert_eq!(looked.await.unwrap().released, 4);
    hold(redis, client, queue, if max_losses > 1 { 4 } else { 1 }).await;

    let waiting = queue.enqueue_many(WAITING.map(task).collect()).await;
    ids.extend(waiting.unwrap().iter().map(Enqueued::id));
    for number in SCHEDULED {
        let later = task(number).delay(Duration::from_millis(number));
        ids.push(queue.enqueue(later).await.unwrap().id());
    }
    ids
}

/// Has a worker take four tasks, of which it keeps so many, and die; its lease has lapsed.
async fn hold(redis: &RedisServer, client: &Client, queue: &Queue, kept: u64) {
    let hang = |_: LeasedTask| std::future::pending();
    let long = LEASE * 1_000;
    let doomed = Worker::new(queue.clone(), hang).concurrency(4).lease(long);
    let run = tokio::spawn(doomed.run(CancellationToken::new(), CancellationToken::new()));
    eventually(SOON, "held", async || {
        (figures(client, queue).await.unwrap().active == kept).then_some(())
    })
    .await;
    run.abort();
    let _ = run.await;
    let key = format!("tq:{{{}}}:workers", queue.name());
    let mut raw = connection(redis).await;
    let mut command = redis::cmd("ZRANGE");
    command.arg(&key).arg(0).arg(-1);
    let workers: Vec<String> = command.query_async(&mut raw).await.unwrap();
    for worker in workers {
        let mut command = redis::cmd("ZADD");
        command.arg(&key).arg(1).arg(worker);
        command.exec_async(&mut raw).await.unwrap();
    }
}
