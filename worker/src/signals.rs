//! SIGTERM and SIGINT: the first asks the worker to drain, the second to hand back at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two signals, caught from the moment this exists: before that they end the process.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to catch the signals.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancels `stop` at the first signal and `abort` at the second.
    pub async fn watch(mut self, stop: CancellationToken, abort: CancellationToken) {
        self.next().await;
        tracing::info!("told to stop: draining");
        stop.cancel();
        self.next().await;
        tracing::warn!("told to stop again: handing running tasks back");
        abort.cancel();
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}
