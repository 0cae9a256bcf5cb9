//! How fast this machine enqueues and drains 100,000 tasks that do nothing, and what each costs
//! Redis.
//!
//! `REDIS_URL=redis://127.0.0.1:7001 cargo run --release -p taskqueue-queue --example throughput`,
//! with the number of slots and of threads behind it if need be, on a server that holds nothing
//! else: it is flushed.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::time::{Duration, Instant};

use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Client, Endpoint, Error, NewTask, Payload, QueueName};
use tokio_util::sync::CancellationToken;

const TASKS: u32 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One thread leaves the other cores to Redis; handlers that compute want more.
    let threads = std::env::args().nth(2).map_or(Ok(1), |text| text.parse())?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?
        .block_on(measure())
}

async fn measure() -> Result<(), Box<dyn std::error::Error>> {
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
        .collect::<Vec<_>>();
    let before = Cost::now(&mut raw).await?;
    queue.enqueue_all(tasks).await?;
    print("enqueue_all", &before, &Cost::now(&mut raw).await?);

    let stop = CancellationToken::new();
    let worker = Worker::new(queue.clone(), |_: LeasedTask| async {
        Outcome::Completed(None)
    })
    .concurrency(slots);
    let before = Cost::now(&mut raw).await?;
    let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    while completed(&client, &queue).await? < u64::from(TASKS) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    print("drain", &before, &Cost::now(&mut raw).await?);
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

/// Time and CPU time in µs.
struct Cost {
    at: Instant,
    redis: f64,
    own: f64,
}

impl Cost {
    async fn now(raw: &mut redis::aio::MultiplexedConnection) -> redis::RedisResult<Self> {
        let info: redis::InfoDict = redis::cmd("INFO").arg("cpu").query_async(raw).await?;
        let of = |name| info.get::<f64>(name).unwrap_or(0.0);
        // The first number is the time spent on a core, in ns, of every thread.
        let threads = std::fs::read_dir("/proc/self/task")?;
        let spent = threads.flatten().filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<f64>().ok()
        });
        Ok(Self {
            at: Instant::now(),
            redis: (of("used_cpu_user") + of("used_cpu_sys")) * 1e6,
            own: spent.sum::<f64>() / 1e3,
        })
    }
}

fn print(what: &str, before: &Cost, after: &Cost) {
    let tasks = f64::from(TASKS);
    let rate = tasks / after.at.duration_since(before.at).as_secs_f64();
    println!(
        "{what:14}{rate:10.0} tasks/s, µs of CPU a task: {:6.2} Redis, {:6.2} own",
        (after.redis - before.redis) / tasks,
        (after.own - before.own) / tasks
    );
}
