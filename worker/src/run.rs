//! The worker's life: connect, run tasks and answer probes until told to stop. This file puts the parts together and
//! decides nothing itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::prctl;
use taskqueue_queue::Client;
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome, Report, Worker, WorkerInfo};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{HandlerConfig, WorkerConfig};
use crate::exec::{Exec, ProgramError};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::native::Native;
use crate::signals::Signals;

/// How long the worker waits before it tries again to reach a Redis that it has never reached.
const RETRY_CONNECT: Duration = Duration::from_millis(500);

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

/// The handler that the configuration names.
enum AnyHandler {
    Exec(Exec),
    Native(Native),
}

impl AnyHandler {
    fn new(config: &HandlerConfig) -> Result<Self, ProgramError> {
        match config {
            HandlerConfig::Exec { command } => Exec::new(command).map(Self::Exec),
            HandlerConfig::Native {} => Ok(Self::Native(Native)),
        }
    }

    fn exec(&self) -> Option<&Exec> {
        match self {
            Self::Exec(exec) => Some(exec),
            Self::Native(_) => None,
        }
    }
}

impl Handler for AnyHandler {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        match self {
            Self::Exec(exec) => exec.handle(task).await,
            Self::Native(native) => native.handle(task).await,
        }
    }
}

/// Runs a worker until SIGTERM or SIGINT. `Ok` means that nothing is left running and nothing is owed to Redis.
pub async fn run(config: WorkerConfig) -> Result<Report, RunError> {
    // Commands run as the same user: without this they could read the Redis password in /proc.
    prctl::set_dumpable(false).map_err(io::Error::from)?;
    let signals = Signals::catch()?;
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(signals.watch(stop.clone(), abort.clone()));

    let handler = AnyHandler::new(&config.handler)?;
    let metrics = Metrics::new(config.concurrency);
    let health = Health::new(metrics.clone(), handler.exec().cloned());
    serve_health(health.clone(), config.http_address).await?;

    let Some(client) = connect(&config, &stop).await? else {
        return Ok(Report::default());
    };
    let exec = handler.exec().cloned();
    if let Some(exec) = exec.clone() {
        tokio::spawn(async move {
            if let Err(error) = exec.reap_orphans().await {
                tracing::error!(%error, "what commands leave behind is not reaped");
            }
        });
    }
    let worker = Worker::new(client.queue(config.queue.clone()), handler)
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
    if let Some(exec) = exec {
        exec.settle().await;
    }
    Ok(report)
}

/// Listens before anything else waits, so that the probes can tell what is waited for.
async fn serve_health(health: Health, address: SocketAddr) -> Result<(), RunError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "answering probes");
    }
    tokio::spawn(async move {
        if let Err(error) = health.serve(listener).await {
            tracing::error!(%error, "probes and metrics are not answered any more");
        }
    });
    Ok(())
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
                Err(error) if error.is_transient() => {
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
