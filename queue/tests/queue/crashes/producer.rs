//! A producer killed in the middle of `enqueue_all` or `enqueue_many`: each slice, or each batch, is
//! there whole or not at all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{NewTask, Payload};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Part, Stage};
use super::{name, put_many, put_whole};

const BATCH: usize = 5_000;
/// Tasks that are written together, by the README.
const SLICE: usize = 1_000;
const ROUNDS: usize = 10;
/// Rounds in which the kill must have hit a batch under way.
const LEAST_HITS: usize = 3;
const SOON: Duration = Duration::from_mins(1);

/// The payload of one task.
#[derive(Serialize, Deserialize)]
struct Piece {
    batch: usize,
    place: usize,
    filling: String,
}

/// The producer process: batch after batch, each announced before and after.
pub(crate) async fn play(stage: Stage, whole: bool) {
    let filling = "x".repeat(200);
    for batch in 0.. {
        let pieces = (0..BATCH).map(|place| Piece {
            batch,
            place,
            filling: filling.clone(),
        });
        let tasks = pieces.map(|piece| NewTask::new("piece", Payload::of(&piece).unwrap()));
        let tasks = tasks.collect();
        println!("begin {batch}");
        if whole {
            put_whole(&stage.queue, tasks).await.unwrap();
        } else {
            put_many(&stage.queue, tasks).await.unwrap();
        }
        println!("end {batch}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_is_killed_leaves_each_slice_whole_or_absent() {
    whole_or_absent(Part::Producer, SLICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_is_killed_leaves_each_batch_whole_or_absent() {
    whole_or_absent(Part::BatchProducer, BATCH).await;
}

async fn whole_or_absent(part: Part, unit: usize) {
    let redis = RedisServer::start().await;
    let (mut hits, mut whole, mut absent) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let (begun, ended) = kill_one(&redis, part).await;
        hung_up(&redis).await;
        let found = drain(&redis).await;
        for batch in 0..ended {
            assert_eq!(found.get(&batch).map(Vec::len), Some(BATCH), "{batch}");
        }
        assert!(found.len() <= begun, "a batch that never began");
        if begun == ended {
            continue;
        }
        hits += 1;
        // The one that was under way.
        let places = found.get(&ended).map_or(&[][..], Vec::as_slice);
        let slices = places.chunk_by(|a, b| a / unit == b / unit);
        for slice in slices.clone() {
            assert_eq!(slice.len(), unit, "a part of the slice of {}", slice[0]);
        }
        // Slices are written in order, so what is missing is the end; and nothing is there twice.
        assert!(places.iter().copied().eq(0..places.len()), "{places:?}");
        whole += slices.clone().count();
        absent += BATCH / unit - slices.count();
    }
    println!(
        "producer killed: {hits} of {ROUNDS} kills inside a batch; of {unit} each {whole} slices whole, {absent} absent, none in part"
    );
    assert!(hits >= LEAST_HITS, "only {hits} kills inside a batch");
}

/// Kills a producer in its second batch; how many it had begun, and how many ended.
async fn kill_one(redis: &RedisServer, part: Part) -> (usize, usize) {
    let mut producer = Actor::start(part, &redis.url(), &redis.url());
    let (sender, mut lines) = mpsc::unbounded_channel();
    let output = producer.lines();
    let reading = std::thread::spawn(move || {
        for line in output {
            let _ = sender.send(line);
        }
    });
    let mut passed = async |mark: &str| {
        let is_it = |line: String| line.ends_with(mark);
        while !is_it(lines.recv().await.expect("the producer goes on")) {}
        Instant::now()
    };
    let first = passed("begin 0").await;
    let took = passed("end 0").await - first;
    passed("begin 1").await;
    tokio::time::sleep(took.mul_f64(rand::random())).await;
    producer.kill();
    reading.join().unwrap();
    let (mut begun, mut ended) = (2, 1);
    while let Ok(line) = lines.try_recv() {
        begun += usize::from(line.starts_with("begin "));
        ended += usize::from(line.starts_with("end "));
    }
    (begun, ended)
}

/// Waits until Redis has read all that the producer sent, to the end of its connection.
async fn hung_up(redis: &RedisServer) {
    let raw = redis.connection().await;
    eventually(SOON, "the producer's end", async || {
        let mut command = redis::cmd("INFO");
        command.arg("clients");
        let info: redis::InfoDict = command.query_async(&mut raw.clone()).await.unwrap();
        (info.get("connected_clients") == Some(1_u32)).then_some(())
    })
    .await;
}

/// Takes all tasks out; the places found of each batch, in the order of fetching.
async fn drain(redis: &RedisServer) -> BTreeMap<usize, Vec<usize>> {
    let client = redis.client().await;
    let queue = client.queue(name());
    let (sender, mut pieces) = mpsc::unbounded_channel();
    let handler = move |task: LeasedTask| {
        let piece: Piece = task.payload.parse().unwrap();
        sender.send((piece.batch, piece.place)).unwrap();
        async { Outcome::Completed(None) }
    };
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.clone(), handler).concurrency(1_000);
    let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    eventually(SOON, "drained", async || {
        let mut figures = client.snapshot(std::slice::from_ref(&queue)).await;
        let figures = figures.remove(0).unwrap();
        let counters = figures.counters;
        (counters.completed == counters.enqueued && figures.active == 0).then_some(())
    })
    .await;
    stop.cancel();
    run.await.unwrap().unwrap();
    let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    while let Ok((batch, place)) = pieces.try_recv() {
        found.entry(batch).or_default().push(place);
    }
    for places in found.values_mut() {
        places.sort_unstable();
    }
    found
}
