//! Taskqueue under the contract of bench/peers/README.md. All calls of the product are in this file.
#![allow(clippy::print_stdout, reason = "it is a program")]

mod pace;

use std::time::{Duration, Instant};

use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{Client, Endpoint, NewTask, Payload, Queue, QueueName};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use pace::Pace;

type Fault = Box<dyn std::error::Error + Send + Sync>;

const HOUR: Duration = Duration::from_hours(1);

/// One thread: two cores are shared with Redis, and a handler that does nothing needs no more.
fn main() -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async { tokio::spawn(command()).await? })
}

async fn command() -> Result<(), Fault> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |position: usize| -> Result<usize, Fault> {
        Ok(words.get(position).ok_or("a number is missing")?.parse()?)
    };
    match words.first().map_or("", String::as_str) {
        "version" => println!(r#"{{"version":"{}"}}"#, env!("CARGO_PKG_VERSION")),
        "enqueue-one" => enqueue(number(1)?, 1).await?,
        "enqueue-concurrent" => enqueue(number(1)?, number(2)?).await?,
        "enqueue-bulk" => bulk(number(1)?, None).await?,
        "schedule" => bulk(number(1)?, Some(HOUR)).await?,
        "work" => work(number(1)?).await?,
        "latency-idle" => latency(number(1)?, Pace::Pause(number(2)?)).await?,
        "latency-rate" => latency(number(1)?, Pace::Rate(number(2)?)).await?,
        other => return Err(format!("no command is named {other}").into()),
    }
    Ok(())
}

async fn queue() -> Result<Queue, Fault> {
    let endpoint = Endpoint::parse(&std::env::var("REDIS_URL")?)?;
    let client = Client::connect(&endpoint).await?;
    Ok(client.queue(QueueName::new("bench", "jobs")?))
}

/// 100 bytes of JSON.
fn noop() -> Result<NewTask, Fault> {
    let payload = format!(r#"{{"data":"{}"}}"#, "x".repeat(89));
    Ok(NewTask::new("noop", Payload::json(payload)?))
}

async fn enqueue(count: usize, callers: usize) -> Result<(), Fault> {
    let queue = queue().await?;
    let task = noop()?;
    let begun = Instant::now();
    let mut running = Vec::new();
    for caller in 0..callers {
        let share = count / callers + usize::from(caller < count % callers);
        let (queue, task) = (queue.clone(), task.clone());
        running.push(tokio::spawn(async move {
            for _ in 0..share {
                queue.enqueue(task.clone()).await?;
            }
            Ok::<(), taskqueue_queue::Error>(())
        }));
    }
    for run in running {
        run.await??;
    }
    told(count, begun);
    Ok(())
}

async fn bulk(count: usize, delay: Option<Duration>) -> Result<(), Fault> {
    let queue = queue().await?;
    let mut task = noop()?;
    if let Some(delay) = delay {
        task = task.delay(delay);
    }
    let begun = Instant::now();
    queue.enqueue_all(std::iter::repeat_n(task, count)).await?;
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

async fn work(slots: usize) -> Result<(), Fault> {
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let worker = Worker::new(queue().await?, |_: LeasedTask| async {
        Outcome::Completed(None)
    });
    let run = tokio::spawn(worker.concurrency(slots).run(stop.clone(), abort));
    println!(r#"{{"ready":true}}"#);
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    stop.cancel();
    run.await??;
    Ok(())
}

async fn latency(count: usize, pace: Pace) -> Result<(), Fault> {
    let (told, mut seen) = mpsc::unbounded_channel();
    let queue = queue().await?;
    let worker = Worker::new(queue.clone(), move |task: LeasedTask| {
        let at = Instant::now();
        let told = told.clone();
        async move {
            match task.payload.parse::<(usize, String)>() {
                Ok((index, _)) => {
                    let _ = told.send((index, at));
                    Outcome::Completed(None)
                }
                Err(error) => Outcome::Dead {
                    error: error.to_string(),
                },
            }
        }
    });
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let run = tokio::spawn(worker.concurrency(100).run(stop.clone(), abort));
    tokio::time::sleep(Duration::from_millis(500)).await;

    let latencies = pace
        .run(count, &mut seen, |number| {
            let (queue, task) = (queue.clone(), stamp(number)?);
            Ok(async move { queue.enqueue(task).await.map(drop) })
        })
        .await?;
    println!("{}", serde_json::json!({ "latencies_us": latencies }));
    stop.cancel();
    run.await??;
    Ok(())
}

fn stamp(index: usize) -> Result<NewTask, Fault> {
    let payload = Payload::of(&(index, "x".repeat(90)))?;
    Ok(NewTask::new("stamp", payload))
}
