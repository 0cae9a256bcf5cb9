//! Kinds of failures, and how many of each there were.

use std::collections::BTreeMap;
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, listed};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Cause, Client, NewTask, Payload, Queue, Stage, fingerprint};

use crate::testbed::{Running, brisk, number, queue, until};

fn of_kind(kind: &str, number: u32) -> NewTask {
    NewTask::new(kind, Payload::of(&number).unwrap())
}

/// Fails in a way of its own for each type.
async fn by_type(task: LeasedTask) -> Outcome {
    let number = number(&task);
    match task.kind.as_str() {
        "mail" => Outcome::Retry {
            error: format!("no user {number} in 'users-{number}'"),
            after: None,
        },
        "hang" => std::future::pending().await,
        _ => Outcome::Dead {
            error: format!("/var/spool/{number}: no space left"),
        },
    }
}

#[tokio::test]
async fn failures_are_counted_by_kind_with_the_last_of_each() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    let mut policy = brisk();
    policy.retry.max_attempts = 2;
    policy.timeout = Duration::from_millis(50);
    queue.configure(&policy).await.unwrap();
    for (kind, count) in [("mail", 3), ("hang", 2), ("print", 4)] {
        for number in 0..count {
            queue.enqueue(of_kind(kind, number)).await.unwrap();
        }
    }
    let worker = Running::start(Worker::new(queue.clone(), by_type).concurrency(9));
    until(&client, &queue, "all are dead", |s| s.dead == 9).await;
    worker.stop().await;

    let known = queue.error_groups().await.unwrap();
    assert_eq!(known.dropped, 0);
    let groups = &known.groups;
    assert!(
        groups
            .windows(2)
            .all(|pair| pair[0].last_seen >= pair[1].last_seen)
    );
    let counts: BTreeMap<_, _> = groups
        .iter()
        .map(|group| {
            (
                group.kind.as_str(),
                (group.cause, group.count, group.message.as_str()),
            )
        })
        .collect();
    let expected = [
        ("hang", (Cause::Timeout, 4, "ran longer than # ms")),
        ("mail", (Cause::Error, 6, "no user # in '*'")),
        ("print", (Cause::Error, 4, "/var/spool/#: no space left")),
    ];
    assert_eq!(counts, expected.into());
    let dead = listed(&queue, &[Stage::Dead], 100).await;
    for group in groups {
        assert!(group.first_seen <= group.last_seen && group.last_hour <= group.count);
        let last = dead.iter().find(|letter| letter.id == group.task).unwrap();
        let failure = last.errors.last().unwrap();
        assert_eq!(
            (&last.kind, &failure.message),
            (&group.kind, &group.example)
        );
        // As of each of them.
        for letter in dead.iter().filter(|letter| letter.kind == group.kind) {
            let failure = letter.errors.last().unwrap();
            let print = fingerprint(&letter.kind, failure.cause, &failure.message);
            assert_eq!(print, group.fingerprint);
        }
    }

    let first = groups[0].fingerprint;
    assert_eq!(queue.forget_error_groups(&[first, first]).await.unwrap(), 1);
    let left = queue.error_groups().await.unwrap().groups;
    assert_eq!(left, groups[1..]);
    assert_eq!(queue.forget_error_groups(&[]).await.unwrap(), 2);
    assert_eq!(queue.error_groups().await.unwrap().groups, []);
}

/// Puts tasks of as many types in, and has each die.
async fn bury(client: &Client, queue: &Queue, kinds: impl Iterator<Item = String>, dead: u64) {
    let tasks = kinds.map(|kind| of_kind(&kind, 1)).collect();
    queue.enqueue_many(tasks).await.unwrap();
    let worker = Running::start(Worker::new(queue.clone(), by_type).concurrency(50));
    until(client, queue, "they are dead", |s| s.dead == dead).await;
    worker.stop().await;
}

#[tokio::test]
async fn of_more_than_a_thousand_kinds_the_stalest_goes_and_is_counted() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    bury(&client, &queue, ["stale".to_owned()].into_iter(), 1).await;
    bury(&client, &queue, (0..999).map(|n| format!("k{n}")), 1_000).await;
    let known = queue.error_groups().await.unwrap();
    assert_eq!((known.groups.len(), known.dropped), (1_000, 0));
    // One that is known takes no other's place, and is fresh again.
    bury(&client, &queue, ["k0".to_owned()].into_iter(), 1_001).await;
    bury(&client, &queue, ["new".to_owned()].into_iter(), 1_002).await;
    let known = queue.error_groups().await.unwrap();
    assert_eq!((known.groups.len(), known.dropped), (1_000, 1));
    assert_eq!(
        (known.groups[0].kind.as_str(), known.groups[0].count),
        ("new", 1)
    );
    assert_eq!(
        (known.groups[1].kind.as_str(), known.groups[1].count),
        ("k0", 2)
    );
    assert!(known.groups.iter().all(|group| group.kind != "stale"));
    let fields: u64 = redis.command("HLEN tq:{test/jobs}:grouped").await;
    assert_eq!(fields, 2_000);
}

#[tokio::test]
async fn what_strangers_have_written_hides_no_kind() {
    let redis = RedisServer::start().await;
    let (queue, client) = (queue(&redis).await, redis.client().await);
    bury(&client, &queue, ["print".to_owned()].into_iter(), 1).await;
    for command in [
        "ZADD tq:{test/jobs}:groups 1 none 2 0000000000000000 3 1111111111111111 4 zzzzzzzzzzzzzzzz",
        "HSET tq:{test/jobs}:grouped none x 0000000000000000 x n0000000000000000 1 1111111111111111 x",
        "HSET tq:{test/jobs}:grouped zzzzzzzzzzzzzzzz x nzzzzzzzzzzzzzzzz x",
    ] {
        let _: i64 = redis.command(command).await;
    }
    let known = queue.error_groups().await.unwrap().groups;
    assert_eq!((known.len(), known[0].kind.as_str()), (1, "print"));
    // Figures that are none are begun anew.
    let print = known[0].fingerprint;
    let name = format!("HSET tq:{{test/jobs}}:grouped n{print} many");
    let _: i64 = redis.command(&name).await;
    assert_eq!(queue.error_groups().await.unwrap().groups, []);
    bury(&client, &queue, ["print".to_owned()].into_iter(), 2).await;
    let known = queue.error_groups().await.unwrap().groups;
    assert_eq!((known.len(), known[0].count), (1, 1));
}
