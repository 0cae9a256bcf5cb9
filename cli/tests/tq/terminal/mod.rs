//! The real program on a Redis of the test's own, and what it printed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use taskqueue_queue::testing::{RedisServer, eventually};
use taskqueue_queue::{Queue, QueueName, State, Task, TaskId};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tq");

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A Redis, and one queue in it.
pub(crate) struct Terminal {
    pub(crate) redis: RedisServer,
    pub(crate) queue: Queue,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Terminal {
    pub(crate) async fn new() -> Self {
        let redis = RedisServer::start().await;
        let queue = redis
            .client()
            .await
            .queue(QueueName::new("default", "orders").expect("a good name"));
        Self { redis, queue }
    }

    /// Runs `tq` with these arguments.
    pub(crate) async fn tq(&self, arguments: &[&str]) -> Ended {
        self.tq_reading("", arguments).await
    }

    /// Runs `tq` with this text on its standard input.
    pub(crate) async fn tq_reading(&self, input: &str, arguments: &[&str]) -> Ended {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .env("TASKQUEUE_REDIS_URL", self.redis.url());
        run(&mut command, input).await
    }

    /// Enqueues one task of the queue; its id.
    pub(crate) async fn enqueue(&self, arguments: &[&str]) -> String {
        let ended = self.tq(&[&["enqueue", "orders"], arguments].concat()).await;
        ended.lines()[0].to_owned()
    }

    /// Waits until a task is in a state.
    pub(crate) async fn becomes(&self, id: &str, state: State) {
        eventually(PATIENCE, "the state", || async {
            (self.task(id).await.state == state).then_some(())
        })
        .await;
    }

    pub(crate) async fn task(&self, id: &str) -> Task {
        let id: TaskId = id.parse().expect("an id");
        self.queue
            .get(&id)
            .await
            .expect("Redis answers")
            .expect("the task is kept")
    }
}

impl Ended {
    /// What it printed, of a command that succeeded.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<&str> {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout.lines().collect()
    }
}

/// A library that puts the clock of a program ahead by so many seconds when it is preloaded. The linker
/// of Rust makes it.
pub(crate) fn clock_ahead(folder: &Path, seconds: i64) -> PathBuf {
    const SOURCE: &str = "
        #define _GNU_SOURCE
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        int clock_gettime(clockid_t clock, struct timespec *at) {
          int failed = syscall(SYS_clock_gettime, clock, at);
          if (!failed && clock == CLOCK_REALTIME) at->tv_sec += SECONDS;
          return failed;
        }";
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, SOURCE).expect("it can be written");
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", &format!("-DSECONDS=({seconds})"), "-o"])
        .args([&library, &source])
        .status();
    assert!(
        built
            .expect("cc can be run: it comes with Rust's linker")
            .success()
    );
    library
}

/// Runs a command to its end.
pub(crate) async fn run(command: &mut Command, input: &str) -> Ended {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("the program runs");
    let mut stdin = child.stdin.take().expect("it has an input");
    let (output, ()) = tokio::join!(child.wait_with_output(), async move {
        // A program that ends early does not read all of it.
        let _ = stdin.write_all(input.as_bytes()).await;
    });
    let output = output.expect("it is waited for");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}
