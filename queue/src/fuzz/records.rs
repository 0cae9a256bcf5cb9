//! Wrong bytes into the decoders of records, made from real records of every kind.

use std::time::Duration;

use rand::RngExt;
use tokio_util::sync::CancellationToken;

use super::mutate::{bytes, mutated};
use super::{Cases, Dice, Named, connection, dice};
use crate::id::Sequence;
use crate::record::{Record, runnable_since_ms, unpack_done, unpack_logged};
use crate::testing::{RedisServer, eventually};
use crate::worker::{LeasedTask, Outcome, Worker};
use crate::{Error, NewTask, Payload, Policy, Queue, QueueName};

const CASES: u64 = 100_000;
/// Far above what all tests of this binary need together, and far below what a length of four bytes
/// can promise.
const MOST_GROWTH_KIB: u64 = 4 << 20;
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_are_a_record_or_an_error_and_reserve_no_memory() {
    let (live, done) = real_records().await;
    assert!(live.iter().all(|record| Record::unpack(record).is_ok()));
    let all: Vec<_> = live.into_iter().chain(done).collect();
    let name = QueueName::new("n", "q").unwrap();
    let id = Sequence::new(1).task(1);
    let reserved = reserved_kib();
    let (mut good, mut tried) = (0_u64, 0_u64);
    for case in Cases::new(CASES) {
        let _named = Named("records", case);
        let input = input(&mut dice(case), &all);
        let _ = runnable_since_ms(&input[..input.len().min(64)]);
        let record = Record::unpack(&input);
        if let Ok(record) = &record {
            good += 1;
            // What could be read can be written, and read again.
            assert_eq!(Record::unpack(&record.pack()).as_ref(), Ok(record));
        }
        bounded(&input, &record);
        bounded(&input, &unpack_done(id, name.clone(), &input));
        bounded(&input, &unpack_logged(id, name.clone(), &input));
        tried += 1;
    }
    let grown = reserved_kib().zip(reserved).map(|(now, then)| now - then);
    assert!(grown < Some(MOST_GROWTH_KIB), "reserved {grown:?} KiB more");
    println!("{tried} wrong records, of which {good} can be read nevertheless");
    assert!(good > 0, "mutation spoils everything");
}

fn input(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    if dice.random_bool(0.05) {
        return bytes(dice);
    }
    let seed = &seeds[dice.random_range(0..seeds.len())];
    let other = &seeds[dice.random_range(0..seeds.len())];
    mutated(dice, seed, other)
}

/// What was read is no larger than what it was read from, and an error names its cause.
fn bounded<T: std::fmt::Debug>(input: &[u8], read: &Result<T, Error>) {
    match read {
        Ok(value) => {
            // Each failure of four bytes is some hundred when it is printed.
            let printed = format!("{value:?}").len();
            assert!(printed < 2_000 + 150 * input.len(), "{printed}");
        }
        Err(Error::Corrupt { what, reason }) => assert!(!what.is_empty() && !reason.is_empty()),
        Err(other) => panic!("{other}"),
    }
}

/// The address space that this process ever had, where the system tells.
fn reserved_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line?.split_whitespace().next()?.parse().ok()
}

/// Records as Redis holds them: waiting, scheduled, failed, dead and completed ones.
async fn real_records() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let redis = RedisServer::start().await;
    let queue = redis
        .client()
        .await
        .queue(QueueName::new("n", "q").unwrap());
    let mut policy = Policy::default();
    policy.retry.backoff.initial = Duration::from_millis(1);
    policy.retry.max_attempts = 4;
    queue.configure(&policy).await.unwrap();
    let task = |payload| NewTask::new("any", payload);
    for kind in ["completed", "result", "dead", "retried", "large"] {
        let payload = if kind == "large" {
            Payload::of(&"x".repeat(5_000))
        } else {
            Payload::of(kind)
        };
        queue.enqueue(task(payload.unwrap())).await.unwrap();
    }
    run_all(&queue).await;
    let payload = || Payload::of(&[1, 2, 3]).unwrap();
    queue
        .enqueue(task(payload()).priority("high"))
        .await
        .unwrap();
    let later = task(payload()).delay(Duration::from_hours(1));
    queue.enqueue(later).await.unwrap();
    let mut raw = connection(&redis).await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("tq:{n/q}:done:*")
        .query_async(&mut raw)
        .await
        .unwrap();
    let mut done = Vec::new();
    for key in keys {
        done.extend(values(&mut raw, &key).await);
    }
    let live = values(&mut raw, "tq:{n/q}:tasks").await;
    assert_eq!((live.len(), done.len()), (4, 3));
    (live, done)
}

/// Runs what there is until everything has ended.
async fn run_all(queue: &Queue) {
    let handler = |task: LeasedTask| async move {
        match task.payload.parse::<String>().unwrap().as_str() {
            "result" => Outcome::Completed(Payload::of(&[1, 2, 3]).ok()),
            "dead" => Outcome::Dead {
                error: "no \u{fc}se".to_owned(),
            },
            "retried" => Outcome::Retry {
                error: "again".repeat(100),
                after: None,
            },
            _ => Outcome::Completed(None),
        }
    };
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.clone(), handler).concurrency(5);
    let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    eventually(SOON, "all ended", async || {
        let mut figures = queue.client().snapshot(std::slice::from_ref(queue)).await;
        let figures = figures.remove(0).unwrap();
        (figures.counters.completed == 3 && figures.dead == 2).then_some(())
    })
    .await;
    stop.cancel();
    run.await.unwrap().unwrap();
}

async fn values(raw: &mut redis::aio::MultiplexedConnection, key: &str) -> Vec<Vec<u8>> {
    redis::cmd("HVALS").arg(key).query_async(raw).await.unwrap()
}
