//! What the operator costs with many quiet TaskQueues, on an API server alone: resident memory,
//! CPU and writes in a quiet minute, and how long it takes after they were made and after a
//! restart until it comes to rest.
#![allow(clippy::print_stdout, clippy::panic, clippy::expect_used)]

use std::{fmt::Write as _, ops::Range, path::PathBuf, time::Duration};

use clap::Parser;
use futures::{StreamExt, TryStreamExt};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use taskqueue_api::TaskQueue;
use taskqueue_e2e::alone::{ApiServer, Operator, settled, writes};
use taskqueue_queue::testing::RedisServer;
use tokio::time::{Instant, sleep};

/// Requests under way at once while TaskQueues are made.
const AT_ONCE: usize = 16;
/// How long the operator may take until it comes to rest.
const PATIENCE: Duration = Duration::from_mins(20);
const MINUTE: Duration = Duration::from_mins(1);

/// Measures what the operator costs with many quiet TaskQueues.
#[derive(Parser)]
struct Arguments {
    /// Numbers of TaskQueues, ascending.
    #[arg(long, value_delimiter = ',', default_value = "1,1000,10000")]
    queues: Vec<usize>,
    /// Where the table goes as well.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// What was measured with so many TaskQueues.
struct Row {
    queues: usize,
    made: Duration,
    settled: Duration,
    resident: u64,
    busy: Duration,
    writes: f64,
    reads: u64,
    restarted: Duration,
    rewrites: f64,
    resident_after: u64,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let (server, redis) = (ApiServer::start().await, RedisServer::start().await);
    let client = server.client().await;
    let mut operator = Operator::start(&server, "operator", &redis.url());
    operator.leads().await;
    let (mut rows, mut there) = (Vec::new(), 0);
    for queues in arguments.queues {
        let start = Instant::now();
        make(&client, there..queues).await;
        there = queues;
        let made = start.elapsed();
        looks_at(&operator, queues).await;
        settled(&operator, PATIENCE).await;
        let settled_after = start
            .elapsed()
            .saturating_sub(made + Duration::from_secs(5));
        let quiet = Quiet::minute(&operator, &redis).await;
        // Under its own name, so that it need not wait for the Lease to run out.
        operator.kill();
        operator = Operator::start(&server, "operator", &redis.url());
        let restart = Instant::now();
        looks_at(&operator, queues).await;
        let restarted = restart.elapsed();
        settled(&operator, PATIENCE).await;
        let row = Row {
            queues,
            made,
            settled: settled_after,
            resident: quiet.resident,
            busy: quiet.busy,
            writes: quiet.writes,
            reads: quiet.reads,
            restarted,
            rewrites: written(&operator),
            resident_after: operator.resident(),
        };
        println!("{}", line(&row));
        rows.push(row);
    }
    let document = document(&rows);
    println!("{document}");
    if let Some(output) = arguments.output {
        std::fs::write(&output, document).expect("the output can be written");
    }
}

/// Waits until the operator has looked at so many queues.
async fn looks_at(operator: &Operator, queues: usize) {
    let start = Instant::now();
    loop {
        let metrics = operator.metrics().unwrap_or_default();
        let seen = metrics.keys();
        let seen = seen.filter(|name| name.starts_with("taskqueue_redis_reachable{"));
        let seen = seen.count();
        if seen >= queues {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "only {seen} of {queues} queues are looked at"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

/// A minute in which nothing happens.
struct Quiet {
    resident: u64,
    busy: Duration,
    writes: f64,
    reads: u64,
}

impl Quiet {
    async fn minute(operator: &Operator, redis: &RedisServer) -> Self {
        let (busy, written_before, calls) =
            (operator.busy(), written(operator), reads(redis).await);
        sleep(MINUTE).await;
        Self {
            resident: operator.resident(),
            busy: operator.busy().saturating_sub(busy),
            writes: written(operator) - written_before,
            reads: reads(redis).await - calls,
        }
    }
}

fn written(operator: &Operator) -> f64 {
    let metrics = operator.metrics().expect("the operator answers");
    // An empty sum of floats is -0.
    writes(&metrics).values().sum::<f64>() + 0.0
}

async fn reads(redis: &RedisServer) -> u64 {
    // What is pipelined comes in few reads, so that this is about the round trips.
    let info: String = redis.command("INFO stats").await;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_reads_processed:"));
    let count = line.and_then(|line| line.trim().parse().ok());
    count.expect("Redis counts its reads")
}

/// Makes TaskQueues as users write them: a template with an image, resources and some variables.
async fn make(client: &Client, numbers: Range<usize>) {
    let api: Api<TaskQueue> = Api::namespaced(client.clone(), "default");
    let made = futures::stream::iter(numbers).map(|number| {
        let api = api.clone();
        async move {
            let resource = resource(number);
            api.create(&PostParams::default(), &resource).await
        }
    });
    let made = made
        .buffer_unordered(AT_ONCE)
        .try_for_each(async |_| Ok(()));
    made.await.expect("the TaskQueues can be made");
}

fn resource(number: usize) -> TaskQueue {
    let container = json!({
        "name": "app", "image": "registry.example/app:1.2.3",
        "env": [
            { "name": "LOG_LEVEL", "value": "info" },
            { "name": "API_KEY", "valueFrom": { "secretKeyRef": { "name": "app", "key": "key" } } }
        ],
        "resources": {
            "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" }
        }
    });
    let manifest = json!({
        "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
        "metadata": { "name": format!("quiet-{number:05}"), "namespace": "default" },
        "spec": {
            "retry": { "maxAttempts": 3 },
            "worker": {
                "concurrency": 4,
                "handler": { "exec": { "command": ["/app/run", "--once"] } },
                "template": { "spec": { "containers": [container] } }
            },
            "scaling": { "maxReplicas": 20, "target": { "backlogPerReplica": 10 } }
        }
    });
    serde_json::from_value(manifest).expect("the manifest is right")
}

fn line(row: &Row) -> String {
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    format!(
        "| {} | {:.1} MB | {:.2} % | {} | {:.1} | {:.0} s | {:.0} s | {:.1} s | {} | {:.1} MB |",
        row.queues,
        megabytes(row.resident),
        row.busy.as_secs_f64() / MINUTE.as_secs_f64() * 100.0,
        row.writes,
        row.reads / MINUTE.as_secs(),
        row.made.as_secs_f64(),
        row.settled.as_secs_f64(),
        row.restarted.as_secs_f64(),
        row.rewrites,
        megabytes(row.resident_after),
    )
}

fn document(rows: &[Row]) -> String {
    let mut text = String::from(
        "# What does the operator cost with many TaskQueues?\n\n\
         Written by `make bench-memory`; do not edit.\n\n",
    );
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let _ = writeln!(
        text,
        "{cores} cores that the API server, etcd, Redis and the operator (a release build) share. Every TaskQueue has an \
         exec handler with a pod template, all of them one Redis, and none a task.\n\n\
         | TaskQueues | resident | CPU in a quiet minute, of a core | writes in it | reads from sockets by Redis/s in it | making them | \
         at rest after that | all looked at after a restart | writes of that | resident after it |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    text.push_str(
        "\nWrites are those to the API server by the operator's own count, its Lease apart. Redis reads at most 16 KiB from a \
         socket at once, and the one pipelined round trip a second asks for all queues, so that it takes many reads. At rest means that none has \
         come for five seconds; the time is that of the last one.\n",
    );
    text
}
