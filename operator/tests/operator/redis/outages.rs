//! A Redis that cannot be read is not an empty one.

use taskqueue_operator::index::Sight;
use taskqueue_queue::testing::RedisServer;
use taskqueue_scaling::Reason;

use super::world::{World, key, queue, task};

fn cause(sight: &Sight) -> &str {
    sight.queue.as_ref().expect_err("it can be read")
}

#[tokio::test]
async fn a_stopped_redis_is_told_the_replicas_are_held_and_its_return_is_seen() {
    let mut redis = RedisServer::start().await;
    let world = World::new();
    world.stands("a", 3);
    world.orders("a", &redis.url(), &[]);
    world
        .sees("a", "a reading", |sight| sight.queue.is_ok())
        .await;
    redis.stop().await;
    let away = world
        .sees("a", "the outage", |sight| sight.queue.is_err())
        .await;
    assert_eq!(away.decision.reason, Reason::RedisUnreachable);
    assert_eq!(away.decision.replicas, 3);
    let address = format!("127.0.0.1:{}", redis.port());
    assert!(cause(&away).contains(&address), "{}", cause(&away));
    // Also after a look that had to connect anew.
    let still = world.looks("a").await;
    assert_eq!(still.decision.replicas, 3);
    redis.restart().await;
    let back = world
        .sees("a", "the return", |sight| sight.queue.is_ok())
        .await;
    assert_eq!(back.decision.replicas, 3);
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn after_an_outage_pushes_wake_again() {
    let mut redis = RedisServer::start().await;
    let mut world = World::new();
    world.stands("a", 0);
    world.orders("a", &redis.url(), &[]);
    world
        .sees("a", "a reading", |sight| sight.queue.is_ok())
        .await;
    redis.kill();
    world
        .sees("a", "the outage", |sight| sight.queue.is_err())
        .await;
    redis.restart().await;
    world
        .sees("a", "the return", |sight| sight.queue.is_ok())
        .await;
    queue(&redis, "a").await.enqueue(task()).await.unwrap();
    assert_eq!(world.write().await, (key("a"), 1));
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_waited_for() {
    let mut redis = RedisServer::start().await;
    redis.stop().await;
    let world = World::new();
    world.stands("a", 2);
    world.orders("a", &redis.url(), &[]);
    let away = world.looks("a").await;
    assert!(away.queue.is_err());
    redis.restart().await;
    world
        .sees("a", "a reading", |sight| sight.queue.is_ok())
        .await;
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_named_as_such_and_not_shown() {
    let redis = RedisServer::start_with(&["--save", "", "--requirepass", "right"]).await;
    let world = World::new();
    let with = |password: &str| format!("redis://{password}127.0.0.1:{}", redis.port());
    world.orders("wrong", &with(":hunter2@"), &[]);
    world.orders("none", &with(""), &[]);
    world.orders("right", &with(":right@"), &[]);
    for (name, part) in [
        ("wrong", "refused access: WRONGPASS"),
        ("none", "refused access: NOAUTH"),
    ] {
        let sight = world.looks(name).await;
        assert!(cause(&sight).contains(part), "{}", cause(&sight));
        assert!(!cause(&sight).contains("hunter2"), "{}", cause(&sight));
    }
    world
        .sees("right", "a reading", |sight| sight.queue.is_ok())
        .await;
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn tls_to_a_server_without_it_is_named_as_such() {
    let redis = RedisServer::start().await;
    let world = World::new();
    world.orders("a", &format!("rediss://127.0.0.1:{}", redis.port()), &[]);
    let sight = world.looks("a").await;
    let told = cause(&sight);
    assert!(
        told.contains("TLS") && told.contains("redis:// instead of rediss://"),
        "{told}"
    );
    world.end().await;
}

#[tokio::test]
async fn one_redis_that_fails_holds_up_no_other() {
    let healthy = RedisServer::start().await;
    let mut failing = RedisServer::start().await;
    let mut world = World::new();
    for (name, url) in [("healthy", healthy.url()), ("failing", failing.url())] {
        world.stands(name, 0);
        world.orders(name, &url, &[]);
        world
            .sees(name, "a reading", |sight| sight.queue.is_ok())
            .await;
    }
    // It takes connections and answers nothing, the worst way to fail.
    failing.freeze();
    queue(&healthy, "healthy")
        .await
        .enqueue(task())
        .await
        .unwrap();
    assert_eq!(world.write().await, (key("healthy"), 1));
    for _ in 0..2 {
        assert!(world.looks("healthy").await.queue.is_ok());
    }
    failing.thaw();
    failing.kill();
    let away = world
        .sees("failing", "the outage", |sight| sight.queue.is_err())
        .await;
    assert_eq!(away.decision.reason, Reason::RedisUnreachable);
    assert!(world.looks("healthy").await.queue.is_ok());
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_task_queue_that_moves_to_another_redis_is_followed() {
    let (before, after) = (RedisServer::start().await, RedisServer::start().await);
    let mut world = World::new();
    world.stands("a", 0);
    world.orders("a", &before.url(), &[]);
    world
        .sees("a", "a reading", |sight| sight.queue.is_ok())
        .await;
    queue(&after, "a").await.enqueue(task()).await.unwrap();
    world.orders("a", &after.url(), &[]);
    assert_eq!(world.write().await, (key("a"), 1));
    assert_eq!(world.end().await, []);
}
