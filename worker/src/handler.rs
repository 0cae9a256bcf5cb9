//! The handler that the configuration names, as the worker's life deals with it.

use std::future::Future;

use taskqueue_queue::worker::{Handler, LeasedTask, Outcome};

use crate::config::HandlerConfig;
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
            HandlerConfig::Exec { command } => {
                let launcher = Launcher::new(command)?;
                let exec = Exec::new(launcher.clone(), controls, fault);
                (Kind::Exec(exec), Some(launcher))
            }
            HandlerConfig::Stdio { command, processes } => {
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
        Ok(Self { kind, launcher })
    }

    /// What has to go on while tasks are handled: children that are kept, doors that are knocked at, orphans that are
    /// reaped.
    pub(crate) fn keep(&self) -> impl Future<Output = ()> + Send + 'static {
        let Self { kind, launcher } = self.clone();
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
        match &self.kind {
            Kind::Exec(exec) => exec.handle(task).await,
            Kind::Stdio(stdio) => stdio.handle(task).await,
            Kind::Http(http) => http.handle(task).await,
            Kind::Native(native) => native.handle(task).await,
        }
    }

    fn available(&self) -> bool {
        match &self.kind {
            Kind::Stdio(stdio) => stdio.is_ready(),
            Kind::Http(http) => http.available(),
            Kind::Exec(_) | Kind::Native(_) => true,
        }
    }
}
