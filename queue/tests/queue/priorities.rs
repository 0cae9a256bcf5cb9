//! The order of the levels: shares by weight, and aging.

use std::time::Duration;

use taskqueue_queue::testing::RedisServer;
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Order, Policy, Queue};
use tokio::sync::mpsc::unbounded_channel;

use crate::testbed::{self, Running, SOON, next, number, queue, recording, task};

const HIGH: u32 = 10_000;
const NORMAL: u32 = 20_000;
const LOW: u32 = 30_000;

async fn with_order(redis: &RedisServer, order: Order) -> Queue {
    let queue = queue(redis).await;
    let policy = Policy {
        order,
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    queue
}

async fn fill(queue: &Queue, level: &str, first: u32, count: u32) {
    let numbers = first..first + count;
    let batch = numbers.map(|n| task(n).priority(level)).collect();
    queue.enqueue_many(batch).await.unwrap();
}

/// How many of each level.
fn shares(seen: &[u32]) -> [u32; 3] {
    let mut shares = [0; 3];
    for number in seen {
        shares[*number as usize / 10_000 - 1] += 1;
    }
    shares
}

fn near(shares: [u32; 3], expected: [u32; 3]) {
    for (share, expected) in shares.into_iter().zip(expected) {
        assert!(share.abs_diff(expected) <= 15, "{shares:?} for {expected}");
    }
}

#[tokio::test]
async fn levels_share_by_their_weights() {
    for slots in [1, 7, 100] {
        let redis = RedisServer::start().await;
        let weights = vec![5, 3, 2];
        let queue = with_order(&redis, Order::Weighted { weights }).await;
        fill(&queue, "low", LOW, 1_000).await;
        fill(&queue, "normal", NORMAL, 1_000).await;
        fill(&queue, "high", HIGH, 1_000).await;
        let (handler, mut seen) = recording();
        let worker = Running::start(Worker::new(queue, handler).concurrency(slots));
        let first = next(&mut seen, 1_000).await;
        near(shares(&first), [500, 300, 200]);
        // Inside a level, first in first out.
        let low: Vec<u32> = first.into_iter().filter(|n| *n >= LOW).collect();
        assert!(slots > 1 || low.is_sorted());
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_level_without_tasks_gives_its_share_away() {
    let redis = RedisServer::start().await;
    let weights = vec![5, 3, 2];
    let queue = with_order(&redis, Order::Weighted { weights }).await;
    fill(&queue, "low", LOW, 1_000).await;
    fill(&queue, "normal", NORMAL, 1_000).await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue, handler).concurrency(10));
    let first = next(&mut seen, 1_000).await;
    near(shares(&first), [0, 600, 400]);
    next(&mut seen, 1_000).await;
    worker.stop().await;
}

#[tokio::test]
async fn weights_change_live() {
    let redis = RedisServer::start().await;
    let queue = with_order(&redis, Order::default()).await;
    fill(&queue, "low", LOW, 2_000).await;
    fill(&queue, "high", HIGH, 2_000).await;
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(testbed::queue(&redis).await, handler));
    assert_eq!(shares(&next(&mut seen, 300).await), [300, 0, 0]);
    let weights = vec![1, 1, 1];
    let policy = Policy {
        order: Order::Weighted { weights },
        ..Policy::default()
    };
    queue.configure(&policy).await.unwrap();
    // What ran until the edit arrived is not counted.
    while next(&mut seen, 1).await[0] < LOW {}
    near(shares(&next(&mut seen, 400).await), [200, 0, 200]);
    worker.stop().await;
}

#[tokio::test]
async fn with_aging_a_task_goes_before_those_above_it_that_came_so_much_later() {
    const AGING: Duration = Duration::from_millis(400);
    let redis = RedisServer::start().await;
    let queue = with_order(&redis, Order::Strict { aging: Some(AGING) }).await;
    // At 0: low counts from 800, normal from 400. At 200: high from 200, normal from 600.
    // At 1000: high from 1000.
    let pass = tokio::time::sleep;
    queue.enqueue(task(4).priority("low")).await.unwrap();
    queue.enqueue(task(2).priority("normal")).await.unwrap();
    pass(AGING / 2).await;
    queue.enqueue(task(1).priority("high")).await.unwrap();
    queue.enqueue(task(3).priority("normal")).await.unwrap();
    pass(AGING * 2).await;
    queue.enqueue(task(5).priority("high")).await.unwrap();
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue, handler));
    assert_eq!(next(&mut seen, 5).await, [1, 2, 3, 4, 5]);
    worker.stop().await;
}

#[tokio::test]
async fn with_aging_a_flood_from_above_does_not_starve_the_lowest_level() {
    const AGING: Duration = Duration::from_millis(150);
    let redis = RedisServer::start().await;
    let queue = with_order(&redis, Order::Strict { aging: Some(AGING) }).await;
    let low = queue.enqueue(task(0).priority("low")).await.unwrap().id();
    let low = queue.get(&low).await.unwrap().unwrap().created;
    let (sender, mut seen) = unbounded_channel();
    let worker = Running::start(Worker::new(queue.clone(), move |task: LeasedTask| {
        sender.send((number(&task), task.created)).unwrap();
        async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Outcome::Completed(None)
        }
    }));
    let flood = tokio::spawn(async move {
        loop {
            let batch = (1..20).map(|n| task(n).priority("high")).collect();
            queue.enqueue_many(batch).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let bound = low.checked_add(AGING * 2).unwrap();
    // The worker may have had it before the flood began; then there is nothing to see.
    let mut before = 0;
    loop {
        let next = tokio::time::timeout(SOON, seen.recv()).await;
        let (number, created) = next.expect("low is starved").unwrap();
        if number == 0 {
            break;
        }
        assert!(created <= bound, "{created} went before {low}");
        before += 1;
    }
    for _ in 0..before.min(50) {
        let (_, created) = seen.recv().await.unwrap();
        assert!(created >= bound, "{created} went after {low}");
    }
    flood.abort();
    worker.abort().await;
}
