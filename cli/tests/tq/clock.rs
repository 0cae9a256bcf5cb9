//! A machine whose clock is hours away from that of Redis: ages and leases are by the clock of Redis.

use std::time::Duration;

use taskqueue_queue::testing::eventually;
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome, Worker};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::terminal::{PROGRAM, Terminal, clock_ahead, run};

const PATIENCE: Duration = Duration::from_mins(1);

/// Gives up all tasks.
struct Refuse;

impl Handler for Refuse {
    async fn handle(&self, _: LeasedTask) -> Outcome {
        Outcome::Dead {
            error: "no".to_owned(),
        }
    }
}

/// The last rows of what `tq` prints where the clock is so many seconds ahead.
async fn rows(terminal: &Terminal, ahead: i64, arguments: &[&str]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env("TASKQUEUE_REDIS_URL", terminal.redis.url())
        .env("LD_PRELOAD", clock_ahead(folder.path(), ahead));
    let ended = run(&mut command, "").await;
    let lines = ended.lines().into_iter().skip(1);
    lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// Whether it is a span of seconds, or of a minute or two on a machine that is slow.
fn is_short(span: &str) -> bool {
    span.ends_with('s') || span == "2m" || span == "3m"
}

#[tokio::test]
async fn ages_and_leases_are_by_the_clock_of_redis() {
    let terminal = Terminal::new().await;
    let ended = terminal.tq(&["enqueue", "orders", "bad"]).await;
    let id = ended.lines()[0].to_owned();
    let stop = CancellationToken::new();
    let worker = Worker::new(terminal.queue.clone(), Refuse).lease(Duration::from_mins(1));
    let worker = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    eventually(PATIENCE, "the task ends", || async {
        terminal.task(&id).await.finished
    })
    .await;
    terminal
        .tq(&["enqueue", "orders", "later", "--delay", "90m"])
        .await
        .lines();
    for ahead in [0, 2 * 3600, -2 * 3600] {
        let workers = rows(&terminal, ahead, &["workers", "orders"]).await;
        // The lease in force, of the minute that it was given, and the age.
        let (age, lease) = (
            &workers[0][workers[0].len() - 2],
            workers[0].last().expect("a lease"),
        );
        assert!(is_short(age), "{ahead}: {workers:?}");
        assert!(lease.ends_with('s'), "{ahead}: {workers:?}");

        let dead = rows(&terminal, ahead, &["dead", "list", "orders"]).await;
        assert!(is_short(&dead[0][2]), "{ahead}: {dead:?}");

        let tasks = rows(&terminal, ahead, &["tasks", "orders", "--state", "dead"]).await;
        assert!(is_short(&tasks[0][4]), "{ahead}: {tasks:?}");
        let purge = ["dead", "purge", "orders", "--older-than", "1h"];
        let mut command = Command::new(PROGRAM);
        let folder = tempfile::tempdir().expect("a folder");
        command
            .args(purge)
            .env("TASKQUEUE_REDIS_URL", terminal.redis.url())
            .env("LD_PRELOAD", clock_ahead(folder.path(), ahead));
        let told = run(&mut command, "").await.stderr;
        assert!(
            told.contains("this would remove 0 of the 1 dead letters"),
            "{ahead}: {told}"
        );
    }
    stop.cancel();
    worker.await.expect("no panic").expect("it stops well");
}
