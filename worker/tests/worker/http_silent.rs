//! The http handler with servers that do not answer: they close connections that were kept, go away, freeze, or speak
//! something else. The real program, a real Redis, servers of sockets and in Python.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use taskqueue_queue::testing::eventually;
use taskqueue_queue::{Cause, State};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::process::{PATIENCE, Stage, patient};

/// How a server of these tests ends a connection that it has answered on before.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// It reads the next request, and closes.
    Read,
    /// It closes with the next request unread, which the client is told as a reset.
    Unread,
}

/// The next request on a connection; `None` if there is none.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = stream.read(&mut piece).await.ok()?;
        request.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&request).into_owned();
        // The payloads of these tests are `null`.
        let end = if text.starts_with("HEAD") {
            "\r\n\r\n"
        } else {
            "null"
        };
        if text.ends_with(end) {
            return Some(text);
        }
        if length == 0 {
            return None;
        }
    }
}

/// A server that answers one task on each connection and keeps it, but closes it when another comes. Tasks of type `never`
/// are not answered on any. Its port, and how many tasks of that type it got.
async fn closing(ends: Ends) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let never = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&never);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let never = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut answered = false;
                loop {
                    if answered && matches!(ends, Ends::Unread) {
                        let _ = stream.peek(&mut [0]).await;
                        return;
                    }
                    let Some(text) = request(&mut stream).await else {
                        return;
                    };
                    if text.contains("ce-type: never") {
                        never.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    if answered {
                        return;
                    }
                    answered = !text.starts_with("HEAD");
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (port, never)
}

#[tokio::test]
async fn a_request_that_met_a_connection_about_to_close_is_sent_again_and_costs_nothing() {
    for ends in [Ends::Read, Ends::Unread] {
        let (port, _) = closing(ends).await;
        let stage = Stage::with_policy(&patient()).await;
        let handler = json!({ "http": { "port": port } }).to_string();
        let _worker = stage.worker(&handler, &[]).await;
        for _ in 0..6 {
            let id = stage.enqueue("any", &json!(null)).await;
            let task = stage
                .task_when(&id, "its attempt ends", |task| {
                    task.finished.is_some() || !task.errors.is_empty()
                })
                .await;
            assert_eq!(
                (task.state, task.attempts, task.losses),
                (State::Completed, 0, 0),
                "{ends:?}: {:?}",
                task.errors
            );
        }
    }
}

#[tokio::test]
async fn a_request_is_sent_again_once_and_then_it_is_an_attempt() {
    let (port, never) = closing(Ends::Read).await;
    let stage = Stage::with_policy(&patient()).await;
    let handler = json!({ "http": { "port": port } }).to_string();
    let _worker = stage.worker(&handler, &[]).await;
    let kept = stage.enqueue("any", &json!(null)).await;
    stage.ended(&kept).await;
    let id = stage.enqueue("never", &json!(null)).await;
    let task = stage
        .task_when(&id, "it fails", |task| !task.errors.is_empty())
        .await;
    assert_eq!((task.state, task.attempts), (State::Scheduled, 1));
    // Once only if the worker had closed the connection itself, which it does after a second.
    let requests = never.load(Ordering::Relaxed);
    assert!((1..=2).contains(&requests), "{requests}");
}

/// A server of HTTP/1.1 in Python that keeps its connections and does this with each task, of type `kind`; its port.
async fn python(on_task: &str) -> (Child, u16) {
    let script = format!(
        r#"
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_HEAD = answer
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["ce-type"]
        {on_task}
        self.answer()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#
    );
    let mut server = Command::new("python3")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 starts");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let line = lines.next_line().await.expect("it writes");
    let port = line.expect("a line").parse().expect("a port");
    (server, port)
}

#[tokio::test]
async fn a_task_that_its_server_goes_away_under_is_a_loss_on_a_kept_connection_too() {
    let (_server, port) = python("if kind == 'poison': os._exit(1)").await;
    let stage = Stage::with_policy(&patient()).await;
    let handler = json!({ "http": { "port": port } }).to_string();
    let _worker = stage.worker(&handler, &[]).await;
    let kept = stage.enqueue("any", &json!(null)).await;
    assert_eq!(stage.ended(&kept).await.state, State::Completed);
    let id = stage.enqueue("poison", &json!(null)).await;
    let task = stage
        .task_when(&id, "it is handed back", |task| !task.errors.is_empty())
        .await;
    assert_eq!((task.attempts, task.losses), (0, 1), "{:?}", task.errors);
    assert_eq!(task.errors[0].cause, Cause::WorkerLost);
}

#[tokio::test]
async fn a_server_that_froze_gets_no_more_tasks_until_it_answers_again() {
    let (server, port) = python("pass").await;
    let server = Pid::from_raw(server.id().expect("it runs").try_into().expect("a pid"));
    let mut policy = patient();
    policy.timeout = Duration::from_secs(1);
    let stage = Stage::with_policy(&policy).await;
    let handler = json!({ "http": { "port": port } }).to_string();
    let worker = stage
        .worker(&handler, &[("TASKQUEUE_CONCURRENCY", "2")])
        .await;
    kill(server, Signal::SIGSTOP).expect("it takes signals");
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(stage.enqueue("any", &json!(null)).await);
    }
    eventually(PATIENCE, "the worker says why", || async {
        let (status, told) = worker.get("/readyz").await.ok()?;
        (status == 503 && told.contains("no answer within 5 s")).then_some(())
    })
    .await;
    let mut timed_out = 0;
    for id in &ids {
        let task = stage.task(id).await;
        assert!(task.attempts <= 1, "{task:?}");
        timed_out += task.attempts;
    }
    // As many as it had.
    assert_eq!(timed_out, 2);
    kill(server, Signal::SIGCONT).expect("it takes signals");
    for id in &ids {
        let task = stage.task(id).await;
        if task.attempts == 0 {
            let task = stage.ended(id).await;
            assert_eq!((task.state, task.attempts), (State::Completed, 0));
        }
    }
    worker.ready().await;
}

/// A server that answers this to whatever comes; its port.
async fn saying(words: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let _ = stream.write_all(words.as_bytes()).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn what_speaks_another_protocol_is_told_from_what_does_not_answer() {
    let told = async |words: &'static str, protocol: &str, wanted: &str| {
        let port = saying(words).await;
        let stage = Stage::new().await;
        let handler = json!({ "http": { "port": port, "protocol": protocol } });
        let worker = stage.start(&handler.to_string(), &[]);
        let what = format!("what listens on port {port} of the pod does not speak {wanted}");
        worker.logged(&what).await;
    };
    let ssh = "SSH-2.0-OpenSSH_9.2\r\n\r\n";
    let old = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    tokio::join!(
        told(ssh, "HTTP1", "HTTP/1.1"),
        told(old, "H2C", "HTTP/2 without TLS"),
    );
}
