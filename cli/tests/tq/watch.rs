//! `tq watch`: the events of a queue as they come.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use taskqueue_queue::Replicas;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::terminal::{PROGRAM, Terminal};

const PATIENCE: Duration = Duration::from_mins(1);

/// A watch that runs, and its output.
struct Watch {
    tq: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(terminal: &Terminal, arguments: &[&str]) -> Self {
        let mut tq = Command::new(PROGRAM)
            .args(["watch", "orders"])
            .args(arguments)
            .env("TASKQUEUE_REDIS_URL", terminal.redis.url())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program runs");
        let lines = BufReader::new(tq.stdout.take().expect("it has an output")).lines();
        Self { tq, lines }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("in time").expect("it writes").expect("a line")
    }

    /// Ends as Ctrl-C ends it.
    async fn interrupt(mut self) -> Option<i32> {
        let id = self.tq.id().expect("it runs").to_string();
        let mut kill = Command::new("kill");
        let killed = kill.args(["-INT", &id]).status().await;
        assert!(killed.expect("kill runs").success());
        let ended = tokio::time::timeout(PATIENCE, self.tq.wait()).await;
        ended.expect("it ends").expect("it is waited for").code()
    }
}

/// Waits until somebody is known to listen.
async fn listened(terminal: &Terminal) {
    let listened = || async {
        let set: u64 = terminal
            .redis
            .command("HEXISTS tq:{default/orders}:config live")
            .await;
        (set == 1).then_some(())
    };
    taskqueue_queue::testing::eventually(PATIENCE, "it listens", listened).await;
}

#[tokio::test]
async fn events_come_as_they_happen_until_interrupted_and_one_can_go_on_behind_any() {
    let terminal = Terminal::new().await;
    let mut json = Watch::start(&terminal, &["-o", "json"]);
    listened(&terminal).await;
    let id = terminal
        .tq(&["enqueue", "orders", "good", "--delay", "1h"])
        .await;
    let id = id.lines()[0].to_owned();
    let enqueued: Value = serde_json::from_str(&json.line().await).expect("JSON");
    assert_eq!(
        (&enqueued["what"], &enqueued["task"], &enqueued["type"]),
        (&json!("Enqueued"), &json!(id), &json!("good"))
    );
    assert!(enqueued["due"].is_string(), "{enqueued}");
    terminal.tq(&["cancel", "orders", &id]).await;
    let cancelled: Value = serde_json::from_str(&json.line().await).expect("JSON");
    assert_eq!(cancelled["what"], json!("Cancelled"));
    let replicas = Replicas { from: 0, to: 2 };
    let told = terminal
        .queue
        .tell_scaled(replicas, "ceil(3 / 2)\n= 2")
        .await;
    told.expect("it is told");
    let scaled: Value = serde_json::from_str(&json.line().await).expect("JSON");
    assert_eq!(scaled["replicas"], json!({"from": 0, "to": 2}));

    let from = enqueued["id"].as_str().expect("an id");
    let mut table = Watch::start(&terminal, &["--from", from]);
    let line = table.line().await;
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[1..], ["Cancelled", id.as_str(), "good"]);
    let line = table.line().await;
    assert!(line.ends_with("0 → 2, ceil(3 / 2) = 2"), "{line}");
    assert_eq!(json.interrupt().await, Some(0));
    assert_eq!(table.interrupt().await, Some(0));
    let refused = terminal.tq(&["watch", "orders", "--from", "1-2"]).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("event id"), "{refused:?}");
}
