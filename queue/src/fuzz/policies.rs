//! Policies in Redis that are JSON but no sense: each part of a policy in turn is each odd value.
//! A policy that is not allowed is an error, never a panic, and can be replaced.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::wreck;
use super::{connection, dice, panics};
use crate::testing::RedisServer;
use crate::worker::{LeasedTask, Outcome, Worker};
use crate::{NewTask, Payload, Policy, QueueName};

/// Cases that run side by side: their workers mostly wait.
const ABREAST: usize = 16;
/// What a worker has for trying.
const A_WHILE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_mins(1);

fn odd_values() -> Vec<Value> {
    let many: Vec<String> = (0..1_000).map(|n| format!("l{n}")).collect();
    vec![
        json!(0),
        json!(1),
        json!(-1),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(-0.5),
        json!(""),
        json!("a:b"),
        json!("high"),
        json!("}:tasks\0"),
        json!("x".repeat(1_000)),
        json!([]),
        json!([""]),
        json!(["high", "high"]),
        json!(["}:tasks", "a:b", "\0"]),
        json!(many),
        json!({}),
        json!({ "kind": "Linear" }),
        json!(true),
        Value::Null,
    ]
}

/// The policy with an odd value in each place in turn.
fn odd_policies() -> Vec<Value> {
    let mut policy = serde_json::to_value(Policy::default()).unwrap();
    policy["retired"] = json!(["old"]);
    let mut places = vec![String::new()];
    places_in(&policy, "", &mut places);
    let mut odd = Vec::new();
    for place in places {
        for value in odd_values() {
            let mut policy = policy.clone();
            *policy.pointer_mut(&place).unwrap() = value;
            odd.push(policy);
        }
    }
    odd
}

fn places_in(value: &Value, above: &str, places: &mut Vec<String>) {
    let names: Vec<String> = match value {
        Value::Array(values) => (0..values.len()).map(|n| n.to_string()).collect(),
        Value::Object(fields) => fields.keys().cloned().collect(),
        _ => return,
    };
    for name in names {
        let place = format!("{above}/{name}");
        places_in(value.pointer(&format!("/{name}")).unwrap(), &place, places);
        places.push(place);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_in_redis_that_makes_no_sense_is_an_error_and_can_be_replaced() {
    let panicked = panics();
    let redis = RedisServer::start().await;
    let policies = odd_policies();
    let count = policies.len();
    let redis = &redis;
    let cases = policies.iter().enumerate().map(async |(case, policy)| {
        tokio::time::timeout(LONGEST, one(case, policy, redis))
            .await
            .unwrap_or_else(|_| panic!("hangs: {policy}"));
        assert_eq!(panics(), panicked, "something panicked: {policy}");
    });
    let cases = futures::stream::iter(cases).buffer_unordered(ABREAST);
    cases.collect::<()>().await;
    println!("{count} odd policies");
}

async fn one(case: usize, policy: &Value, redis: &RedisServer) {
    let name = QueueName::new("policies", &format!("case-{case}")).unwrap();
    let client = redis.client().await;
    let queue = client.queue(name.clone());
    queue.configure(&Policy::default()).await.unwrap();
    let task = |number: u64| NewTask::new("any", Payload::of(&number).unwrap());
    for number in 0..4 {
        queue.enqueue(task(number)).await.unwrap();
    }
    let mut command = redis::cmd("HSET");
    command.arg(format!("tq:{{{name}}}:config"));
    command.arg("policy").arg(policy.to_string());
    command.arg("version").arg(7);
    command
        .exec_async(&mut connection(redis).await)
        .await
        .unwrap();

    // Strangers to the policy before. Every attempt but the last fails.
    let client = redis.client().await;
    let queue = client.queue(name.clone());
    let handler = |task: LeasedTask| async move {
        let error = "once more".to_owned();
        match task.attempt {
            1 => Outcome::Retry { error, after: None },
            2 => std::future::pending().await,
            _ => Outcome::Completed(None),
        }
    };
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.clone(), handler)
        .concurrency(4)
        .drain_timeout(Duration::ZERO);
    let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    let _ = queue.enqueue(task(10)).await;
    tokio::time::sleep(A_WHILE).await;
    stop.cancel();
    let _ = run.await.unwrap();
    wreck::call_everything(&client, &name, &mut dice(0)).await;
    queue.configure(&Policy::default()).await.unwrap();
    assert_eq!(queue.policy().await.unwrap().value.levels.len(), 3);
    queue.enqueue(task(11)).await.unwrap();
}
