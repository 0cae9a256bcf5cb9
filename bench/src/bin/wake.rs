//! From zero to N: how long after a burst of tasks has entered a queue at zero replicas are all the
//! replicas asked for that it needs, in one write, on an API server with 1, 100 and 1,000
//! TaskQueues.
#![allow(clippy::print_stdout, clippy::panic, clippy::expect_used)]

use std::{collections::HashMap, fmt::Write as _, path::PathBuf, time::Duration};

use clap::Parser;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use taskqueue_api::TaskQueue;
use taskqueue_e2e::alone::{ApiServer, Operator, settled};
use taskqueue_queue::{
    NewTask, Payload, Queue, QueueName,
    testing::RedisServer,
    worker::{LeasedTask, Outcome, Worker},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

const TASKS: usize = 50;
const REPLICAS: i32 = 10;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(10);
/// How long a new Deployment is left to itself before its next trial, where that is the very next one.
const SETTLE: Duration = Duration::from_secs(3);
/// Trials lie this far apart and a part of it more, so that they meet the operator's ticks in all
/// of their phases.
const APART: Duration = Duration::from_millis(130);

/// Measures how long workers take to be asked for.
#[derive(Parser)]
struct Arguments {
    /// Numbers of TaskQueues, ascending.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000")]
    queues: Vec<usize>,
    /// Trials with each of them.
    #[arg(long, default_value_t = 100)]
    trials: usize,
    /// Where the table goes as well.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// What a trial measured.
struct Trial {
    /// The replicas of the first write.
    first: i32,
    /// Until all of them were asked for, as a watch sees it.
    asked: Duration,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let (server, redis) = (ApiServer::start().await, RedisServer::start().await);
    let client = server.client().await;
    let operator = Operator::start(&server, "operator", &redis.url());
    operator.leads().await;
    let mut changes = watch(&client);
    let (mut rows, mut there) = (Vec::new(), 0);
    for queues in arguments.queues {
        make(&client, there..queues).await;
        there = queues;
        settled(&operator, PATIENCE).await;
        let mut trials = Vec::new();
        for number in 0..arguments.trials {
            // A prime step visits all of them.
            let name = name(number * 7919 % queues);
            trials.push(trial(&client, &redis, &mut changes, &name).await);
            if queues == 1 {
                sleep(SETTLE).await;
            }
            sleep(APART * u32::try_from(number % 11).unwrap_or(0) / 4).await;
        }
        let row = line(queues, &trials);
        println!("{row}");
        rows.push(row);
    }
    let document = document(&rows);
    println!("{document}");
    if let Some(output) = arguments.output {
        std::fs::write(&output, document).expect("the output can be written");
    }
}

fn name(number: usize) -> String {
    format!("wake-{number:04}")
}

async fn make(client: &Client, numbers: std::ops::Range<usize>) {
    let api: Api<TaskQueue> = Api::namespaced(client.clone(), "default");
    for number in numbers {
        let manifest = json!({
            "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
            "metadata": { "name": name(number), "namespace": "default" },
            "spec": {
                "worker": { "concurrency": 5, "handler": { "native": {} } },
                "scaling": { "maxReplicas": 20, "target": { "backlogPerReplica": 5 }, "idle": "1s",
                             "scaleDown": { "stabilization": "1s" } }
            }
        });
        let resource = serde_json::from_value(manifest).expect("the manifest is right");
        let made = api.create(&PostParams::default(), &resource).await;
        made.expect("the TaskQueue can be made");
    }
}

/// A Deployment that has been seen with other replicas, and when.
struct Change {
    at: Instant,
    name: String,
    replicas: i32,
}

fn watch(client: &Client) -> mpsc::UnboundedReceiver<Change> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut seen = HashMap::new();
        let mut stream = watcher(api, watcher::Config::default())
            .applied_objects()
            .boxed();
        while let Ok(Some(deployment)) = stream.try_next().await {
            let at = Instant::now();
            let name = deployment.metadata.name.unwrap_or_default();
            let replicas = deployment.spec.replicas.unwrap_or(0);
            if seen.insert(name.clone(), replicas) != Some(replicas)
                && sender.send(Change { at, name, replicas }).is_err()
            {
                return;
            }
        }
    });
    receiver
}

async fn trial(
    client: &Client,
    redis: &RedisServer,
    changes: &mut mpsc::UnboundedReceiver<Change>,
    name: &str,
) -> Trial {
    let queue_name = QueueName::new("default", name).expect("the name is right");
    let queue = redis.client().await.queue(queue_name);
    let task = NewTask::new("sleep", Payload::json("{}").expect("it is JSON"));
    // What the connection and the policy cost at first is the producer's, not the operator's.
    queue.policy().await.expect("Redis answers");
    while changes.try_recv().is_ok() {}
    let start = Instant::now();
    let enqueued = queue.enqueue_many(vec![task; TASKS]).await;
    enqueued.expect("Redis takes the tasks");
    let (mut first, mut at) = (None, start);
    while first.is_none() || first != Some(REPLICAS) {
        let change = next(changes, name).await;
        first.get_or_insert(change.replicas);
        at = change.at;
        if change.replicas == REPLICAS {
            break;
        }
    }
    let asked = at - start;
    empty(queue).await;
    // Nobody makes pods here, and the operator lets none go that it has not seen: the next trial gets a new
    // Deployment.
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let how = DeleteParams::background();
    let deleted = deployments.delete(name, &how);
    deleted.await.expect("the Deployment can be deleted");
    while next(changes, name).await.replicas != 0 {}
    Trial {
        first: first.unwrap_or(0),
        asked,
    }
}

async fn next(changes: &mut mpsc::UnboundedReceiver<Change>, name: &str) -> Change {
    loop {
        let change = timeout(PATIENCE, changes.recv()).await;
        let change = change.unwrap_or_else(|_| panic!("{name} is not scaled"));
        let change = change.expect("the watch goes on");
        if change.name == name {
            return change;
        }
    }
}

/// Runs all tasks, as the workers would that nobody starts here.
async fn empty(queue: Queue) {
    let (done, mut runs) = mpsc::unbounded_channel();
    let worker = Worker::new(queue, move |_: LeasedTask| {
        let _ = done.send(());
        async { Outcome::Completed(None) }
    });
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(worker.concurrency(TASKS).run(stop.clone(), abort));
    for _ in 0..TASKS {
        runs.recv().await;
    }
    stop.cancel();
    running.await.expect("it ends").expect("Redis answers");
}

fn line(queues: usize, trials: &[Trial]) -> String {
    let mut times: Vec<Duration> = trials.iter().map(|trial| trial.asked).collect();
    times.sort();
    let at = |percent: usize| {
        // The nearest rank.
        let rank = (percent * times.len()).div_ceil(100);
        times[rank.clamp(1, times.len()) - 1].as_secs_f64() * 1000.0
    };
    let single = trials.iter().filter(|trial| trial.first == REPLICAS);
    format!(
        "| {queues} | {} of {} | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms |",
        single.count(),
        trials.len(),
        at(0),
        at(50),
        at(99),
        at(100)
    )
}

fn document(rows: &[String]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut text = format!(
        "# How long do tasks wait for workers to be asked for?\n\n\
         Written by `make bench-wake`; do not edit.\n\n\
         {cores} cores that the API server, etcd, Redis, the operator (a release build) and this measurement share. One \
         trial: {TASKS} tasks enter a queue at zero replicas, whose target is 5 tasks a replica. The time is from before \
         the call that enqueues them to when a watch of Deployments shows {REPLICAS} replicas.\n\n\
         | TaskQueues | in one write | least | p50 | p99 | most |\n\
         |---|---|---|---|---|---|\n"
    );
    for row in rows {
        let _ = writeln!(text, "{row}");
    }
    text.push_str("\nRequired: p50 within 50 ms and p99 within 300 ms.\n");
    text
}
