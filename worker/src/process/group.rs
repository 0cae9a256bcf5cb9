//! One running command and the process group it leads: started, awaited, and ended with everything it has started.
//!
//! What has left the group (`setsid`, a daemon) is killed once the group is gone: see [`strays`](super::strays).

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio_util::task::TaskTracker;

use super::children::Children;
use super::ending::{Ending, is_killed};
use super::memory::Kills;

/// How long a command may take to end after SIGTERM, before SIGKILL.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// How often a terminated group is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How long what a command has left may take to be gone after SIGKILL: what hangs in the system takes as long as it likes.
const GONE_BOUND: Duration = Duration::from_secs(2);

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
    kills: Kills,
    /// What the kernel's count was when it started.
    kills_before: Option<u64>,
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
        kills: &Kills,
    ) -> io::Result<(Self, Streams)> {
        let mark = format!("{:032x}", rand::random::<u128>());
        let kills_before = kills.count();
        let command = command.process_group(0).kill_on_drop(true);
        let (id, mut leader) = children.spawn(command, &mark)?;
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
                kills: kills.clone(),
                kills_before,
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

    /// How it ended with this status, with the kernel's part in it. To be asked once.
    pub(crate) fn ending(&self, status: ExitStatus) -> Ending {
        let memory = if is_killed(status) {
            self.kills.explain(self.kills_before)
        } else {
            !status.success() && self.kills.any_since(self.kills_before)
        };
        Ending { status, memory }
    }

    /// Kills what the command has left, in its group and outside of it, after the command itself ended.
    pub(crate) async fn clear(mut self) {
        if let Some(group) = &self.group {
            group.signal(Signal::SIGKILL);
            group.sweep().await;
        }
        self.group = None;
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
        self.sweep().await;
    }

    /// Kills what the command has left outside of its group, until nothing of it and of the group is there any more.
    async fn sweep(&self) {
        let gone = async {
            // Both, in each round: what the group has started is a child of the worker only when the group is gone.
            while self.children.kill_left_by(self.id) | self.exists() {
                tokio::time::sleep(POLL).await;
                self.children.reap_now();
            }
        };
        if tokio::time::timeout(GONE_BOUND, gone).await.is_err() {
            tracing::warn!(
                group = self.id.as_raw(),
                "what a command has left does not end on SIGKILL"
            );
        }
        self.children.reap_now();
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
