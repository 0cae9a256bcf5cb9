//! One running command and the process group it leads: started, awaited, and ended with everything it has started.
//!
//! A process that moves itself into a group of its own (`setsid`, a daemon) leaves the worker's reach: it is reaped when
//! it ends, but nobody ends it before the container does.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio_util::task::TaskTracker;

use super::children::Children;

/// How long a command may take to end after SIGTERM, before SIGKILL.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// How often a terminated group is looked at.
const POLL: Duration = Duration::from_millis(20);

/// The three ends of a command's standard streams; each is there once.
pub(crate) struct Streams {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

/// A running command. Dropped before it ended, it is terminated in the background.
pub(crate) struct Running {
    group: Option<Group>,
    endings: TaskTracker,
}

/// The process group; its number is its leader's.
struct Group {
    id: Pid,
    leader: Child,
    children: Children,
}

impl Running {
    /// Starts the command as the leader of a new group. `endings` tracks the termination of dropped ones.
    pub(super) fn start(
        command: &mut Command,
        children: &Children,
        endings: &TaskTracker,
    ) -> io::Result<(Self, Streams)> {
        let (id, mut leader) = children.spawn(command.process_group(0).kill_on_drop(true))?;
        let streams = Streams {
            stdin: leader.stdin.take(),
            stdout: leader.stdout.take(),
            stderr: leader.stderr.take(),
        };
        let group = Group {
            id,
            leader,
            children: children.clone(),
        };
        Ok((
            Self {
                group: Some(group),
                endings: endings.clone(),
            },
            streams,
        ))
    }

    /// Waits until the command ends. What it has started may still run.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        match &mut self.group {
            Some(group) => group.leader.wait().await,
            None => Err(io::Error::other("the command has been ended already")),
        }
    }

    /// Asks the whole group to end.
    pub(crate) fn ask_to_end(&self) {
        if let Some(group) = &self.group {
            group.signal(Signal::SIGTERM);
        }
    }

    /// Its process id; `None` once it was ended.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.group.as_ref().map(|group| group.id.as_raw())
    }

    /// Kills what the command has left of its group, after the command itself ended.
    pub(crate) fn clear(mut self) {
        if let Some(group) = self.group.take() {
            group.signal(Signal::SIGKILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group.take() {
            self.endings.spawn(group.terminate());
        }
    }
}

impl Group {
    /// SIGTERM to all of the group; SIGKILL to what is left of it after the grace.
    async fn terminate(mut self) {
        self.signal(Signal::SIGTERM);
        let gone = async {
            self.leader.wait().await?;
            while self.exists() {
                tokio::time::sleep(POLL).await;
            }
            io::Result::Ok(())
        };
        if tokio::time::timeout(KILL_GRACE, gone).await.is_err() {
            tracing::debug!(
                group = self.id.as_raw(),
                "a command did not end on SIGTERM: killing its group"
            );
            self.signal(Signal::SIGKILL);
        }
        if let Err(error) = self.leader.wait().await {
            tracing::warn!(group = self.id.as_raw(), %error, "cannot wait for a terminated command");
        }
    }

    /// A group that no longer exists takes no signal, and that is fine.
    fn signal(&self, signal: Signal) {
        let _ = killpg(self.id, signal);
    }

    fn exists(&self) -> bool {
        killpg(self.id, None).is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.children.forget(self.id);
    }
}
