//! What the worker says of itself over HTTP: `/livez`, `/readyz` and `/metrics`; and `/drain`, which tells it to stop.
//!
//! Every pod of the network may ask for the former. A drain is for whoever shows the token of the worker's configuration,
//! which is the `preStop` hook beside an `http` handler and nobody else; in other workers there is no `/drain`.
//!
//! Alive means that the fetch loop turns; it says nothing of Redis, because restarting a worker heals no Redis. Ready
//! means that the worker can consume, and a worker that cannot says what it waits for.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use taskqueue_listener::Limits;
use taskqueue_queue::worker::{Handler, Probe};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::DrainToken;
use crate::fault::Fault;
use crate::handler::AnyHandler;
use crate::metrics::Metrics;

/// The fetch loop turns at least every two seconds, also while Redis is away. One that has not turned for this long
/// never will.
const TURN_BOUND: Duration = Duration::from_secs(15);

/// `OpenMetrics` text, as Prometheus asks for it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How the worker is told to stop over HTTP, and how whoever did so learns that it has. Clones share it.
#[derive(Clone, Debug)]
pub struct Drain {
    /// Tells the worker to stop.
    pub stop: CancellationToken,
    /// No task is left running.
    pub done: CancellationToken,
    /// Nobody is to be answered any more but those who wait.
    pub answered: CancellationToken,
    /// What has to be shown for it; without it nobody can ask.
    pub token: Option<DrainToken>,
}

impl Drain {
    /// One that tells this, and that nobody can ask for over HTTP.
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            done: CancellationToken::new(),
            answered: CancellationToken::new(),
            token: None,
        }
    }

    /// One that whoever shows this token can ask for.
    #[must_use]
    pub fn with_token(self, token: Option<DrainToken>) -> Self {
        Self { token, ..self }
    }
}

/// What there is to tell. Clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    metrics: Metrics,
    fault: Fault,
    drain: Drain,
    handler: Option<AnyHandler>,
    /// Empty until the worker has reached Redis for the first time.
    probe: Arc<OnceLock<Probe>>,
}

/// The figures that decide about liveness and readiness.
struct Vitals {
    /// Since when the loop has not turned; none before the first connection.
    last_turn: Option<Duration>,
    redis_up: bool,
    /// Why the handler cannot start, if it cannot.
    fault: Option<String>,
    /// Whether the handler takes tasks.
    available: bool,
}

impl Health {
    /// Nothing is known of Redis yet. `fault` is that of the handler.
    pub fn new(metrics: Metrics, fault: Fault, drain: Drain) -> Self {
        Self {
            metrics,
            fault,
            drain,
            handler: None,
            probe: Arc::default(),
        }
    }

    /// With a handler that has to be there before the worker is ready.
    pub(crate) fn of(self, handler: Option<AnyHandler>) -> Self {
        Self { handler, ..self }
    }

    /// The worker runs: from now on it is asked.
    pub fn started(&self, probe: Probe) {
        // Only one worker runs in a process; of a second one nothing would be told.
        let _ = self.probe.set(probe);
    }

    /// Answers requests for as long as this future is polled, or until all is answered that a drain waits for.
    pub async fn serve(self, listener: TcpListener) {
        let mut router = Router::new()
            .route(
                "/livez",
                get(async |State(health): State<Self>| health.vitals().liveness()),
            )
            .route(
                "/readyz",
                get(async |State(health): State<Self>| health.vitals().readiness()),
            )
            .route(
                "/metrics",
                get(async |State(health): State<Self>| health.metrics()),
            );
        if self.drain.token.is_some() {
            router = router.route("/drain", get(drain));
        }
        let answered = self.drain.answered.clone();
        let router = router.with_state(self);
        taskqueue_listener::serve(listener, router, Limits::PROBES, answered.cancelled()).await;
    }

    fn vitals(&self) -> Vitals {
        let probe = self.probe.get();
        Vitals {
            last_turn: probe.map(Probe::last_turn),
            redis_up: probe.is_some_and(Probe::redis_up),
            fault: self.fault.get(),
            available: self.handler.as_ref().is_none_or(Handler::available),
        }
    }

    fn metrics(&self) -> Response {
        match self
            .metrics
            .encode(self.probe.get().map_or(0, Probe::running))
        {
            Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

/// Stops the worker and answers when no task is left running: a `preStop` hook of the container that handles tasks, so that
/// it outlives the last of them. A GET, since a hook can be nothing else, which a crawler sends as well: it lacks the token.
async fn drain(State(health): State<Health>, headers: HeaderMap) -> (StatusCode, &'static str) {
    let Drain {
        stop, done, token, ..
    } = &health.drain;
    let shown = headers.get(header::AUTHORIZATION);
    let wanted = token.as_ref().map(DrainToken::authorization);
    if wanted.is_none_or(|wanted| shown.is_none_or(|shown| *shown != wanted)) {
        tracing::warn!("somebody asked to drain without the token");
        return (
            StatusCode::UNAUTHORIZED,
            "a drain needs the worker's token\n",
        );
    }
    stop.cancel();
    tracing::info!("asked to drain");
    done.cancelled().await;
    (StatusCode::OK, "drained\n")
}

impl Vitals {
    fn liveness(&self) -> (StatusCode, String) {
        match self.last_turn {
            Some(age) if age > TURN_BOUND => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "the fetch loop has not turned for {} s; the bound is {} s",
                    age.as_secs(),
                    TURN_BOUND.as_secs()
                ),
            ),
            Some(_) | None => (StatusCode::OK, "alive".to_owned()),
        }
    }

    fn readiness(&self) -> (StatusCode, String) {
        let redis = (!self.redis_up).then_some("waiting for Redis to answer");
        let silent = !self.available && self.fault.is_none();
        let silent = silent.then_some("waiting for the handler to take tasks");
        let fault = self.fault.as_deref();
        let faults: Vec<&str> = redis.into_iter().chain(silent).chain(fault).collect();
        if faults.is_empty() {
            (StatusCode::OK, "ready".to_owned())
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, faults.join("\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Vitals = Vitals {
        last_turn: Some(Duration::from_secs(1)),
        redis_up: true,
        fault: None,
        available: true,
    };

    #[test]
    fn a_loop_that_turns_is_alive_and_one_that_hangs_is_not() {
        assert_eq!(WELL.liveness().0, StatusCode::OK);
        assert_eq!(
            Vitals {
                last_turn: Some(TURN_BOUND),
                ..WELL
            }
            .liveness()
            .0,
            StatusCode::OK
        );
        let hung = Vitals {
            last_turn: Some(TURN_BOUND + Duration::from_secs(1)),
            ..WELL
        };
        assert_eq!(
            hung.liveness(),
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the fetch loop has not turned for 16 s; the bound is 15 s".to_owned()
            )
        );
    }

    #[test]
    fn a_worker_that_never_reached_redis_is_alive_and_not_ready() {
        let waiting = Vitals {
            last_turn: None,
            redis_up: false,
            ..WELL
        };
        assert_eq!(waiting.liveness().0, StatusCode::OK);
        assert_eq!(waiting.readiness().0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn readiness_names_everything_it_waits_for() {
        assert_eq!(WELL.readiness(), (StatusCode::OK, "ready".to_owned()));
        let both = Vitals {
            redis_up: false,
            fault: Some("the command is gone".to_owned()),
            ..WELL
        };
        assert_eq!(
            both.readiness(),
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "waiting for Redis to answer\nthe command is gone".to_owned()
            )
        );
    }
}
