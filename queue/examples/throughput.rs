//! How fast this machine enqueues and drains 100,000 tasks that do nothing, and what each costs
//! Redis.
//!
//! `REDIS_URL=redis://127.0.0.1:7001 cargo run --release -p taskqueue-queue --example throughput`,
//! on a server that holds nothing else: it is flushed.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::time::{Duration, Instant};

use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Client, Endpoint, Error, NewTask, Payload, QueueName};
use tokio_util::sync::CancellationToken;

const TASKS: u32 = 100_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL")?;
    let slots = std::env::args()
        .nth(1)
        .map_or(Ok(100), |text| text.parse())?;
    let mut raw = redis::Client::open(url.as_str())?
        .get_multiplexed_async_connection()
        .await?;
    redis::cmd("FLUSHALL").exec_async(&mut raw).await?;
    let client = Client::connect(&Endpoint::parse(&url)?).await?;
    let queue = client.queue(QueueName::new("bench", "jobs")?);

    let payload = Payload::of(&"x".repeat(98))?;
    let tasks = (0..TASKS)
        .map(|_| NewTask::new("noop", payload.clone()))
        .collect();
    let before = cpu_micros(&mut raw).await?;
    let begun = Instant::now();
    queue.enqueue_many(tasks).await?;
    print(
        "enqueue_many",
        begun.elapsed(),
        cpu_micros(&mut raw).await? - before,
    );

    let stop = CancellationToken::new();
    let worker = Worker::new(queue.clone(), |_: LeasedTask| async {
        Outcome::Completed(None)
    })
    .concurrency(slots);
    let before = cpu_micros(&mut raw).await?;
    let begun = Instant::now();
    let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    while completed(&client, &queue).await? < u64::from(TASKS) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    print(
        "drain",
        begun.elapsed(),
        cpu_micros(&mut raw).await? - before,
    );
    stop.cancel();
    run.await??;
    Ok(())
}

async fn completed(client: &Client, queue: &taskqueue_queue::Queue) -> Result<u64, Error> {
    let snapshot = client
        .snapshot(std::slice::from_ref(queue))
        .await
        .remove(0)?;
    Ok(snapshot.counters.completed)
}

fn print(what: &str, took: Duration, micros: f64) {
    let tasks = f64::from(TASKS);
    let rate = tasks / took.as_secs_f64();
    println!(
        "{what:14}{rate:10.0} tasks/s  {:6.2} µs of Redis CPU a task",
        micros / tasks
    );
}

/// CPU time that the server has used, in µs.
async fn cpu_micros(raw: &mut redis::aio::MultiplexedConnection) -> redis::RedisResult<f64> {
    let info: redis::InfoDict = redis::cmd("INFO").arg("cpu").query_async(raw).await?;
    let of = |name| info.get::<f64>(name).unwrap_or(0.0);
    Ok((of("used_cpu_user") + of("used_cpu_sys")) * 1e6)
}
