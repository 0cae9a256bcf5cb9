//! Settings of a Redis that put tasks at risk are seen, beside the looks at its queues.

use std::sync::Arc;

use taskqueue_queue::{
    server::{Safety, Setting},
    testing::{FakeServer, RedisServer, eventually},
};

use super::world::{PATIENCE, World, key};

async fn safety(world: &World, name: &str) -> Arc<Safety> {
    eventually(PATIENCE, "a look at the settings", async || {
        world.index.get(&key(name))?.safety
    })
    .await
}

#[tokio::test]
async fn an_evicting_redis_is_seen_by_every_queue_of_it_and_by_no_other() {
    let evicting = RedisServer::start().await;
    for setting in ["maxmemory-policy allkeys-lru", "appendonly yes"] {
        let _: () = evicting.command(&format!("CONFIG SET {setting}")).await;
    }
    let sound = RedisServer::start_with(&["--appendonly", "yes"]).await;
    let world = World::new();
    world.orders("a", &evicting.url(), &[]);
    world.orders("b", &evicting.url(), &[]);
    world.orders("c", &sound.url(), &[]);
    for name in ["a", "b"] {
        let safety = safety(&world, name).await;
        let reasons: Vec<_> = safety.findings.iter().map(|f| f.risk.reason()).collect();
        assert_eq!(reasons, ["EvictsTasks"]);
    }
    assert_eq!(*safety(&world, "c").await, Safety::default());
    // One that comes later knows as well.
    world.orders("d", &evicting.url(), &[]);
    let late = safety(&world, "d").await;
    assert_eq!(late.is_unsafe(Setting::Eviction), Some(true));
    let metrics = world.metrics.encode().unwrap();
    let line = |server: &RedisServer, setting: &str, value: u8| {
        format!(
            "taskqueue_redis_unsafe{{redis=\"{}\",setting=\"{setting}\"}} {value}\n",
            server.url()
        )
    };
    for line in [
        line(&evicting, "maxmemory-policy", 1),
        line(&evicting, "appendonly", 0),
        line(&sound, "maxmemory-policy", 0),
    ] {
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_redis_that_is_too_old_is_named_and_its_queues_are_not_read() {
    let old = FakeServer::start(|words| match words[0].as_str() {
        "HELLO" => FakeServer::hello("redis", "6.2.14", "standalone"),
        "TIME" => "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n".to_owned(),
        "HMGET" => {
            let fields = words.len() - 2;
            format!("*{fields}\r\n{}", "$-1\r\n".repeat(fields))
        }
        _ => FakeServer::unknown(words),
    })
    .await;
    let world = World::new();
    world.orders("a", &old.url(), &[]);
    let away = world
        .sees("a", "the refusal", |sight| sight.queue.is_err())
        .await;
    let cause = away.queue.as_ref().err().unwrap();
    assert!(cause.contains("it is Redis 6.2.14"), "{cause}");
    let safety = safety(&world, "a").await;
    assert_eq!(safety.findings[0].risk.reason(), "TooOld");
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn tasks_that_are_found_gone_are_told_and_counted() {
    let redis = RedisServer::start().await;
    let world = World::new();
    world.orders("a", &redis.url(), &[]);
    world
        .sees("a", "a reading", |sight| sight.queue.is_ok())
        .await;
    // As a worker counts them that comes upon their ids.
    let _: () = redis.command("HSET tq:{shop/a}:stats missing 3").await;
    world
        .sees("a", "the loss", |sight| sight.missing == 3)
        .await;
    let metrics = world.metrics.encode().unwrap();
    let line = "taskqueue_queue_missing_tasks_total{namespace=\"shop\",name=\"a\"} 3\n";
    assert!(metrics.contains(line), "{metrics}");
    assert_eq!(world.end().await, []);
}
