//! What the autoscaler writes, and when.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use taskqueue_queue::{EventLog, LiveKind, Policy, Replicas, testing::RedisServer};
use taskqueue_scaling::Reason;

use super::world::{World, key, queue, task};

#[tokio::test]
async fn a_push_wakes_from_zero_in_one_write_before_the_next_tick() {
    let redis = RedisServer::start().await;
    let mut world = World::new();
    world.orders("bystander", &redis.url(), &[]);
    let scaling = (
        "/spec/scaling",
        json!({ "target": { "backlogPerReplica": 10 } }),
    );
    let mut in_between = false;
    // A tick looks at every queue, a push only at its own. So a wake that came before another look
    // at the bystander came from the push. A slow machine may tick first: then again.
    for round in 0..5 {
        let name = format!("round-{round}");
        world.orders(&name, &redis.url(), std::slice::from_ref(&scaling));
        world.stands(&name, 0);
        world.looks(&name).await;
        let tasks = queue(&redis, &name).await;
        let tick = world.looks("bystander").await;
        tasks.enqueue_many(vec![task(); 50]).await.unwrap();
        assert_eq!(world.write().await, (key(&name), 5));
        let bystander = world.sight("bystander").unwrap();
        in_between = Arc::ptr_eq(&tick, &bystander);
        if in_between {
            break;
        }
    }
    assert!(in_between, "every wake waited for a tick");
    // One write: neither a tick nor the close looks after a push write again.
    world.looks("bystander").await;
    world.looks("bystander").await;
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn the_number_is_told_with_its_equation() {
    let redis = RedisServer::start().await;
    let mut world = World::new();
    queue(&redis, "a")
        .await
        .enqueue_many(vec![task(); 21])
        .await
        .unwrap();
    world.stands("a", 0);
    world.orders("a", &redis.url(), &[]);
    assert_eq!(world.write().await, (key("a"), 2));
    let sight = world.sight("a").unwrap();
    assert_eq!(sight.decision.reason, Reason::Backlog);
    assert_eq!(
        sight.decision.equation,
        "ceil((21 waiting + 0 active) / 20) = 2"
    );
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_change_is_told_in_the_queue_itself_to_who_listens_and_to_its_log() {
    const SOON: Duration = Duration::from_mins(1);
    let redis = RedisServer::start().await;
    let mut world = World::new();
    let tasks = queue(&redis, "a").await;
    let logged = Policy {
        events: Some(EventLog::default()),
        ..Policy::default()
    };
    tasks.configure(&logged).await.unwrap();
    tasks.enqueue_many(vec![task(); 21]).await.unwrap();
    let mut listener = tasks.listen(None).await.unwrap();
    world.stands("a", 0);
    world.orders("a", &redis.url(), &[("/spec/events", json!({}))]);
    assert_eq!(world.write().await, (key("a"), 2));
    let equation = "ceil((21 waiting + 0 active) / 20) = 2";
    let replicas = Replicas { from: 0, to: 2 };
    let told = listener.next(SOON).await.unwrap();
    assert_eq!(told.events[0].what, LiveKind::Scaled);
    assert_eq!(told.events[0].replicas, Some(replicas));
    assert_eq!(told.events[0].text.as_deref(), Some(equation));
    let mut reader = tasks.ends("test", "one").unwrap();
    let logged = reader.next(SOON).await.unwrap().changes;
    assert_eq!(logged.len(), 1);
    assert_eq!(
        (logged[0].replicas, logged[0].equation.as_str()),
        (replicas, equation)
    );
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn an_empty_queue_lets_its_workers_go_after_the_idle_time() {
    let redis = RedisServer::start().await;
    let mut world = World::new();
    world.stands("a", 3);
    let scaling = json!({ "idle": "100ms", "scaleDown": { "waitForIdle": false } });
    world.orders("a", &redis.url(), &[("/spec/scaling", scaling)]);
    let waits = world.looks("a").await;
    assert_eq!(
        (waits.decision.replicas, waits.decision.reason),
        (3, Reason::IdleWait)
    );
    assert_eq!(world.write().await, (key("a"), 0));
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_queue_whose_deployment_is_not_there_yet_is_seen_and_not_scaled() {
    let redis = RedisServer::start().await;
    let mut world = World::new();
    queue(&redis, "a").await.enqueue(task()).await.unwrap();
    world.orders("a", &redis.url(), &[]);
    let sight = world.looks("a").await;
    assert_eq!(sight.decision.replicas, 1);
    world.looks("a").await;
    world.stands("a", 0);
    assert_eq!(world.write().await, (key("a"), 1));
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_write_that_fails_is_tried_again() {
    let redis = RedisServer::start().await;
    let mut world = World::with_failing_writes(2);
    queue(&redis, "a").await.enqueue(task()).await.unwrap();
    world.stands("a", 0);
    world.orders("a", &redis.url(), &[]);
    assert_eq!(world.write().await, (key("a"), 1));
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn an_edit_of_the_bounds_counts_at_once() {
    let redis = RedisServer::start().await;
    let mut world = World::new();
    world.stands("a", 0);
    world.orders("a", &redis.url(), &[]);
    world.looks("a").await;
    world.orders(
        "a",
        &redis.url(),
        &[("/spec/scaling", json!({ "minReplicas": 2 }))],
    );
    assert_eq!(world.write().await, (key("a"), 2));
    assert_eq!(world.end().await, []);
}

#[tokio::test]
async fn a_number_that_is_written_over_again_and_again_is_left_alone_and_told() {
    let redis = RedisServer::start().await;
    let mut world = World::new();
    let tasks = queue(&redis, "a").await;
    for _ in 0..60 {
        tasks.enqueue(task()).await.unwrap();
    }
    world.stands("a", 0);
    world.orders("a", &redis.url(), &[]);
    assert_eq!(world.write().await, (key("a"), 3));
    // All pods go, as with an autoscaler to zero: that is set right once.
    world.looks("a").await;
    world.looks("a").await;
    world.autoscales("a", 0);
    assert_eq!(world.write().await, (key("a"), 3));
    world.looks("a").await;
    world.looks("a").await;
    world.autoscales("a", 0);
    let told = world
        .sees("a", "the other writer", |sight| {
            sight.another_writer.is_some()
        })
        .await;
    let told = told.another_writer.as_ref().unwrap();
    let who = "field manager kube-controller-manager sets the replicas too";
    assert!(told.starts_with(who), "{told}");
    for _ in 0..3 {
        world.looks("a").await;
    }
    let metrics = world.metrics.encode().unwrap();
    let count = r#"taskqueue_scaling_overwritten_total{namespace="shop",name="a"} 2"#;
    assert!(metrics.contains(count), "{metrics}");
    assert_eq!(world.end().await, []);
}
