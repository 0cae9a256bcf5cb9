//! `tq enqueue`: one task, many, and input that cannot be one.

use std::fmt::Write;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use taskqueue_queue::{Policy, State};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::terminal::{PROGRAM, Terminal};

fn payload(task: &taskqueue_queue::Task) -> String {
    let payload = task.payload.clone().expect("it has a payload").into_bytes();
    String::from_utf8(payload).expect("a payload is UTF-8")
}

#[tokio::test]
async fn one_task_prints_its_id_and_a_summary() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq(&[
            "enqueue",
            "orders",
            "resize",
            "--payload",
            r#"{"width": 640}"#,
        ])
        .await;
    let lines = ended.lines();
    assert_eq!(lines.len(), 1);
    let task = terminal.task(lines[0]).await;
    assert_eq!((task.kind.as_str(), task.state), ("resize", State::Waiting));
    assert_eq!(task.priority.as_deref(), Some("normal"));
    assert_eq!(payload(&task), r#"{"width": 640}"#);
    assert!(
        ended.stderr.starts_with("1 task into default/orders in "),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn priority_delay_and_namespace_are_obeyed() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq(&[
            "enqueue",
            "default/orders",
            "resize",
            "--priority",
            "high",
            "--delay",
            "1h30m",
            "-n",
            "elsewhere",
        ])
        .await;
    let task = terminal.task(ended.lines()[0]).await;
    assert_eq!(
        (task.state, task.priority.as_deref()),
        (State::Scheduled, Some("high"))
    );
    let wait = task.due.expect("it is due").duration_since(task.created);
    assert_eq!(wait.unsigned_abs().as_secs().div_ceil(60), 90);
    let ended = terminal
        .tq(&["enqueue", "mails", "send", "-n", "shop"])
        .await;
    assert!(
        ended.stderr.contains("into shop/mails in"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn the_output_can_be_json_or_nothing() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq(&["enqueue", "orders", "resize", "-o", "json"])
        .await;
    let json: serde_json::Value = serde_json::from_str(ended.lines()[0]).expect("JSON");
    assert_eq!(
        (&json["queue"], &json["type"]),
        (&json!("default/orders"), &json!("resize"))
    );
    assert_eq!(json["existing"], json!(false));
    terminal.task(json["id"].as_str().expect("an id")).await;
    assert_eq!(
        terminal
            .tq(&["enqueue", "orders", "resize", "-o", "none"])
            .await
            .lines(),
        [""; 0]
    );
}

#[tokio::test]
async fn a_task_that_stands_with_the_unique_key_is_shown_instead_of_a_second_one() {
    let terminal = Terminal::new().await;
    let unique = ["enqueue", "orders", "resize", "--unique", "a"];
    let enqueue = async |more: &[&str]| terminal.tq(&[&unique, more].concat()).await;
    let first = enqueue(&["--unique-for", "1h"]).await;
    let second = enqueue(&["--unique-for", "1h"]).await;
    assert_eq!(first.lines(), second.lines());
    for said in ["unique key \"a\" has not ended", "0 tasks into"] {
        assert!(second.stderr.contains(said), "{}", second.stderr);
    }
    let third = enqueue(&["--unique-for", "1h", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(third.lines()[0]).expect("JSON");
    assert_eq!(json["existing"], json!(true));
    assert_eq!(json["id"], json!(first.lines()[0]));
    assert_eq!(enqueue(&[]).await.code, Some(2));
}

#[tokio::test]
async fn a_task_is_enqueued_once_for_an_idempotency_key_and_can_be_read_by_it() {
    let terminal = Terminal::new().await;
    let keyed = [
        "enqueue",
        "orders",
        "resize",
        "--idempotency-key",
        "order-7",
    ];
    let enqueue = async |more: &[&str]| terminal.tq(&[&keyed, more].concat()).await;
    let first = enqueue(&["--keep", "24h", "--payload", "7"]).await;
    let second = enqueue(&["--keep", "24h", "--payload", "7"]).await;
    assert_eq!(first.lines(), second.lines());
    for said in [
        "a task stands for the idempotency key \"order-7\": its id is shown",
        "0 tasks into",
    ] {
        assert!(second.stderr.contains(said), "{}", second.stderr);
    }
    let other = enqueue(&["--keep", "24h", "--payload", "8"]).await;
    assert_eq!((other.code, other.stdout.as_str()), (Some(1), ""));
    for said in ["\"order-7\"", first.lines()[0], "use another key"] {
        assert!(other.stderr.contains(said), "{}", other.stderr);
    }
    let got = terminal.tq(&["get", "orders", "--key", "order-7"]).await;
    let json: serde_json::Value = serde_json::from_str(&got.lines().join("")).expect("JSON");
    assert_eq!(json["id"], json!(first.lines()[0]));
    assert_eq!(json["idempotencyKey"], json!("order-7"));
    let missing = terminal.tq(&["get", "orders", "--key", "order-8"]).await;
    assert_eq!(missing.code, Some(3));
    let said = "no task stands for the idempotency key \"order-8\" in default/orders";
    assert!(missing.stderr.contains(said), "{}", missing.stderr);
    for wrong in [&[][..], &["--keep", "1h", "--lines", "-"]] {
        assert_eq!(enqueue(wrong).await.code, Some(2), "{wrong:?}");
    }
    let both = ["get", "orders", first.lines()[0], "--key", "order-7"];
    assert_eq!(terminal.tq(&both).await.code, Some(2));
}

#[tokio::test]
async fn attempts_timeout_and_backoff_of_a_tasks_own_are_obeyed() {
    let terminal = Terminal::new().await;
    let enqueue = async |more: &[&str]| {
        terminal
            .tq(&[&["enqueue", "orders", "resize"], more].concat())
            .await
    };
    let own = [
        "--attempts",
        "3",
        "--timeout",
        "2s",
        "--backoff",
        "exponential:1s:10m",
    ];
    let ended = enqueue(&own).await;
    let task = terminal.task(ended.lines()[0]).await;
    let overrides = serde_json::to_value(task.overrides).expect("JSON");
    assert_eq!(
        overrides,
        json!({"maxAttempts": 3, "timeoutMs": 2000,
            "backoff": {"kind": "Exponential", "initialMs": 1000, "maxMs": 600_000}})
    );
    let wrong = enqueue(&["--backoff", "exponential:1s"]).await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("fixed:5s"), "{}", wrong.stderr);
}

#[tokio::test]
async fn a_time_to_run_an_expiry_and_a_concurrency_key_are_obeyed() {
    let terminal = Terminal::new().await;
    let enqueue = async |more: &[&str]| {
        terminal
            .tq(&[&["enqueue", "orders", "resize"], more].concat())
            .await
    };
    let ended = enqueue(&["--run-at", "2999-12-31T23:59:59Z"]).await;
    assert_eq!(ended.code, Some(2), "more than ten years ahead");
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let soon = soon.round(jiff::Unit::Second).expect("it is in range");
    let ended = enqueue(&["--run-at", &soon.to_string(), "--key", "k"]).await;
    let task = terminal.task(ended.lines()[0]).await;
    assert_eq!(task.state, State::Scheduled);
    // By the clock of Redis, which is known to a few milliseconds.
    let off = task.due.expect("it is due").duration_since(soon);
    assert!(off.abs() < jiff::SignedDuration::from_secs(1), "{off}");
    assert_eq!(task.concurrency_key.as_deref(), Some("k"));
    let ended = enqueue(&["--expires-in", "10m"]).await;
    let task = terminal.task(ended.lines()[0]).await;
    let span = task
        .expires
        .expect("it expires")
        .duration_since(task.created);
    assert_eq!(span.unsigned_abs().as_secs().div_ceil(60), 10);
    for conflict in [
        &["--run-at", "2026-12-24T18:00:00Z", "--delay", "1s"][..],
        &["--unique", "a", "--unique-for", "1h", "--lines", "-"],
        &["--unique-for", "1h"],
    ] {
        assert_eq!(enqueue(conflict).await.code, Some(2), "{conflict:?}");
    }
}

#[tokio::test]
async fn each_line_of_a_file_becomes_a_task_in_order() {
    let terminal = Terminal::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lines");
    let mut text = String::new();
    for number in 0..2500 {
        writeln!(text, "/doc/{number}").expect("it is written");
    }
    fs::write(&file, text).expect("a file");
    let ended = terminal
        .tq(&[
            "enqueue",
            "orders",
            "hash",
            "--lines",
            file.to_str().expect("UTF-8"),
        ])
        .await;
    let ids = ended.lines();
    assert_eq!(ids.len(), 2500);
    assert!(ids.is_sorted());
    assert_eq!(payload(&terminal.task(ids[0]).await), r#""/doc/0""#);
    assert_eq!(payload(&terminal.task(ids[2499]).await), r#""/doc/2499""#);
    assert!(
        ended
            .stderr
            .starts_with("2,500 tasks into default/orders in "),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn lines_of_json_come_from_standard_input_as_they_stand() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq_reading(
            "{\"a\": 1}\n[2]",
            &["enqueue", "orders", "hash", "--lines", "-", "--json"],
        )
        .await;
    let ids = ended.lines();
    assert_eq!(payload(&terminal.task(ids[0]).await), "{\"a\": 1}");
    assert_eq!(payload(&terminal.task(ids[1]).await), "[2]");
}

#[tokio::test]
async fn a_line_is_enqueued_while_the_next_has_not_been_written() {
    let terminal = Terminal::new().await;
    let mut tq = Command::new(PROGRAM)
        .args(["enqueue", "orders", "hash", "--lines", "-"])
        .env("TASKQUEUE_REDIS_URL", terminal.redis.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = tq.stdin.take().expect("it has an input");
    let mut ids = BufReader::new(tq.stdout.take().expect("it has an output")).lines();
    for line in ["first", "second"] {
        input
            .write_all(format!("{line}\n").as_bytes())
            .await
            .expect("it reads");
        let id = tokio::time::timeout(Duration::from_mins(1), ids.next_line())
            .await
            .expect("it does not wait for more");
        let id = id.expect("it writes").expect("an id");
        assert_eq!(payload(&terminal.task(&id).await), format!("\"{line}\""));
    }
    drop(input);
    assert!(tq.wait().await.expect("it is waited for").success());
}

#[tokio::test]
async fn the_first_bad_line_is_named_with_what_was_enqueued_before_it() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq_reading(
            "1\n2\n{oops\n4\n",
            &["enqueue", "orders", "t", "--lines", "-", "--json"],
        )
        .await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stdout.lines().count(), 2);
    assert!(
        ended
            .stderr
            .starts_with("tq: line 3 cannot be a payload: payload is not JSON"),
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .stderr
            .trim_end()
            .ends_with("; 2 tasks were enqueued, and nothing after"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_payload_that_is_no_json_or_too_large_is_refused_with_the_limit() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq(&["enqueue", "orders", "t", "--payload", "{oops"])
        .await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("payload is not JSON"),
        "{}",
        ended.stderr
    );

    let policy = Policy {
        max_payload_bytes: 100,
        ..Policy::default()
    };
    terminal
        .queue
        .configure(&policy)
        .await
        .expect("the policy is put in force");
    let large = format!("\"{}\"", "x".repeat(99));
    let ended = terminal
        .tq(&["enqueue", "orders", "t", "--payload", &large])
        .await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("101 bytes, the limit is 100"),
        "{}",
        ended.stderr
    );
    let ended = terminal
        .tq_reading(&"y".repeat(99), &["enqueue", "orders", "t", "--lines", "-"])
        .await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended
            .stderr
            .contains("line 1 is too long: the queue takes payloads of at most 100 bytes"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn an_unknown_priority_is_wrong_use_and_names_the_levels() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq(&["enqueue", "orders", "t", "--priority", "urgent"])
        .await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("high, normal, low"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq(&["enqueue", "orders", "t", "--lines", "/no/such/file"])
        .await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(
        ended
            .stderr
            .starts_with("tq: cannot read /no/such/file: No such file"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_reader_that_goes_away_stops_the_printing_and_not_the_enqueueing() {
    let terminal = Terminal::new().await;
    let lines = "x\n".repeat(20_000);
    let mut tq = Command::new(PROGRAM)
        .args(["enqueue", "orders", "t", "--lines", "-"])
        .env("TASKQUEUE_REDIS_URL", terminal.redis.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(tq.stdout.take());
    let mut input = tq.stdin.take().expect("it has an input");
    input.write_all(lines.as_bytes()).await.expect("it reads");
    drop(input);
    let output = tq.wait_with_output().await.expect("it is waited for");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    // A machine that takes longer than ten seconds is told of the progress before.
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("20,000 tasks into "), "{stderr}");
}

#[tokio::test]
async fn an_interrupt_says_how_far_it_came() {
    let terminal = Terminal::new().await;
    let mut tq = Command::new(PROGRAM)
        .args(["enqueue", "orders", "t", "--lines", "-"])
        .env("TASKQUEUE_REDIS_URL", terminal.redis.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = tq.stdin.take().expect("it has an input");
    input.write_all(b"first\n").await.expect("it reads");
    let mut ids = BufReader::new(tq.stdout.take().expect("it has an output")).lines();
    ids.next_line().await.expect("it writes").expect("an id");
    let pid = tq.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().await;
    assert!(sent.expect("a signal is sent").success());
    let output = tokio::time::timeout(Duration::from_mins(1), tq.wait_with_output())
        .await
        .expect("it ends");
    let output = output.expect("it is waited for");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        stderr,
        "tq: interrupted; 1 task was enqueued, and nothing after\n"
    );
}

/// The payloads of the tasks whose ids were printed.
async fn payloads(terminal: &Terminal, ids: &[&str]) -> Vec<String> {
    let mut payloads = Vec::new();
    for id in ids {
        payloads.push(payload(&terminal.task(id).await));
    }
    payloads
}

#[tokio::test]
async fn a_file_from_windows_makes_the_payloads_that_it_shows() {
    let terminal = Terminal::new().await;
    let lines = ["enqueue", "orders", "t", "--lines", "-"];
    for (input, expected) in [
        ("a\r\n\r\nb", &[r#""a""#, r#""""#, r#""b""#][..]),
        ("\u{feff}a\r\nb\r\n\r\n", &[r#""a""#, r#""b""#]),
    ] {
        let ended = terminal.tq_reading(input, &lines).await;
        assert_eq!(payloads(&terminal, &ended.lines()).await, expected);
    }
    let json = [&lines[..], &["--json"]].concat();
    let ended = terminal
        .tq_reading("\u{feff}{\"a\": 1}\r\n\r\n[2]\r\n\n", &json)
        .await;
    assert_eq!(
        payloads(&terminal, &ended.lines()).await,
        [r#"{"a": 1}"#, "[2]"]
    );
    // What other programs of Windows call Unicode is not taken for one of ours.
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), b"\xff\xfea\0\n\0").expect("it is written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let ended = terminal
        .tq(&["enqueue", "orders", "t", "--lines", path])
        .await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("line 1 is UTF-16: convert it"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_value_may_begin_with_a_hyphen() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq(&[
            "enqueue",
            "orders",
            "t",
            "--payload",
            "-5",
            "--key",
            "-k",
            "--unique",
            "--",
            "--unique-for",
            "1h",
        ])
        .await;
    let task = terminal.task(ended.lines()[0]).await;
    assert_eq!(payload(&task), "-5");
    assert_eq!(task.concurrency_key.as_deref(), Some("-k"));
    assert_eq!(task.unique_key.as_deref(), Some("--"));
    // Where it cannot be one, the error is about the value.
    for (arguments, told) in [
        (["--delay", "-5s"], "a duration cannot be negative"),
        (["--run-at", "-1"], "write it like"),
        (["--priority", "-high"], "priority \"-high\" is not a level"),
        (["--payload", "-x"], "payload is not JSON"),
    ] {
        let ended = terminal
            .tq(&[&["enqueue", "orders", "t"][..], &arguments].concat())
            .await;
        assert_ne!(ended.code, Some(0), "{arguments:?}");
        assert!(
            ended.stderr.contains(told),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    for arguments in [
        &["dead", "retry", "orders", "--error", "-1 is no size"][..],
        &["dead", "retry", "orders", "--type", "-t"],
    ] {
        assert_eq!(terminal.tq(arguments).await.lines(), ["0 tasks retried"]);
    }
    // A bare word is a value behind --, as everywhere.
    let ended = terminal.tq(&["enqueue", "orders", "--", "-type"]).await;
    assert_eq!(terminal.task(ended.lines()[0]).await.kind, "-type");
}

#[tokio::test]
async fn a_payload_may_begin_with_a_byte_order_mark() {
    let terminal = Terminal::new().await;
    let ended = terminal
        .tq(&["enqueue", "orders", "t", "--payload", "\u{feff}[1]"])
        .await;
    assert_eq!(payload(&terminal.task(ended.lines()[0]).await), "[1]");
}

#[tokio::test]
async fn attempts_and_timeout_of_a_task_go_before_those_of_the_queue() {
    let terminal = Terminal::new().await;
    let own = ["--attempts", "2", "--timeout", "90s"];
    let ended = terminal
        .tq(&[&["enqueue", "orders", "resize"], &own[..]].concat())
        .await;
    let id = ended.lines()[0].to_owned();
    let task = terminal.task(&id).await;
    let own = task.overrides.expect("it has some");
    assert_eq!(
        (own.max_attempts, own.timeout),
        (Some(2), Some(Duration::from_secs(90)))
    );
    let shown = terminal.tq(&["get", "orders", &id, "-o", "json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(
        shown["overrides"],
        json!({"maxAttempts": 2, "timeoutMs": 90_000})
    );
    let refused = terminal
        .tq(&["enqueue", "orders", "resize", "--attempts", "0"])
        .await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
}
