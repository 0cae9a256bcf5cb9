//! Enqueues that are made at the same time share a round trip.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use taskqueue_queue::testing::RedisServer;
use taskqueue_queue::{Error, MAX_BATCH_TASKS, NewTask, Payload};

use crate::testbed::proxy::Proxy;
use crate::testbed::{name, queue, snapshot, task, tasks};

/// How many scripts the server has run.
async fn calls(raw: &mut MultiplexedConnection) -> u64 {
    let mut command = redis::cmd("INFO");
    command.arg("commandstats");
    let stats: String = command.query_async(raw).await.unwrap();
    let line = stats
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha:"));
    let count = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next());
    count.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_callers_at_once_need_a_few_round_trips() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut raw = redis.connection().await;
    queue.enqueue(task(0)).await.unwrap();
    let before = calls(&mut raw).await;
    let callers: Vec<_> = (1..65)
        .map(|n| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.enqueue(task(n)).await.unwrap().id() })
        })
        .collect();
    let mut ids = Vec::new();
    for caller in callers {
        ids.push(caller.await.unwrap());
    }
    let made = calls(&mut raw).await - before;
    assert!(made <= 32, "{made} calls for 64 tasks");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 64);
    assert_eq!(snapshot(&queue, &redis.client().await).await.backlog(), 65);
}

#[tokio::test]
async fn on_one_thread_two_round_trips_are_enough() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let mut raw = redis.connection().await;
    queue.enqueue(task(0)).await.unwrap();
    let before = calls(&mut raw).await;
    let callers = (1..65).map(|n| queue.enqueue(task(n)));
    futures::future::try_join_all(callers).await.unwrap();
    assert!(calls(&mut raw).await - before <= 2);
}

#[tokio::test]
async fn one_bad_task_is_refused_alone() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let callers = (0..10).map(|n| {
        let bad = if n == 4 { "no-such-level" } else { "normal" };
        queue.enqueue(task(n).priority(bad))
    });
    let answers = futures::future::join_all(callers).await;
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Ok(_) => assert_ne!(n, 4),
            Err(error) => {
                assert_eq!(n, 4);
                assert!(matches!(error, Error::UnknownLevel { .. }), "{error}");
            }
        }
    }
    assert_eq!(snapshot(&queue, &redis.client().await).await.backlog(), 9);
}

#[tokio::test]
async fn a_caller_that_gives_up_strands_no_other() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::before(redis.port()).await;
    let queue = proxy.client().await.queue(name("jobs"));
    queue.enqueue(task(0)).await.unwrap();
    proxy.delay_answers(Duration::from_millis(200));
    let first = queue.enqueue(task(1));
    let gone = tokio::time::timeout(Duration::from_millis(20), first).await;
    assert!(gone.is_err());
    let others = (2..5).map(|n| queue.enqueue(task(n)));
    futures::future::try_join_all(others).await.unwrap();
    let direct = redis.client().await;
    let figures = snapshot(&direct.queue(name("jobs")), &direct).await;
    assert_eq!(figures.backlog(), 5);
}

#[tokio::test]
async fn tasks_whose_answer_was_lost_are_enqueued_once_each() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::before(redis.port()).await;
    let queue = proxy.client().await.queue(name("jobs"));
    queue.enqueue(task(0)).await.unwrap();
    proxy.lose_answer_to_request_holding("EVALSHA");
    let keyed = |n: u32| match n % 4 {
        0 => task(n).unique(format!("u{n}"), Duration::from_hours(1)),
        1 => task(n).concurrency_key("k"),
        2 => task(n).delay(Duration::from_hours(1)),
        _ => task(n),
    };
    let callers = (1..41).map(|n| queue.enqueue(keyed(n)));
    futures::future::try_join_all(callers).await.unwrap();
    assert_eq!(proxy.lost(), 1);
    let direct = redis.client().await;
    let figures = snapshot(&direct.queue(name("jobs")), &direct).await;
    assert_eq!(figures.counters.enqueued, 41);
    assert_eq!((figures.backlog(), figures.scheduled), (31, 10));
}

#[tokio::test]
async fn a_batch_of_ten_thousand_is_written_whole_and_one_more_is_refused() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let count = u32::try_from(MAX_BATCH_TASKS).unwrap();
    let mut raw = redis.connection().await;
    queue.enqueue(task(0)).await.unwrap();
    let before = calls(&mut raw).await;
    let mixed = |n: u32| match n % 3 {
        0 => task(n).delay(Duration::from_hours(1)),
        1 => task(n).priority("low").concurrency_key("k"),
        _ => task(n),
    };
    let answers = queue
        .enqueue_many((0..count).map(mixed).collect())
        .await
        .unwrap();
    assert_eq!(answers.len(), MAX_BATCH_TASKS);
    assert!(calls(&mut raw).await - before <= 1);
    let figures = snapshot(&queue, &client).await;
    assert_eq!(figures.backlog() + figures.scheduled, u64::from(count) + 1);

    let refused = queue.enqueue_many(tasks(0..count + 1)).await.unwrap_err();
    assert!(matches!(
        refused,
        Error::TooMany {
            count: 10_001,
            limit: 10_000
        }
    ));
    let large = Payload::of(&"x".repeat(200_000)).unwrap();
    let heavy = vec![NewTask::new("heavy", large); 90];
    let refused = queue.enqueue_many(heavy.clone()).await.unwrap_err();
    assert!(
        matches!(refused, Error::TooLarge { field: "batch", .. }),
        "{refused}"
    );
    // Any number in slices.
    queue.enqueue_all(heavy).await.unwrap();
    queue.enqueue_all(tasks(0..count + 1)).await.unwrap();
    let after = snapshot(&queue, &client).await;
    let expected = figures.counters.enqueued + 90 + u64::from(count) + 1;
    assert_eq!(after.counters.enqueued, expected);
}
