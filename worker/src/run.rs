//! The worker's life: connect, run tasks and answer probes until told to stop. This file puts the parts together and
//! decides nothing itself.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use taskqueue_queue::worker::{Handler, Report, Worker, WorkerInfo};
use taskqueue_queue::{Client, Queue};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{DRAIN_TOKEN_VARIABLE, DrainToken, HandlerConfig, LogFormat, WorkerConfig};
use crate::control::Controls;
use crate::fault::Fault;
use crate::handler::AnyHandler;
use crate::health::{Drain, Health};
use crate::logs;
use crate::metrics::Metrics;
use crate::process::ProgramError;
use crate::safety;
use crate::signals::Signals;
use crate::termination;
use crate::trace::{Traced, Traces};

/// How long the worker waits before it tries again to reach a Redis that it has never reached.
const RETRY_CONNECT: Duration = Duration::from_millis(500);

/// How often it is looked whether the handler is at fault, how often that is said again in Redis, and how long it is kept
/// there when it is not.
const LOOK: Duration = Duration::from_millis(500);
const COMPLAIN_AGAIN: Duration = Duration::from_secs(10);
const COMPLAINT_KEPT: Duration = Duration::from_secs(30);

/// How long those who asked over HTTP are waited for at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long a program may take to end once its worker has.
const LEAVE: Duration = Duration::from_secs(5);

/// Why a worker could not start, or not go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The handler's command cannot be run. An edit of the configuration or another image is needed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The address for probes and metrics cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// What the system says of it.
        source: io::Error,
    },
    /// A fault of the queue that waiting does not heal.
    #[error(transparent)]
    Queue(#[from] taskqueue_queue::Error),
    /// The system refused something that every worker needs.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Runs a worker with the handler that its configuration names, until a signal asks it to stop. `Ok` means that nothing is left
/// running and nothing is owed to Redis.
pub async fn run(config: WorkerConfig) -> Result<Report, RunError> {
    let handler = config.handler.clone();
    live(config, |controls, fault| {
        let handler = AnyHandler::new(&handler, controls, fault)?;
        Ok((handler.clone(), Some(handler)))
    })
    .await
}

/// Runs a worker with a handler of one's own, configured by the environment as the operator renders it: with its drain,
/// probes, metrics and spans. To be the end of `main` in a program whose `TaskQueue` has `handler: {native: {}}`.
///
/// Panics of the handler are failed attempts. The program's own panic hook stays in force; with
/// [`log_panics`](crate::logs::log_panics) before this they are told in the log.
///
/// A thread that a task has left behind, as [`Routes::on_blocking`](taskqueue_queue::worker::Routes::on_blocking) may, would
/// keep the program's runtime from ending: five seconds after this has returned the process ends all the same.
pub async fn serve(handler: impl Handler) -> ExitCode {
    match WorkerConfig::from_env(|name| std::env::var(name).ok()) {
        Ok(config) => {
            logs::start(config.log_format, "info");
            let code = tell_end(live(config, |_, _| Ok((handler, None))).await);
            logs::finish();
            std::thread::spawn(move || {
                std::thread::sleep(LEAVE);
                std::process::exit(code.into());
            });
            code.into()
        }
        Err(error) => {
            logs::start(LogFormat::Json, "info");
            tracing::error!("{error}");
            termination::leave(&error.to_string());
            logs::finish();
            2.into()
        }
    }
}

/// Tells how a worker ended, and the exit code that says so.
pub fn ended(ended: Result<Report, RunError>) -> ExitCode {
    let code = tell_end(ended);
    logs::finish();
    code.into()
}

fn tell_end(ended: Result<Report, RunError>) -> u8 {
    match ended {
        Ok(report) => {
            tracing::info!(
                completed = report.completed,
                retried = report.retried,
                dead = report.dead,
                released = report.released,
                lost = report.lost,
                undelivered = report.undelivered,
                "drained"
            );
            0
        }
        Err(error) => {
            tracing::error!("{error}");
            termination::leave(&error.to_string());
            match error {
                RunError::Program(_) => 2,
                RunError::Listen { .. } | RunError::Queue(_) | RunError::System(_) => 1,
            }
        }
    }
}

/// A worker's life. `make` makes the handler, and names it again if there is something to keep and to settle about it.
async fn live<H: Handler>(
    config: WorkerConfig,
    make: impl FnOnce(Controls, Fault) -> Result<(H, Option<AnyHandler>), ProgramError>,
) -> Result<Report, RunError> {
    // Commands run as the same user: without this they could read the Redis password in /proc.
    prctl::set_dumpable(false).map_err(io::Error::from)?;
    let signals = Signals::catch()?;
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(signals.watch(stop.clone(), abort.clone()));

    let metrics = Metrics::new(config.concurrency);
    let fault = Fault::new(metrics.handler_failures());
    let (handler, ours) = make(Controls::listen(config.concurrency).await?, fault.clone())?;
    let drain = Drain::new(stop.clone()).with_token(drain_token(&config));
    let health = Health::new(metrics.clone(), fault.clone(), drain.clone()).of(ours.clone());
    let serving = serve_health(health.clone(), config.http_address).await?;

    let Some(client) = connect(&config, &stop).await? else {
        return Ok(Report::default());
    };
    let queue = client.queue(config.queue.clone());
    let keeping = ours.as_ref().map(|ours| tokio::spawn(ours.keep()));
    let looking = safety::watch(client.clone(), metrics.clone());
    let looking = AbortOnDropHandle::new(tokio::spawn(looking));
    let complaining = AbortOnDropHandle::new(tokio::spawn(complain(queue.clone(), fault)));
    let traces = Traces::from_env(|name| std::env::var(name).ok()).unwrap_or_else(|error| {
        tracing::error!(error, "no spans are sent");
        None
    });
    let worker = Worker::new(queue, Traced::new(handler, traces.clone()))
        .concurrency(config.concurrency.get().into())
        .drain_timeout(config.drain_timeout)
        .info(WorkerInfo {
            pod: config.pod_name.unwrap_or_default(),
            node: config.node_name.unwrap_or_default(),
        })
        .observer(metrics);
    health.started(worker.probe());
    tracing::info!(queue = %config.queue, concurrency = config.concurrency.get(), handler = %config.handler, "consuming");
    let report = worker.run(stop, abort).await?;
    drop((complaining, looking));
    if let Some(keeping) = keeping {
        keeping.abort();
        let _ = keeping.await;
    }
    if let Some(ours) = ours {
        ours.settle().await;
    }
    drain.done.cancel();
    drain.answered.cancel();
    if let Some(traces) = traces {
        traces.finish().await;
    }
    // Whoever asked over HTTP is told before the process is gone.
    let _ = tokio::time::timeout(LAST_ANSWERS, serving).await;
    Ok(report)
}

/// Says in Redis what keeps the handler from taking tasks, for as long as this future is polled.
async fn complain(queue: Queue, fault: Fault) {
    let mut told: Option<(String, Instant)> = None;
    loop {
        let now = fault.get();
        let due = match (&told, &now) {
            (Some((told, at)), Some(now)) => told != now || at.elapsed() >= COMPLAIN_AGAIN,
            (told, now) => told.is_some() != now.is_some(),
        };
        if due {
            match queue.tell_fault(now.as_deref(), COMPLAINT_KEPT).await {
                Ok(()) => told = now.map(|now| (now, Instant::now())),
                Err(error) => tracing::debug!(%error, "cannot tell of the handler's fault"),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Listens before anything else waits, so that the probes can tell what is waited for.
async fn serve_health(health: Health, address: SocketAddr) -> Result<JoinHandle<()>, RunError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "answering probes");
    }
    Ok(tokio::spawn(health.serve(listener)))
}

/// What has to be shown for a drain over HTTP. Only a server beside the worker needs one: any other handler is stopped with
/// the worker itself, by a signal.
fn drain_token(config: &WorkerConfig) -> Option<DrainToken> {
    match config.handler {
        HandlerConfig::Http(_) => {
            if config.drain_token.is_none() {
                tracing::info!(
                    "nobody can ask for a drain over HTTP: {DRAIN_TOKEN_VARIABLE} is not set"
                );
            }
            config.drain_token.clone()
        }
        HandlerConfig::Exec { .. } | HandlerConfig::Stdio { .. } | HandlerConfig::Native {} => None,
    }
}

/// Reaches Redis for the first time, however long that takes. `None` when told to stop before.
async fn connect(
    config: &WorkerConfig,
    stop: &CancellationToken,
) -> Result<Option<Client>, RunError> {
    let endpoint = config.endpoint()?;
    let mut told = String::new();
    let reach = async {
        loop {
            match Client::connect(&endpoint).await {
                Ok(client) => return Ok(client),
                Err(error) if !error.is_final() => {
                    let message = error.to_string();
                    if message != told {
                        tracing::warn!("waiting for Redis: {message}");
                        told = message;
                    }
                    tokio::time::sleep(RETRY_CONNECT).await;
                }
                Err(error) => return Err(error),
            }
        }
    };
    match stop.run_until_cancelled(reach).await {
        Some(reached) => Ok(Some(reached?)),
        None => Ok(None),
    }
}
