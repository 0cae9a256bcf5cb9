//! A Redis that namespaces share, each by a user of its own.

use std::time::Duration;

use serde_json::json;
use taskqueue_queue::{
    Client, Endpoint, QueueName,
    testing::{RedisServer, eventually, tenant},
    worker::{LeasedTask, Outcome, Worker},
};
use tokio_util::sync::CancellationToken;

use super::world::{PATIENCE, World, key, pod, task};

#[tokio::test]
async fn one_user_of_a_namespace_is_enough_for_producers_workers_and_the_operator() {
    let redis = RedisServer::start().await;
    let user = format!("ACL SETUSER shop {}", tenant("shop"));
    let _: () = redis.command(&user).await;
    let url = redis.url().replacen("://", "://shop:secret@", 1);
    let mut world = World::new();
    world.stands("a", 0);
    let brisk = json!({ "scaleDown": { "stabilization": "0s" }, "idle": "0s" });
    world.orders("a", &url, &[("/spec/scaling", brisk)]);
    world.looks("a").await;

    // A task becomes due though no worker lives, and a worker comes, runs it, and is let go.
    let client = Client::connect(&Endpoint::parse(&url).unwrap())
        .await
        .unwrap();
    let queue = client.queue(QueueName::new("shop", "a").unwrap());
    let soon = task().delay(Duration::from_millis(50));
    queue.enqueue(soon).await.unwrap();
    assert_eq!(world.write().await, (key("a"), 1));
    world.runs("a", &["a-0"]);
    let done = |_: LeasedTask| async { Outcome::Completed(None) };
    let worker = Worker::new(queue, done).info(pod("a-0"));
    let never = CancellationToken::new;
    let running = tokio::spawn(worker.run(never(), never()));
    assert_eq!(world.write().await, (key("a"), 0));

    // Nothing was refused but the server's settings, which a tenant's user may not see.
    let denied = eventually(PATIENCE, "the settings are asked for", async || {
        let denied: Vec<Vec<String>> = redis.command("ACL LOG").await;
        (!denied.is_empty()).then_some(denied)
    })
    .await;
    let settings = ["info", "config|get"];
    for entry in denied {
        let of_settings = entry.iter().any(|word| settings.contains(&word.as_str()));
        assert!(of_settings, "{entry:?}");
    }
    running.abort();
    world.end().await;
}
