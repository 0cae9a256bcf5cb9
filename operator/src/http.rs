//! Probes and metrics over HTTP.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use taskqueue_listener::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// A leader with queues to look at that has not looked for so long is stuck.
const STUCK: Duration = Duration::from_mins(1);
/// The form of metrics, as Prometheus takes it.
const TEXT: &str = "text/plain; charset=utf-8";
/// How old metrics may be that are sent to a second reader while a first one still reads them.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// What the probes tell.
#[derive(Default)]
pub struct Health {
    /// This operator works: it leads and its caches are filled.
    pub working: AtomicBool,
    /// This operator waits for leadership, which is a healthy state too.
    pub standby: AtomicBool,
    /// There are queues to look at.
    pub has_queues: AtomicBool,
}

#[derive(Clone)]
struct Served {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    text: Arc<Mutex<Option<Text>>>,
}

/// Metrics that somebody may still be reading. With thousands of TaskQueues they are megabytes, of which many slow readers
/// must not have one copy each.
struct Text {
    encoded: Weak<[u8]>,
    at: Instant,
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(encoded))
        .with_state(Served {
            health,
            metrics,
            text: Arc::default(),
        });
    taskqueue_listener::serve(listener, router, Limits::PROBES, stop.cancelled()).await;
}

async fn livez(State(served): State<Served>) -> (StatusCode, String) {
    let since = served.metrics.since_last_look();
    if served.health.has_queues.load(Ordering::Relaxed) && since > STUCK {
        let message = format!("the autoscaler has not looked at a queue for {since:?}\n");
        return (StatusCode::SERVICE_UNAVAILABLE, message);
    }
    (StatusCode::OK, "ok\n".to_owned())
}

async fn readyz(State(served): State<Served>) -> (StatusCode, &'static str) {
    if served.health.working.load(Ordering::Relaxed) {
        (StatusCode::OK, "leads\n")
    } else if served.health.standby.load(Ordering::Relaxed) {
        (StatusCode::OK, "stands by\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "waits for the list of TaskQueues and Deployments (is the CRD installed?)\n",
        )
    }
}

async fn encoded(State(served): State<Served>) -> Response {
    match served.text() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT)], Bytes::from_owner(text)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Served {
    /// The metrics as text.
    fn text(&self) -> Result<Arc<[u8]>, fmt::Error> {
        let mut last = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let fresh = last
            .as_ref()
            .filter(|last| now.duration_since(last.at) < SHARED_FOR);
        if let Some(shared) = fresh.and_then(|last| last.encoded.upgrade()) {
            return Ok(shared);
        }
        let encoded: Arc<[u8]> = self.metrics.encode()?.into_bytes().into();
        *last = Some(Text {
            encoded: Arc::downgrade(&encoded),
            at: now,
        });
        Ok(encoded)
    }
}
