//! Spans, seen by a receiver of OTLP: the real program, a real Redis, and the bytes that it sends.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use taskqueue_queue::testing::eventually;
use taskqueue_queue::{NewTask, Payload, Policy, State};
use tokio::net::TcpListener;

use crate::process::{self, PATIENCE, Stage, policy, result};

/// The trace of a producer, and its span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// What a collector has got so far, and where it listens.
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    services: Arc<Mutex<Vec<String>>>,
    url: String,
}

impl Collector {
    async fn start() -> Self {
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let services = Arc::<Mutex<Vec<String>>>::default();
        let (taken, named) = (Arc::clone(&spans), Arc::clone(&services));
        let take = post(async move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
            for resource in request.resource_spans {
                let attributes = resource.resource.unwrap_or_default().attributes;
                let name = attributes.iter().find(|one| one.key == "service.name");
                let name = name.and_then(|one| one.value.clone()?.value);
                if let Some(Any::StringValue(name)) = name {
                    named.lock().expect("nobody panics").push(name);
                }
                let all = resource.scope_spans.into_iter();
                let all = all.flat_map(|scope| scope.spans);
                taken.lock().expect("nobody panics").extend(all);
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/v1/traces", take);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            spans,
            services,
            url,
        }
    }

    /// Waits until there are so many spans of the producer's trace, ordered by their beginning.
    async fn spans(&self, count: usize) -> Vec<Span> {
        eventually(PATIENCE, "the spans come", || async {
            let mut spans = self.spans.lock().expect("nobody panics").clone();
            spans.retain(|span| hex(&span.trace_id) == TRACE);
            spans.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
            (spans.len() >= count).then_some(spans)
        })
        .await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn attributes(span: &Span) -> HashMap<&str, String> {
    let told = span.attributes.iter().filter_map(|one| {
        let value = match one.value.as_ref()?.value.as_ref()? {
            Any::StringValue(text) => text.clone(),
            Any::IntValue(number) => number.to_string(),
            _ => return None,
        };
        Some((one.key.as_str(), value))
    });
    told.collect()
}

/// The spans as a tree, for whoever reads the test's output.
#[allow(clippy::print_stdout)]
fn print(spans: &[Span]) {
    println!("trace {TRACE}, producer's span {PARENT}");
    for span in spans {
        let nanos = span.end_time_unix_nano - span.start_time_unix_nano;
        let told = attributes(span);
        let links = span.links.iter().fold(String::new(), |mut text, link| {
            let _ = write!(text, ", link to {}", hex(&link.span_id));
            text
        });
        println!(
            "  {} {} parent {} {:.1} ms, attempt {}, {}{}",
            hex(&span.span_id),
            span.name,
            hex(&span.parent_span_id),
            Duration::from_nanos(nanos).as_secs_f64() * 1e3,
            told["taskqueue.task.attempt"],
            told.get("taskqueue.task.outcome")
                .map_or("", String::as_str),
            links,
        );
    }
}

async fn enqueue(stage: &Stage, kind: &str) -> taskqueue_queue::TaskId {
    let payload = Payload::of(&json!(null)).expect("a payload");
    let task = NewTask::new(kind, payload).trace_parent(format!("00-{TRACE}-{PARENT}-01"));
    stage
        .queue
        .enqueue(task)
        .await
        .expect("it is enqueued")
        .id()
}

#[tokio::test]
async fn an_attempt_is_a_span_of_the_producer_s_trace_and_a_retry_links_to_the_one_before() {
    let collector = Collector::start().await;
    let stage = Stage::new().await;
    // Fails twice, and says each time which span it runs in.
    let script = r#"echo $TRACEPARENT >> "$FILE"; test $(wc -l < "$FILE") -gt 2 || exit 75"#;
    let file = stage.path("spans");
    let worker = stage
        .worker(
            &process::shell(script),
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
                ("OTEL_BSP_SCHEDULE_DELAY", "100"),
                ("FILE", &file),
            ],
        )
        .await;
    let id = enqueue(&stage, "resize").await;
    assert_eq!(stage.ended(&id).await.state, State::Completed);
    let spans = collector.spans(6).await;
    print(&spans);
    let handed = stage.lines("spans", 3).await;
    let runs: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "process resize")
        .collect();
    let waits: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "wait resize")
        .collect();
    assert_eq!((runs.len(), waits.len()), (3, 3));
    for (attempt, run) in runs.iter().enumerate() {
        let told = attributes(run);
        assert_eq!(hex(&run.parent_span_id), PARENT);
        assert_eq!(
            handed[attempt],
            format!("00-{TRACE}-{}-01", hex(&run.span_id))
        );
        assert_eq!(told["messaging.message.id"], id.to_string());
        assert_eq!(told["messaging.destination.name"], "test/work");
        assert_eq!(told["taskqueue.task.attempt"], (attempt + 1).to_string());
        let outcome = if attempt < 2 { "retry" } else { "completed" };
        assert_eq!(told["taskqueue.task.outcome"], outcome);
        let links: Vec<_> = run.links.iter().map(|link| hex(&link.span_id)).collect();
        let before = attempt
            .checked_sub(1)
            .map(|before| hex(&runs[before].span_id));
        assert_eq!(links, before.into_iter().collect::<Vec<_>>());
    }
    for (wait, run) in waits.iter().zip(&runs) {
        assert_eq!(hex(&wait.parent_span_id), PARENT);
        assert_eq!(wait.end_time_unix_nano, run.start_time_unix_nano);
    }
    assert!(
        collector
            .services
            .lock()
            .expect("nobody panics")
            .contains(&"taskqueue-worker".to_owned())
    );
    drop(worker);
}

#[tokio::test]
async fn an_http_handler_continues_the_span_and_what_was_cut_off_is_told() {
    let collector = Collector::start().await;
    let mut policy: Policy = policy();
    policy.timeout = Duration::from_millis(300);
    policy.retry.max_attempts = 1;
    let stage = Stage::with_policy(&policy).await;
    let echo = post(async |headers: HeaderMap| {
        if headers["ce-type"] == "slow" {
            std::future::pending::<()>().await;
        }
        headers["traceparent"].to_str().expect("ASCII").to_owned()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", echo)).await });
    let handler = json!({ "http": { "port": port } }).to_string();
    let worker = stage
        .worker(&handler, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)])
        .await;
    let id = enqueue(&stage, "quick").await;
    let told = result(&stage.ended(&id).await);
    let slow = enqueue(&stage, "slow").await;
    assert_eq!(stage.ended(&slow).await.state, State::Dead);
    // What was not sent yet is sent at the end.
    worker.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(worker.exit().await.success());
    let spans = collector.spans(4).await;
    print(&spans);
    let run = |name: &str| spans.iter().find(|span| span.name == name).expect("a span");
    let quick = run("process quick");
    assert_eq!(told, format!("\"00-{TRACE}-{}-01\"", hex(&quick.span_id)));
    assert_eq!(
        attributes(run("process slow"))["taskqueue.task.outcome"],
        "cut_off"
    );
}

/// It has many batches to send, each of which the exporter waits for.
#[tokio::test]
async fn a_collector_that_takes_spans_and_never_answers_is_waited_for_once() {
    const TASKS: usize = 900;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let stage = Stage::new().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("TASKQUEUE_CONCURRENCY", "100"),
    ];
    let worker = stage.worker(process::NATIVE, &variables).await;
    let payload = Payload::of(&json!(null)).expect("a payload");
    let tasks = (0..TASKS).map(|_| NewTask::new("echo", payload.clone()));
    let tasks = stage.queue.enqueue_many(tasks.collect()).await;
    for task in tasks.expect("they are enqueued") {
        assert_eq!(stage.ended(&task.id()).await.state, State::Completed);
    }
    worker.signal(nix::sys::signal::Signal::SIGTERM);
    let log = worker.exit_with_log().await;
    assert!(log.contains("could not be sent within 5 s"), "{log}");
    drop(silent);
}
