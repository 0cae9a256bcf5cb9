//! The http handler with a server of HTTP/2 that does not process what it is sent: the real program, a real Redis, and Node.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use taskqueue_queue::testing::eventually;
use taskqueue_queue::{NewTask, Payload, State};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::process::{PATIENCE, Stage, patient};

/// A server of Node's `node:http2`, which does this with each request (`stream`, of which it is the `n`th); its port.
async fn node(script: &str) -> (Child, u16) {
    node_with("{}", script).await
}

/// The same with these options.
async fn node_with(options: &str, script: &str) -> (Child, u16) {
    let script = format!(
        "const http2 = require('node:http2');
         const server = http2.createServer({options});
         let n = 0;
         const answer = stream => setTimeout(() => {{
             if (!stream.destroyed) {{ stream.respond({{':status': 200}}); stream.end('42'); }}
         }}, 30);
         server.on('stream', (stream, headers) => {{
             stream.on('error', () => {{}});
             if (headers[':method'] === 'HEAD') return answer(stream);
             n += 1;
             {script}
         }});
         server.listen(0, '127.0.0.1', () => console.log(server.address().port));"
    );
    let mut server = Command::new("node")
        .args(["-e", &script])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node starts");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let line = lines.next_line().await.expect("it writes");
    let port = line.expect("a line").parse().expect("a port");
    (server, port)
}

#[tokio::test]
async fn what_a_server_of_http_2_did_not_process_costs_nothing() {
    const TASKS: u64 = 300;
    for script in [
        // A connection that is old: what is under way is answered, and what comes now is not.
        "if (n % 7 == 0) stream.session.close(); answer(stream);",
        "if (n % 7 == 0) stream.session.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM); answer(stream);",
        // Too many at once.
        "if (n % 7 == 0) stream.close(http2.constants.NGHTTP2_REFUSED_STREAM); else answer(stream);",
    ] {
        let (_server, port) = node(script).await;
        let stage = Stage::with_policy(&patient()).await;
        let handler = json!({ "http": { "port": port, "protocol": "H2C" } }).to_string();
        let _worker = stage
            .worker(&handler, &[("TASKQUEUE_CONCURRENCY", "8")])
            .await;
        let payload = Payload::of(&json!(null)).expect("a payload");
        let tasks = (0..TASKS).map(|_| NewTask::new("any", payload.clone()));
        let tasks = stage.queue.enqueue_many(tasks.collect()).await;
        let counters = eventually(PATIENCE, "all have ended, or one waits", || async {
            let queues = std::slice::from_ref(&stage.queue);
            let snapshot = stage.client.snapshot(queues).await.pop()?.ok()?;
            let ended = snapshot.counters.completed + snapshot.dead + snapshot.scheduled;
            (ended == TASKS).then_some(snapshot.counters)
        })
        .await;
        assert_eq!(
            (counters.completed, counters.failed, counters.lost),
            (TASKS, 0, 0),
            "{script}"
        );
        for task in tasks.expect("they are enqueued") {
            let task = stage.task(&task.id()).await;
            assert_eq!((task.attempts, task.losses), (0, 0), "{:?}", task.errors);
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_a_task_again_and_again_gets_it_back_later_and_no_attempt_is_spent() {
    let refuse =
        "if (n <= 6) stream.close(http2.constants.NGHTTP2_REFUSED_STREAM); else answer(stream);";
    let (_server, port) = node(refuse).await;
    let stage = Stage::with_policy(&patient()).await;
    let handler = json!({ "http": { "port": port, "protocol": "H2C" } }).to_string();
    let worker = stage.worker(&handler, &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage.ended(&id).await;
    assert_eq!(
        (task.state, task.attempts, task.losses, task.errors.len()),
        (State::Completed, 0, 0, 0)
    );
    let told = worker.event("the server refuses the task unseen: handing it back");
    let reason = told["reason"].as_str().expect("a reason");
    assert!(reason.contains("refused stream"), "{reason}");
}

#[tokio::test]
async fn a_request_of_http_2_that_was_cut_off_may_have_been_processed_and_costs_an_attempt() {
    let (_server, port) = node("stream.close(http2.constants.NGHTTP2_CANCEL);").await;
    let stage = Stage::with_policy(&patient()).await;
    let handler = json!({ "http": { "port": port, "protocol": "H2C" } }).to_string();
    let _worker = stage.worker(&handler, &[]).await;
    let id = stage.enqueue("any", &json!(null)).await;
    let task = stage
        .task_when(&id, "it fails", |task| !task.errors.is_empty())
        .await;
    assert_eq!((task.state, task.attempts), (State::Scheduled, 1));
}

/// Streams are few, and all of them busy for a while: what waits for one does not run yet.
#[tokio::test]
async fn the_time_of_a_task_does_not_run_while_it_waits_for_a_stream() {
    const TASKS: usize = 24;
    let script = "setTimeout(() => answer(stream), 600);";
    let (_server, port) = node_with("{settings: {maxConcurrentStreams: 2}}", script).await;
    let mut policy = patient();
    policy.timeout = Duration::from_secs(3);
    let stage = Stage::with_policy(&policy).await;
    let handler = json!({ "http": { "port": port, "protocol": "H2C" } }).to_string();
    let many = TASKS.to_string();
    let _worker = stage
        .worker(&handler, &[("TASKQUEUE_CONCURRENCY", many.as_str())])
        .await;
    let mut ids = Vec::new();
    for _ in 0..TASKS {
        ids.push(stage.enqueue("any", &json!(null)).await);
    }
    for id in &ids {
        let task = stage
            .task_when(id, "its attempt ends", |task| {
                task.finished.is_some() || !task.errors.is_empty()
            })
            .await;
        assert_eq!(
            (task.state, task.attempts, task.losses),
            (State::Completed, 0, 0),
            "{:?}",
            task.errors
        );
    }
}
