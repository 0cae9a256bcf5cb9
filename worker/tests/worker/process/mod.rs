//! The real binary as a child of the test: started on a queue of the test's own Redis, asked over HTTP, sent signals.

pub(crate) mod child;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::{
    Backoff, Client, NewTask, Payload, Policy, Queue, QueueName, RetryPolicy, Task, TaskId,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::process::{Child, ChildStderr, Command};

/// How long anything may take before a test fails; machines that run tests are slow at times.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_taskqueue-worker");

/// A Redis, a queue in it, and a folder for what commands leave behind.
pub(crate) struct Stage {
    pub(crate) redis: RedisServer,
    pub(crate) client: Client,
    pub(crate) queue: Queue,
    pub(crate) folder: TempDir,
}

/// A running worker.
pub(crate) struct Worker {
    child: Child,
    pub(crate) pid: Pid,
    log: PathBuf,
}

/// The native handlers.
pub(crate) const NATIVE: &str = r#"{"native":{}}"#;

/// The configuration of a handler that runs a shell script for each task.
pub(crate) fn shell(script: &str) -> String {
    serde_json::json!({"exec": {"command": ["sh", "-c", script]}}).to_string()
}

/// A policy whose retries come at once.
pub(crate) fn policy() -> Policy {
    let backoff = Backoff {
        initial: Duration::from_millis(1),
        max: Duration::from_millis(1),
        ..Backoff::default()
    };
    Policy {
        retry: RetryPolicy {
            max_attempts: 3,
            backoff,
            ..RetryPolicy::default()
        },
        ..Policy::default()
    }
}

/// A policy under which a failed task waits long for its next attempt.
pub(crate) fn patient() -> Policy {
    let mut policy = policy();
    policy.retry.backoff.initial = Duration::from_hours(1);
    policy.retry.backoff.max = Duration::from_hours(1);
    policy.retry.backoff.jitter = 0.0;
    policy
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with_policy(&policy()).await
    }

    pub(crate) async fn with_policy(policy: &Policy) -> Self {
        let redis = RedisServer::start().await;
        let client = redis.client().await;
        let queue = client.queue(QueueName::new("test", "work").expect("a good name"));
        queue
            .configure(policy)
            .await
            .expect("the policy is put in force");
        Self {
            redis,
            client,
            queue,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Starts a worker of the queue and waits until it is ready.
    pub(crate) async fn worker(&self, handler: &str, variables: &[(&str, &str)]) -> Worker {
        let worker = self.start(handler, variables);
        worker.ready().await;
        worker
    }

    /// Starts a worker of the queue.
    pub(crate) fn start(&self, handler: &str, variables: &[(&str, &str)]) -> Worker {
        self.start_through(&[], handler, variables)
    }

    /// Starts a worker of the queue by these words of a command line before it.
    pub(crate) fn start_through(
        &self,
        words: &[&str],
        handler: &str,
        variables: &[(&str, &str)],
    ) -> Worker {
        let mut words = words.iter().chain([&PROGRAM]);
        let mut command = Command::new(words.next().expect("a program"));
        command
            .args(words)
            .env("TASKQUEUE_REDIS_URL", self.redis.url())
            .env("TASKQUEUE_HANDLER", handler);
        command.envs(variables.iter().copied());
        Worker::start(&mut command, self.folder.path())
    }

    pub(crate) async fn enqueue(&self, kind: &str, payload: &serde_json::Value) -> TaskId {
        let payload = Payload::of(payload).expect("a payload");
        self.queue
            .enqueue(NewTask::new(kind, payload))
            .await
            .expect("it is enqueued")
            .id()
    }

    pub(crate) async fn task(&self, id: &TaskId) -> Task {
        self.queue
            .get(id)
            .await
            .expect("Redis answers")
            .expect("the task is kept")
    }

    /// Waits until the task is as `wanted` says.
    pub(crate) async fn task_when(
        &self,
        id: &TaskId,
        what: &str,
        wanted: impl Fn(&Task) -> bool,
    ) -> Task {
        eventually(PATIENCE, what, || async {
            Some(self.task(id).await).filter(|task| wanted(task))
        })
        .await
    }

    /// Waits until the task is completed or dead.
    pub(crate) async fn ended(&self, id: &TaskId) -> Task {
        self.task_when(id, "the task ends", |task| task.finished.is_some())
            .await
    }

    /// Waits until so many tasks are leased.
    pub(crate) async fn active(&self, tasks: u64) {
        eventually(PATIENCE, "tasks are active", || async {
            let snapshot = self
                .client
                .snapshot(std::slice::from_ref(&self.queue))
                .await
                .pop()?
                .ok()?;
            (snapshot.active == tasks).then_some(())
        })
        .await;
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder
            .path()
            .join(name)
            .to_str()
            .expect("a path in UTF-8")
            .to_owned()
    }

    /// Waits until a file of the folder has so many lines, and returns them.
    pub(crate) async fn lines(&self, name: &str, count: usize) -> Vec<String> {
        eventually(PATIENCE, "a command writes its file", || async {
            let text = fs::read_to_string(self.folder.path().join(name)).ok()?;
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            (text.ends_with('\n') && lines.len() >= count).then_some(lines)
        })
        .await
    }
}

impl Worker {
    /// Starts the command as a worker of the queue `test/work`, on a port of its own.
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Self {
        let number = fs::read_dir(folder).expect("the folder is there").count();
        let log = folder.join(format!("worker-{number}.log"));
        let file = File::create(&log).expect("a log file");
        Self::spawn(command.stderr(file), log)
    }

    /// Starts the command as a worker of the queue `test/work`, with its log going there. It is not known here what it
    /// logs, and so not its port.
    pub(crate) fn start_logging_to(
        command: &mut Command,
        stderr: impl Into<Stdio>,
    ) -> (Self, Option<ChildStderr>) {
        let mut worker = Self::spawn(command.stderr(stderr), PathBuf::from("/dev/null"));
        let stderr = worker.child.stderr.take();
        (worker, stderr)
    }

    fn spawn(command: &mut Command, log: PathBuf) -> Self {
        let child = command
            .env("TASKQUEUE_QUEUE", "test/work")
            .env("TASKQUEUE_HTTP_ADDRESS", "127.0.0.1:0")
            .kill_on_drop(true)
            .spawn()
            .expect("the worker starts");
        let id = child.id().expect("it runs");
        Self {
            child,
            pid: Pid::from_raw(id.try_into().expect("a process id")),
            log,
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log is there")
    }

    /// Waits until the log holds the text.
    pub(crate) async fn logged(&self, text: &str) {
        eventually(PATIENCE, text, || async {
            self.log().contains(text).then_some(())
        })
        .await;
    }

    /// The first event of the log with this message, once it is there: lines are written a little later than they are
    /// logged.
    pub(crate) fn event(&self, message: &str) -> serde_json::Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let mut events = log
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            if let Some(event) = events.find(|event| event["message"] == message) {
                return event;
            }
            if Instant::now() > deadline {
                return fail(&format!("no event {message:?} in\n{log}"));
            }
            // The worker is a process of its own.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the worker is ready for tasks.
    pub(crate) async fn ready(&self) {
        self.answers("/readyz", 200).await;
    }

    /// Waits until a request is answered with this status, and returns the body.
    pub(crate) async fn answers(&self, path: &str, status: u16) -> String {
        eventually(PATIENCE, path, || async {
            let (found, body) = self.get(path).await.ok()?;
            (found == status).then_some(body)
        })
        .await
    }

    /// The status and the rest of the answer.
    pub(crate) async fn get(&self, path: &str) -> io::Result<(u16, String)> {
        get(self.address().ok_or(io::ErrorKind::NotConnected)?, path).await
    }

    /// Asks for a drain with these headers; the status and the rest of the answer.
    pub(crate) async fn drain(&self, headers: &str) -> (u16, String) {
        let address = self.address().expect("it listens");
        let answer = get_with(address, "/drain", headers).await;
        answer.expect("it answers")
    }

    /// The port is the system's choice, and the log tells it.
    pub(crate) fn address(&self) -> Option<String> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("answering probes"))?;
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(event["address"].as_str()?.to_owned())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).expect("the worker takes signals");
    }

    pub(crate) async fn exit(mut self) -> ExitStatus {
        let exited = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        exited
            .unwrap_or_else(|_| fail(&format!("the worker does not exit:\n{}", self.log())))
            .expect("it is waited for")
    }

    /// Waits until it has exited, and returns all that it logged.
    pub(crate) async fn exit_with_log(self) -> String {
        let log = self.log.clone();
        self.exit().await;
        fs::read_to_string(log).expect("the log is there")
    }

    /// Its first child, once it has one.
    pub(crate) async fn child(&self) -> Pid {
        let children = format!("/proc/{0}/task/{0}/children", self.pid);
        let child = eventually(PATIENCE, "it has a child", || async {
            let children = fs::read_to_string(&children).ok()?;
            children.split_whitespace().next()?.parse().ok()
        });
        Pid::from_raw(child.await)
    }

    /// The most memory it ever had resident, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("it has memory");
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }

    /// Waits until no process has this one for its parent, zombies included.
    pub(crate) async fn childless(&self) {
        eventually(PATIENCE, "the worker has no children", || async {
            self.children().is_empty().then_some(())
        })
        .await;
    }

    fn children(&self) -> Vec<String> {
        let parent = format!("PPid:\t{}\n", self.pid);
        let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
        let statuses =
            processes.filter_map(|process| fs::read_to_string(process.path().join("status")).ok());
        statuses.filter(|status| status.contains(&parent)).collect()
    }
}

/// Waits until a process is gone, and reaped.
pub(crate) async fn gone(pid: &str) {
    let pid = Pid::from_raw(pid.parse().expect("a process id"));
    eventually(PATIENCE, "a process is gone", || async {
        kill(pid, None).is_err().then_some(())
    })
    .await;
}

/// Whether a process is there.
pub(crate) fn runs(pid: &str) -> bool {
    kill(Pid::from_raw(pid.parse().expect("a process id")), None).is_ok()
}

/// The error of the last failed attempt.
pub(crate) fn last_error(task: &Task) -> &str {
    task.errors
        .last()
        .map_or("", |failure| failure.message.as_str())
}

/// The result as text.
pub(crate) fn result(task: &Task) -> String {
    let result = task
        .result
        .as_ref()
        .map(|result| result.as_bytes().to_vec());
    String::from_utf8(result.unwrap_or_default()).expect("a result is UTF-8")
}

#[allow(clippy::panic, reason = "this is how a test fails")]
fn fail<T>(message: &str) -> T {
    panic!("{message}")
}

/// Asks a server; the status and the rest of the answer.
pub(crate) async fn get(address: impl ToSocketAddrs, path: &str) -> io::Result<(u16, String)> {
    get_with(address, path, "").await
}

/// The same with these headers, each a line.
pub(crate) async fn get_with(
    address: impl ToSocketAddrs,
    path: &str,
    headers: &str,
) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: w\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1);
    let status = status.and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, answer))
}
