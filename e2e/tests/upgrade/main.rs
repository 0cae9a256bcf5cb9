//! Two builds on the same queue, as in a rolling upgrade: an earlier one and this one, each with producers
//! and workers, under load and with workers killed. Not the other way: a build from before records could
//! grow cannot read what this one wrote before it came. `make test-upgrade` runs it; it needs no root and no
//! cluster.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::{EventLog, Logged, Policy, QueueName, Snapshot};

/// The queue.
const QUEUE: &str = "shop/mail";
/// How long producers of both builds enqueue; a third of it the workers of both are there.
const LOAD: Duration = Duration::from_mins(1);
/// How long what was enqueued may take to end, the lapse of killed workers' leases included.
const DRAIN: Duration = Duration::from_mins(3);
/// Tasks that a producer enqueues at a time, and how often.
const BATCH: (usize, Duration) = (5, Duration::from_millis(200));
/// What the producers of each build say beside the type: as they are, later, of one key, urgent.
const PRODUCERS: [(&str, &[&str]); 4] = [
    ("plain", &[]),
    ("late", &["--delay", "2s"]),
    ("keyed", &["--key", "one"]),
    ("high", &["--priority", "high"]),
];
/// Runs a task for a moment: notes its payload, and fails the first time where that ends with a 7.
const HANDLER: &str = r#"
read -r task
task=${task#\"} task=${task%\"}
echo "$task" >>runs
sleep 0.05
case $task in
  *7) ! mkdir "failed/$task" 2>/dev/null ;;
esac
"#;

/// The programs of a build.
struct Build {
    name: &'static str,
    folder: PathBuf,
}

impl Build {
    fn of(name: &'static str, variable: &str) -> Self {
        let folder = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} must name the folder of the {name} build: run make test-upgrade")
        });
        Self {
            name,
            folder: folder.into(),
        }
    }

    fn worker(&self, redis: &RedisServer, folder: &Path) -> Running {
        let handler = serde_json::json!({ "exec": { "command": ["sh", "-c", HANDLER] } });
        let log = fs::File::create(folder.join(format!("{}.log", self.name))).unwrap();
        let child = Command::new(self.folder.join("taskqueue-worker"))
            .current_dir(folder)
            .env("TASKQUEUE_QUEUE", QUEUE)
            .env("TASKQUEUE_REDIS_URL", redis.url())
            .env("TASKQUEUE_CONCURRENCY", "16")
            .env("TASKQUEUE_HANDLER", handler.to_string())
            .env("TASKQUEUE_HTTP_ADDRESS", "127.0.0.1:0")
            .env("TASKQUEUE_LOG_FORMAT", "text")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Running(
            child.unwrap_or_else(|error| panic!("no worker in {}: {error}", self.folder.display())),
        )
    }

    /// Enqueues for as long as it is to; returns how many tasks.
    fn produce(&self, redis: &RedisServer, kind: &str, options: &[&str]) -> usize {
        let mut tq = Command::new(self.folder.join("tq"))
            .args(["enqueue", QUEUE, "job", "--lines", "-", "--output", "none"])
            .args(options)
            .env("TASKQUEUE_REDIS_URL", redis.url())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = tq.stdin.take().unwrap();
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < LOAD {
            for _ in 0..BATCH.0 {
                writeln!(input, "{}-{kind}-{count}", self.name).unwrap();
                count += 1;
            }
            input.flush().unwrap();
            sleep(BATCH.1);
        }
        drop(input);
        assert!(
            tq.wait().unwrap().success(),
            "the {} tq enqueues {kind}",
            self.name
        );
        count
    }
}

/// A worker; killed when this is dropped.
struct Running(Child);

impl Running {
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// As a pod that is taken away.
    fn stop(mut self) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(
            self.0.wait().unwrap().success(),
            "a worker drains and exits 0"
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Workers of `first`, then of both, then of `then`, while both enqueue.
async fn roll(first: &Build, then: &Build, policy: Option<Policy>) {
    let redis = RedisServer::start().await;
    let client = redis.client().await;
    let queue = client.queue(QUEUE.parse::<QueueName>().unwrap());
    if let Some(policy) = policy {
        queue.configure(&policy).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("failed")).unwrap();

    let (count, _workers) = std::thread::scope(|scope| {
        let redis = &redis;
        let producers: Vec<_> = [first, then]
            .into_iter()
            .flat_map(|build| PRODUCERS.map(|(kind, options)| (build, kind, options)))
            .map(|(build, kind, options)| scope.spawn(move || build.produce(redis, kind, options)))
            .collect();
        let leaving = [first.worker(redis, folder), first.worker(redis, folder)];
        sleep(LOAD / 3);
        let [killed, stays] = [then.worker(redis, folder), then.worker(redis, folder)];
        sleep(LOAD / 6);
        killed.kill();
        let also_stays = then.worker(redis, folder);
        sleep(LOAD / 6);
        let [stopped, killed] = leaving;
        killed.kill();
        stopped.stop();
        let counts = producers
            .into_iter()
            .map(|producer| producer.join().unwrap());
        let count = counts.sum::<usize>();
        (count, [stays, also_stays])
    });
    let end = eventually(DRAIN, "all tasks have ended", async || {
        let figures = client
            .snapshot(std::slice::from_ref(&queue))
            .await
            .remove(0)
            .unwrap();
        let left = figures.backlog() + figures.scheduled + figures.active + figures.blocked;
        (left == 0).then_some(figures)
    })
    .await;
    judge(first, then, folder, count, &end);
}

/// Whether every task ran to its end, and what did not is nobody's.
fn judge(first: &Build, then: &Build, folder: &Path, count: usize, end: &Snapshot) {
    let noted = fs::read_to_string(folder.join("runs")).unwrap();
    // A handler whose worker was killed before it wrote has read nothing.
    let ran: BTreeSet<&str> = noted.lines().filter(|task| !task.is_empty()).collect();
    let counters = end.counters;
    println!(
        "{} to {}: {count} tasks, {} runs, {} failed, {} lost their worker, {} handed back, {} dead",
        first.name,
        then.name,
        noted.lines().count(),
        counters.failed,
        counters.lost,
        counters.released,
        counters.dead
    );
    let logs = || {
        [first, then]
            .map(|build| fs::read_to_string(folder.join(format!("{}.log", build.name))).unwrap())
    };
    assert_eq!(counters.dead, 0, "{:#?}", logs());
    assert_eq!(counters.missing, 0);
    assert_eq!(
        (counters.enqueued, counters.completed),
        (count as u64, count as u64)
    );
    assert_eq!(ran.len(), count, "every task ran");
    let once_more = ran.iter().filter(|task| task.ends_with('7')).count() as u64;
    // The worker of some was killed before it could tell that they failed.
    let told = counters.failed + counters.lost;
    assert!(told >= once_more, "{told} of {once_more}");
}

/// A policy with what only this build knows.
fn newer() -> Policy {
    let mut policy = Policy {
        events: Some(EventLog {
            log: Logged::Attempts,
            ..EventLog::default()
        }),
        ..Policy::default()
    };
    policy.limits.per_key_concurrency = Some(4);
    policy
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_build_and_this_one_work_side_by_side() {
    let (old, new) = (Build::of("old", "OLD"), Build::of("new", "NEW"));
    roll(&old, &new, None).await;
    roll(&old, &new, Some(newer())).await;
}
