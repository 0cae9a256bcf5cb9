//! What it costs to look at many quiet queues: time of Redis and of this process for each queue of
//! a look, and memory.
//!
//! `cargo run --release -p taskqueue-queue --example figures 1000 10000`, on a redis-server of its own.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use taskqueue_queue::testing::RedisServer;
use taskqueue_queue::{Client, Policy, Queue, QueueName};

/// So many figures of one queue are read.
const READ: u32 = 100_000;

type Anything = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Anything> {
    let mut counts: Vec<u32> = Vec::new();
    for count in std::env::args().skip(1) {
        counts.push(count.parse()?);
    }
    let redis = RedisServer::start().await;
    let mut raw = redis.connection().await;
    println!("resident before any queue: {} KiB", memory("VmRSS")?);
    for count in counts {
        let client = redis.client().await;
        let queues = populate(&client, &mut raw, count).await?;
        look(&client, &queues).await?;
        let looks = (READ / count).max(5);
        let (before, redis_before) = (own_cpu()?, cpu_of_redis(&mut raw).await?);
        let begun = Instant::now();
        for _ in 0..looks {
            look(&client, &queues).await?;
        }
        let took = begun.elapsed();
        let own = own_cpu()?.saturating_sub(before);
        let of_redis = cpu_of_redis(&mut raw).await?.saturating_sub(redis_before);
        let micros = |span: Duration| (span / (looks * count)).as_secs_f64() * 1e6;
        println!(
            "{count} queues: a look takes {:.1} ms; for each queue {:.1} us here and {:.1} us of Redis; resident {} KiB, at most {} KiB",
            (took / looks).as_secs_f64() * 1e3,
            micros(own),
            micros(of_redis),
            memory("VmRSS")?,
            memory("VmHWM")?,
        );
    }
    Ok(())
}

async fn look(client: &Client, queues: &[Queue]) -> Result<(), Anything> {
    for figures in client.snapshot(queues).await {
        figures?;
    }
    Ok(())
}

/// Queues that had some work some time ago.
async fn populate(
    client: &Client,
    raw: &mut MultiplexedConnection,
    count: u32,
) -> Result<Vec<Queue>, Anything> {
    redis::cmd("FLUSHALL").exec_async(raw).await?;
    let mut queues = Vec::new();
    for number in 0..count {
        let queue = client.queue(QueueName::new("bench", &format!("queue-{number}"))?);
        queue.configure(&Policy::default()).await?;
        redis::cmd("HSET")
            .arg(format!("tq:{{{}}}:stats", queue.name()))
            .arg(&["enqueued", "1234567", "completed", "1234500"])
            .arg(&["run_ms", "98765432", "failed", "77", "retried", "70"])
            .arg(&["dead", "7", "mark", "1234500", "mark_ms", "1700000000000"])
            .arg(&["next", "1234500", "next_ms", "1700000010000"])
            .exec_async(raw)
            .await?;
        queues.push(queue);
    }
    Ok(queues)
}

/// User and system time of this process.
fn own_cpu() -> Result<Duration, Anything> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no fields")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // In hundredths of a second.
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

async fn cpu_of_redis(raw: &mut MultiplexedConnection) -> Result<Duration, Anything> {
    let info: redis::InfoDict = redis::cmd("INFO").arg("cpu").query_async(raw).await?;
    let seconds = |field: &str| info.get::<f64>(field).unwrap_or(0.0);
    Ok(Duration::from_secs_f64(
        seconds("used_cpu_user") + seconds("used_cpu_sys"),
    ))
}

/// A line of what the system says of this process' memory, in KiB.
fn memory(line: &str) -> Result<u64, Anything> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|text| text.starts_with(line));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.ok_or("no such line")?.parse()?)
}
