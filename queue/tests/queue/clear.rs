//! Queues are emptied: what waits is cancelled, what has ended is forgotten, all is deleted.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, ids};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Enqueued, Erased, EventLog, Order, Pending, Policy, Queue, Selection, Snapshot, State,
};

use crate::testbed::{
    Running, large_tasks, next, per_key, queue, recording, snapshot, task, tasks, until,
};

const HOUR: Duration = Duration::from_hours(1);
const ALL: [Pending; 3] = [Pending::Blocked, Pending::Waiting, Pending::Scheduled];

async fn hang(_: LeasedTask) -> Outcome {
    std::future::pending().await
}

/// All that was enqueued is somewhere.
fn is_conserved(figures: &Snapshot) {
    let counters = figures.counters;
    let pending = figures.backlog() + figures.scheduled - figures.due + figures.blocked;
    let ended = counters.completed + counters.cancelled + counters.expired + counters.dropped;
    assert_eq!(
        counters.enqueued,
        pending + figures.active + figures.dead + ended + counters.purged,
        "{figures:?}"
    );
    assert_eq!(counters.missing, 0, "{figures:?}");
}

/// How many are waiting, blocked, scheduled, active, and were cancelled.
fn figures_of(figures: &Snapshot) -> [u64; 5] {
    is_conserved(figures);
    let waiting = figures.waiting.iter().map(|(_, tasks)| tasks).sum();
    let cancelled = figures.counters.cancelled;
    let (blocked, scheduled) = (figures.blocked, figures.scheduled);
    [waiting, blocked, scheduled, figures.active, cancelled]
}

async fn keys(redis: &RedisServer) -> Vec<String> {
    redis.command("KEYS tq:{test/jobs}:*").await
}

#[tokio::test]
async fn each_state_is_cleared_for_itself_and_what_runs_goes_on() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let policy = Policy {
        events: Some(EventLog::default()),
        ..per_key(Some(1))
    };
    queue.configure(&policy).await.unwrap();
    let active = queue.enqueue(task(0)).await.unwrap().id();
    let worker = Running::start(Worker::new(queue.clone(), hang).concurrency(1));
    until(&client, &queue, "it runs", |s| s.active == 1).await;
    let all = vec![
        task(1),
        task(2).priority("high").unique("u", HOUR),
        task(3).concurrency_key("k").expires_in(HOUR),
        task(4).concurrency_key("k"),
        task(5).delay(HOUR),
        task(6).delay(HOUR),
    ];
    let all = ids(&queue.enqueue_many(all).await.unwrap());
    let now = async || figures_of(&snapshot(&queue, &client).await);
    assert_eq!(now().await, [3, 1, 2, 1, 0]);
    assert_eq!(queue.clear(Pending::Blocked, drop).await.unwrap(), 1);
    assert_eq!(now().await, [3, 0, 2, 1, 1]);
    let mut steps = Vec::new();
    let told = |count| steps.push(count);
    assert_eq!(queue.clear(Pending::Waiting, told).await.unwrap(), 3);
    assert_eq!(steps.last(), Some(&3));
    assert_eq!(now().await, [0, 0, 2, 1, 4]);
    assert_eq!(queue.clear(Pending::Scheduled, drop).await.unwrap(), 2);
    assert_eq!(now().await, [0, 0, 0, 1, 6]);
    for id in &all {
        let task = queue.get(id).await.unwrap().unwrap();
        assert_eq!(task.state, State::Cancelled);
    }
    assert_eq!(snapshot(&queue, &client).await.counters.logged, 6);
    // The worker is not told to stop.
    let marked: Vec<String> = redis.command("SMEMBERS tq:{test/jobs}:cancel").await;
    assert_eq!(marked, [""; 0]);
    assert_eq!(
        queue.get(&active).await.unwrap().unwrap().state,
        State::Active
    );
    // The keys are free.
    for again in [task(2).unique("u", HOUR), task(3).concurrency_key("k")] {
        let again = queue.enqueue(again).await.unwrap();
        assert!(matches!(again, Enqueued::New(_)), "{again:?}");
    }
    assert_eq!(now().await, [2, 0, 0, 1, 6]);
    worker.abort().await;
}

#[tokio::test]
async fn many_are_cleared_in_steps_from_shelves_and_behind_ghosts_and_nothing_else_runs() {
    let orders = [
        Order::Strict { aging: Some(HOUR) },
        Order::Weighted {
            weights: vec![3, 2, 1],
        },
    ];
    for order in orders {
        let redis = RedisServer::start().await;
        let (queue, client) = (queue(&redis).await, redis.client().await);
        let policy = Policy {
            order,
            ..Policy::default()
        };
        queue.configure(&policy).await.unwrap();
        let mut all = ids(&queue.enqueue_many(large_tasks(0..1_500)).await.unwrap());
        all.extend(ids(&queue.enqueue_many(tasks(0..700)).await.unwrap()));
        for id in &all[..300] {
            queue.cancel(id).await.unwrap();
        }
        let mut steps = 0;
        let told = |_| steps += 1;
        assert_eq!(queue.clear(Pending::Waiting, told).await.unwrap(), 1_900);
        assert!(steps >= 10, "{steps}");
        let figures = snapshot(&queue, &client).await;
        assert_eq!(figures_of(&figures), [0, 0, 0, 0, 2_200]);
        let shelves: u64 = redis.command("HLEN tq:{test/jobs}:shelves").await;
        assert_eq!(shelves, 0);
        queue.enqueue(task(9)).await.unwrap();
        let (handler, mut seen) = recording();
        let worker = Running::start(Worker::new(queue.clone(), handler));
        assert_eq!(next(&mut seen, 1).await, [9]);
        worker.stop().await;
        is_conserved(&snapshot(&queue, &client).await);
    }
}

#[tokio::test]
async fn a_queue_that_is_cleared_while_workers_drain_it_loses_nothing_else() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    queue.enqueue_many(tasks(0..5_000)).await.unwrap();
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(8));
    next(&mut seen, 10).await;
    let cleared = queue.clear(Pending::Waiting, drop).await.unwrap();
    let figures = until(&client, &queue, "at rest", |s| s.backlog() + s.active == 0).await;
    is_conserved(&figures);
    assert_eq!(figures.counters.cancelled, cleared);
    assert_eq!(figures.counters.completed, 5_000 - cleared);
    let report = worker.stop().await;
    assert_eq!((report.completed, report.ended), (5_000 - cleared, 0));
}

/// Completes tasks, and makes their records old.
async fn complete(redis: &RedisServer, queue: &Queue, count: u32) {
    let client = redis.client().await;
    let before = snapshot(queue, &client).await.counters.completed;
    queue.enqueue_many(tasks(0..count)).await.unwrap();
    let (handler, _seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    until(&client, queue, "done", |s| {
        s.counters.completed == before + u64::from(count)
    })
    .await;
    worker.stop().await;
    let buckets: Vec<String> = redis.command("ZRANGE tq:{test/jobs}:kept 0 -1").await;
    for bucket in buckets {
        let age = format!("ZADD tq:{{test/jobs}}:kept 1 {bucket}");
        let _: u64 = redis.command(&age).await;
    }
}

#[tokio::test]
async fn what_ended_long_enough_ago_is_forgotten_and_nothing_of_late() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    complete(&redis, &queue, 1_500).await;
    let _: u64 = redis.command("ZADD tq:{test/jobs}:kept 2 nobody's").await;
    let since_1960 = HOUR * 24 * 365 * 70;
    assert_eq!(queue.clean(since_1960).await.unwrap(), 0);
    let id = queue.enqueue(task(1).delay(HOUR)).await.unwrap().id();
    assert_eq!(queue.clean(HOUR).await.unwrap(), 1_500);
    queue.cancel(&id).await.unwrap();
    assert_eq!(
        queue.clean(Duration::ZERO).await.unwrap(),
        0,
        "it ended just now"
    );
    assert_eq!(
        queue.get(&id).await.unwrap().unwrap().state,
        State::Cancelled
    );
    let kept: Vec<String> = redis.command("HVALS tq:{test/jobs}:keptcount").await;
    assert_eq!(kept, ["1"]);
    is_conserved(&snapshot(&queue, &client).await);
}

#[tokio::test]
async fn a_queue_that_is_deleted_leaves_no_key_and_can_be_made_anew() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let policy = Policy {
        events: Some(EventLog::default()),
        ..per_key(Some(1))
    };
    queue.configure(&policy).await.unwrap();
    complete(&redis, &queue, 100).await;
    let die = |_: LeasedTask| async {
        Outcome::Dead {
            error: "no".to_owned(),
        }
    };
    queue.enqueue(task(1)).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), die));
    until(&client, &queue, "dead", |s| s.dead == 1).await;
    assert_eq!(queue.erase(false, drop).await.unwrap(), Erased::Held(1));
    assert_eq!(snapshot(&queue, &client).await.dead, 1);
    worker.stop().await;

    let other = client.queue(crate::testbed::name("other"));
    let elsewhere = other.enqueue(task(1)).await.unwrap().id();
    queue.enqueue_many(large_tasks(0..3_000)).await.unwrap();
    queue
        .enqueue_many(vec![
            task(1).delay(HOUR).unique("u", HOUR),
            task(2).concurrency_key("k"),
            task(3).concurrency_key("k").expires_in(HOUR),
        ])
        .await
        .unwrap();
    let there = keys(&redis).await;
    let erased = queue.erase(false, drop).await.unwrap();
    assert_eq!(erased, Erased::Keys(there.len() as u64), "{there:?}");
    assert_eq!(keys(&redis).await, [""; 0]);
    assert!(other.get(&elsewhere).await.unwrap().is_some());
    assert_eq!(queue.erase(false, drop).await.unwrap(), Erased::Keys(0));

    queue.enqueue(task(7).unique("u", HOUR)).await.unwrap();
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    assert_eq!(next(&mut seen, 1).await, [7]);
    until(&client, &queue, "done", |s| s.counters.completed == 1).await;
    assert!(matches!(
        queue.erase(true, drop).await.unwrap(),
        Erased::Keys(1..)
    ));
    worker.abort().await;
}

#[tokio::test]
async fn an_empty_queue_has_nothing_to_clear() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    for pending in ALL {
        assert_eq!(queue.clear(pending, drop).await.unwrap(), 0);
    }
    assert_eq!(queue.clean(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(queue.letters(&Selection::All).await.unwrap(), []);
}
