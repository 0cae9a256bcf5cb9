//! `tq edit`, `promote`, `priority`, `clear`, `clean`, `delete`, `schedules` and `dead retry` with a rate or another queue.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taskqueue_queue::testing::eventually;
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome, Worker};
use taskqueue_queue::{Missed, Payload, Policy, QueueName, Schedule, State};
use tokio_util::sync::CancellationToken;

use crate::terminal::Terminal;

const PATIENCE: Duration = Duration::from_mins(1);

/// Completes tasks of type `good`, holds those of type `slow`, and gives up all others.
struct Judge;

impl Handler for Judge {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        match task.kind.as_str() {
            "good" => Outcome::Completed(None),
            "slow" => {
                task.cancelled().await;
                Outcome::Released
            }
            _ => Outcome::Dead {
                error: "no".to_owned(),
            },
        }
    }
}

/// A worker on the queue; it ends with what is returned.
fn worker(terminal: &Terminal) -> impl Drop {
    let stop = CancellationToken::new();
    let worker = Worker::new(terminal.queue.clone(), Judge);
    tokio::spawn(worker.run(stop.clone(), stop.clone()));
    stop.drop_guard()
}

/// So many dead letters, and no worker any more.
async fn dead(terminal: &Terminal, count: usize) -> Vec<String> {
    let mut letters = Vec::new();
    for _ in 0..count {
        letters.push(terminal.enqueue(&["bad"]).await);
    }
    let worker = worker(terminal);
    for id in &letters {
        terminal.becomes(id, State::Dead).await;
    }
    drop(worker);
    eventually(PATIENCE, "no worker", || async {
        let workers = terminal.queue.workers().await.expect("Redis answers");
        workers.is_empty().then_some(())
    })
    .await;
    letters
}

#[tokio::test]
async fn tasks_are_edited_promoted_and_moved_and_each_that_cannot_is_named() {
    let terminal = Terminal::new().await;
    let letter = dead(&terminal, 1).await.remove(0);
    let later = terminal.enqueue(&["good", "--delay", "1h"]).await;
    let edited = terminal
        .tq(&["edit", "orders", &later, "--payload", r#"{"n": 7}"#])
        .await;
    assert_eq!(edited.lines(), [format!("{later} edited")]);
    let payload = terminal.task(&later).await.payload.expect("it has one");
    assert_eq!(payload.as_bytes(), br#"{"n": 7}"#);
    let again = terminal
        .tq(&["edit", "orders", &letter, "--payload", "8", "--retry"])
        .await;
    assert_eq!(
        again.lines(),
        [format!("{letter} edited, and goes round again")]
    );
    assert_eq!(terminal.task(&letter).await.state, State::Waiting);
    let bad = terminal
        .tq(&["edit", "orders", &letter, "--payload", "{"])
        .await;
    assert_eq!(bad.code, Some(1));
    assert!(bad.stderr.contains("payload is not JSON"), "{}", bad.stderr);

    let moved = terminal
        .tq(&["priority", "orders", "high", &later, &letter])
        .await;
    assert_eq!(
        moved.lines(),
        [
            format!("{later} has priority high"),
            format!("{letter} has priority high")
        ]
    );
    let unknown = "00000000000000000000";
    let level = terminal.tq(&["priority", "orders", "urgent", &later]).await;
    assert_eq!(level.code, Some(2));
    assert!(
        level.stderr.contains("high, normal, low"),
        "{}",
        level.stderr
    );

    let promoted = terminal
        .tq(&["promote", "orders", &later, &letter, unknown])
        .await;
    assert_eq!(promoted.code, Some(3));
    assert_eq!(
        promoted.stdout.lines().collect::<Vec<_>>(),
        [
            format!("{later} can run now"),
            format!("{letter} is not scheduled: it waits already"),
            format!("{unknown} is unknown: never enqueued there, or no longer kept"),
        ]
    );
    assert!(
        promoted
            .stderr
            .contains("1 of 3 could not be changed in default/orders"),
        "{}",
        promoted.stderr
    );

    let slow = terminal.enqueue(&["slow", "--priority", "high"]).await;
    let _worker = worker(&terminal);
    terminal.becomes(&slow, State::Active).await;
    let refused = terminal
        .tq(&["edit", "orders", &slow, "--payload", "1"])
        .await;
    assert_eq!(refused.code, Some(1));
    assert_eq!(refused.stdout, format!("{slow} runs, and stays as it is\n"));
}

#[tokio::test]
async fn clear_says_what_would_go_and_with_yes_it_goes() {
    let terminal = Terminal::new().await;
    dead(&terminal, 2).await;
    terminal.enqueue(&["good"]).await;
    terminal.enqueue(&["good", "--delay", "1h"]).await;
    let which = terminal.tq(&["clear", "orders"]).await;
    assert_eq!(which.code, Some(2));
    assert!(which.stderr.contains("--waiting"), "{}", which.stderr);
    let asked = terminal.tq(&["clear", "orders", "--all"]).await;
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(2), ""));
    assert!(
        asked.stderr.contains(
            "this would cancel 1 waiting, 0 blocked and 1 scheduled tasks and remove 2 dead letters for good of \
             default/orders: add --yes to do so"
        ),
        "{}",
        asked.stderr
    );
    let waiting = ["clear", "orders", "--waiting", "--yes"];
    assert_eq!(terminal.tq(&waiting).await.lines(), ["1 task cancelled"]);
    assert_eq!(terminal.tq(&waiting).await.lines(), ["0 tasks cancelled"]);
    let all = terminal.tq(&["clear", "orders", "--all", "--yes"]).await;
    assert_eq!(all.lines(), ["1 task cancelled", "2 tasks purged"]);
    let stats = terminal.tq(&["stats", "orders", "-o", "json"]).await;
    let stats: Value = serde_json::from_str(stats.lines()[0]).expect("JSON");
    assert_eq!(
        [&stats["waiting"], &stats["scheduled"], &stats["dead"]],
        [&json!(0); 3]
    );
    assert_eq!(
        (&stats["totals"]["enqueued"], &stats["totals"]["cancelled"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(stats["totals"]["attemptsBegun"], json!(2));
    assert_eq!(stats["totals"]["successShare"], json!(0.0));
    // They ended just now.
    let clean = terminal
        .tq(&["clean", "orders", "--older-than", "0s"])
        .await;
    assert_eq!(clean.lines(), ["0 tasks forgotten"]);
}

#[tokio::test]
async fn a_queue_is_deleted_when_nobody_works_for_it() {
    let terminal = Terminal::new().await;
    terminal.enqueue(&["good", "--delay", "1h"]).await;
    let asked = terminal.tq(&["delete", "orders"]).await;
    assert_eq!(asked.code, Some(2));
    assert!(
        asked
            .stderr
            .contains("0 blocked, 1 scheduled and 0 running"),
        "{}",
        asked.stderr
    );
    let running = worker(&terminal);
    eventually(PATIENCE, "a worker", || async {
        let workers = terminal.queue.workers().await.expect("Redis answers");
        (!workers.is_empty()).then_some(())
    })
    .await;
    let held = terminal.tq(&["delete", "orders", "--yes"]).await;
    assert_eq!(held.code, Some(1));
    assert!(
        held.stderr
            .contains("default/orders has 1 worker and stays"),
        "{}",
        held.stderr
    );
    drop(running);
    eventually(PATIENCE, "no worker", || async {
        let workers = terminal.queue.workers().await.expect("Redis answers");
        workers.is_empty().then_some(())
    })
    .await;
    let deleted = terminal.tq(&["delete", "orders", "--yes"]).await;
    assert!(
        deleted.lines()[0].starts_with("default/orders deleted: "),
        "{deleted:?}"
    );
    let left: Vec<String> = terminal.redis.command("KEYS *").await;
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn dead_letters_are_retried_evenly_or_in_another_queue() {
    let terminal = Terminal::new().await;
    let letters = dead(&terminal, 6).await;
    let dry = terminal
        .tq(&["dead", "retry", "orders", "--type", "bad", "--dry-run"])
        .await;
    assert_eq!(dry.lines(), ["6 tasks would be retried"]);
    let start = Instant::now();
    let evenly = terminal
        .tq(&[
            "dead",
            "retry",
            "orders",
            &letters[0],
            &letters[1],
            &letters[2],
            "--rate",
            "10/s",
        ])
        .await;
    assert_eq!(evenly.lines(), ["3 tasks retried"]);
    assert!(start.elapsed() >= Duration::from_millis(300));
    let other = ["dead", "retry", "orders", "--all", "--into", "shop/spare"];
    assert_eq!(terminal.tq(&other).await.lines(), ["3 tasks retried"]);
    assert_eq!(terminal.tq(&other).await.lines(), ["0 tasks retried"]);
    let spare = QueueName::new("shop", "spare").expect("a good name");
    let spare = terminal.redis.client().await.queue(spare);
    for (place, id) in letters.iter().enumerate() {
        let id = id.parse().expect("an id");
        let there = spare.get(&id).await.expect("Redis answers");
        assert_eq!(there.is_some(), place >= 3);
    }
    let bad = terminal
        .tq(&["dead", "retry", "orders", "--all", "--rate", "10"])
        .await;
    assert_eq!(bad.code, Some(2));
    assert!(bad.stderr.contains("write it like 10/s"), "{}", bad.stderr);
}

#[tokio::test]
async fn schedules_are_listed_with_their_next_runs_and_run_by_hand() {
    let terminal = Terminal::new().await;
    let schedule = Schedule {
        name: "nightly".to_owned(),
        cron: "30 2 * * *".to_owned(),
        time_zone: "Europe/Paris".to_owned(),
        kind: "report".to_owned(),
        payload: Payload::null(),
        priority: None,
        suspend: false,
        missed: Missed::Skip,
        jitter: Duration::ZERO,
    };
    let policy = Policy {
        schedules: vec![schedule],
        ..Policy::default()
    };
    terminal.queue.configure(&policy).await.expect("a policy");
    let listed = terminal.tq(&["schedules", "orders"]).await;
    let lines = listed.lines();
    assert_eq!(lines.len(), 6, "{listed:?}");
    assert!(
        lines[0].starts_with("NAME     CRON        TIME ZONE     TYPE    LAST RUN  NEXT RUNS"),
        "{listed:?}"
    );
    assert!(
        lines[1].starts_with("nightly  30 2 * * *  Europe/Paris  report  -         20"),
        "{listed:?}"
    );
    let listed = terminal.tq(&["schedules", "orders", "-o", "json"]).await;
    let json: Value = serde_json::from_str(listed.lines()[0]).expect("JSON");
    assert_eq!(
        (&json["name"], &json["last"]),
        (&json!("nightly"), &json!(null))
    );
    assert_eq!(json["upcoming"].as_array().map(Vec::len), Some(5));

    let run = terminal
        .tq(&["schedules", "run", "orders", "nightly"])
        .await;
    let task = terminal.task(run.lines()[0]).await;
    assert_eq!((task.kind.as_str(), task.state), ("report", State::Waiting));
    let unknown = terminal.tq(&["schedules", "run", "orders", "daily"]).await;
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown.stderr.contains("one of nightly"),
        "{}",
        unknown.stderr
    );
}
