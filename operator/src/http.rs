//! Probes and metrics over HTTP.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// A leader with queues to look at that has not looked for so long is stuck.
const STUCK: Duration = Duration::from_mins(1);

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
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(encoded))
        .with_state(Served { health, metrics });
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
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

async fn encoded(State(served): State<Served>) -> (StatusCode, String) {
    match served.metrics.encode() {
        Ok(text) => (StatusCode::OK, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}
