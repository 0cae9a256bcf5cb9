//! What is not ours in the keys of a queue, or is broken: it holds up nothing else, and what can be
//! kept of it is kept.

use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually, listed};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Error, Policy, Queue, Selection, Stage, State};

use crate::testbed::{self, Running, SOON, brisk, next, queue, recording, task, tasks, until};

const LEASE: Duration = Duration::from_millis(300);

/// Sends a command to Redis behind the queue's back; `key` is the last part.
async fn meddle(redis: &RedisServer, command: &str, key: &str, arguments: &[&[u8]]) {
    let mut command = redis::cmd(command);
    command.arg(format!("tq:{{test/jobs}}:{key}"));
    for argument in arguments {
        command.arg(*argument);
    }
    let mut raw = redis.connection().await;
    command.exec_async(&mut raw).await.unwrap();
}

/// A record as the README describes it, of attempts and errors as given.
fn record(attempts_and_errors: &[u8]) -> Vec<u8> {
    [b"normal\0\x95\x01\x00\xa1k", attempts_and_errors, b"1"].concat()
}

async fn bury(redis: &RedisServer, queue: &Queue, count: u32) {
    let client = redis.client().await;
    queue.enqueue_many(tasks(0..count)).await.unwrap();
    let handler = |_: LeasedTask| async {
        let error = "no".to_owned();
        Outcome::Dead { error }
    };
    let worker = Running::start(Worker::new(queue.clone(), handler).concurrency(200));
    let all = u64::from(count);
    until(&client, queue, "all dead", |s| s.dead == all).await;
    worker.stop().await;
}

#[tokio::test]
async fn an_entry_that_is_no_id_holds_up_none_of_the_tasks_behind_it() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    for stranger in [&b"\xff\0"[..], b"", b"0123456789ABCDEFGHIJ"] {
        meddle(&redis, "HSET", "tasks", &[stranger, &record(b"\x00\x90")]).await;
        meddle(&redis, "RPUSH", "wait:normal", &[stranger]).await;
    }
    queue.enqueue_many(tasks(0..5)).await.unwrap();
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler).lease(LEASE));
    assert_eq!(next(&mut seen, 5).await, [0, 1, 2, 3, 4]);
    worker.abort().await;
}

#[tokio::test]
async fn a_dead_letter_that_is_none_hides_no_other() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    bury(&redis, &queue, 3).await;
    for (score, stranger) in [("1", &b"\xff"[..]), ("1.5", b"x"), ("inf", b"y")] {
        meddle(&redis, "ZADD", "dead", &[score.as_bytes(), stranger]).await;
        meddle(&redis, "HSET", "tasks", &[stranger, &record(b"\x00\x90")]).await;
        meddle(&redis, "HSET", "lost", &[stranger, b"many"]).await;
    }
    for limit in [1, 100] {
        assert_eq!(listed(&queue, &[Stage::Dead], limit).await.len(), 3);
    }
}

#[tokio::test]
async fn an_ended_task_that_cannot_be_read_hides_no_other() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let id = queue.enqueue(task(1)).await.unwrap().id();
    queue.enqueue(task(2)).await.unwrap();
    let (handler, mut seen) = recording();
    let worker = Running::start(Worker::new(queue.clone(), handler));
    next(&mut seen, 2).await;
    worker.stop().await;
    let bucket = format!("done:{}", &id.as_str()[..9]);
    for stranger in [&b"\xff"[..], b"x", id.as_str().as_bytes()] {
        meddle(&redis, "HSET", &bucket, &[stranger, b"no record"]).await;
    }
    assert_eq!(listed(&queue, &Stage::ENDED, 1).await.len(), 1);
}

#[tokio::test]
async fn dead_letters_that_cannot_be_read_keep_no_other_from_being_redriven() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    bury(&redis, &queue, 500).await;
    // The oldest of all, more than go into one batch.
    for number in 0..300 {
        let id = format!("stranger-{number}");
        meddle(&redis, "ZADD", "dead", &[b"1", id.as_bytes()]).await;
        meddle(&redis, "HSET", "tasks", &[id.as_bytes(), b"no record"]).await;
    }
    assert_eq!(queue.redrive(Selection::All).await.unwrap().moved, 500);
    let client = redis.client().await;
    let figures = testbed::snapshot(&queue, &client).await;
    assert_eq!((figures.backlog(), figures.dead), (500, 300));
    assert_eq!(queue.purge(Selection::All).await.unwrap(), 300);
}

#[tokio::test]
async fn a_task_whose_record_or_losses_make_no_sense_is_quarantined_like_any_other() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis).await;
    let client = redis.client().await;
    let policy = Policy {
        max_losses: 0,
        ..brisk()
    };
    queue.configure(&policy).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(queue.enqueue(task(number)).await.unwrap().id());
    }
    let hang = |_: LeasedTask| std::future::pending();
    let doomed = Running::start(Worker::new(queue.clone(), hang).concurrency(5).lease(LEASE));
    until(&client, &queue, "held", |s| s.active == 5).await;
    doomed.crash().await;
    // Attempts that are no number, errors that are no array, no array at all, and losses that are
    // no number.
    let wrong = [record(b"\xa1x\x90"), record(b"\x00\x07"), b"?".to_vec()];
    for (id, wrong) in ids.iter().zip(&wrong) {
        meddle(&redis, "HSET", "tasks", &[id.as_str().as_bytes(), wrong]).await;
    }
    meddle(&redis, "HSET", "lost", &[ids[3].as_str().as_bytes(), b"x"]).await;
    until(&client, &queue, "lapsed", |s| s.expired_workers == 1).await;
    eventually(SOON, "taken back", async || {
        // What is wrong may cost the call; the next one goes on.
        let _ = queue.reclaim().await;
        let figures = testbed::snapshot(&queue, &client).await;
        (figures.active == 0 && figures.expired_workers == 0).then_some(())
    })
    .await;
    let figures = testbed::snapshot(&queue, &client).await;
    assert_eq!((figures.dead, figures.counters.dead), (5, 5));
    for (place, id) in ids.iter().enumerate() {
        match queue.get(id).await {
            Ok(Some(task)) => assert_eq!(task.state, State::Dead, "{place}"),
            Err(Error::Corrupt { .. }) => assert!(place < wrong.len()),
            other => panic!("{place}: {other:?}"),
        }
    }
}
