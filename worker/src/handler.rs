//! The handler that the configuration names, as the worker's life deals with it.

use std::future::Future;

use futures::future::join_all;
use taskqueue_queue::worker::{Batch, BatchHandler, Batched, Handler, LeasedTask, Outcome};

use crate::config::{BatchConfig, HandlerConfig};
use crate::control::Controls;
use crate::exec::Exec;
use crate::fault::Fault;
use crate::http::Http;
use crate::native::Native;
use crate::process::{Launcher, ProgramError};
use crate::stdio::Stdio;

/// Any of the handlers. Clones share what they run.
#[derive(Clone, Debug)]
pub(crate) struct AnyHandler {
    kind: Kind,
    /// The same, where it gets many tasks in one call.
    batched: Option<Batched<Kind>>,
    /// Of those that start commands.
    launcher: Option<Launcher>,
}

#[derive(Clone, Debug)]
enum Kind {
    Exec(Exec),
    Stdio(Stdio),
    Http(Box<Http>),
    Native(Native),
}

impl AnyHandler {
    /// The handler of this configuration. It tells `fault` what keeps it from taking tasks.
    pub(crate) fn new(
        config: &HandlerConfig,
        controls: Controls,
        fault: Fault,
    ) -> Result<Self, ProgramError> {
        let (kind, launcher) = match config {
            HandlerConfig::Exec { command, .. } => {
                let launcher = Launcher::new(command)?;
                let exec = Exec::new(launcher.clone(), controls, fault);
                (Kind::Exec(exec), Some(launcher))
            }
            HandlerConfig::Stdio {
                command, processes, ..
            } => {
                let launcher = Launcher::new(command)?;
                let stdio = Stdio::new(launcher.clone(), (*processes).into(), fault);
                (Kind::Stdio(stdio), Some(launcher))
            }
            HandlerConfig::Http(http) => {
                let http = Http::new(http, controls, fault);
                (Kind::Http(Box::new(http)), None)
            }
            HandlerConfig::Native {} => (Kind::Native(Native), None),
        };
        let batching = config.batch().map(BatchConfig::batching);
        Ok(Self {
            batched: batching.map(|batching| Batched::new(kind.clone(), batching)),
            kind,
            launcher,
        })
    }

    /// What has to go on while tasks are handled: children that are kept, doors that are knocked at, orphans that are
    /// reaped.
    pub(crate) fn keep(&self) -> impl Future<Output = ()> + Send + 'static {
        let Self { kind, launcher, .. } = self.clone();
        async move {
            let orphans = async {
                match &launcher {
                    Some(launcher) => launcher.reap_orphans().await,
                    None => std::future::pending().await,
                }
            };
            let kept = async {
                match &kind {
                    Kind::Stdio(stdio) => stdio.run().await,
                    Kind::Http(http) => http.watch().await,
                    Kind::Exec(_) | Kind::Native(_) => std::future::pending().await,
                }
            };
            tokio::join!(orphans, kept);
        }
    }

    /// Waits until what was started has ended.
    pub(crate) async fn settle(&self) {
        if let Some(launcher) = &self.launcher {
            launcher.settle().await;
        }
    }
}

impl Handler for AnyHandler {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        if let Some(batched) = &self.batched {
            return batched.handle(task).await;
        }
        match &self.kind {
            Kind::Exec(exec) => exec.handle(task).await,
            Kind::Stdio(stdio) => stdio.handle(task).await,
            Kind::Http(http) => http.handle(task).await,
            Kind::Native(native) => native.handle(task).await,
        }
    }

    fn available(&self) -> bool {
        self.kind.takes_tasks()
    }

    fn draining(&self, draining: bool) {
        if let Some(batched) = &self.batched {
            batched.draining(draining);
        }
    }
}

impl Kind {
    fn takes_tasks(&self) -> bool {
        match self {
            Self::Stdio(stdio) => stdio.is_ready(),
            Self::Http(http) => http.takes_tasks(),
            Self::Exec(_) | Self::Native(_) => true,
        }
    }
}

impl BatchHandler for Kind {
    async fn handle_batch(&self, batch: &Batch) {
        match self {
            Self::Exec(exec) => exec.handle_batch(batch).await,
            Self::Stdio(stdio) => stdio.handle_batch(batch).await,
            Self::Http(http) => http.handle_batch(batch).await,
            // None of them has anything to gain from others, and no configuration asks for it.
            Self::Native(native) => {
                let each = batch.members().iter().map(|member| async move {
                    let outcome = native.handle(member.task().clone()).await;
                    member.end(outcome);
                });
                join_all(each).await;
            }
        }
    }

    fn available(&self) -> bool {
        self.takes_tasks()
    }
}
