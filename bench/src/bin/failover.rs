//! The operator that leads is killed while tasks come in: how long until another one has asked for
//! the workers of the tasks that came meanwhile. Fails when one waits longer than it may.
#![allow(clippy::print_stdout, clippy::panic, clippy::expect_used)]

use std::{collections::HashMap, time::Duration};

use clap::Parser;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use taskqueue_api::TaskQueue;
use taskqueue_e2e::alone::{ApiServer, Operator, settled};
use taskqueue_queue::{NewTask, Payload, QueueName, testing::RedisServer};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// How long a task may wait for its workers to be asked for.
const ALLOWED: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_mins(2);

/// Measures how long tasks wait when the leader is killed.
#[derive(Parser)]
struct Arguments {
    /// TaskQueues on the API server.
    #[arg(long, default_value_t = 1000)]
    queues: usize,
    /// How many of them get a task, one every 100 ms from the kill on.
    #[arg(long, default_value_t = 100)]
    wakes: usize,
    /// How often the leader is killed.
    #[arg(long, default_value_t = 3)]
    kills: usize,
}

#[tokio::main]
async fn main() {
    let Arguments {
        queues,
        wakes,
        kills,
    } = Arguments::parse();
    let (server, redis) = (ApiServer::start().await, RedisServer::start().await);
    let client = server.client().await;
    let mut leader = Operator::start(&server, "operator-0", &redis.url());
    leader.leads().await;
    make(&client, queues).await;
    settled(&leader, PATIENCE).await;
    let mut changes = watch(&client);
    let mut woken = 0;
    for kill in 1..=kills {
        let next = Operator::start(&server, &format!("operator-{kill}"), &redis.url());
        // A candidate that has just come has not seen the Lease yet.
        sleep(Duration::from_secs(3)).await;
        leader.kill();
        let killed = Instant::now();
        let tasks = wake(&redis, woken..woken + wakes).await;
        woken += wakes;
        let mut waits: Vec<Duration> = Vec::new();
        let mut open = tasks;
        while !open.is_empty() {
            let change = timeout(PATIENCE, changes.recv()).await;
            let (at, name) = change
                .unwrap_or_else(|_| panic!("nobody wakes {:?}", open.keys()))
                .expect("the watch goes on");
            if let Some(since) = open.remove(&name) {
                waits.push(at.saturating_duration_since(since));
            }
        }
        waits.sort();
        let longest = waits.last().copied().unwrap_or_default();
        println!(
            "kill {kill}: {} tasks from the kill on; the longest waited {:.1} s, the shortest {:.3} s; leads after at most {:.1} s",
            waits.len(),
            longest.as_secs_f64(),
            waits[0].as_secs_f64(),
            killed.elapsed().as_secs_f64(),
        );
        assert!(longest <= ALLOWED, "a task waited {longest:?}");
        leader = next;
    }
}

fn name(number: usize) -> String {
    format!("wake-{number:05}")
}

async fn make(client: &Client, queues: usize) {
    let api: Api<TaskQueue> = Api::namespaced(client.clone(), "default");
    for number in 0..queues {
        let manifest = json!({
            "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
            "metadata": { "name": name(number), "namespace": "default" },
            "spec": { "worker": { "handler": { "native": {} } } }
        });
        let resource = serde_json::from_value(manifest).expect("the manifest is right");
        let made = api.create(&PostParams::default(), &resource).await;
        made.expect("the TaskQueue can be made");
    }
}

/// One task into each of these queues, one after the other; returns when.
async fn wake(redis: &RedisServer, numbers: std::ops::Range<usize>) -> HashMap<String, Instant> {
    let client = redis.client().await;
    let mut tasks = HashMap::new();
    for number in numbers {
        let queue =
            client.queue(QueueName::new("default", &name(number)).expect("the name is right"));
        let task = NewTask::new("sleep", Payload::json("{}").expect("it is JSON"));
        tasks.insert(name(number), Instant::now());
        queue.enqueue(task).await.expect("Redis takes the task");
        sleep(Duration::from_millis(100)).await;
    }
    tasks
}

/// Deployments that are seen with replicas for the first time, and when.
fn watch(client: &Client) -> mpsc::UnboundedReceiver<(Instant, String)> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut stream = watcher(api, watcher::Config::default())
            .applied_objects()
            .boxed();
        while let Ok(Some(deployment)) = stream.try_next().await {
            let (at, name) = (Instant::now(), deployment.metadata.name.unwrap_or_default());
            if deployment.spec.replicas.unwrap_or(0) > 0 && sender.send((at, name)).is_err() {
                return;
            }
        }
    });
    receiver
}
