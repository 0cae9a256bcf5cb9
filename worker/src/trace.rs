//! Spans of attempts, sent to a collector by OTLP over HTTP where `OTEL_EXPORTER_OTLP_ENDPOINT` (or
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) says where that is. The other variables of OpenTelemetry hold as well: its
//! sampler, its headers, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`.
//!
//! Each attempt has a span `process <type>` of kind consumer in the trace of whoever enqueued the task, with a span
//! `wait <type>` beside it for the time from when the task could run, and a link to the attempt before. The handler gets
//! the `process` span as its parent. Names and attributes follow the semantic conventions for messaging.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Link, Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome};

/// Where the spans go. One of them is enough.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];
/// How long a collector may take to answer, and how long the last spans are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The header that carries a span, see <https://www.w3.org/TR/trace-context/>.
const TRACEPARENT: &str = "traceparent";

/// Makes spans. Clones share what sends them.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    propagator: Arc<TraceContextPropagator>,
}

impl Traces {
    /// As the environment says; `None` where it names no collector. Spans are sent by the runtime that this is called in.
    pub(crate) fn from_env(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        let set = |name: &&str| lookup(name).is_some_and(|value| !value.is_empty());
        let disabled = lookup("OTEL_SDK_DISABLED").is_some_and(|value| value == "true");
        if disabled || !ENDPOINTS.iter().any(set) {
            return Ok(None);
        }
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| error.to_string())?
            .https_or_http()
            .enable_http1()
            .build();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(HyperClient::new(connector, PATIENCE, None))
            .build()
            .map_err(|error| error.to_string())?;
        let resource = Resource::builder();
        let resource = if set(&"OTEL_SERVICE_NAME") {
            resource
        } else {
            resource.with_service_name("taskqueue-worker")
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_span_processor(BatchSpanProcessor::builder(exporter, Tokio).build())
            .build();
        Ok(Some(Self {
            tracer: provider.tracer("taskqueue"),
            provider,
            propagator: Arc::new(TraceContextPropagator::new()),
        }))
    }

    /// Sends what was not sent yet, if the collector takes it soon.
    pub(crate) async fn finish(self) {
        let provider = self.provider;
        // It blocks its thread.
        let sent = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(PATIENCE));
        // It waits longer than that: for each of its batches.
        match tokio::time::timeout(PATIENCE, sent).await {
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans could not be sent"),
            Ok(_) => {}
            Err(_) => tracing::warn!(
                "the last spans could not be sent within {} s",
                PATIENCE.as_secs()
            ),
        }
    }

    /// An attempt begins.
    fn begin(&self, task: &LeasedTask) -> Attempt {
        let header = task.trace_parent.clone();
        let carrier: HashMap<String, String> = header
            .map(|header| (TRACEPARENT.to_owned(), header))
            .into_iter()
            .collect();
        let parent = self
            .propagator
            .extract_with_context(&Context::new(), &carrier);
        let now = SystemTime::now();
        let process = self
            .tracer
            .span_builder(format!("process {}", task.kind))
            .with_kind(SpanKind::Consumer)
            .with_start_time(now)
            .with_attributes(attributes(task))
            .with_links(previous(task, &parent).into_iter().collect());
        let process = self.tracer.build_with_context(process, &parent);
        // A task that came without a trace has its wait in that of its attempt.
        let around = if parent.span().span_context().is_valid() {
            parent
        } else {
            parent.with_remote_span_context(process.span_context().clone())
        };
        let wait = self
            .tracer
            .span_builder(format!("wait {}", task.kind))
            .with_start_time(SystemTime::from(task.runnable).min(now))
            .with_attributes(attributes(task));
        self.tracer
            .build_with_context(wait, &around)
            .end_with_timestamp(now);
        let mut carrier = HashMap::new();
        let context = Context::new().with_remote_span_context(process.span_context().clone());
        self.propagator.inject_context(&context, &mut carrier);
        Attempt {
            span: process,
            header: carrier.remove(TRACEPARENT),
        }
    }
}

fn attributes(task: &LeasedTask) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "taskqueue"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.destination.name", task.queue.to_string()),
        KeyValue::new("messaging.message.id", task.id.to_string()),
        KeyValue::new("taskqueue.task.type", task.kind.clone()),
        KeyValue::new("taskqueue.task.priority", task.priority.clone()),
        KeyValue::new("taskqueue.task.attempt", i64::from(task.attempt)),
        KeyValue::new("taskqueue.task.losses", i64::from(task.losses)),
    ]
}

/// A link to the attempt before, which is in the same trace.
fn previous(task: &LeasedTask, parent: &Context) -> Option<Link> {
    let span = SpanId::from(task.last_span?);
    let parent = parent.span();
    let context = parent.span_context();
    let before = SpanContext::new(
        context.trace_id(),
        span,
        context.trace_flags(),
        true,
        TraceState::default(),
    );
    before.is_valid().then(|| Link::with_context(before))
}

/// A traced attempt. Dropped before its end, it was cut off.
struct Attempt {
    span: opentelemetry_sdk::trace::Span,
    header: Option<String>,
}

impl Attempt {
    fn end(mut self, outcome: &Outcome) {
        let (name, error) = match outcome {
            Outcome::Completed(_) => ("completed", None),
            Outcome::Retry { error, .. } => ("retry", Some(error)),
            Outcome::Dead { error } => ("dead", Some(error)),
            Outcome::Lost { error } => ("lost", Some(error)),
            Outcome::TimedOut { .. } => {
                return self.tell("timed_out", Some("ran longer than it may"));
            }
            Outcome::Snoozed { .. } => ("snoozed", None),
            Outcome::Released => ("released", None),
        };
        self.tell(name, error.map(String::as_str));
    }

    fn tell(&mut self, outcome: &'static str, error: Option<&str>) {
        self.span
            .set_attribute(KeyValue::new("taskqueue.task.outcome", outcome));
        self.span.set_status(match error {
            Some(error) => Status::error(error.to_owned()),
            None => Status::Ok,
        });
        self.span.end();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.span.is_recording() {
            self.tell(
                "cut_off",
                Some("cut off: its time was over, it was cancelled, or the worker stopped"),
            );
        }
    }
}

/// A handler whose attempts are traced, where there is a collector.
pub(crate) struct Traced<H> {
    handler: H,
    traces: Option<Traces>,
}

impl<H> Traced<H> {
    pub(crate) fn new(handler: H, traces: Option<Traces>) -> Self {
        Self { handler, traces }
    }
}

impl<H: Handler> Handler for Traced<H> {
    async fn handle(&self, mut task: LeasedTask) -> Outcome {
        let Some(traces) = &self.traces else {
            return self.handler.handle(task).await;
        };
        let attempt = traces.begin(&task);
        if let Some(header) = &attempt.header {
            task.traced(header.clone());
            task.trace_parent = Some(header.clone());
        }
        let outcome = self.handler.handle(task).await;
        attempt.end(&outcome);
        outcome
    }

    fn available(&self) -> bool {
        self.handler.available()
    }

    fn draining(&self, draining: bool) {
        self.handler.draining(draining);
    }
}
