//! What `tq` does with the tasks of a queue beside enqueueing: `tasks`, `logs`, `workers`, `cancel`, `pause` and `resume`.

use std::time::Duration;

use serde_json::{Value, json};
use taskqueue_queue::testing::eventually;
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome, Worker};
use taskqueue_queue::{EventLog, Limits, Policy, State};
use tokio_util::sync::CancellationToken;

use crate::terminal::Terminal;

const PATIENCE: Duration = Duration::from_mins(1);

/// Writes a line and then runs until it is cancelled.
struct Patient;

impl Handler for Patient {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        task.log("started");
        task.cancelled().await;
        Outcome::Released
    }
}

/// A worker on the queue that runs two tasks at once; it ends with what is returned.
fn worker(terminal: &Terminal) -> impl Drop {
    let stop = CancellationToken::new();
    let worker = Worker::new(terminal.queue.clone(), Patient).concurrency(2);
    tokio::spawn(worker.run(stop.clone(), stop.clone()));
    stop.drop_guard()
}

/// The words of each line but the first.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[tokio::test]
async fn tasks_are_listed_by_state_and_level() {
    let terminal = Terminal::new().await;
    let low = terminal.enqueue(&["resize", "--priority", "low"]).await;
    let high = terminal.enqueue(&["resize", "--priority", "high"]).await;
    let later = terminal.enqueue(&["resize", "--delay", "1m"]).await;

    let (low, high, later) = (low.as_str(), high.as_str(), later.as_str());

    let all = terminal.tq(&["tasks", "orders"]).await;
    let all = rows(&all.stdout);
    let ids: Vec<_> = all.iter().map(|row| row[0]).collect();
    assert_eq!(ids, [high, low, later]);
    assert_eq!(all[0][1..4], ["resize", "Waiting", "high"]);
    assert_eq!(all[2][2], "Scheduled");
    assert_eq!(all[2][6], "in");

    let listed = async |arguments: &[&str]| {
        let arguments = [&["tasks", "orders", "-o", "json"], arguments].concat();
        let ended = terminal.tq(&arguments).await;
        let id = |line: &&str| {
            let task: Value = serde_json::from_str(line).expect("JSON");
            task["id"].as_str().expect("an id").to_owned()
        };
        ended.lines().iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--state", "waiting"]).await, [high, low]);
    assert_eq!(listed(&["--level", "low"]).await, [low]);
    assert_eq!(listed(&["--state", "scheduled"]).await, [later]);
    assert_eq!(listed(&["--limit", "1"]).await, [high]);
    assert_eq!(listed(&["--state", "ended"]).await, [""; 0]);

    let two = ["--state", "scheduled", "--state", "waiting"];
    assert_eq!(listed(&two).await, [high, low, later]);
    assert_eq!(
        listed(&["--state", "scheduled", "--level", "low"]).await,
        [""; 0]
    );
    let ended = terminal.tq(&["tasks", "orders", "--level", "urgent"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("high, normal, low"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn tasks_are_listed_by_what_they_are_and_part_by_part() {
    let terminal = Terminal::new().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let payload = json!({"customer": {"id": n % 2}, "items": [n]}).to_string();
        ids.push(
            terminal
                .enqueue(&["resize", "--payload", &payload, "--key", "k"])
                .await,
        );
    }
    let listed = async |arguments: &[&str]| {
        let arguments = [&["tasks", "orders", "-o", "json"], arguments].concat();
        let ended = terminal.tq(&arguments).await;
        let id = |line: &&str| {
            let task: Value = serde_json::from_str(line).expect("JSON");
            task["id"].as_str().expect("an id").to_owned()
        };
        let ids: Vec<String> = ended.lines().iter().map(id).collect();
        (ids, ended.stderr)
    };
    for (filter, expected) in [
        (
            &["--type", "resize", "--key", "k", "--newer-than", "1h"][..],
            &ids[..],
        ),
        (&["--older-than", "1h"], &[]),
        (&["--type", "mail"], &[]),
        (&["--key", "x"], &[]),
        (&["--error", "no"], &[]),
        (&["--group", "0123456789abcdef"], &[]),
        (&["--worker", "00000000000000000000"], &[]),
        (
            &["--payload", "customer.id=1", "--payload", "items[0]=3"],
            &ids[3..4],
        ),
    ] {
        let (found, stderr) = listed(filter).await;
        assert_eq!((&found[..], stderr.as_str()), (expected, ""), "{filter:?}");
    }

    let (first, stderr) = listed(&["--limit", "2"]).await;
    assert_eq!(first, ids[..2]);
    let more: Value = serde_json::from_str(&stderr).expect("JSON");
    assert_eq!(more["looked"], json!(2));
    let cursor = more["cursor"].as_str().expect("a cursor");
    let (rest, stderr) = listed(&["--limit", "9", "--cursor", cursor]).await;
    assert_eq!((&rest[..], stderr.as_str()), (&ids[2..], ""));
    let told = terminal.tq(&["tasks", "orders", "--limit", "2"]).await;
    assert_eq!(
        told.stderr,
        format!("there may be more: --cursor {cursor}\n")
    );

    for (wrong, field) in [
        (
            &["--cursor", cursor, "--type", "mail"][..],
            "of another listing",
        ),
        (&["--cursor", "x"], "cursor"),
        (&["--payload", "a.b"], "PATH=VALUE"),
        (&["--payload", "a={}"], "PATH=VALUE"),
        (&["--group", "x"], "fingerprint"),
    ] {
        let ended = terminal.tq(&[&["tasks", "orders"], wrong].concat()).await;
        assert_eq!(ended.code, Some(2), "{wrong:?}");
        assert!(ended.stderr.contains(field), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_running_task_is_listed_with_its_worker_its_lines_and_what_it_blocks() {
    let terminal = Terminal::new().await;
    let policy = Policy {
        limits: Limits {
            per_key_concurrency: Some(1),
            ..Limits::default()
        },
        ..Policy::default()
    };
    terminal.queue.configure(&policy).await.expect("a policy");
    let first = terminal.enqueue(&["resize", "--key", "customer-7"]).await;
    let _worker = worker(&terminal);
    terminal.becomes(&first, State::Active).await;
    let second = terminal.enqueue(&["resize", "--key", "customer-7"]).await;

    let workers = terminal.tq(&["workers", "orders"]).await;
    let workers = rows(&workers.stdout);
    assert_eq!(workers[0][1..4], ["-", "-", "1/2"]);
    let json = terminal.tq(&["workers", "orders", "-o", "json"]).await;
    let json: Value = serde_json::from_str(json.lines()[0]).expect("JSON");
    assert_eq!(
        (&json["id"], &json["active"], &json["concurrency"]),
        (&json!(workers[0][0]), &json!(1), &json!(2))
    );
    let id = workers[0][0].parse().expect("an id");
    let drained = terminal.queue.drain(&[id], Duration::from_mins(1)).await;
    assert_eq!(drained.expect("an answer"), [(id, 1)]);
    let draining = terminal.tq(&["workers", "orders"]).await;
    assert!(
        draining.stdout.contains(", draining"),
        "{}",
        draining.stdout
    );
    terminal.queue.undrain(&[id]).await.expect("an answer");

    let active = terminal.tq(&["tasks", "orders", "--state", "active"]).await;
    assert_eq!(rows(&active.stdout)[0][0], first);
    assert_eq!(rows(&active.stdout)[0][6..], ["worker", workers[0][0]]);
    let blocked = eventually(PATIENCE, "blocked", || async {
        let ended = terminal
            .tq(&["tasks", "orders", "--state", "blocked"])
            .await;
        (ended.lines().len() == 2).then_some(ended)
    })
    .await;
    assert_eq!(rows(&blocked.stdout)[0][0], second);
    assert_eq!(rows(&blocked.stdout)[0][2], "Blocked");
    assert_eq!(rows(&blocked.stdout)[0][6..], ["key", "customer-7"]);

    eventually(PATIENCE, "its line", || async {
        let logs = terminal.tq(&["logs", "orders", &first]).await;
        (logs.lines() == ["started"]).then_some(())
    })
    .await;
    let silent = terminal.tq(&["logs", "orders", &second]).await;
    assert_eq!(silent.lines(), [""; 0]);
    assert!(silent.stderr.contains("no log lines"), "{}", silent.stderr);
    let unknown = terminal
        .tq(&["logs", "orders", "00000000000000000000"])
        .await;
    assert_eq!(unknown.code, Some(3));
}

#[tokio::test]
async fn tasks_are_cancelled_whether_they_run_or_not() {
    let terminal = Terminal::new().await;
    let running = terminal.enqueue(&["resize"]).await;
    let guard = worker(&terminal);
    terminal.becomes(&running, State::Active).await;
    let waiting = terminal.enqueue(&["resize", "--delay", "1h"]).await;
    let ended = terminal.tq(&["cancel", "orders", &running, &waiting]).await;
    assert_eq!(
        ended.lines(),
        [
            format!("{running} runs, and its worker is told to stop"),
            format!("{waiting} cancelled")
        ]
    );
    terminal.becomes(&running, State::Cancelled).await;
    drop(guard);

    let unknown = "00000000000000000000";
    let ended = terminal.tq(&["cancel", "orders", &waiting, unknown]).await;
    assert_eq!(ended.code, Some(3));
    assert!(ended.stdout.contains(&format!("{waiting} has ended")));
    assert!(ended.stdout.contains(&format!("{unknown} is unknown")));
    assert!(
        ended
            .stderr
            .contains("2 of 2 could not be cancelled in default/orders"),
        "{}",
        ended.stderr
    );
    let ended = terminal.tq(&["tasks", "orders", "--state", "ended"]).await;
    assert_eq!(rows(&ended.stdout).len(), 2);
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed() {
    let terminal = Terminal::new().await;
    for (command, said, paused) in [
        ("pause", "default/orders paused", true),
        ("pause", "default/orders was paused already", true),
        ("resume", "default/orders resumed", false),
        ("resume", "default/orders was not paused", false),
    ] {
        assert_eq!(terminal.tq(&[command, "orders"]).await.lines(), [said]);
        let policy = terminal.queue.policy().await.expect("Redis answers");
        assert_eq!(policy.value.paused, paused);
    }
    let help = terminal.tq(&["pause", "--help"]).await;
    assert!(help.stdout.contains("spec.paused"), "{}", help.stdout);
}

#[tokio::test]
async fn the_log_of_ends_is_read_once_by_each_group() {
    let terminal = Terminal::new().await;
    let none = terminal.tq(&["ends", "orders"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), ""));
    assert!(none.stderr.contains("keeps no log of ends"), "{none:?}");
    let policy = Policy {
        events: Some(EventLog::default()),
        ..Policy::default()
    };
    terminal
        .queue
        .configure(&policy)
        .await
        .expect("it is allowed");
    let id = terminal
        .enqueue(&["resize", "--unique", "u", "--unique-for", "1h"])
        .await;
    terminal.tq(&["cancel", "orders", &id]).await;
    for group in ["tq", "other"] {
        let read = async || terminal.tq(&["ends", "orders", "--group", group]).await;
        let ended = read().await;
        let lines = ended.lines();
        assert_eq!(lines.len(), 1, "{ended:?}");
        let end: Value = serde_json::from_str(lines[0]).expect("JSON");
        assert_eq!(
            (&end["id"], &end["what"]),
            (&json!(id), &json!("Cancelled"))
        );
        assert_eq!(
            (&end["number"], &end["uniqueKey"]),
            (&json!(1), &json!("u"))
        );
        assert_eq!(read().await.stdout, "");
    }
    let refused = terminal.tq(&["ends", "orders", "--group", "a b"]).await;
    assert!(refused.stderr.contains("group"), "{refused:?}");
}
