//! `tq get`, `tq stats` and `tq dead`: what they print of a queue whose tasks a real worker has run.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use taskqueue_queue::testing::eventually;
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome, Worker};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::terminal::{PROGRAM, Terminal};

const PATIENCE: Duration = Duration::from_mins(1);

/// Completes tasks of type `good`, and gives up all others.
struct Judge;

impl Handler for Judge {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        match task.kind.as_str() {
            "good" => Outcome::Completed(Some(task.payload)),
            _ => Outcome::Dead {
                error: "no such\nimage".to_owned(),
            },
        }
    }
}

/// A queue in which one task waits, one is scheduled, one is completed and two are dead; with the ids of the last three.
async fn busy() -> (Terminal, String, [String; 2]) {
    let terminal = Terminal::new().await;
    let mut ids = Vec::new();
    for kind in ["good", "bad", "bad"] {
        let ended = terminal
            .tq(&["enqueue", "orders", kind, "--payload", r#"{"n": 1}"#])
            .await;
        ids.push(ended.lines()[0].to_owned());
    }
    judge(&terminal, &ids).await;
    terminal.tq(&["enqueue", "orders", "good"]).await.lines();
    terminal
        .tq(&["enqueue", "orders", "good", "--delay", "1h"])
        .await
        .lines();
    let [completed, dead @ ..] = <[String; 3]>::try_from(ids).expect("three ids");
    (terminal, completed, dead)
}

/// Has a worker run these tasks to their ends.
async fn judge(terminal: &Terminal, ids: &[String]) {
    let stop = CancellationToken::new();
    let worker =
        Worker::new(terminal.queue.clone(), Judge).run(stop.clone(), CancellationToken::new());
    let worker = tokio::spawn(worker);
    for id in ids {
        eventually(PATIENCE, "the task ends", || async {
            terminal.task(id).await.finished
        })
        .await;
    }
    stop.cancel();
    worker.await.expect("no panic").expect("it stops well");
}

#[tokio::test]
async fn get_shows_a_task_as_json_and_yaml() {
    let (terminal, completed, dead) = busy().await;
    let ended = terminal
        .tq(&["get", "orders", &completed, "-o", "json"])
        .await;
    let task: Value = serde_json::from_str(&ended.lines().join("\n")).expect("JSON");
    assert_eq!(
        (&task["id"], &task["queue"]),
        (&json!(completed), &json!("default/orders"))
    );
    assert_eq!(
        (&task["state"], &task["type"]),
        (&json!("Completed"), &json!("good"))
    );
    assert_eq!(
        (&task["payload"], &task["result"]),
        (&json!({"n": 1}), &json!({"n": 1}))
    );

    let ended = terminal
        .tq(&["get", "default/orders", &dead[0], "-o", "yaml"])
        .await;
    let yaml = ended.lines();
    assert!(yaml.contains(&"state: Dead"), "{yaml:?}");
    assert!(yaml.contains(&"  n: 1"), "{yaml:?}");
}

#[tokio::test]
async fn get_shows_the_attempts_of_a_task_as_a_table() {
    let (terminal, completed, dead) = busy().await;
    for (id, outcome) in [(&completed, "Completed"), (&dead[0], "Failed")] {
        let ended = terminal.tq(&["get", "orders", id, "-o", "attempts"]).await;
        let rows: Vec<Vec<&str>> = ended
            .lines()
            .iter()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0][..3], ["ID", "ATTEMPT", "OUTCOME"]);
        assert_eq!(rows[1][..3], [id.as_str(), "1", outcome]);
        assert_eq!(rows.len(), 2);
    }
    let ended = terminal.tq(&["get", "orders", &dead[0]]).await;
    let task: Value = serde_json::from_str(&ended.lines().join("\n")).expect("JSON");
    assert_eq!(task["history"][0]["cause"], json!("Error"));
    assert!(task["history"][0]["worker"].is_string(), "{task}");
}

#[tokio::test]
async fn errors_are_shown_by_kind_and_forgotten() {
    let (terminal, _, dead) = busy().await;
    let ended = terminal.tq(&["errors", "orders"]).await;
    let lines = ended.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let row: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!((row[1], row[5], row[6]), ("2", "bad", "Error"));
    assert!(dead.iter().any(|id| id == row[7]), "{lines:?}");
    assert!(lines[1].ends_with("  no such image"), "{lines:?}");
    let ended = terminal.tq(&["errors", "orders", "-o", "json"]).await;
    let group: Value = serde_json::from_str(ended.lines()[0]).expect("JSON");
    assert_eq!(
        (&group["count"], &group["fingerprint"]),
        (&json!(2), &json!(row[0]))
    );
    let forget = ["errors", "orders", "--forget", row[0]];
    assert_eq!(terminal.tq(&forget).await.lines(), ["1 kind forgotten"]);
    let all = ["errors", "orders", "--forget-all"];
    assert_eq!(terminal.tq(&all).await.lines(), ["0 kinds forgotten"]);
    let ended = terminal.tq(&["errors", "orders", "--forget", "x"]).await;
    assert_eq!(ended.code, Some(2));
}

#[tokio::test]
async fn get_of_several_tasks_is_a_line_each_in_the_order_asked_for() {
    let (terminal, completed, dead) = busy().await;
    let asked = [&dead[1], &completed, &dead[0]];
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), asked.map(|id| format!("{id}\n")).concat()).expect("it is written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let by_file = terminal.tq(&["get", "orders", "--ids", path]).await;
    let by_name = terminal
        .tq(&["get", "orders", asked[0], asked[1], asked[2]])
        .await;
    assert_eq!(by_file.stdout, by_name.stdout);
    let ids: Vec<Value> = by_file
        .lines()
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].clone())
        .collect();
    assert_eq!(ids, asked.map(|id| json!(id)));
}

#[tokio::test]
async fn get_of_an_unknown_task_exits_3_and_a_bad_id_exits_2() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq(&["get", "orders", "00000000000000000000"])
        .await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""));
    assert!(
        ended
            .stderr
            .starts_with("tq: no task 00000000000000000000 in default/orders"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        terminal.tq(&["get", "orders", "nonsense"]).await.code,
        Some(2)
    );
}

#[tokio::test]
async fn stats_are_a_table_for_people() {
    let (terminal, ..) = busy().await;
    let ended = terminal.tq(&["stats", "orders", "shop/empty"]).await;
    let rows: Vec<Vec<&str>> = ended
        .lines()
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0][..2], ["QUEUE", "WAITING"]);
    assert_eq!(
        rows[1][..5],
        ["default/orders", "1", "high:0", "normal:1", "low:0"]
    );
    // Scheduled, active, workers, dead, enqueued, completed, failed, missing, success.
    assert_eq!(
        rows[1][6..],
        ["1", "0", "0", "2", "5", "1", "2", "0", "33.3%"]
    );
    assert_eq!(rows[2][0], "shop/empty");
}

#[tokio::test]
async fn stats_are_json_for_machines() {
    let (terminal, ..) = busy().await;
    let ended = terminal.tq(&["stats", "orders", "-o", "json"]).await;
    let stats: Value = serde_json::from_str(ended.lines()[0]).expect("JSON");
    assert_eq!(
        (&stats["waiting"], &stats["scheduled"], &stats["dead"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert_eq!(stats["totals"]["completed"], json!(1));
    assert!(
        stats["nextDue"].is_string() && stats["oldestWaitingSeconds"].is_number(),
        "{stats}"
    );
}

#[tokio::test]
async fn a_watch_outlives_an_outage_of_redis_and_ends_with_its_reader() {
    let mut terminal = Terminal::new().await;
    let mut tq = Command::new(PROGRAM)
        .args([
            "stats", "orders", "-o", "json", "--watch", "--every", "20ms",
        ])
        .env("TASKQUEUE_REDIS_URL", terminal.redis.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program runs");
    let mut figures = BufReader::new(tq.stdout.take().expect("it has an output")).lines();
    let mut complaints = BufReader::new(tq.stderr.take().expect("it complains")).lines();
    figures
        .next_line()
        .await
        .expect("it writes")
        .expect("figures");
    terminal.redis.stop().await;
    let complaint = complaints
        .next_line()
        .await
        .expect("it writes")
        .expect("a complaint");
    assert!(complaint.starts_with("tq: Redis at "), "{complaint}");
    terminal.redis.restart().await;
    terminal.tq(&["enqueue", "orders", "good"]).await.lines();
    while !figures
        .next_line()
        .await
        .expect("it writes")
        .expect("figures")
        .contains(r#""waiting":1"#)
    {}
    drop(figures);
    let status = tokio::time::timeout(PATIENCE, tq.wait())
        .await
        .expect("it ends");
    assert!(status.expect("it is waited for").success());
}

#[tokio::test]
async fn dead_letters_are_listed_with_their_last_error() {
    let (terminal, _, dead) = busy().await;
    let ended = terminal.tq(&["dead", "list", "orders"]).await;
    let lines = ended.lines();
    assert!(lines[0].starts_with("ID"), "{lines:?}");
    assert_eq!(lines.len(), 3);
    for id in &dead {
        let line = lines
            .iter()
            .find(|line| line.starts_with(id.as_str()))
            .expect("it is listed");
        assert!(line.ends_with("Error  no such image"), "{line}");
    }
    let ended = terminal
        .tq(&["dead", "list", "orders", "-o", "json", "--limit", "1"])
        .await;
    let letter: Value = serde_json::from_str(ended.lines()[0]).expect("JSON");
    assert_eq!((ended.lines().len(), &letter["state"]), (1, &json!("Dead")));
    for (kind, lines) in [("bad", 3), ("good", 1)] {
        let ended = terminal
            .tq(&["dead", "list", "orders", "--type", kind])
            .await;
        assert_eq!(ended.lines().len(), lines, "{kind}");
    }
}

#[tokio::test]
async fn dead_letters_are_retried_by_id_and_all_together() {
    let (terminal, _, dead) = busy().await;
    assert_eq!(
        terminal
            .tq(&["dead", "retry", "orders", &dead[0]])
            .await
            .lines(),
        ["1 task retried"]
    );
    let ended = terminal
        .tq(&["dead", "retry", "orders", &dead[0], &dead[1]])
        .await;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(3), "1 task retried\n")
    );
    assert!(
        ended
            .stderr
            .contains("1 of 2 is no dead letter of default/orders"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        terminal
            .tq(&["dead", "retry", "orders", "--all"])
            .await
            .lines(),
        ["0 tasks retried"]
    );
    assert_eq!(terminal.task(&dead[0]).await.attempts, 0);
}

#[tokio::test]
async fn a_dead_letter_whose_unique_key_is_taken_stays_and_both_are_named() {
    let terminal = Terminal::new().await;
    let enqueue = async || {
        let unique = ["--unique", "k", "--unique-for", "1h"];
        let ended = terminal
            .tq(&[&["enqueue", "orders", "bad"][..], &unique].concat())
            .await;
        ended.lines()[0].to_owned()
    };
    let dead = enqueue().await;
    judge(&terminal, std::slice::from_ref(&dead)).await;
    let stands = enqueue().await;
    for which in [dead.as_str(), "--all"] {
        let ended = terminal.tq(&["dead", "retry", "orders", which]).await;
        assert_eq!(ended.code, Some(1));
        assert_eq!(
            ended.stdout,
            format!(
                "0 tasks retried\n{dead} stays: {stands} has its unique key and has not ended\n"
            )
        );
        assert!(
            ended.stderr.contains("1 dead letter stays"),
            "{}",
            ended.stderr
        );
    }
    terminal.tq(&["cancel", "orders", &stands]).await.lines();
    let ended = terminal.tq(&["dead", "retry", "orders", &dead]).await;
    assert_eq!(ended.lines(), ["1 task retried"]);
    // The key is taken again, by the letter.
    assert!(enqueue().await.starts_with(&dead));
}

#[tokio::test]
async fn a_purge_of_all_asks_for_yes_and_says_how_many() {
    let (terminal, _, dead) = busy().await;
    let ended = terminal.tq(&["dead", "purge", "orders", "--all"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended
            .stderr
            .contains("all 2 dead letters of default/orders for good: add --yes"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        terminal
            .tq(&["dead", "purge", "orders", &dead[0]])
            .await
            .lines(),
        ["1 task purged"]
    );
    assert_eq!(
        terminal
            .tq(&["dead", "purge", "orders", "--all", "--yes"])
            .await
            .lines(),
        ["1 task purged"]
    );
    assert_eq!(
        terminal.tq(&["get", "orders", &dead[1]]).await.code,
        Some(3)
    );
}

#[tokio::test]
async fn dead_letters_are_chosen_by_type_error_and_age() {
    let (terminal, ..) = busy().await;
    let dead = async |command: &str, more: &[&str]| {
        let ended = terminal
            .tq(&[&["dead", command, "orders"], more].concat())
            .await;
        ended.lines()[0].to_owned()
    };
    for (filter, retried) in [
        (&["--type", "good"][..], "0 tasks retried"),
        (&["--error", "no such disk"], "0 tasks retried"),
        (&["--older-than", "1h"], "0 tasks retried"),
        (&["--group", "0123456789abcdef"], "0 tasks retried"),
        (&["--payload", "n=2"], "0 tasks retried"),
        (
            &["--type", "bad", "--error", "image", "--payload", "n=1"],
            "2 tasks retried",
        ),
    ] {
        assert_eq!(dead("retry", filter).await, retried, "{filter:?}");
    }
}

#[tokio::test]
async fn a_purge_by_filter_says_how_many_fit_and_asks_for_yes() {
    let (terminal, ..) = busy().await;
    let purge = ["dead", "purge", "orders", "--error", "such"];
    let ended = terminal.tq(&purge).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended
            .stderr
            .contains("2 of the 2 dead letters of default/orders for good: add --yes"),
        "{}",
        ended.stderr
    );
    let ended = terminal.tq(&[&purge[..], &["--yes"]].concat()).await;
    assert_eq!(ended.lines(), ["2 tasks purged"]);
}

#[tokio::test]
async fn which_dead_letters_must_be_said() {
    let terminal = Terminal::new().await;
    for arguments in [
        &["dead", "retry", "orders"][..],
        &["dead", "purge", "orders", "--yes"],
    ] {
        let ended = terminal.tq(arguments).await;
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains("<ID>"), "{}", ended.stderr);
    }
    for more in [["--all"], ["00000000000000000000"]] {
        let arguments = [&["dead", "purge", "orders", "--type=bad"][..], &more].concat();
        let ended = terminal.tq(&arguments).await;
        assert_eq!(ended.code, Some(2));
        assert!(
            ended.stderr.contains("cannot be used with"),
            "{}",
            ended.stderr
        );
    }
}

#[tokio::test]
async fn a_payload_is_shown_as_it_was_given() {
    let terminal = Terminal::new().await;
    let nested = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    let payloads = [
        "12345678901234567890123",
        r#"{"k":0.1000000000000000055}"#,
        r#"{"a":1,"a":2}"#,
        "1e999",
        r#""\ud800""#,
        &nested,
        r#"{"last": true}"#,
    ];
    let mut ids = Vec::new();
    for payload in payloads {
        let ended = terminal
            .tq(&["enqueue", "orders", "t", "--payload", payload])
            .await;
        ids.push(ended.lines()[0].to_owned());
    }
    let expected = [
        "payload: 12345678901234567890123\n",
        "payload:\n  k: 0.1000000000000000055\n",
        "payload: |- # as JSON text, since it has a key twice\n  {\"a\":1,\"a\":2}\n",
        "payload: 1e999\n",
        "payload: |- # as JSON text, since it has half of a surrogate pair\n  \"\\ud800\"\n",
        &format!("payload: |- # as JSON text, since it is nested too deep\n  {nested}\n"),
        "payload:\n  last: true\n",
    ];
    let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
    let several = terminal
        .tq(&[&["get", "orders", "-o", "yaml"], &asked[..]].concat())
        .await;
    assert_eq!(several.code, Some(0), "{}", several.stderr);
    let documents: Vec<&str> = several.stdout.split("---\n").skip(1).collect();
    assert_eq!(documents.len(), payloads.len());
    for ((id, document), expected) in asked.iter().zip(documents).zip(expected) {
        assert!(document.contains(expected), "{document}");
        let alone = terminal.tq(&["get", "orders", id, "-o", "yaml"]).await;
        assert_eq!((alone.code, alone.stdout.as_str()), (Some(0), document));
    }
}

#[tokio::test]
async fn of_several_tasks_those_that_are_there_are_shown() {
    let (terminal, completed, dead) = busy().await;
    let unknown = "00000000000000000000";
    for form in ["json", "yaml"] {
        let ended = terminal
            .tq(&["get", "orders", &completed, unknown, &dead[0], "-o", form])
            .await;
        assert_eq!(ended.code, Some(3));
        for id in [&completed, &dead[0]] {
            assert!(ended.stdout.contains(id.as_str()), "{}", ended.stdout);
        }
        assert!(
            ended.stderr.contains(&format!("tq: no task {unknown}")),
            "{}",
            ended.stderr
        );
        assert!(
            ended.stderr.contains("tq: 1 of 3 tasks are not shown"),
            "{}",
            ended.stderr
        );
    }
}

#[tokio::test]
async fn a_list_of_ids_may_come_from_windows() {
    let (terminal, completed, dead) = busy().await;
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let list = format!("\u{feff}{completed}\r\n\r\n {}\r\n\r\n", dead[0]);
    std::fs::write(file.path(), list).expect("it is written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let ended = terminal.tq(&["get", "orders", "--ids", path]).await;
    assert_eq!(ended.lines().len(), 2);
}
