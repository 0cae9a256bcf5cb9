//! What others wrote, in every place where a command shows it: nothing of it steers the terminal, forges a row or turns the
//! direction of writing.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::{Value, json};
use taskqueue_queue::testing::{FakeServer, eventually};
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome, Worker, WorkerInfo};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::terminal::{Ended, PROGRAM, Terminal, run};

const PATIENCE: Duration = Duration::from_mins(1);

/// Clears a terminal, rings, ends lines, does so by one character of C1, and turns the direction of writing.
const HOSTILE: &str = "a\u{1b}[2Jb\u{7}c\r\nforged row\u{9b}31md\u{202e}e\u{2066}f";

/// Of this length is what [`ODD_KIND`] takes the place of.
const KIND: &str = "kkkkkkkkkk";
/// Gives every task of that type another one, which no producer can: with ESC, BEL, a line feed and CSI. Without blanks.
const ODD_KIND: &str = r"for
_,k
in
ipairs(redis.call('KEYS','*'))do
if(redis.call('TYPE',k).ok=='hash')then
for
_,f
in
ipairs(redis.call('HKEYS',k))do
local
v=redis.call('HGET',k,f);redis.call('HSET',k,f,(v:gsub('kkkkkkkkkk','\27[31m\7\10\194\1551')))end
end
end";

/// Says what is hostile in every way that a handler has.
struct Hostile;

impl Handler for Hostile {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        task.log(HOSTILE);
        match task.kind.as_str() {
            "slow" => {
                task.cancelled().await;
                Outcome::Completed(None)
            }
            _ => Outcome::Dead {
                error: HOSTILE.to_owned(),
            },
        }
    }
}

/// That nothing of it reaches the terminal.
#[track_caller]
fn assert_plain(ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        let steers = |it: char| {
            (it.is_control() && it != '\n')
                || matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!text.contains(steers), "{text:?}");
        assert!(
            !text.lines().any(|line| line.starts_with("forged")),
            "{text}"
        );
    }
}

/// The output of a command that shows what is hostile, in so many lines.
#[track_caller]
fn assert_lines(ended: &Ended, lines: usize) {
    assert_plain(ended);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), lines, "{}", ended.stdout);
    assert!(ended.stdout.contains('a'), "{}", ended.stdout);
}

#[tokio::test]
async fn what_workers_handlers_and_producers_say_does_not_steer_the_terminal() {
    let terminal = Terminal::new().await;
    let stop = CancellationToken::new();
    let info = WorkerInfo {
        pod: HOSTILE.to_owned(),
        node: HOSTILE.to_owned(),
    };
    let worker = Worker::new(terminal.queue.clone(), Hostile).info(info);
    let working = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    let payload = json!({ HOSTILE: HOSTILE }).to_string();
    let ended = terminal
        .tq(&["enqueue", "orders", KIND, "--payload", &payload])
        .await;
    let id = ended.lines()[0].to_owned();
    eventually(PATIENCE, "the task ends", || async {
        terminal.task(&id).await.finished
    })
    .await;

    let workers = terminal.tq(&["workers", "orders"]).await;
    assert_lines(&workers, 2);
    assert!(
        workers.stdout.contains(r"a\u001b[2Jb"),
        "{}",
        workers.stdout
    );
    let workers = terminal.tq(&["workers", "orders", "-o", "json"]).await;
    assert_lines(&workers, 1);
    let told: Value = serde_json::from_str(&workers.stdout).expect("JSON");
    assert_eq!(told["pod"], HOSTILE, "JSON says what there is");

    // Its lines are lines.
    let logs = terminal.tq(&["logs", "orders", &id]).await;
    assert!(
        logs.stdout.contains(r"a\u001b[2Jb\u0007c"),
        "{}",
        logs.stdout
    );
    let text = logs.stdout.replace("forged row", "");
    assert_plain(&Ended {
        stdout: text,
        ..logs
    });

    stop.cancel();
    working.await.expect("no panic").expect("it stops well");
    // The type of a task is checked where it is enqueued, and Redis has what anybody wrote there.
    terminal
        .redis
        .command::<()>(&format!("EVAL {ODD_KIND} 0"))
        .await;
    assert_ne!(terminal.task(&id).await.kind, KIND);
    for (command, lines) in [
        (vec!["dead", "list", "orders"], 2),
        (vec!["tasks", "orders", "--state", "dead"], 2),
        (vec!["dead", "list", "orders", "-o", "json"], 1),
        (vec!["tasks", "orders", "--state", "dead", "-o", "json"], 1),
    ] {
        let ended = terminal.tq(&command).await;
        assert_lines(&ended, lines);
    }
    for form in ["json", "yaml"] {
        let ended = terminal.tq(&["get", "orders", &id, "-o", form]).await;
        assert_plain(&ended);
        let task: Value = yaml_serde::from_str(&ended.stdout).expect("JSON is YAML");
        assert_eq!(task["payload"][HOSTILE], HOSTILE, "{}", ended.stdout);
        assert_eq!(task["type"], "\u{1b}[31m\u{7}\n\u{9b}1", "{}", ended.stdout);
    }
}

#[tokio::test]
async fn what_a_server_says_does_not_steer_the_terminal() {
    let words = HOSTILE.replace(['\r', '\n'], "");
    let server = FakeServer::start(move |_| format!("-ERR {words}\r\n")).await;
    let url = server.url();
    let id = "00000000000000000000";
    for command in [
        vec!["stats", "orders"],
        vec!["tasks", "orders"],
        vec!["workers", "orders"],
        vec!["logs", "orders", id],
        vec!["get", "orders", id],
        vec!["cancel", "orders", id],
        vec!["pause", "orders"],
        vec!["dead", "list", "orders"],
        vec!["dead", "retry", "orders", "--all"],
        vec!["dead", "retry", "orders", "--all", "--rate", "9/s"],
        vec!["dead", "retry", "orders", "--all", "--into", "other"],
        vec!["edit", "orders", id, "--payload", "1"],
        vec!["promote", "orders", id],
        vec!["priority", "orders", "high", id],
        vec!["clear", "orders", "--all"],
        vec!["clear", "orders", "--all", "--yes"],
        vec!["clean", "orders"],
        vec!["schedules", "orders"],
        vec!["schedules", "run", "orders", "daily"],
        vec!["delete", "orders", "--yes"],
        vec!["enqueue", "orders", "any"],
        vec!["doctor", "--no-cluster"],
        vec!["doctor", "--no-cluster", "-o", "json"],
    ] {
        let mut program = Command::new(PROGRAM);
        program.args(&command).args(["--redis", &url]);
        let ended = run(&mut program, "").await;
        assert_plain(&ended);
        assert_ne!(ended.code, Some(0), "{command:?}: {ended:?}");
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(
            command[0] == "doctor" || told.contains("001b[2J"),
            "{command:?}: {told}"
        );
    }
}

/// An API server that answers whatever it is asked with this object, for as long as the test runs.
fn api_server(object: &Value) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let body = object.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0)
            {
                head.push(byte[0]);
            }
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn what_a_status_says_does_not_steer_the_terminal() {
    let then = "2026-01-02T03:04:05Z";
    let url = api_server(&json!({
        "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
        "metadata": { "name": "thumbnails", "namespace": "shop" },
        "spec": { "worker": { "handler": { "native": {} } } },
        "status": {
            "lastDecision": {
                "time": then, "replicas": 2, "wanted": 2, "reason": HOSTILE, "equation": HOSTILE,
                "waitsFor": HOSTILE, "inputs": [{ "name": HOSTILE, "value": HOSTILE }],
                "clamps": [{ "what": HOSTILE, "from": 7, "to": 2 }]
            },
            "decisions": [{
                "time": then, "from": 0, "to": 3, "wanted": 3, "reason": HOSTILE, "equation": HOSTILE
            }],
            "conditions": [{
                "type": "Ready", "status": "False", "reason": HOSTILE, "message": HOSTILE,
                "lastTransitionTime": then
            }]
        }
    }));
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("config");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a", "namespace": "shop" } }],
        "clusters": [{ "name": "a", "cluster": { "server": url } }],
        "users": [{ "name": "a", "user": {} }]
    });
    std::fs::write(&kubeconfig, config.to_string()).expect("it is written");
    for (form, lines) in [("text", 13), ("json", 0)] {
        let mut program = Command::new(PROGRAM);
        program
            .args(["explain", "thumbnails", "-o", form])
            .env("KUBECONFIG", &kubeconfig);
        let ended = run(&mut program, "").await;
        assert_plain(&ended);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains(r"a\u001b[2Jb"), "{}", ended.stdout);
        if lines > 0 {
            assert_eq!(ended.stdout.lines().count(), lines, "{}", ended.stdout);
        } else {
            let told: Value = serde_json::from_str(&ended.stdout).expect("JSON");
            assert_eq!(told["decision"]["equation"], HOSTILE);
        }
    }
}

#[tokio::test]
async fn what_a_manifest_says_does_not_steer_the_terminal() {
    let manifest = r#"
apiVersion: taskqueue.dev/v1alpha1
kind: TaskQueue
metadata: {name: thumbnails, namespace: shop}
spec:
  worker: {handler: {native: {}}}
  scaling: {mode: "A\e[2Jb\u0007\nforged\u009b31m\u202e"}
"#;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("queue.yaml");
    std::fs::write(&file, manifest).expect("it is written");
    let mut program = Command::new(PROGRAM);
    program
        .args(["simulate", "--trace", "-", "--policy"])
        .arg(&file);
    let ended = run(&mut program, "0,1,1\n1,1,1\n").await;
    assert_plain(&ended);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}
