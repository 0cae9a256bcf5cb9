//! The limits of the whole queue, whatever the number of its workers.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use taskqueue_queue::testing::RedisServer;
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome, Worker};
use taskqueue_queue::{Error, Limits, Policy, Queue, Rate};

use crate::testbed::pulse::Pulse;
use crate::testbed::{
    self, Running, limited, next, number, per_key, queue, recording, snapshot, task, tasks, until,
};

fn rated(count: u32, per: Duration) -> Policy {
    limited(Limits {
        rate: Some(Rate { count, per }),
        ..Limits::default()
    })
}

/// Three workers with connections of their own.
async fn three<H: Handler + Clone>(redis: &RedisServer, slots: usize, handler: H) -> Vec<Running> {
    let mut workers = Vec::new();
    for _ in 0..3 {
        let worker = Worker::new(queue(redis).await, handler.clone()).concurrency(slots);
        workers.push(Running::start(worker));
    }
    workers
}

async fn hang(_: LeasedTask) -> Outcome {
    std::future::pending().await
}

async fn stop(workers: Vec<Running>) {
    for worker in workers {
        worker.abort().await;
    }
}

#[tokio::test]
async fn a_rate_limit_holds_in_every_window_and_is_used() {
    const COUNT: usize = 40;
    const PER: Duration = Duration::from_secs(1);
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&rated(40, PER)).await.unwrap();
    queue.enqueue_many(tasks(0..200)).await.unwrap();
    let starts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&starts);
    let pulse = Pulse::beside(&redis).await;
    let begun = pulse.watch();
    let workers = three(&redis, 8, move |_: LeasedTask| {
        seen.lock().unwrap().push(Instant::now());
        async { Outcome::Completed(None) }
    })
    .await;
    until(&redis.client().await, &queue, "all done", |s| {
        s.counters.completed == 200
    })
    .await;
    // Four spans, each a twentieth longer than need be.
    begun.quick(PER * 4 + Duration::from_secs(2));
    let gap = begun.longest_gap();
    stop(workers).await;
    let mut starts = starts.lock().unwrap().clone();
    starts.sort();
    // What begins in Redis reaches its handler a little later, some a little later than others.
    let slack = Duration::from_millis(300) + gap;
    for window in starts.windows(COUNT + 1) {
        let span = window[COUNT] - window[0];
        assert!(span + slack > PER, "{} began in {span:?}", COUNT + 1);
    }
}

#[tokio::test]
async fn a_rate_limit_is_lifted_for_workers_that_wait_for_it() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let month = Duration::from_hours(31 * 24);
    queue.configure(&rated(2, month)).await.unwrap();
    queue.enqueue_many(tasks(0..6)).await.unwrap();
    let workers = three(&redis, 2, hang).await;
    until(&client, &queue, "two began", |s| s.active == 2).await;
    queue.configure(&rated(5, month)).await.unwrap();
    until(&client, &queue, "five began", |s| s.active == 5).await;
    queue.configure(&Policy::default()).await.unwrap();
    until(&client, &queue, "all began", |s| s.active == 6).await;
    stop(workers).await;
}

#[tokio::test]
async fn the_concurrency_limit_is_never_exceeded_and_its_places_are_used() {
    const LIMIT: usize = 4;
    const RUN: Duration = Duration::from_millis(20);
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let limits = Limits {
        concurrency: Some(4),
        ..Limits::default()
    };
    queue.configure(&limited(limits)).await.unwrap();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = Arc::clone(&most);
    let workers = three(&redis, 4, move |_: LeasedTask| {
        let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
        async move {
            peak.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(RUN).await;
            running.fetch_sub(1, SeqCst);
            Outcome::Completed(None)
        }
    })
    .await;
    let pulse = Pulse::beside(&redis).await;
    let begun = pulse.watch();
    queue.enqueue_many(tasks(0..200)).await.unwrap();
    until(&redis.client().await, &queue, "all done", |s| {
        assert!(s.active <= LIMIT as u64, "{} are active", s.active);
        s.counters.completed == 200
    })
    .await;
    // One second of work, if no place is ever free.
    begun.quick(Duration::from_secs(4));
    stop(workers).await;
    assert_eq!(most.load(SeqCst), LIMIT);
}

#[tokio::test]
async fn a_place_that_a_stopping_worker_leaves_is_taken_at_once() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let limits = Limits {
        concurrency: Some(1),
        ..Limits::default()
    };
    queue.configure(&limited(limits)).await.unwrap();
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = Arc::clone(&gate);
    let first = Running::start(Worker::new(queue.clone(), move |_: LeasedTask| {
        let opened = Arc::clone(&opened);
        async move {
            opened.notified().await;
            Outcome::Completed(None)
        }
    }));
    queue.enqueue(task(1)).await.unwrap();
    until(&client, &queue, "the first runs", |s| s.active == 1).await;
    let (handler, mut seen) = recording();
    let second = Running::start(Worker::new(testbed::queue(&redis).await, handler));
    queue.enqueue(task(2)).await.unwrap();
    until(&client, &queue, "two workers", |s| s.workers == 2).await;
    let pulse = Pulse::beside(&redis).await;
    first.tell_to_stop();
    gate.notify_one();
    let left = pulse.watch();
    assert_eq!(next(&mut seen, 1).await, [2]);
    left.quick(Duration::from_secs(2));
    first.ended().await;
    second.stop().await;
}

#[tokio::test]
async fn the_concurrency_limit_changes_live() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let at_most = |most| {
        limited(Limits {
            concurrency: most,
            ..Limits::default()
        })
    };
    queue.configure(&at_most(Some(1))).await.unwrap();
    queue.enqueue_many(tasks(0..9)).await.unwrap();
    let workers = three(&redis, 3, hang).await;
    until(&client, &queue, "one", |s| s.active == 1).await;
    queue.configure(&at_most(Some(4))).await.unwrap();
    until(&client, &queue, "four", |s| s.active == 4).await;
    queue.configure(&at_most(None)).await.unwrap();
    until(&client, &queue, "all", |s| s.active == 9).await;
    stop(workers).await;
}

#[tokio::test]
async fn a_limit_of_one_for_each_key_keeps_the_order_of_the_key_and_lets_others_pass() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    let keys = ["a", "b", "c"];
    let keyed = |n: u32| task(n).concurrency_key(keys[n as usize % 3]);
    queue
        .enqueue_many((0..60).map(keyed).collect())
        .await
        .unwrap();
    let seen: Arc<Mutex<Vec<u32>>> = Arc::default();
    let running: Arc<[AtomicUsize; 3]> = Arc::default();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (order, opened) = (Arc::clone(&seen), Arc::clone(&gate));
    let workers = three(&redis, 2, move |task: LeasedTask| {
        let (order, gate) = (Arc::clone(&order), Arc::clone(&opened));
        let running = Arc::clone(&running);
        async move {
            let key = number(&task) as usize % 3;
            assert_eq!(running[key].fetch_add(1, SeqCst), 0, "two of a key at once");
            order.lock().unwrap().push(number(&task));
            if key == 0 {
                gate.acquire().await.unwrap().forget();
            }
            tokio::task::yield_now().await;
            running[key].fetch_sub(1, SeqCst);
            Outcome::Completed(None)
        }
    })
    .await;
    let client = redis.client().await;
    // The first of `a` waits for its gate, and all of `b` and `c` pass.
    let others = until(&client, &queue, "others", |s| s.counters.completed == 40).await;
    assert_eq!((others.active, others.blocked), (1, 19));
    gate.add_permits(20);
    until(&client, &queue, "all", |s| s.counters.completed == 60).await;
    stop(workers).await;
    let seen = seen.lock().unwrap().clone();
    for key in 0..3 {
        let of_key: Vec<u32> = seen.iter().copied().filter(|n| n % 3 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
}

#[tokio::test]
async fn a_higher_limit_for_each_key_lets_in_at_once_who_waits_for_it() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    let keyed = |n: u32| task(n).concurrency_key(format!("key {}", n % 2));
    queue
        .enqueue_many((0..500).map(keyed).collect())
        .await
        .unwrap();
    let worker = Running::start(Worker::new(queue.clone(), hang).concurrency(500));
    until(&client, &queue, "one of each", |s| s.active == 2).await;
    assert_eq!(snapshot(&queue, &client).await.blocked, 498);
    queue.configure(&per_key(Some(3))).await.unwrap();
    until(&client, &queue, "three of each", |s| s.active == 6).await;
    assert_eq!(snapshot(&queue, &client).await.blocked, 494);
    queue.configure(&per_key(None)).await.unwrap();
    until(&client, &queue, "all", |s| s.active == 500).await;
    worker.abort().await;
}

async fn full(queue: &Queue, limit: u64) {
    let limits = Limits {
        max_backlog: Some(limit),
        ..Limits::default()
    };
    queue.configure(&limited(limits)).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses_a_batch_whole_and_says_when_to_come_again() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    full(&queue, 5).await;
    queue.enqueue_many(tasks(0..3)).await.unwrap();
    // What is scheduled waits as well.
    let later = task(3).delay(Duration::from_hours(1));
    queue.enqueue(later).await.unwrap();
    let refused = queue.enqueue_many(tasks(4..6)).await.unwrap_err();
    match &refused {
        Error::Backlog {
            waiting,
            limit,
            retry_after,
            ..
        } => {
            assert_eq!((*waiting, *limit), (4, 5));
            let range = Duration::from_secs(1)..=Duration::from_mins(5);
            assert!(range.contains(retry_after), "{retry_after:?}");
        }
        other => panic!("{other}"),
    }
    assert!(refused.is_transient());
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.backlog(), figures.counters.enqueued), (3, 4));
    queue.enqueue(task(4)).await.unwrap();
    assert!(matches!(
        queue.enqueue(task(5)).await,
        Err(Error::Backlog { .. })
    ));
    // What runs does not wait.
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    next(&mut seen, 4).await;
    queue.enqueue(task(5)).await.unwrap();
    worker.stop().await;
}

#[tokio::test]
async fn callers_at_the_same_time_each_get_their_own_answer_from_a_full_queue() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    full(&queue, 12).await;
    let calls = (0..40).map(|n| queue.enqueue(task(n)));
    let answers = futures::future::join_all(calls).await;
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(taken, 12);
    for answer in &answers {
        match answer {
            Ok(enqueued) => assert!(queue.get(&enqueued.id()).await.unwrap().is_some()),
            Err(error) => assert!(matches!(error, Error::Backlog { .. }), "{error}"),
        }
    }
    let client = redis.client().await;
    assert_eq!(snapshot(&queue, &client).await.backlog(), 12);
}

#[tokio::test]
async fn a_full_queue_still_names_the_task_that_has_a_unique_key() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    full(&queue, 1).await;
    let unique = || task(1).unique("one", Duration::from_hours(1));
    let first = queue.enqueue(unique()).await.unwrap().id();
    assert_eq!(queue.enqueue(unique()).await.unwrap().id(), first);
    let both = queue.enqueue_many(vec![unique(), unique()]).await.unwrap();
    assert!(both.iter().all(|answer| answer.id() == first));
}
