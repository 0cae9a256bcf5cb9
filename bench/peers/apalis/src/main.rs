//! apalis under the contract of bench/peers/README.md.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_redis::{Config, ConnectionManager, RedisStorage};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Storage = RedisStorage<Noop>;

/// Tasks of one call of `push_bulk`: its script takes 7 arguments for each.
const BATCH: usize = 500;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Noop {
    data: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    index: Option<usize>,
}

impl Noop {
    fn new(index: Option<usize>) -> Self {
        Self {
            data: "x".repeat(89),
            index,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |position: usize| -> Result<usize, Fault> {
        Ok(words.get(position).ok_or("a number is missing")?.parse()?)
    };
    match words.first().map_or("", String::as_str) {
        "version" => println!(r#"{{"version":"1.0.0"}}"#),
        "enqueue-one" => enqueue(number(1)?, 1).await?,
        "enqueue-concurrent" => enqueue(number(1)?, number(2)?).await?,
        "enqueue-bulk" => bulk(number(1)?, false).await?,
        "schedule" => bulk(number(1)?, true).await?,
        "work" => work(number(1)?).await?,
        "latency-idle" => latency(number(1)?, Some(number(2)?), 0).await?,
        "latency-rate" => latency(number(1)?, None, number(2)?).await?,
        other => return Err(format!("no command is named {other}").into()),
    }
    Ok(())
}

async fn connection() -> Result<ConnectionManager, Fault> {
    Ok(apalis_redis::connect(std::env::var("REDIS_URL")?).await?)
}

/// What its documentation offers for speed: large batches, no event for every task, and no locks
/// where tasks are shorter than a heartbeat.
fn storage(connection: ConnectionManager) -> Storage {
    let config = Config::default()
        .queue("bench")
        .batch_size(500)
        .emit_events(false)
        .lock_tasks(false);
    RedisStorage::new(connection).with_config(config)
}

/// A tick a millisecond. Its own `poll_with_interval` stops for good, until the next heartbeat, when
/// an answer of Redis takes longer than the interval: it does not poll the timer that it has reset.
fn ticks() -> impl futures::Stream<Item = ()> + Unpin + Send + Sync {
    let mut interval = tokio::time::interval(Duration::from_millis(1));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    futures::stream::poll_fn(move |context| {
        let mut ticked = std::task::Poll::Pending;
        while interval.poll_tick(context).is_ready() {
            ticked = std::task::Poll::Ready(Some(()));
        }
        ticked
    })
}

async fn enqueue(count: usize, callers: usize) -> Result<(), Fault> {
    let shared = storage(connection().await?);
    let storages = vec![shared; callers];
    let begun = Instant::now();
    let mut running = Vec::new();
    for (caller, mut storage) in storages.into_iter().enumerate() {
        let share = count / callers + usize::from(caller < count % callers);
        running.push(tokio::spawn(async move {
            for _ in 0..share {
                storage.push(Noop::new(None)).await?;
            }
            Ok::<(), Fault>(())
        }));
    }
    for run in running {
        run.await??;
    }
    told(count, begun);
    Ok(())
}

async fn bulk(count: usize, scheduled: bool) -> Result<(), Fault> {
    let mut storage = storage(connection().await?);
    let begun = Instant::now();
    let mut left = count;
    while left > 0 {
        let size = left.min(BATCH);
        left -= size;
        let tasks = (0..size).map(|_| Noop::new(None));
        if scheduled {
            let tasks = tasks.map(|task| TaskBuilder::new(task).run_in_hours(1).build());
            storage.push_all(futures::stream::iter(tasks)).await?;
        } else {
            storage.push_bulk(tasks.collect()).await?;
        }
    }
    told(count, begun);
    Ok(())
}

fn told(count: usize, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({"count": count, "seconds": seconds})
    );
}

/// Its worker moves all due tasks in one Lua call, which cannot take more than some 8,000. So that
/// a backlog can be drained at all, they are moved here before the worker starts, as its script would.
async fn promote() -> Result<(), Fault> {
    let script = redis::Script::new(
        r"local ids = redis.call('ZRANGEBYSCORE', KEYS[1], 0, ARGV[1], 'LIMIT', 0, 5000)
          if #ids > 0 then
            redis.call('RPUSH', KEYS[2], unpack(ids))
            redis.call('ZREM', KEYS[1], unpack(ids))
          end
          return #ids",
    );
    let mut connection = connection().await?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    loop {
        let moved: usize = script
            .key("bench:scheduled")
            .key("bench:active")
            .arg(now)
            .invoke_async(&mut connection)
            .await?;
        if moved == 0 {
            return Ok(());
        }
    }
}

async fn work(slots: usize) -> Result<(), Fault> {
    promote().await?;
    let backend = storage(connection().await?).poll_with_stream(ticks());
    let worker = WorkerBuilder::new("bench-worker")
        .backend(backend)
        .concurrency(slots)
        .build(|_: Noop| async { Ok::<(), BoxDynError>(()) });
    println!(r#"{{"ready":true}}"#);
    let mut stdin = tokio::io::stdin();
    let mut rest = Vec::new();
    tokio::select! {
        ended = worker.run() => Err(format!("the worker ended: {ended:?}").into()),
        read = stdin.read_to_end(&mut rest) => { read?; Ok(()) }
    }
}

async fn latency(count: usize, pause: Option<usize>, rate: usize) -> Result<(), Fault> {
    let (told, seen) = mpsc::unbounded_channel();
    let backend = storage(connection().await?).poll_with_stream(ticks());
    let told = Arc::new(told);
    let worker = WorkerBuilder::new("bench-worker")
        .backend(backend)
        .concurrency(500)
        .build(move |task: Noop| {
            let at = Instant::now();
            let told = Arc::clone(&told);
            async move {
                if let Some(index) = task.index {
                    told.send((index, at))?;
                }
                Ok::<(), BoxDynError>(())
            }
        });
    tokio::select! {
        ended = worker.run() => Err(format!("the worker ended: {ended:?}").into()),
        sent = tokio::spawn(send(seen, count, pause, rate)) => {
            println!("{}", serde_json::json!({"latencies_us": sent??}));
            Ok(())
        }
    }
}

async fn send(
    mut seen: mpsc::UnboundedReceiver<(usize, Instant)>,
    count: usize,
    pause: Option<usize>,
    rate: usize,
) -> Result<Vec<f64>, Fault> {
    tokio::time::sleep(Duration::from_millis(500)).await;
    let manager = connection().await?;
    let mut sent = Vec::with_capacity(count);
    let mut latencies = vec![0.0; count];
    if let Some(pause) = pause {
        let mut storage = storage(manager);
        for latency in &mut latencies {
            let begun = Instant::now();
            storage.push(Noop::new(Some(0))).await?;
            *latency = micros(begun, next(&mut seen).await?.1);
            tokio::time::sleep(Duration::from_micros(pause as u64)).await;
        }
        return Ok(latencies);
    }
    let begun = Instant::now();
    for index in 0..count {
        let due = begun + Duration::from_secs_f64(index as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let mut storage = storage(manager.clone());
        sent.push(Instant::now());
        tokio::spawn(async move { storage.push(Noop::new(Some(index))).await });
    }
    for _ in 0..count {
        let (index, at) = next(&mut seen).await?;
        latencies[index] = micros(sent[index], at);
    }
    Ok(latencies)
}

async fn next(
    seen: &mut mpsc::UnboundedReceiver<(usize, Instant)>,
) -> Result<(usize, Instant), Fault> {
    let waited = tokio::time::timeout(Duration::from_secs(60), seen.recv()).await;
    Ok(waited?.ok_or("the worker ended")?)
}

fn micros(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e6
}
