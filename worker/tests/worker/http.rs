//! The http handler as a user meets it: the real program, a real Redis, real servers.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::post;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use taskqueue_queue::testing::eventually;
use taskqueue_queue::{Cause, NewTask, Payload, Policy, State};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::process::Command;
use tokio::sync::Notify;

use crate::process::{self, PATIENCE, Stage, last_error, patient, result};

/// A server on a port of its own.
struct Server {
    port: u16,
}

impl Server {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port }
    }

    fn handler(&self) -> String {
        json!({ "http": { "port": self.port, "path": "/tasks" } }).to_string()
    }
}

/// A server that gives the same answer to every task.
async fn answering(status: u16, headers: &[(&str, &str)], body: &'static str) -> Server {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            let name: header::HeaderName = name.parse().expect("a name");
            (name, value.parse().expect("a value"))
        })
        .collect();
    let status = StatusCode::from_u16(status).expect("a status");
    let answer = post(async move || (status, headers.clone(), body));
    Server::start(Router::new().route("/tasks", answer)).await
}

/// Runs one task against a server and returns it once it is as `wanted`.
async fn one(server: &Server, policy: &Policy) -> (Stage, taskqueue_queue::Task) {
    let stage = Stage::with_policy(policy).await;
    let worker = stage.worker(&server.handler(), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage
        .task_when(&id, "the first attempt ends", |task| {
            task.finished.is_some() || !task.errors.is_empty()
        })
        .await;
    drop(worker);
    (stage, task)
}

#[tokio::test]
async fn a_task_comes_as_a_cloud_event_and_the_body_is_the_result() {
    let echo = post(async |headers: HeaderMap, body: String| {
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let headers: serde_json::Map<_, _> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), json!(value.to_str().expect("ASCII"))))
            .collect();
        json!({ "headers": headers, "body": body }).to_string()
    });
    let server = Server::start(Router::new().route("/tasks", echo)).await;
    let stage = Stage::new().await;
    let _worker = stage.worker(&server.handler(), &[]).await;
    let payload = Payload::of(&json!({ "width": 640 })).expect("a payload");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let task = NewTask::new("größe ändern", payload).trace_parent(parent);
    let id = stage
        .queue
        .enqueue(task)
        .await
        .expect("it is enqueued")
        .id();
    let task = stage.ended(&id).await;
    assert_eq!(task.state, State::Completed, "{:?}", task.errors);
    let told: Value = serde_json::from_str(&result(&task)).expect("JSON");
    assert_eq!(told["body"], json!({ "width": 640 }));
    let headers = &told["headers"];
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", &id.to_string()),
        ("ce-type", "gr%C3%B6%C3%9Fe%20%C3%A4ndern"),
        ("ce-source", "/taskqueue/test/work"),
        ("ce-time", &task.created.to_string()),
        ("ce-queue", "test/work"),
        ("ce-attempt", "1"),
        ("ce-losses", "0"),
        ("ce-priority", "normal"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    assert!(
        headers["traceparent"]
            .as_str()
            .is_some_and(|given| given[..35] == parent[..35])
    );
    assert!(
        headers["ce-control"]
            .as_str()
            .is_some_and(|url| url.starts_with("http://127.0.0.1:"))
    );
    let deadline: jiff::Timestamp = headers["ce-deadline"]
        .as_str()
        .expect("text")
        .parse()
        .expect("a time");
    assert!(deadline > task.created);
}

#[tokio::test]
async fn status_2xx_completes() {
    for (status, body, wanted) in [
        (200, "{\"a\":1}", "{\"a\":1}"),
        (201, "made", "\"made\""),
        (204, "", ""),
    ] {
        let server = answering(status, &[], body).await;
        let (_stage, task) = one(&server, &patient()).await;
        assert_eq!(
            (task.state, result(&task).as_str()),
            (State::Completed, wanted)
        );
    }
}

#[tokio::test]
async fn status_408_425_429_5xx_is_a_failed_attempt() {
    for status in [408, 425, 429, 500, 503] {
        let server = answering(status, &[], "busy").await;
        let (_stage, task) = one(&server, &patient()).await;
        assert_eq!(
            (task.state, task.attempts),
            (State::Scheduled, 1),
            "{status}"
        );
        assert!(
            last_error(&task).starts_with(&format!("answered {status}")),
            "{}",
            last_error(&task)
        );
        assert!(last_error(&task).ends_with("busy"));
    }
}

#[tokio::test]
async fn retry_after_is_how_long_a_failed_attempt_waits() {
    let server = answering(503, &[("retry-after", "120")], "").await;
    let (_stage, task) = one(&server, &patient()).await;
    let wait = task
        .due
        .expect("it is due")
        .duration_since(task.errors[0].at);
    // The worker knows the time of Redis to within a round trip.
    assert!((119.9..120.1).contains(&wait.as_secs_f64()), "{wait:?}");
}

#[tokio::test]
async fn status_4xx_is_a_dead_letter() {
    for status in [400, 404, 422] {
        let server = answering(status, &[], "no such image").await;
        let (_stage, task) = one(&server, &patient()).await;
        assert_eq!(task.state, State::Dead, "{status}");
        assert!(last_error(&task).ends_with("no such image"));
    }
}

#[tokio::test]
async fn status_3xx_is_a_failed_attempt_that_names_the_path() {
    let server = answering(308, &[("location", "/tasks/")], "").await;
    let (_stage, task) = one(&server, &patient()).await;
    assert_eq!(task.state, State::Scheduled);
    assert!(
        last_error(&task).contains("handler.http.path"),
        "{}",
        last_error(&task)
    );
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_where_it_is_asked_for() {
    let version = post(async |request: Request| format!("{:?}", request.version()));
    let server = Server::start(Router::new().route("/tasks", version)).await;
    for (protocol, wanted) in [("H2C", "\"HTTP/2.0\""), ("HTTP1", "\"HTTP/1.1\"")] {
        let stage = Stage::new().await;
        let handler =
            json!({ "http": { "port": server.port, "path": "/tasks", "protocol": protocol } });
        let _worker = stage.worker(&handler.to_string(), &[]).await;
        let id = stage.enqueue("any", &json!(null)).await;
        assert_eq!(result(&stage.ended(&id).await), wanted);
    }
}

#[tokio::test]
async fn a_unix_socket_serves_as_well_as_a_port() {
    let stage = Stage::new().await;
    let path = stage.path("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let router = Router::new().route("/tasks", post(async || "by socket"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let handler = json!({ "http": { "socket": path, "path": "/tasks" } }).to_string();
    let _worker = stage.worker(&handler, &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    assert_eq!(result(&stage.ended(&id).await), "\"by socket\"");
}

#[tokio::test]
async fn nothing_is_fetched_before_the_server_answers_and_readiness_says_so() {
    let stage = Stage::new().await;
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let handler = json!({ "http": { "port": port, "path": "/tasks" } }).to_string();
    let worker = stage.start(&handler, &[]);
    let id = stage.enqueue("any", &json!(null)).await;
    let says = async |what: &str| {
        eventually(PATIENCE, what, || async {
            let (status, told) = worker.get("/readyz").await.ok()?;
            (status == 503 && told.contains(what)).then_some(())
        })
        .await;
    };
    // It may be starting.
    says("waiting for the handler").await;
    assert!(!worker.log().contains("nothing answers"));
    says(&format!("nothing answers on port {port}")).await;
    let fault = eventually(PATIENCE, "the queue knows of it", || async {
        let queues = std::slice::from_ref(&stage.queue);
        stage.client.snapshot(queues).await.pop()?.ok()?.fault
    })
    .await;
    assert!(fault.contains("handler.http"), "{fault}");
    let task = stage.task(&id).await;
    assert_eq!(
        (task.state, task.attempts, task.losses),
        (State::Waiting, 0, 0)
    );

    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .expect("the port");
    let router = Router::new().route("/tasks", post(async || "here"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    assert_eq!(result(&stage.ended(&id).await), "\"here\"");
    eventually(PATIENCE, "the fault is gone", || async {
        let queues = std::slice::from_ref(&stage.queue);
        let snapshot = stage.client.snapshot(queues).await.pop()?.ok()?;
        snapshot.fault.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_goes_away_loses_its_tasks_and_they_cost_no_attempt() {
    let script = r#"
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()
    def do_POST(self):
        time.sleep(1000)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;
    let mut server = Command::new("python3")
        .args(["-c", script])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 starts");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let line = lines.next_line().await.expect("it writes");
    let port: u16 = line.expect("a line").parse().expect("a port");
    let stage = Stage::with_policy(&patient()).await;
    let handler = json!({ "http": { "port": port } }).to_string();
    let worker = stage
        .worker(&handler, &[("TASKQUEUE_CONCURRENCY", "4")])
        .await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(stage.enqueue("any", &json!(null)).await);
    }
    stage.active(4).await;
    // Connected, and not only leased.
    eventually(PATIENCE, "all are with the server", || async {
        let text = std::fs::read_to_string("/proc/net/tcp").ok()?;
        let to = format!(":{port:04X} 01");
        (text.matches(&to).count() >= 4).then_some(())
    })
    .await;
    server.kill().await.expect("it is killed");
    for id in &ids {
        let task = stage
            .task_when(id, "it is handed back", |task| task.losses == 1)
            .await;
        assert_eq!((task.state, task.attempts), (State::Waiting, 0), "{task:?}");
        assert!(
            last_error(&task).contains("the server went away"),
            "{}",
            last_error(&task)
        );
    }
    worker.answers("/readyz", 503).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_costs_its_own_task_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let mut request = vec![0; 64 * 1024];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let answer = if text.starts_with("HEAD") {
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                } else if text.contains("ce-type: half") {
                    "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly the begin"
                } else if text.contains("ce-type: none") {
                    ""
                } else if text.contains("ce-type: garbage") {
                    "what is HTTP?\r\n\r\n"
                } else {
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n42"
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    let stage = Stage::with_policy(&patient()).await;
    let handler = json!({ "http": { "port": port } }).to_string();
    let _worker = stage
        .worker(&handler, &[("TASKQUEUE_CONCURRENCY", "4")])
        .await;
    for kind in ["half", "none", "garbage"] {
        let id = stage.enqueue(kind, &json!(null)).await;
        let good = stage.enqueue("good", &json!(null)).await;
        let task = stage
            .task_when(&id, "it fails", |task| !task.errors.is_empty())
            .await;
        assert_eq!(
            (task.state, task.attempts),
            (State::Scheduled, 1),
            "{kind}: {:?}",
            task.errors
        );
        assert!(
            last_error(&task).contains("without a whole answer"),
            "{}",
            last_error(&task)
        );
        assert_eq!(stage.ended(&good).await.state, State::Completed);
    }
}

#[tokio::test]
async fn an_answer_of_a_gigabyte_is_cut_and_takes_no_memory() {
    let huge = post(async || {
        let piece = bytes::Bytes::from(vec![b'x'; 1 << 20]);
        let pieces =
            futures::stream::iter((0..1024).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
        Response::new(Body::from_stream(pieces))
    });
    let server = Server::start(Router::new().route("/tasks", huge)).await;
    let stage = Stage::new().await;
    let worker = stage.worker(&server.handler(), &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!(task.state, State::Completed);
    let told: Value = serde_json::from_str(&result(&task)).expect("JSON");
    assert_eq!(
        (&told["truncated"], &told["bytes"]),
        (&json!(true), &json!(1_u64 << 30))
    );
    assert!(
        worker.peak_memory() < 40 * 1024,
        "{} KiB",
        worker.peak_memory()
    );
}

#[tokio::test]
async fn a_server_that_never_answers_runs_into_the_time_of_its_task_only() {
    let router = Router::new().route(
        "/tasks",
        post(async |headers: HeaderMap| {
            if headers["ce-type"] == "never" {
                std::future::pending::<()>().await;
            }
        }),
    );
    let server = Server::start(router).await;
    let mut policy = patient();
    policy.timeout = Duration::from_millis(300);
    let stage = Stage::with_policy(&policy).await;
    let _worker = stage
        .worker(&server.handler(), &[("TASKQUEUE_CONCURRENCY", "2")])
        .await;
    let never = stage.enqueue("never", &json!(null)).await;
    let good = stage.enqueue("good", &json!(null)).await;
    assert_eq!(stage.ended(&good).await.state, State::Completed);
    let task = stage
        .task_when(&never, "its time is over", |task| !task.errors.is_empty())
        .await;
    assert_eq!(task.errors[0].cause, Cause::Timeout);
}

#[tokio::test]
async fn what_a_handler_says_meanwhile_is_heard() {
    let speak = post(async |headers: HeaderMap| {
        let control = headers["ce-control"].to_str().expect("a URL").to_owned();
        if headers["ce-type"] == "snooze" {
            assert_eq!(
                say(&control, "POST", "/snooze", "1h").await,
                (204, String::new())
            );
            return;
        }
        assert_eq!(
            say(&control, "POST", "/progress", "{\"done\": 3}").await.0,
            204
        );
        assert_eq!(say(&control, "POST", "/log", "one\ntwo\n").await.0, 204);
        assert_eq!(say(&control, "POST", "/extend", "60").await.0, 204);
        let (status, told) = say(&control, "POST", "/extend", "soon").await;
        assert!(status == 400 && told.contains("such as 90"), "{told}");
        assert_eq!(
            say(&control, "GET", "/cancelled", "").await,
            (200, "false\n".to_owned())
        );
        let (_, told) = say(&control, "GET", "/cancelled?wait=30", "").await;
        assert_eq!(told, "true\n");
    });
    let server = Server::start(Router::new().route("/tasks", speak)).await;
    let mut policy = patient();
    policy.timeout = Duration::from_secs(1);
    let stage = Stage::with_policy(&policy).await;
    let _worker = stage
        .worker(&server.handler(), &[("TASKQUEUE_CONCURRENCY", "2")])
        .await;
    let snooze = stage.enqueue("snooze", &json!(null)).await;
    let id = stage.enqueue("talk", &json!(null)).await;
    let task = stage
        .task_when(&id, "progress is seen", |task| task.progress.is_some())
        .await;
    let progress = task.progress.expect("progress");
    assert_eq!(progress.as_bytes(), b"{\"done\": 3}");
    eventually(PATIENCE, "the log is seen", || async {
        let log = stage.queue.logs(&id).await.ok()?;
        (log == ["one", "two"]).then_some(())
    })
    .await;
    // Longer than the policy gives it.
    let seen = Instant::now();
    let task = stage
        .task_when(&id, "it has gone on", |_| seen.elapsed() > policy.timeout)
        .await;
    assert_eq!((task.state, task.errors.len()), (State::Active, 0));
    stage.queue.cancel(&id).await.expect("it is cancelled");
    // It ended well within its grace, so its work counts.
    assert_eq!(stage.ended(&id).await.state, State::Completed);
    let task = stage.task(&snooze).await;
    assert_eq!(
        (task.state, task.attempts, task.errors.len()),
        (State::Scheduled, 0, 0)
    );
}

/// A request to the control endpoint, by hand: the status and the body of the answer.
async fn say(control: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let rest = control.strip_prefix("http://").expect("a URL");
    let (host, token) = rest.split_once('/').expect("a path");
    let mut stream = tokio::net::TcpStream::connect(host)
        .await
        .expect("it listens");
    let request = format!(
        "{method} /{token}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it is sent");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

#[tokio::test]
async fn whoever_asks_to_drain_is_answered_after_the_last_task() {
    let (asked, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asking, opened) = (Arc::clone(&asked), Arc::clone(&gate));
    let slow = post(async move || {
        asking.notify_one();
        opened.notified().await;
    });
    let server = Server::start(Router::new().route("/tasks", slow)).await;
    let stage = Stage::new().await;
    let token = ("TASKQUEUE_DRAIN_TOKEN", "5cf0a1de-01");
    let worker = stage.worker(&server.handler(), &[token]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let other = stage.enqueue("any", &json!(null)).await;
    // What Redis has given to the worker may not have reached it yet, and would be handed back.
    tokio::time::timeout(PATIENCE, asked.notified())
        .await
        .expect("the first task begins");
    let draining = async {
        let answer = worker.drain("authorization: Bearer 5cf0a1de-01\r\n").await;
        (answer, stage.task(&id).await.state)
    };
    let working = async {
        worker.logged("asked to drain").await;
        gate.notify_one();
    };
    let (((status, told), ended), ()) = tokio::join!(draining, working);
    assert!(status == 200 && told.ends_with("drained\n"), "{told}");
    assert_eq!(ended, State::Completed);
    assert_eq!(stage.task(&other).await.state, State::Waiting);
    assert!(worker.exit().await.success());
}

#[tokio::test]
async fn a_drain_is_for_whoever_shows_the_token_alone() {
    let server = answering(200, &[], "done").await;
    let stage = Stage::new().await;
    let token = ("TASKQUEUE_DRAIN_TOKEN", "5cf0a1de-01");
    let shown = "authorization: Bearer 5cf0a1de-01\r\n";
    let worker = stage.worker(&server.handler(), &[token]).await;
    for headers in [
        "",
        "authorization: Bearer 5cf0a1de-0\r\n",
        "authorization: Bearer 5cf0a1de-011\r\n",
        "authorization: 5cf0a1de-01\r\n",
        "authorization: Bearer \r\n",
    ] {
        assert_eq!(worker.drain(headers).await.0, 401, "{headers:?}");
    }
    // One that was stopped would take no task.
    let id = stage.enqueue("any", &json!(null)).await;
    assert_eq!(stage.ended(&id).await.state, State::Completed);
    drop(worker);
    // Without a token nobody can ask, and beside any other handler nobody has a reason to.
    let open = stage.worker(&server.handler(), &[]).await;
    assert_eq!(open.drain("authorization: Bearer \r\n").await.0, 404);
    let command = stage.worker(&process::shell("true"), &[token]).await;
    assert_eq!(command.drain(shown).await.0, 404);
}

/// A server that keeps its connections closes one just when a request comes: it may have read that request.
#[tokio::test]
async fn a_kept_connection_that_ends_without_an_answer_costs_an_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let mut request = vec![0; 64 * 1024];
                loop {
                    let length = stream.read(&mut request).await.unwrap_or(0);
                    let text = String::from_utf8_lossy(&request[..length]).into_owned();
                    if length == 0 || text.contains("ce-type: close") {
                        return;
                    }
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    let stage = Stage::with_policy(&patient()).await;
    let handler = json!({ "http": { "port": port } }).to_string();
    let _worker = stage.worker(&handler, &[]).await;
    let kept = stage.enqueue("any", &json!(null)).await;
    stage.ended(&kept).await;
    let id = stage.enqueue("close", &json!(null)).await;
    let task = stage
        .task_when(&id, "it fails", |task| !task.errors.is_empty())
        .await;
    assert_eq!((task.state, task.attempts), (State::Scheduled, 1));
}

#[tokio::test]
async fn a_retry_after_that_is_no_time_is_told_and_the_policy_decides() {
    for (value, wanted) in [("soon", 3_600), ("100000000000000000000000", 365 * 86_400)] {
        let server = answering(503, &[("retry-after", value)], "busy").await;
        let stage = Stage::with_policy(&patient()).await;
        let worker = stage.worker(&server.handler(), &[]).await;
        let id = stage.enqueue("any", &json!(null)).await;
        let task = stage
            .task_when(&id, "it is to be tried again", |task| {
                task.state == State::Scheduled
            })
            .await;
        let failed = task.errors.last().expect("an error").at;
        let wait = task.due.expect("a time").duration_since(failed).as_secs();
        assert!(
            (wanted - 1..=wanted + 1).contains(&wait),
            "{value}: {wait} s"
        );
        worker.signal(Signal::SIGTERM);
        let told = worker.exit_with_log().await;
        let told = told.contains("Retry-After is neither");
        assert_eq!(told, value == "soon");
    }
}
