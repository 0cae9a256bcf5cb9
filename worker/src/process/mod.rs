//! Child processes of handlers: found, started as leaders of process groups, read, ended and reaped.
//!
//! What a task makes of them is not decided here: that is `exec` and `stdio`.

mod allowance;
mod children;
mod complaint;
mod ending;
mod environment;
mod group;
mod memory;
mod program;
mod strays;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio_util::task::TaskTracker;

use children::Children;
use memory::Kills;

pub(crate) use allowance::Allowance;
pub(crate) use complaint::Complaint;
pub(crate) use ending::{Ending, memory_words, signal_name};
pub(crate) use group::{Running, Streams};
pub use program::ProgramError;

/// How much is read from a stream at once.
const PIECE: usize = 16 * 1024;

/// A handler's command, and the processes that were started from it. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    program: PathBuf,
    arguments: Arc<[String]>,
    children: Children,
    endings: TaskTracker,
    kills: Kills,
}

impl Launcher {
    /// Finds the program of a command now, so that a misspelt one is told before the first task.
    pub(crate) fn new(command: &[String]) -> Result<Self, ProgramError> {
        let (program, arguments) = command
            .split_first()
            .map_or(("", [].as_slice()), |(first, rest)| (first, rest));
        Ok(Self {
            program: program::find(program, std::env::var_os("PATH").as_deref())?,
            arguments: arguments.into(),
            children: Children::default(),
            endings: TaskTracker::new(),
            kills: Kills::find(),
        })
    }

    /// The program, as it was found.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Starts the command, with these variables besides the worker's own environment and without what is
    /// the worker's alone.
    pub(crate) fn start(
        &self,
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> std::io::Result<(Running, Streams)> {
        let mut command = Command::new(&self.program);
        command
            .args(&*self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if environment::is_kept_back(&name) {
                command.env_remove(name);
            }
        }
        command.envs(variables);
        Running::start(&mut command, &self.children, &self.endings, &self.kills)
    }

    /// Reaps what commands leave behind, for as long as this future is polled.
    pub(crate) async fn reap_orphans(&self) {
        if let Err(error) = self.children.clone().reap().await {
            tracing::error!(%error, "what commands leave behind is not reaped");
        }
    }

    /// Waits until every command that was cut off has ended; takes hardly longer than the grace before SIGKILL.
    pub(crate) async fn settle(&self) {
        self.endings.close();
        self.endings.wait().await;
    }
}

/// Reads a stream to its end, piece by piece.
pub(crate) async fn drain(stream: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut stream) = stream else { return };
    let mut piece = vec![0; PIECE];
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return,
            Ok(length) => take(&piece[..length]),
            Err(error) => return tracing::warn!(%error, "cannot read what a command writes"),
        }
    }
}
