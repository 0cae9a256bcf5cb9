//! Reading tasks page by page, in every state, and choosing dead letters.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, ids};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Error, Filter, Listing, NewTask, Page, Payload, Queue, Selection, State, Task,
};

use crate::testbed::{Running, number, per_key, queue, recording, snapshot, task, tasks, until};

async fn page(queue: &Queue, listing: &Listing, offset: u64, limit: u32) -> Vec<Task> {
    queue.tasks(listing, Page { offset, limit }).await.unwrap()
}

/// All of a listing, a few at a time.
async fn all(queue: &Queue, listing: &Listing) -> Vec<Task> {
    let mut tasks = Vec::new();
    loop {
        let next = page(queue, listing, tasks.len() as u64, 7).await;
        if next.is_empty() {
            return tasks;
        }
        tasks.extend(next);
    }
}

fn numbers(tasks: &[Task]) -> Vec<u32> {
    let numbers = tasks
        .iter()
        .map(|task| task.payload.as_ref().unwrap().parse().unwrap());
    numbers.collect()
}

fn are(tasks: &[Task], state: State) {
    assert!(tasks.iter().all(|task| task.state == state), "{tasks:?}");
}

fn waiting(level: &str) -> Listing {
    Listing::Waiting {
        level: level.to_owned(),
    }
}

#[tokio::test]
async fn waiting_tasks_are_listed_by_level_the_next_one_first() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let enqueued = queue.enqueue_many(tasks(0..20)).await.unwrap();
    queue.enqueue(task(99).priority("high")).await.unwrap();
    let listed = all(&queue, &waiting("normal")).await;
    are(&listed, State::Waiting);
    assert_eq!(numbers(&listed), (0..20).collect::<Vec<_>>());
    assert_eq!(numbers(&all(&queue, &waiting("high")).await), [99]);
    assert!(all(&queue, &waiting("low")).await.is_empty());
    // One that was cancelled is not listed.
    queue.cancel(&enqueued[3].id()).await.unwrap();
    let listed = page(&queue, &waiting("normal"), 0, 5).await;
    assert_eq!(numbers(&listed), [0, 1, 2, 4]);
    let unknown = queue.tasks(&waiting("none"), Page::default()).await;
    assert!(matches!(unknown, Err(Error::UnknownLevel { .. })));
}

#[tokio::test]
async fn scheduled_and_blocked_tasks_are_listed_in_their_order() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    queue.configure(&per_key(Some(1))).await.unwrap();
    let delayed = (0..20_u32).map(|n| task(n).delay(Duration::from_secs(60 - u64::from(n))));
    queue.enqueue_many(delayed.collect()).await.unwrap();
    let keyed = (0..20).map(|n| task(n).concurrency_key("k"));
    queue.enqueue_many(keyed.collect()).await.unwrap();
    let listed = all(&queue, &Listing::Scheduled).await;
    are(&listed, State::Scheduled);
    assert_eq!(numbers(&listed), (0..20).rev().collect::<Vec<_>>());
    assert!(listed.is_sorted_by_key(|task| task.due.unwrap()));
    let listed = all(&queue, &Listing::Blocked).await;
    are(&listed, State::Waiting);
    assert_eq!(numbers(&listed), (1..20).collect::<Vec<_>>());
    assert_eq!(listed[0].concurrency_key.as_deref(), Some("k"));
}

#[tokio::test]
async fn active_tasks_are_listed_with_their_workers() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let enqueued = queue.enqueue_many(tasks(0..20)).await.unwrap();
    let hang = |_: LeasedTask| async { std::future::pending::<Outcome>().await };
    let worker = Running::start(Worker::new(queue.clone(), hang).concurrency(20));
    until(&redis.client().await, &queue, "all run", |s| s.active == 20).await;
    let listed = all(&queue, &Listing::Active).await;
    are(&listed, State::Active);
    let listed_ids: Vec<_> = listed.iter().map(|task| task.id).collect();
    assert_eq!(listed_ids, ids(&enqueued));
    assert!(listed.iter().all(|task| task.worker.is_some()));
    worker.abort().await;
}

#[tokio::test]
async fn ended_tasks_are_listed_whatever_their_end() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let (handler, _seen) = recording();
    queue.enqueue_many(tasks(0..15)).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(4));
    let client = redis.client().await;
    until(&client, &queue, "done", |s| s.counters.completed == 15).await;
    worker.stop().await;
    let rest = queue.enqueue_many(tasks(15..20)).await.unwrap();
    for one in &rest {
        queue.cancel(&one.id()).await.unwrap();
    }
    let listed = all(&queue, &Listing::Ended).await;
    let mut seen = numbers(&listed);
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    let cancelled = listed.iter().filter(|task| task.state == State::Cancelled);
    assert_eq!(cancelled.count(), 5);
    assert!(page(&queue, &Listing::Ended, 20, 7).await.is_empty());
    assert!(page(&queue, &Listing::Ended, 0, 0).await.is_empty());
}

#[tokio::test]
async fn an_ended_task_that_cannot_be_read_hides_no_other() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let enqueued = queue.enqueue_many(tasks(0..3)).await.unwrap();
    for one in &enqueued {
        queue.cancel(&one.id()).await.unwrap();
    }
    let mut raw = redis.connection().await;
    let broken = enqueued[1].id().to_string();
    let mut command = redis::cmd("HSET");
    command.arg(format!("tq:{{test/jobs}}:done:{}", &broken[..9]));
    command.arg(&broken).arg("nonsense");
    command.exec_async(&mut raw).await.unwrap();
    let listed = page(&queue, &Listing::Ended, 0, 10).await;
    assert_eq!(numbers(&listed), [2, 0]);
}

/// Dead letters of two types with different messages.
async fn graveyard(redis: &RedisServer, queue: &Queue, count: u32) {
    let kind = |n: u32| if n.is_multiple_of(2) { "mail" } else { "sms" };
    let letters = (0..count).map(|n| NewTask::new(kind(n), Payload::of(&n).unwrap()));
    queue.enqueue_many(letters.collect()).await.unwrap();
    let die = |task: LeasedTask| async move {
        let error = format!("code {} from the relay", number(&task) % 3);
        Outcome::Dead { error }
    };
    let worker = Running::start(Worker::new(queue.clone(), die).concurrency(50));
    let client = redis.client().await;
    until(&client, queue, "dead", |s| s.dead == u64::from(count)).await;
    worker.stop().await;
}

fn filter(kind: Option<&str>, error: Option<&str>, older_than: Option<Duration>) -> Selection {
    Selection::Matching(Filter {
        kind: kind.map(str::to_owned),
        error: error.map(str::to_owned),
        older_than,
    })
}

#[tokio::test]
async fn dead_letters_are_redriven_and_purged_by_type_message_and_age() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    graveyard(&redis, &queue, 2_400).await;
    let old = filter(None, None, Some(Duration::from_hours(1)));
    assert_eq!(queue.purge(old.clone()).await.unwrap(), 0);
    assert_eq!(queue.redrive(old).await.unwrap().moved, 0);
    let mail = filter(Some("mail"), Some("code 1 "), None);
    assert_eq!(queue.redrive(mail).await.unwrap().moved, 400);
    let listed = all(&queue, &waiting("normal")).await;
    are(&listed, State::Waiting);
    assert!(numbers(&listed).iter().all(|n| n % 2 == 0 && n % 3 == 1));
    assert!(
        listed
            .iter()
            .all(|task| task.attempts == 0 && task.errors.len() == 1)
    );
    let code = filter(None, Some("code 2"), Some(Duration::ZERO));
    assert_eq!(queue.purge(code).await.unwrap(), 800);
    let left = all(&queue, &Listing::Dead).await;
    assert!(numbers(&left).iter().all(|n| n % 3 == 0 || n % 2 == 1));
    let figures = snapshot(&queue, &client).await;
    assert_eq!((figures.dead, figures.backlog()), (1_200, 400));
    let chosen = vec![left[0].id, left[1].id, listed[0].id];
    assert_eq!(queue.purge(Selection::Ids(chosen)).await.unwrap(), 2);
}

#[tokio::test]
async fn letters_that_cannot_be_read_stay_and_do_not_keep_the_others() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    graveyard(&redis, &queue, 500).await;
    let mut raw = redis.connection().await;
    let oldest: Vec<String> = redis::cmd("ZRANGE")
        .arg("tq:{test/jobs}:dead")
        .arg(&[0, 2])
        .query_async(&mut raw)
        .await
        .unwrap();
    for id in &oldest {
        let mut command = redis::cmd("HSET");
        command.arg("tq:{test/jobs}:tasks").arg(id).arg("nonsense");
        command.exec_async(&mut raw).await.unwrap();
    }
    assert_eq!(queue.redrive(Selection::All).await.unwrap().moved, 497);
    let figures = snapshot(&queue, &redis.client().await).await;
    assert_eq!((figures.dead, figures.backlog()), (3, 497));
    assert_eq!(queue.purge(Selection::All).await.unwrap(), 3);
}
