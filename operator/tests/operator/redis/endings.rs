//! Pods that end give their tasks back at once.

use std::time::Duration;

use taskqueue_queue::{
    State,
    testing::{RedisServer, eventually},
    worker::{LeasedTask, Outcome, Worker},
};
use tokio_util::sync::CancellationToken;

use super::world::{PATIENCE, World, key, pod, queue, task};

async fn hang(_: LeasedTask) -> Outcome {
    std::future::pending().await
}

#[tokio::test]
async fn the_tasks_of_a_pod_that_is_gone_are_runnable_long_before_their_lease_lapses() {
    let redis = RedisServer::start().await;
    let queue = queue(&redis, "a").await;
    let id = queue.enqueue(task()).await.unwrap().id();
    let lease = Duration::from_mins(10);
    let worker = Worker::new(queue.clone(), hang)
        .info(pod("a-0"))
        .lease(lease);
    let doomed = tokio::spawn(worker.run(CancellationToken::new(), CancellationToken::new()));
    eventually(PATIENCE, "the task taken", async || {
        let task = queue.get(&id).await.unwrap().unwrap();
        (task.state == State::Active).then_some(())
    })
    .await;
    let world = World::new();
    world.stands("a", 1);
    world.runs("a", &["a-0"]);
    world.orders("a", &redis.url(), &[]);
    world.looks("a").await;
    doomed.abort();
    world.loses("a", "a-0");
    let task = eventually(PATIENCE, "the task runnable", async || {
        let task = queue.get(&id).await.unwrap().unwrap();
        (task.state == State::Waiting).then_some(task)
    })
    .await;
    assert_eq!(task.losses, 1);
    world.end().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_up_nothing_but_its_own_write() {
    let redis = RedisServer::start().await;
    let mut world = World::new();
    world.silences("stuck");
    for name in ["stuck", "fine"] {
        world.stands(name, 0);
        world.orders(name, &redis.url(), &[]);
        world.looks(name).await;
    }
    let (stuck, fine) = (queue(&redis, "stuck").await, queue(&redis, "fine").await);
    stuck.enqueue(task()).await.unwrap();
    let wanted = world
        .sees("stuck", "the need", |sight| sight.decision.replicas == 1)
        .await;
    fine.enqueue(task()).await.unwrap();
    assert_eq!(world.write().await, (key("fine"), 1));
    // Its queue is looked at and tended to as ever.
    let later = task().delay(Duration::from_millis(1));
    stuck.enqueue(later).await.unwrap();
    world
        .sees("stuck", "the promotion", |sight| {
            let reading = sight.queue.as_ref().unwrap();
            reading.snapshot.backlog() - reading.snapshot.due == 2
        })
        .await;
    // And it is told.
    let told = world
        .sees("stuck", "the refusal", |sight| sight.refused.is_some())
        .await;
    assert!(told.refused.as_deref().unwrap().contains("did not answer"));
    assert_eq!(wanted.refused, None);
    world.end().await;
}
