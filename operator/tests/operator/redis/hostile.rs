//! A Redis that means harm costs the operator little, and other queues nothing.

use std::{
    env, fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use taskqueue_queue::testing::{Answer, FakeServer, RedisServer, eventually};

use super::world::{PATIENCE, World, key, queue, task};

/// Set in the program that a test starts anew, to see what it alone takes of memory.
const ALONE: &str = "TASKQUEUE_TEST_ALONE";
/// What the operator may take with such a Redis, in KiB.
const MOST_KIB: usize = 64 * 1024;

/// The answers of an empty queue of one level, by the script that asks.
fn honest(words: &[String]) -> String {
    match words[0].as_str() {
        "HELLO" => FakeServer::hello("redis", "7.2.4", "standalone"),
        "TIME" => "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n".to_owned(),
        "HMGET" => "*3\r\n$-1\r\n$-1\r\n$-1\r\n".to_owned(),
        // As to a look at a queue at rest.
        "EVALSHA" => {
            "*5\r\n$4\r\nrest\r\n:1700000000000\r\n$0\r\n\r\n$0\r\n\r\n$5\r\n-1 -1\r\n".to_owned()
        }
        "SUBSCRIBE" => format!(
            "*3\r\n$9\r\nsubscribe\r\n${}\r\n{}\r\n:1\r\n",
            words[1].len(),
            words[1]
        ),
        _ => FakeServer::unknown(words),
    }
}

/// Starts this very test in a program of its own, unless it runs in one already.
fn runs_elsewhere(test: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return false;
    }
    let mut program = Command::new(env::current_exe().unwrap());
    let program = program
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, "1");
    assert!(program.status().unwrap().success());
    true
}

/// The most memory that this program ever had, in KiB.
fn peak_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn answers_without_end_leave_the_operator_small() {
    if runs_elsewhere("redis::hostile::answers_without_end_leave_the_operator_small") {
        return;
    }
    let message = "*3\r\n$7\r\nmessage\r\n$7\r\ntq:wake\r\n$6\r\nshop/a\r\n";
    let endless = [
        ("$99999999999\r\n", "x"),
        ("$8000000\r\n", "x"),
        ("*100000\r\n", ":1\r\n"),
        ("*1000\r\n", "$100000\r\n"),
        ("+", "x"),
        ("", message),
    ];
    let world = World::new();
    for (place, (first, again)) in endless.into_iter().enumerate() {
        // To who connects, to a look, and to who listens for pushes.
        for to in ["TIME", "EVALSHA", "SUBSCRIBE"] {
            let said = Answer::Endless(first.to_owned(), again.to_owned());
            let server = FakeServer::start(move |words| {
                if words[0] == to {
                    said.clone()
                } else {
                    honest(words).into()
                }
            })
            .await;
            let name = format!("{}-{place}", to.to_lowercase());
            world.orders(&name, &server.url(), &[]);
            let listens = to == "SUBSCRIBE";
            let told = world
                .sees(&name, "a look", |sight| sight.queue.is_ok() == listens)
                .await;
            if let Err(cause) = &told.queue {
                assert!(!cause.is_empty() && cause.len() < 2_000, "{name}: {cause}");
            }
            world.looks(&name).await;
            world.index.forget(&key(&name));
        }
    }
    let peak = peak_kib();
    assert!(peak < MOST_KIB, "{peak} KiB");
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_redis_that_changes_its_policy_for_ever_is_told_and_ends_with_its_task_queue() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let stale = FakeServer::start(move |words| match words[0].as_str() {
        "HMGET" => "*3\r\n$1\r\n7\r\n$-1\r\n$-1\r\n".to_owned(),
        "EVALSHA" => {
            count.fetch_add(1, Ordering::Relaxed);
            "*1\r\n$5\r\nstale\r\n".to_owned()
        }
        _ => honest(words),
    })
    .await;
    let world = World::new();
    world.orders("a", &stale.url(), &[]);
    let told = world
        .sees("a", "the refusal", |sight| sight.queue.is_err())
        .await;
    let cause = told.queue.as_ref().err().unwrap();
    assert!(cause.contains("the policy changed 8 times"), "{cause}");
    // Once it has no queue any more, nobody asks it.
    world.index.forget(&key("a"));
    eventually(PATIENCE, "silence", async || {
        let before = asked.load(Ordering::Relaxed);
        tokio::time::sleep(super::world::TICK * 3).await;
        (asked.load(Ordering::Relaxed) == before).then_some(())
    })
    .await;
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_redis_that_is_not_allowed_is_named_with_the_setting_and_others_go_on() {
    let redis = RedisServer::start().await;
    let mut world = World::with_allowed("127.0.0.1/32");
    world.stands("a", 0);
    world.orders("a", &redis.url(), &[]);
    world.orders("b", "redis://127.0.0.2:6379", &[]);
    let refused = world.looks("b").await;
    let cause = refused.queue.as_ref().err().unwrap();
    for part in ["127.0.0.2", "the operator's own pod", "redis.allowed"] {
        assert!(cause.contains(part), "{cause}");
    }
    world
        .sees("a", "a reading", |sight| sight.queue.is_ok())
        .await;
    queue(&redis, "a").await.enqueue(task()).await.unwrap();
    assert_eq!(world.write().await, (key("a"), 1));
    assert_eq!(world.end().await, []);
}
