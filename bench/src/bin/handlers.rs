//! What each handler costs a task: trivial handlers, the real worker, a real Redis, in turns.
//!
//! `handlers --worker PROGRAM [--output FILE]`
#![allow(clippy::print_stdout, clippy::panic, clippy::expect_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;
use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::{Client, NewTask, Payload, Policy, Queue, QueueName, Snapshot};
use tokio::process::{Child, Command};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long an idle worker is watched.
const IDLE: Duration = Duration::from_secs(20);
/// A tick of the kernel's accounting, `USER_HZ`.
const TICKS_A_SECOND: f64 = 100.0;

/// Measures what each handler costs a task.
#[derive(Parser)]
struct Arguments {
    /// The worker, a release build.
    #[arg(long)]
    worker: PathBuf,
    /// Tasks of each round; an exec handler gets a hundredth of them.
    #[arg(long, default_value_t = 50_000)]
    tasks: u32,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tasks at once.
    #[arg(long, default_value_t = 50)]
    concurrency: u32,
    /// Where the table goes as well.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Native,
    Stdio,
    Http,
    H2c,
    Exec,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Native, "native"),
    (Kind::Stdio, "stdio, one process"),
    (Kind::Http, "http, HTTP/1.1"),
    (Kind::H2c, "http, HTTP/2"),
    (Kind::Exec, "exec, `true`"),
];

/// One round of one kind.
#[derive(Clone, Copy)]
struct Round {
    tasks_a_second: f64,
    /// CPU time of the worker and what it started, of the handler beside it, in µs a task.
    worker: f64,
    handler: f64,
    /// Resident in MB after the work, and CPU in % of a core when idle.
    resident: f64,
    idle: f64,
}

struct Bench {
    arguments: Arguments,
    peer: PathBuf,
    redis: RedisServer,
    client: Client,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let here = std::env::current_exe().expect("this program has a path");
    let redis = RedisServer::start().await;
    let client = redis.client().await;
    let bench = Bench {
        peer: here.with_file_name("peer-handler"),
        arguments,
        redis,
        client,
    };
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); KINDS.len()];
    for round in 0..bench.arguments.rounds {
        for (place, (kind, name)) in KINDS.iter().enumerate() {
            let measured = bench.round(*kind, round).await;
            println!("{name}: {:.0} tasks/s", measured.tasks_a_second);
            rounds[place].push(measured);
        }
    }
    let document = bench.document(&rounds);
    println!("{document}");
    if let Some(output) = &bench.arguments.output {
        std::fs::write(output, document).expect("the output can be written");
    }
}

impl Bench {
    async fn round(&self, kind: Kind, round: usize) -> Round {
        let tasks = match kind {
            Kind::Exec => self.arguments.tasks / 100,
            _ => self.arguments.tasks,
        };
        let name = format!("{}-{round}", kind as u8);
        let queue = self
            .client
            .queue(QueueName::new("bench", &name).expect("a name"));
        let paused = Policy {
            paused: true,
            ..Policy::default()
        };
        queue.configure(&paused).await.expect("a policy");
        fill(&queue, tasks).await;
        let port = free_port().await;
        let server = matches!(kind, Kind::Http | Kind::H2c).then(|| {
            let mut command = Command::new(&self.peer);
            start(command.args(["http", &port.to_string()]))
        });
        let probes = free_port().await;
        let worker = self.worker(kind, &name, port, probes);
        let (worker_id, server_id) = (pid(&worker), server.as_ref().map(pid));
        eventually(PATIENCE, "the worker is ready", || ready(probes)).await;
        let idle_before = busy(worker_id);
        tokio::time::sleep(IDLE).await;
        let idle = (busy(worker_id) - idle_before) / IDLE.as_secs_f64() * 100.0;

        let before = (busy(worker_id), server_id.map_or(0.0, busy));
        let begun = Instant::now();
        queue.configure(&Policy::default()).await.expect("a policy");
        eventually(PATIENCE, "all are done", || async {
            let snapshot = self.snapshot(&queue).await;
            (snapshot.counters.completed >= u64::from(tasks)).then_some(())
        })
        .await;
        let took = begun.elapsed();
        let share = 1e6 / f64::from(tasks);
        let children = children(worker_id);
        let handler = server_id.map_or(0.0, busy) - before.1 + children;
        Round {
            tasks_a_second: f64::from(tasks) / took.as_secs_f64(),
            worker: (busy(worker_id) - before.0) * share,
            handler: handler * share,
            resident: resident(worker_id),
            idle,
        }
    }

    async fn snapshot(&self, queue: &Queue) -> Snapshot {
        let queues = std::slice::from_ref(queue);
        let mut snapshots = self.client.snapshot(queues).await;
        snapshots.pop().expect("one queue").expect("Redis answers")
    }

    fn worker(&self, kind: Kind, queue: &str, port: u16, probes: u16) -> Child {
        let handler = match kind {
            Kind::Native => json!({ "native": {} }),
            Kind::Stdio => json!({ "stdio": { "command": [self.peer, "stdio"] } }),
            Kind::Http => json!({ "http": { "port": port } }),
            Kind::H2c => json!({ "http": { "port": port, "protocol": "H2C" } }),
            Kind::Exec => json!({ "exec": { "command": ["true"] } }),
        };
        start(
            Command::new(&self.arguments.worker)
                .env("TASKQUEUE_QUEUE", format!("bench/{queue}"))
                .env("TASKQUEUE_REDIS_URL", self.redis.url())
                .env("TASKQUEUE_HANDLER", handler.to_string())
                .env(
                    "TASKQUEUE_CONCURRENCY",
                    self.arguments.concurrency.to_string(),
                )
                .env("TASKQUEUE_HTTP_ADDRESS", format!("127.0.0.1:{probes}")),
        )
    }

    fn document(&self, rounds: &[Vec<Round>]) -> String {
        let Arguments {
            tasks,
            rounds: count,
            concurrency,
            ..
        } = &self.arguments;
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let size = std::fs::metadata(&self.arguments.worker).map_or(0, |file| file.len());
        let mut text = String::from(
            "# What does each handler cost a task?\n\nWritten by `make bench-handlers`; do not edit.\n\n",
        );
        let _ = writeln!(
            text,
            "{cores} cores that Redis, the worker and the handler share. One worker with {concurrency} tasks at once, \
             {tasks} tasks that do nothing (a hundredth of them by exec), medians of {count} rounds in turns. The worker's program has {:.1} MB.\n\n\
             | handler | tasks/s | the worker, µs of CPU a task | the handler, µs a task | worker resident after it | idle worker, of a core |\n\
             |---|---|---|---|---|---|",
            megabytes(size)
        );
        for ((_, name), rounds) in KINDS.iter().zip(rounds) {
            let median = |field: fn(&Round) -> f64| {
                let mut all: Vec<f64> = rounds.iter().map(field).collect();
                all.sort_by(f64::total_cmp);
                all.get(all.len() / 2).copied().unwrap_or_default()
            };
            let _ = writeln!(
                text,
                "| {name} | {:.0} | {:.1} | {:.1} | {:.1} MB | {:.2} % |",
                median(|round| round.tasks_a_second),
                median(|round| round.worker),
                median(|round| round.handler),
                median(|round| round.resident),
                median(|round| round.idle),
            );
        }
        text
    }
}

async fn fill(queue: &Queue, tasks: u32) {
    let payload = Payload::of(&json!({ "file": "x".repeat(80) })).expect("a payload");
    let all: Vec<_> = (0..tasks)
        .map(|_| NewTask::new("echo", payload.clone()))
        .collect();
    for some in all.chunks(1_000) {
        queue
            .enqueue_many(some.to_vec())
            .await
            .expect("they are enqueued");
    }
}

fn start(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let address = listener.and_then(|listener| listener.local_addr());
    address.expect("a port").port()
}

async fn ready(port: u16) -> Option<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .ok()?;
    let request = b"GET /readyz HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(())
}

fn pid(child: &Child) -> u32 {
    child.id().expect("it runs")
}

/// CPU time of a process so far, in seconds, that of its children that have ended apart.
fn busy(pid: u32) -> f64 {
    times(pid, 13)
}

/// CPU time of the children that run, and of those that have ended.
fn children(pid: u32) -> f64 {
    let ended = times(pid, 15);
    let parent = format!("PPid:\t{pid}\n");
    let processes = std::fs::read_dir("/proc")
        .expect("/proc is there")
        .flatten();
    let running = processes.filter_map(|process| {
        let status = std::fs::read_to_string(process.path().join("status")).ok()?;
        let id = process.file_name().to_str()?.parse().ok()?;
        status.contains(&parent).then(|| busy(id))
    });
    ended + running.sum::<f64>()
}

/// Two neighbouring fields of `/proc/PID/stat`, by their number from 0, in seconds; see proc(5).
fn times(pid: u32, field: usize) -> f64 {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let stat = read(&path);
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let words: Vec<f64> = rest
        .split(' ')
        .skip(field - 2)
        .take(2)
        .filter_map(|word| word.parse().ok())
        .collect();
    words.iter().sum::<f64>() / TICKS_A_SECOND
}

fn resident(pid: u32) -> f64 {
    let status = read(Path::new(&format!("/proc/{pid}/status")));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    megabytes(kib.unwrap_or(0) * 1024)
}

fn megabytes(bytes: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let bytes = bytes as f64;
    bytes / 1e6
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
