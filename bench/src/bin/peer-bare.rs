//! Redis alone under the contract of bench/peers/README.md: what `LPUSH` and `BLPOP` loops reach
//! with nothing kept and nothing acknowledged. The floor below every queue.
#![allow(clippy::print_stdout, reason = "it is a program")]

mod pace;

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use pace::Pace;

type Fault = Box<dyn std::error::Error + Send + Sync>;

const LIST: &str = "bench";
/// Values of one `LPUSH` of the bulk.
const BATCH: usize = 1000;

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
        "version" => version().await?,
        "enqueue-one" => enqueue(number(1)?, 1).await?,
        "enqueue-concurrent" => enqueue(number(1)?, number(2)?).await?,
        "enqueue-bulk" => bulk(number(1)?).await?,
        "work" => work().await?,
        "latency-idle" => latency(number(1)?, Pace::Pause(number(2)?)).await?,
        "latency-rate" => latency(number(1)?, Pace::Rate(number(2)?)).await?,
        other => return Err(format!("no command is named {other}").into()),
    }
    Ok(())
}

/// A connection that waits for its answers however long they take, as `BLPOP` needs.
async fn connection() -> Result<MultiplexedConnection, Fault> {
    let client = redis::Client::open(std::env::var("REDIS_URL")?)?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

async fn version() -> Result<(), Fault> {
    let info: redis::InfoDict = redis::cmd("INFO")
        .arg("server")
        .query_async(&mut connection().await?)
        .await?;
    let version = server_version(|name| info.get(name)).ok_or("Redis has no version")?;
    println!("{}", serde_json::json!({ "version": version }));
    Ok(())
}

/// The version as it stands behind the name of this peer, which is "bare Redis". Valkey tells the version
/// of Redis that it is compatible with as well.
fn server_version(told: impl Fn(&str) -> Option<String>) -> Option<String> {
    match told("valkey_version") {
        Some(version) => Some(format!("(Valkey {version})")),
        None => told("redis_version"),
    }
}

fn payload() -> String {
    format!(r#"{{"data":"{}"}}"#, "x".repeat(89))
}

async fn enqueue(count: usize, callers: usize) -> Result<(), Fault> {
    let connection = connection().await?;
    let begun = Instant::now();
    let mut running = Vec::new();
    for caller in 0..callers {
        let share = count / callers + usize::from(caller < count % callers);
        let mut connection = connection.clone();
        running.push(tokio::spawn(async move {
            let payload = payload();
            for _ in 0..share {
                redis::cmd("LPUSH")
                    .arg(LIST)
                    .arg(&payload)
                    .exec_async(&mut connection)
                    .await?;
            }
            Ok::<(), redis::RedisError>(())
        }));
    }
    for run in running {
        run.await??;
    }
    told(count, begun);
    Ok(())
}

async fn bulk(count: usize) -> Result<(), Fault> {
    let mut connection = connection().await?;
    let payloads = vec![payload(); BATCH];
    let begun = Instant::now();
    let mut left = count;
    while left > 0 {
        let size = left.min(BATCH);
        left -= size;
        redis::cmd("LPUSH")
            .arg(LIST)
            .arg(&payloads[..size])
            .exec_async(&mut connection)
            .await?;
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

async fn work() -> Result<(), Fault> {
    let mut connection = connection().await?;
    println!(r#"{{"ready":true}}"#);
    let popping = tokio::spawn(async move {
        loop {
            redis::cmd("BLPOP")
                .arg(LIST)
                .arg(0)
                .exec_async(&mut connection)
                .await?;
        }
        #[expect(unreachable_code, reason = "it names the type of the result")]
        Ok::<(), redis::RedisError>(())
    });
    let mut rest = Vec::new();
    tokio::select! {
        ended = popping => Ok(ended??),
        read = async { tokio::io::stdin().read_to_end(&mut rest).await } => { read?; Ok(()) }
    }
}

async fn latency(count: usize, pace: Pace) -> Result<(), Fault> {
    let mut popper = connection().await?;
    let pusher = connection().await?;
    let (told, mut seen) = mpsc::unbounded_channel();
    let popping = tokio::spawn(async move {
        loop {
            let (_, value): (String, String) = redis::cmd("BLPOP")
                .arg(LIST)
                .arg(0)
                .query_async(&mut popper)
                .await?;
            let at = Instant::now();
            let number = value.split(' ').next().unwrap_or_default().parse()?;
            let _ = told.send((number, at));
        }
        #[expect(unreachable_code, reason = "it names the type of the result")]
        Ok::<(), Fault>(())
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let latencies = pace
        .run(count, &mut seen, |number| {
            let (mut pusher, stamp) = (pusher.clone(), stamp(number));
            Ok(async move { stamp.exec_async(&mut pusher).await })
        })
        .await?;
    popping.abort();
    println!("{}", serde_json::json!({ "latencies_us": latencies }));
    Ok(())
}

fn stamp(number: usize) -> redis::Cmd {
    let mut push = redis::cmd("LPUSH");
    push.arg(LIST).arg(format!("{number} {}", "x".repeat(90)));
    push
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valkey_is_called_by_its_own_version() {
        let valkey = |name: &str| match name {
            "redis_version" => Some("7.2.4".to_owned()),
            "valkey_version" => Some("9.1.2".to_owned()),
            _ => None,
        };
        assert_eq!(server_version(valkey).as_deref(), Some("(Valkey 9.1.2)"));
        let redis = |name: &str| (name == "redis_version").then(|| "7.0.15".to_owned());
        assert_eq!(server_version(redis).as_deref(), Some("7.0.15"));
    }
}
