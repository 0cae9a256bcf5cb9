//! Whether listings keep their word on a large queue: 1,000,000 tasks listed by each filter while workers drain them. No task may
//! be told in a state that it had left before its page was asked for, what stays is told once, and no call may hold
//! Redis for longer than 5 ms.
//!
//! `listing [FILE]` writes the table to the file as well; `TASKS=20000` makes it small. It fails if a promise is broken.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;
use redis::aio::MultiplexedConnection;
use taskqueue_queue::testing::RedisServer;
use taskqueue_queue::worker::{LeasedTask, Outcome, Worker};
use taskqueue_queue::{
    Cause, Client, Cursor, Endpoint, Filter, Limits, Moment, NewTask, Page, Payload, Policy, Queue,
    QueueName, Snapshot, Stage, TaskId, fingerprint,
};
use tokio_util::sync::CancellationToken;

const TASKS: u32 = 1_000_000;
const BATCH: u32 = 1_000;
/// Dead letters, and as many that are scheduled, and that are blocked.
const OTHERS: u32 = 20_000;
/// Tasks that run at a time, each for so long: some 10,000 end in a second.
const SLOTS: usize = 100;
const RUN: Duration = Duration::from_millis(10);
/// The longest that a call may take inside Redis, in µs.
const MOST_MICROS: u64 = 5_000;
const KINDS: [&str; 4] = ["mail", "sms", "push", "letter"];

type Failure = Box<dyn std::error::Error>;

/// The tasks of which an attempt has begun, each with how many had before.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<HashMap<TaskId, usize>>>);

impl Begun {
    fn inner(&self) -> MutexGuard<'_, HashMap<TaskId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: TaskId) {
        let mut begun = self.inner();
        let before = begun.len();
        begun.entry(id).or_insert(before);
    }

    fn count(&self) -> usize {
        self.inner().len()
    }

    fn has(&self, id: &TaskId) -> bool {
        self.inner().contains_key(id)
    }

    /// Whether it was among the first.
    fn is_among(&self, count: usize, id: &TaskId) -> bool {
        self.inner().get(id).is_some_and(|before| *before < count)
    }
}

/// What a listing did.
struct Row {
    name: &'static str,
    pages: usize,
    looked: u64,
    found: usize,
    wall: Duration,
    /// The longest page, as its caller saw it.
    longest: Duration,
    /// The longest call inside Redis, in µs.
    inside: u64,
}

struct Bench {
    client: Client,
    queue: Queue,
    /// Over a connection of its own, with this address.
    lister: Queue,
    address: String,
    raw: MultiplexedConnection,
    begun: Begun,
    /// All that waited at the beginning.
    all: BTreeSet<TaskId>,
}

// One thread, so that the server has a core of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let count = match std::env::var("TASKS") {
        Ok(text) => text.parse()?,
        Err(_) => TASKS,
    };
    let redis = RedisServer::start().await;
    let mut bench = Bench::with(&redis, count).await?;
    let stop = CancellationToken::new();
    let begun = bench.begun.clone();
    let handler = move |task: LeasedTask| {
        begun.add(task.id);
        async {
            tokio::time::sleep(RUN).await;
            Outcome::Completed(None)
        }
    };
    let worker = Worker::new(bench.queue.clone(), handler).concurrency(SLOTS);
    let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    let mut rows = Vec::new();
    for (name, filter) in filters()? {
        let row = bench.list(name, &filter).await?;
        println!("{}", line(&row));
        rows.push(row);
    }
    let left = bench.figures().await?.backlog();
    stop.cancel();
    run.await??;
    let server = bench.client.server_reports().await?;
    let server = server
        .first()
        .map(taskqueue_queue::server::ServerReport::name);
    let text = document(&rows, count, left, &server.unwrap_or_default());
    println!("\n{text}");
    if let Some(file) = std::env::args().nth(1) {
        std::fs::write(file, text)?;
    }
    match rows.iter().find(|row| row.inside > MOST_MICROS) {
        Some(row) => {
            Err(format!("{}: a call took {} µs inside Redis", row.name, row.inside).into())
        }
        None => Ok(()),
    }
}

/// One of each kind, and some together.
fn filters() -> Result<Vec<(&'static str, Filter)>, Failure> {
    let waiting = || Filter::of([Stage::Waiting]);
    let worker = Filter {
        worker: Some("0".repeat(20).parse()?),
        ..Filter::default()
    };
    Ok(vec![
        ("all that has not ended", Filter::default()),
        ("waiting", waiting()),
        (
            "waiting, one level",
            Filter {
                level: Some("low".into()),
                ..waiting()
            },
        ),
        (
            "by type",
            Filter {
                kind: Some("mail".into()),
                ..waiting()
            },
        ),
        (
            "by key",
            Filter {
                key: Some("blocked-7".into()),
                ..Filter::default()
            },
        ),
        ("by worker", worker),
        (
            "older than a second",
            Filter {
                created_before: Some(Moment::Ago(Duration::from_secs(1))),
                ..waiting()
            },
        ),
        (
            "by payload",
            Filter {
                payload: vec!["customer.id=17".parse()?],
                ..waiting()
            },
        ),
        ("scheduled", Filter::of([Stage::Scheduled])),
        ("blocked", Filter::of([Stage::Blocked])),
        (
            "dead, by part of the error",
            Filter {
                error: Some("code 1".into()),
                ..Filter::of([Stage::Dead])
            },
        ),
        (
            "dead, by group of the error",
            Filter {
                group: Some(fingerprint("mail", Cause::Error, "code 0 from the relay")),
                ..Filter::of([Stage::Dead])
            },
        ),
        ("ended", Filter::of(Stage::ENDED)),
    ])
}

fn task(number: u32) -> Result<NewTask, Failure> {
    let customer = number % 1_000;
    let filler = "x".repeat(60);
    let payload = format!(r#"{{"customer":{{"id":{customer}}},"filler":"{filler}"}}"#);
    let kind = KINDS[number as usize % KINDS.len()];
    let level = ["high", "normal", "low"][number as usize / 7 % 3];
    Ok(NewTask::new(kind, Payload::json(payload)?).priority(level))
}

impl Bench {
    async fn with(redis: &RedisServer, count: u32) -> Result<Self, Failure> {
        let mut raw = redis.connection().await;
        for (setting, value) in [
            ("slowlog-log-slower-than", "300"),
            ("slowlog-max-len", "100000"),
        ] {
            let mut command = redis::cmd("CONFIG");
            command.arg("SET").arg(setting).arg(value);
            command.exec_async(&mut raw).await?;
        }
        let client = Client::connect(&Endpoint::parse(&redis.url())?).await?;
        let queue = client.queue(QueueName::new("bench", "listing")?);
        let policy = Policy {
            limits: Limits {
                per_key_concurrency: Some(1),
                ..Limits::default()
            },
            dead_max_count: OTHERS,
            ..Policy::default()
        };
        queue.configure(&policy).await?;
        let before = addresses(&mut raw).await?;
        let lister = Client::connect(&Endpoint::parse(&redis.url())?).await?;
        lister.ping().await?;
        let mut new = addresses(&mut raw)
            .await?
            .difference(&before)
            .cloned()
            .collect::<Vec<_>>();
        let mut bench = Self {
            client,
            lister: lister.queue(queue.name().clone()),
            address: new.pop().ok_or("the listing has no connection")?,
            queue,
            raw,
            begun: Begun::default(),
            all: BTreeSet::new(),
        };
        let others = OTHERS.min(count / 10);
        bench.bury(others).await?;
        for part in 0..others / BATCH {
            let numbers = part * BATCH..(part + 1) * BATCH;
            let hour = Duration::from_hours(1);
            let far = numbers.map(|n| Ok(task(n)?.delay(hour * (1 + n % 100))));
            bench
                .queue
                .enqueue_many(far.collect::<Result<_, Failure>>()?)
                .await?;
        }
        for part in 0..count / BATCH {
            let numbers = part * BATCH..(part + 1) * BATCH;
            let batch = numbers.map(task).collect::<Result<Vec<_>, Failure>>()?;
            let enqueued = bench.queue.enqueue_many(batch).await?;
            bench
                .all
                .extend(enqueued.iter().map(taskqueue_queue::Enqueued::id));
        }
        // Behind all others, so that none is let in meanwhile.
        for part in 0..others / BATCH {
            let numbers = part * BATCH..(part + 1) * BATCH;
            let key = |n: u32| format!("blocked-{}", n % 10);
            let blocked = numbers.map(|n| Ok(task(n)?.concurrency_key(key(n)).priority("low")));
            bench
                .queue
                .enqueue_many(blocked.collect::<Result<_, Failure>>()?)
                .await?;
        }
        println!("{count} tasks wait");
        Ok(bench)
    }

    /// Makes dead letters.
    async fn bury(&mut self, count: u32) -> Result<(), Failure> {
        for part in 0..count / BATCH {
            let numbers = part * BATCH..(part + 1) * BATCH;
            let batch = numbers.map(task).collect::<Result<_, Failure>>()?;
            self.queue.enqueue_many(batch).await?;
        }
        let die = |task: LeasedTask| async move {
            let error = format!("code {} from the relay", task.payload.as_bytes().len() % 3);
            Outcome::Dead { error }
        };
        let stop = CancellationToken::new();
        let worker = Worker::new(self.queue.clone(), die).concurrency(SLOTS);
        let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
        while self.figures().await?.dead < u64::from(count / BATCH * BATCH) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        run.await??;
        Ok(())
    }

    /// Lists all that fits, page by page, and holds it against what workers have begun.
    async fn list(&mut self, name: &'static str, filter: &Filter) -> Result<Row, Failure> {
        self.slowest().await?;
        let begun = Instant::now();
        let mut row = Row {
            name,
            pages: 0,
            looked: 0,
            found: 0,
            wall: Duration::ZERO,
            longest: Duration::ZERO,
            inside: 0,
        };
        let (mut cursor, mut told) = (None::<Cursor>, HashSet::new());
        loop {
            let left = self.begun.count();
            let asked = Instant::now();
            let page = self
                .lister
                .list(filter, cursor.as_ref(), Page::MOST)
                .await?;
            row.longest = row.longest.max(asked.elapsed());
            row.pages += 1;
            row.looked += page.looked;
            row.found += page.tasks.len();
            for listed in &page.tasks {
                let id = listed.task.id;
                if listed.stage == Stage::Waiting && self.begun.is_among(left, &id) {
                    return Err(format!("{name}: {id} is told as waiting, and had begun").into());
                }
                if listed.stage == Stage::Waiting && !told.insert(id) && !self.begun.has(&id) {
                    return Err(format!("{name}: {id} is told twice").into());
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        row.wall = begun.elapsed();
        if *filter == Filter::default() || *filter == Filter::of([Stage::Waiting]) {
            // What a worker has taken by now runs, or its handler has begun with it.
            let active = Filter::of([Stage::Active]);
            let active = self.queue.list(&active, None, Page::MOST).await?;
            let active: HashSet<TaskId> = active.into_tasks().iter().map(|it| it.id).collect();
            let stays = |id: &&TaskId| !self.begun.has(id) && !active.contains(*id);
            let mut stay = self.all.iter().filter(stays);
            if let Some(missed) = stay.find(|id| !told.contains(*id)) {
                return Err(format!("{name}: {missed} waits, and is not told").into());
            }
        }
        row.inside = self.slowest().await?;
        Ok(row)
    }

    /// The longest call of a listing since this was asked last, in µs, by the server's own slow log.
    async fn slowest(&mut self) -> Result<u64, Failure> {
        let mut command = redis::cmd("SLOWLOG");
        command.arg("GET").arg(-1);
        let entries: Vec<Value> = command.query_async(&mut self.raw).await?;
        let mut reset = redis::cmd("SLOWLOG");
        reset.arg("RESET").exec_async(&mut self.raw).await?;
        let micros = entries
            .iter()
            .filter_map(|entry| micros(entry, &self.address));
        Ok(micros.max().unwrap_or(0))
    }

    async fn figures(&self) -> Result<Snapshot, Failure> {
        let figures = self.client.snapshot(std::slice::from_ref(&self.queue));
        let first = figures.await.into_iter().next();
        Ok(first.ok_or("no snapshot")??)
    }
}

/// The addresses of all clients.
async fn addresses(raw: &mut MultiplexedConnection) -> Result<BTreeSet<String>, Failure> {
    let mut command = redis::cmd("CLIENT");
    let clients: String = command.arg("LIST").query_async(raw).await?;
    let words = clients.split_whitespace();
    let addresses = words.filter_map(|word| word.strip_prefix("addr="));
    Ok(addresses.map(str::to_owned).collect())
}

/// How long a command in the slow log took, if it came from there.
fn micros(entry: &Value, address: &str) -> Option<u64> {
    let Value::Array(fields) = entry else {
        return None;
    };
    match (fields.get(2)?, fields.get(4)?) {
        (Value::Int(micros), Value::BulkString(from)) if from == address.as_bytes() => {
            u64::try_from(*micros).ok()
        }
        _ => None,
    }
}

fn line(row: &Row) -> String {
    format!(
        "| {} | {} | {} | {} | {:.1} s | {:.1} ms | {:.1} ms |",
        row.name,
        row.pages,
        row.looked,
        row.found,
        row.wall.as_secs_f64(),
        row.longest.as_secs_f64() * 1e3,
        f64::from(u32::try_from(row.inside).unwrap_or(u32::MAX)) / 1e3,
    )
}

fn document(rows: &[Row], count: u32, left: u64, server: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let mut text = format!(
        "# Listings of a large queue while it is drained

Written by `make bench-listing`; do not edit.

{cores} cores, {server}, {count} tasks that waited at the beginning and {left} at the end, while {SLOTS} slots drained them, {} ms a task.

| listing | pages | looked at | found | wall | longest page | longest call inside Redis |
|---|---|---|---|---|---|---|
",
        RUN.as_millis()
    );
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    let worst = rows.iter().map(|row| row.inside).max().unwrap_or(0);
    let _ = write!(
        text,
        "
No task was told as waiting whose attempt had begun before its page was asked for; of those that waited all the while each was
told once. The longest call took {:.1} ms inside Redis, by its own slow log; 5 are allowed. A call that took less than
0.3 ms counts as 0.
",
        f64::from(u32::try_from(worst).unwrap_or(u32::MAX)) / 1e3
    );
    text
}
