//! Whether the length of the backlog costs anything: the same work in front of 10,000 and of
//! 1,000,000 waiting tasks, in turns, and what Redis takes for it.
//!
//! `backlog [FILE]` writes the table to the file as well.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use redis::aio::MultiplexedConnection;
use taskqueue_queue::server::ServerReport;
use taskqueue_queue::testing::RedisServer;
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Client, Cursor, Endpoint, Filter, NewTask, Payload, Queue, QueueName, Snapshot, Stage, TaskId,
};
use tokio_util::sync::CancellationToken;

const SHORT: u32 = 10_000;
const LONG: u32 = 1_000_000;
/// Tasks enqueued and drained in each round, beside the backlog.
const SLICE: u32 = 5_000;
/// Calls of each other kind in each round, one at a time.
const CALLS: u32 = 100;
/// The first one is not counted.
const ROUNDS: usize = 62;
/// Tasks in one call, of a producer and of bare Redis.
const BATCH: u32 = 1_000;
/// Callers that enqueue one task each at a time: too few for their tasks to be a large batch together.
const CALLERS: usize = 32;
/// Dead letters of either queue, to be paged through.
const DEAD: u32 = 2_000;
const PAGE: u32 = 100;
const SLOTS: usize = 100;
/// The most that a row may cost more with the long backlog.
const MOST: f64 = 1.1;

type Failure = Box<dyn std::error::Error>;

/// How a backlog came, and what is enqueued beside it.
#[derive(Clone, Copy, PartialEq)]
enum Came {
    InBatches,
    OneByOne,
}

/// A queue with a backlog, and beside it bare Redis with the same.
struct Side {
    came: Came,
    raw: MultiplexedConnection,
    client: Client,
    queue: Queue,
    /// A task that waits.
    some: TaskId,
    /// Bare Redis has a hash of records and a list of ids, as the queue has them.
    bare: [String; 2],
    /// Where a listing goes on.
    cursor: Option<(Stage, Cursor)>,
    /// The number of its next task.
    next: u64,
    bytes_a_task: f64,
    /// Of each row the cost of each round.
    costs: Vec<Vec<Cost>>,
}

/// What one task or call cost, or all did so far, in µs.
#[derive(Clone, Copy)]
struct Cost {
    /// Time that Redis spent inside commands, by its own clock.
    inside: f64,
    /// CPU time of its one thread for commands, so also what it took to read and to answer.
    cpu: f64,
    /// What the caller waited.
    wall: f64,
}

/// What is measured, in the order in which it is done: what is taken in goes out again.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    BarePut,
    BareTake,
    EnqueueMany,
    Enqueue,
    Get,
    Snapshot,
    Page,
    PageWaiting,
    Reclaim,
    Promote,
    Drain,
    EnqueueByCallers,
    DrainOneByOne,
}

impl Row {
    /// The backlog that it is measured in front of.
    fn came(self) -> Came {
        match self {
            Self::EnqueueByCallers | Self::DrainOneByOne => Came::OneByOne,
            _ => Came::InBatches,
        }
    }
}

const ROWS: [(Row, &str); 13] = [
    (
        Row::BarePut,
        "*bare Redis: HSET and RPUSH of 1,000, a task*",
    ),
    (
        Row::BareTake,
        "*bare Redis: LPOP, HMGET and HDEL of 1,000, a task*",
    ),
    (Row::EnqueueMany, "enqueue_many of 1,000, a task"),
    (Row::Enqueue, "enqueue, a call"),
    (Row::Get, "get by id, a call"),
    (Row::Snapshot, "snapshot, a call"),
    (Row::Page, "page of 100 dead letters, a call"),
    (Row::PageWaiting, "page of 100 waiting tasks, a call"),
    (Row::Reclaim, "reclaim, a call"),
    (Row::Promote, "promote, a call"),
    (Row::Drain, "fetch and ack with 100 slots, a task"),
    (
        Row::EnqueueByCallers,
        "enqueue by 32 callers, in front of a backlog that came so, a task",
    ),
    (
        Row::DrainOneByOne,
        "fetch and ack from that backlog, a task",
    ),
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // One server for both, so that both have the same luck with the machine.
    let redis = RedisServer::start().await;
    let mut pairs = [
        pair(&redis, Came::InBatches).await?,
        pair(&redis, Came::OneByOne).await?,
    ];
    for round in 0..ROUNDS {
        for (place, (row, _)) in ROWS.iter().enumerate() {
            // Each row in turns, and either side first as often as the other.
            for turn in 0..2 {
                let side = &mut pairs[row.came() as usize][(round + turn) % 2];
                let cost = side.measure(*row).await?;
                if round > 0 {
                    side.costs[place].push(cost);
                }
            }
        }
        println!("round {round} of {}", ROUNDS - 1);
    }
    let reports = pairs[0][0].client.server_reports().await?;
    let server = reports.first().map(ServerReport::name).unwrap_or_default();
    let text = document(&pairs, &server);
    println!("\n{text}");
    if let Some(file) = std::env::args().nth(1) {
        std::fs::write(file, text)?;
    }
    Ok(())
}

async fn pair(redis: &RedisServer, came: Came) -> Result<[Side; 2], Failure> {
    Ok([
        Side::with(redis, came, SHORT).await?,
        Side::with(redis, came, LONG).await?,
    ])
}

fn task() -> Result<NewTask, Failure> {
    Ok(NewTask::new("noop", Payload::of(&"x".repeat(98))?))
}

fn tasks(count: u32) -> Result<Vec<NewTask>, Failure> {
    (0..count).map(|_| task()).collect()
}

impl Side {
    async fn with(redis: &RedisServer, came: Came, backlog: u32) -> Result<Self, Failure> {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let mut raw = redis::Client::open(redis.url())?
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let client = Client::connect(&Endpoint::parse(&redis.url())?).await?;
        let name = match came {
            Came::InBatches => backlog.to_string(),
            Came::OneByOne => format!("{backlog}-one-by-one"),
        };
        let queue = client.queue(QueueName::new("bench", &name)?);
        let some = queue.enqueue(task()?).await?.id();
        let mut side = Self {
            came,
            client,
            queue,
            some,
            bare: ["tasks", "wait"].map(|part| format!("bare-{backlog}:{part}")),
            cursor: None,
            next: 0,
            bytes_a_task: 0.0,
            costs: vec![Vec::new(); ROWS.len()],
            raw: raw.clone(),
        };
        if came == Came::OneByOne {
            side.enqueue_by_callers(backlog).await?;
            println!("{backlog} tasks wait that came one by one");
            return Ok(side);
        }
        side.queue.enqueue_many(tasks(DEAD)?).await?;
        side.run(true, |figures| figures.dead > u64::from(DEAD))
            .await?;
        let empty = info(&mut raw, "memory", "used_memory").await?;
        side.enqueue_many(backlog).await?;
        let full = info(&mut raw, "memory", "used_memory").await?;
        side.bytes_a_task = (full - empty) / f64::from(backlog);
        side.bare_put(backlog).await?;
        println!("{backlog} tasks wait: {:.0} bytes each", side.bytes_a_task);
        Ok(side)
    }

    async fn measure(&mut self, row: Row) -> Result<Cost, Failure> {
        let begun = Instant::now();
        let before = self.meter(row, begun).await?;
        let mut count = SLICE;
        match row {
            Row::BarePut => self.bare_put(SLICE).await?,
            Row::BareTake => self.bare_take(SLICE).await?,
            Row::EnqueueMany => self.enqueue_many(SLICE).await?,
            Row::EnqueueByCallers => self.enqueue_by_callers(SLICE).await?,
            // As many as came; the longest waiting go first.
            Row::Drain | Row::DrainOneByOne => {
                let came = match self.came {
                    Came::InBatches => SLICE + CALLS,
                    Came::OneByOne => SLICE,
                };
                let target = self.figures().await?.counters.completed + u64::from(came);
                let done = |figures: &Snapshot| figures.counters.completed >= target;
                count = self.run(false, done).await?;
            }
            _ => {
                count = CALLS;
                for _ in 0..CALLS {
                    self.call(row).await?;
                }
            }
        }
        let after = self.meter(row, begun).await?;
        let each = |of: fn(&Cost) -> f64| (of(&after) - of(&before)) / f64::from(count);
        Ok(Cost {
            inside: each(|cost| cost.inside),
            cpu: each(|cost| cost.cpu),
            wall: each(|cost| cost.wall),
        })
    }

    async fn meter(&mut self, row: Row, begun: Instant) -> Result<Cost, Failure> {
        let wall = begun.elapsed().as_secs_f64() * 1e6;
        let user = info(&mut self.raw, "cpu", "used_cpu_user_main_thread").await?;
        let system = info(&mut self.raw, "cpu", "used_cpu_sys_main_thread").await?;
        let stats: redis::InfoDict = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut self.raw)
            .await?;
        // What a script calls is a part of the script's time.
        let commands: &[&str] = match row {
            Row::BarePut => &["hset", "rpush"],
            Row::BareTake => &["lpop", "hmget", "hdel"],
            _ => &["evalsha"],
        };
        let spent = |command: &&str| {
            let line: String = stats.get(&format!("cmdstat_{command}"))?;
            let (_, rest) = line.split_once("usec=")?;
            rest.split(',').next()?.parse::<f64>().ok()
        };
        Ok(Cost {
            inside: commands.iter().filter_map(spent).sum(),
            cpu: (user + system) * 1e6,
            wall,
        })
    }

    async fn call(&mut self, row: Row) -> Result<(), Failure> {
        match row {
            Row::Enqueue => self.some = self.queue.enqueue(task()?).await?.id(),
            Row::Get => {
                self.queue.get(&self.some).await?;
            }
            Row::Snapshot => {
                self.figures().await?;
            }
            Row::Page => self.page(Stage::Dead).await?,
            Row::PageWaiting => self.page(Stage::Waiting).await?,
            Row::Reclaim => {
                self.queue.reclaim().await?;
            }
            Row::Promote => {
                self.queue.promote().await?;
            }
            Row::BarePut
            | Row::BareTake
            | Row::EnqueueMany
            | Row::Drain
            | Row::EnqueueByCallers
            | Row::DrainOneByOne => {}
        }
        Ok(())
    }

    /// The next page of a listing, which begins anew now and then.
    async fn page(&mut self, stage: Stage) -> Result<(), Failure> {
        let cursor = self.cursor.take().filter(|(of, _)| *of == stage);
        let cursor = cursor.map(|(_, cursor)| cursor);
        let filter = Filter::of([stage]);
        let page = self.queue.list(&filter, cursor.as_ref(), PAGE).await?;
        self.cursor = page.next.map(|next| (stage, next));
        Ok(())
    }

    async fn enqueue_many(&mut self, count: u32) -> Result<(), Failure> {
        for _ in 0..count / BATCH {
            self.queue.enqueue_many(tasks(BATCH)?).await?;
        }
        Ok(())
    }

    async fn enqueue_by_callers(&self, count: u32) -> Result<(), Failure> {
        let calls = tasks(count)?
            .into_iter()
            .map(|task| self.queue.enqueue(task));
        let calls = futures::stream::iter(calls).buffer_unordered(CALLERS);
        calls.try_for_each(async |_| Ok(())).await?;
        Ok(())
    }

    async fn bare_put(&mut self, count: u32) -> Result<(), Failure> {
        // As long as a record of ours.
        let record = "x".repeat(130);
        for _ in 0..count / BATCH {
            let ids: Vec<String> = (0..u64::from(BATCH))
                .map(|n| format!("{:020}", self.next + n))
                .collect();
            self.next += u64::from(BATCH);
            let mut put = redis::cmd("HSET");
            put.arg(&self.bare[0]);
            for id in &ids {
                put.arg(id).arg(&record);
            }
            let mut push = redis::cmd("RPUSH");
            push.arg(&self.bare[1]).arg(&ids);
            let mut both = redis::pipe();
            both.add_command(put).ignore().add_command(push).ignore();
            both.exec_async(&mut self.raw).await?;
        }
        Ok(())
    }

    async fn bare_take(&mut self, count: u32) -> Result<(), Failure> {
        for _ in 0..count / BATCH {
            let mut pop = redis::cmd("LPOP");
            pop.arg(&self.bare[1]).arg(BATCH);
            let ids: Vec<String> = pop.query_async(&mut self.raw).await?;
            let (mut read, mut drop) = (redis::cmd("HMGET"), redis::cmd("HDEL"));
            read.arg(&self.bare[0]).arg(&ids);
            drop.arg(&self.bare[0]).arg(&ids);
            let mut both = redis::pipe();
            both.add_command(read).ignore().add_command(drop).ignore();
            both.exec_async(&mut self.raw).await?;
        }
        Ok(())
    }

    /// Runs a worker until the figures are as wanted; how many tasks it ended.
    async fn run(&self, kills: bool, wanted: impl Fn(&Snapshot) -> bool) -> Result<u32, Failure> {
        let handler = move |_: LeasedTask| async move {
            if kills {
                let error = "no".to_owned();
                return Outcome::Dead { error };
            }
            Outcome::Completed(None)
        };
        let stop = CancellationToken::new();
        let worker = Worker::new(self.queue.clone(), handler).concurrency(SLOTS);
        let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
        while !wanted(&self.figures().await?) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        let report = run.await??;
        Ok(u32::try_from(report.completed + report.dead)?)
    }

    async fn figures(&self) -> Result<Snapshot, Failure> {
        let figures = self.client.snapshot(std::slice::from_ref(&self.queue));
        let first = figures.await.into_iter().next();
        Ok(first.ok_or("no snapshot")??)
    }

    fn median(&self, row: usize, of: impl Fn(&Cost) -> f64) -> f64 {
        let mut values: Vec<f64> = self.costs[row].iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

async fn info(raw: &mut MultiplexedConnection, part: &str, field: &str) -> Result<f64, Failure> {
    let info: redis::InfoDict = redis::cmd("INFO").arg(part).query_async(raw).await?;
    info.get(field).ok_or_else(|| format!("no {field}").into())
}

fn document(pairs: &[[Side; 2]; 2], server: &str) -> String {
    let [short, long] = &pairs[0];
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let mut text = format!(
        "# Does the length of the backlog cost anything?

Written by `make bench-backlog`; do not edit.

{cores} cores, {server}, one server with both backlogs, medians of {} rounds in which they take turns.

| inside Redis | 10,000 wait | 1,000,000 wait | ratio | ratio of Redis CPU | ratio of wall |
|---|---|---|---|---|---|
",
        ROUNDS - 1
    );
    let mut worst = [0.0_f64; 2];
    for (place, (row, name)) in ROWS.iter().enumerate() {
        let [short, long] = &pairs[row.came() as usize];
        let pair = |of: fn(&Cost) -> f64| (short.median(place, of), long.median(place, of));
        let (inside, cpu) = (pair(|cost| cost.inside), pair(|cost| cost.cpu));
        let wall = pair(|cost| cost.wall);
        let ratio = |pair: (f64, f64)| pair.1 / pair.0;
        let _ = writeln!(
            text,
            "| {name} | {:.2} µs | {:.2} µs | {:.2} | {:.2} | {:.2} |",
            inside.0,
            inside.1,
            ratio(inside),
            ratio(cpu),
            ratio(wall),
        );
        if *row != Row::BarePut && *row != Row::BareTake {
            let worst = &mut worst[row.came() as usize];
            *worst = worst.max(ratio(inside));
        }
    }
    let verdict = |worst: f64| if worst <= MOST { "kept" } else { "missed" };
    let memory = (short.bytes_a_task, long.bytes_a_task);
    let more = |row: Row| {
        let place = ROWS
            .iter()
            .position(|(other, _)| *other == row)
            .unwrap_or(0);
        let inside = |cost: &Cost| cost.inside;
        long.median(place, inside) - short.median(place, inside)
    };
    let _ = write!(
        text,
        "
Redis memory of a waiting task with 100 bytes of payload: {:.0} bytes with 10,000, {:.0} bytes with 1,000,000
(ratio {:.2}).

At most {MOST} times the time inside Redis is required. In front of a backlog that came in batches the worst row has {:.2}: {}.
Of one that came one by one it has {:.2}: {}. A task costs enqueue_many {:.2} µs more with 1,000,000, and the same by bare
Redis {:.2} µs more; fetch and ack {:.2} µs more, by bare Redis {:.2} µs.

## How to read it

A round takes each row in turn, first with one backlog and then with the other: {SLICE} tasks, or {CALLS} calls one after the other. Inside
Redis is the time that it spent on commands by its own clock; its CPU has reading and answering in it as well, and the
wall the caller, who shares the cores with the server. The rows of bare Redis do the least that any queue must do, on a hash and a list of the same sizes, without a
script: what they cost more with 1,000,000 is what the machine takes for memory that its caches do not hold. The last two
rows are of queues whose backlog came one by one, as fast as {CALLERS} callers enqueue. A backlog that trickled in, at less than
1,024 tasks a second from each process, lies in one large hash, and a fetch from it costs up to 1.2 times as much with
1,000,000. A page of dead letters is read from among {DEAD}.
",
        memory.0,
        memory.1,
        memory.1 / memory.0,
        worst[0],
        verdict(worst[0]),
        worst[1],
        verdict(worst[1]),
        more(Row::EnqueueMany),
        more(Row::BarePut),
        more(Row::Drain),
        more(Row::BareTake),
    );
    text
}
