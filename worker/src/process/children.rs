//! The children of this process: which of them someone waits for, and the reaping of all others.
//!
//! The worker is the *subreaper* of its handlers (as PID 1 of a container it is so anyway): what a command leaves behind
//! becomes a child of the worker when its own parent ends, and would stay a zombie for ever if nobody asked for its
//! exit status. So one loop does, for every child that is not the leader of a running command; the leaders are left
//! to whoever started them, because an exit status can be fetched only once.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::strays::{self, Commands};

/// How soon the reaper looks again when a leader that has just ended hides the children behind it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The running commands, by their leaders. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Children {
    commands: Arc<Mutex<Commands>>,
}

/// What a look at the ended children found.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Every ended child that is not a leader has been reaped.
    Clean,
    /// The next ended child is a leader; others may be behind it.
    Hidden,
}

impl Children {
    /// Starts a command whose exit status the caller fetches, and [forgets](Self::forget) afterwards. What it starts has
    /// the mark in its environment.
    pub(super) fn spawn(&self, command: &mut Command, mark: &str) -> io::Result<(Pid, Child)> {
        command.env(strays::MARK, mark);
        // Held while the command starts: it may end before it is on the list, and the reaper must not see that.
        let mut commands = self.lock();
        let child = command.spawn()?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the command has no process id"))?;
        commands.insert(pid, mark.to_owned());
        Ok((pid, child))
    }

    /// The exit status of this leader has been fetched.
    pub(super) fn forget(&self, leader: Pid) {
        self.lock().remove(&leader);
    }

    /// Adopts what commands leave behind, and reaps it for as long as this future is polled.
    pub(super) async fn reap(self) -> io::Result<()> {
        prctl::set_child_subreaper(true)?;
        let mut ended = signal(SignalKind::child())?;
        loop {
            while self.look() == Look::Hidden {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            if ended.recv().await.is_none() {
                return Ok(());
            }
        }
    }

    /// Kills what the command that this process led has left behind. Returns whether there was anything; what that has
    /// started may become a child of this process now.
    pub(super) fn kill_left_by(&self, leader: Pid) -> bool {
        let commands = self.lock().clone();
        if strays::orphans(&commands).is_empty() {
            return false;
        }
        // Held from the look to the kill: nothing is reaped meanwhile, so that no number becomes another process's, and
        // no command starts that would be taken for an orphan.
        let commands = self.lock();
        let left = strays::left_by(leader, &commands, &strays::orphans(&commands));
        for pid in &left {
            tracing::debug!(pid = pid.as_raw(), "killing what a command has left behind");
            let _ = kill(*pid, Signal::SIGKILL);
        }
        !left.is_empty()
    }

    /// Reaps what has ended and is not the leader of a command.
    pub(super) fn reap_now(&self) {
        self.look();
    }

    fn look(&self) -> Look {
        let commands = self.lock();
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            match waitid(Id::All, peek).map(|status| status.pid()) {
                Ok(Some(pid)) if commands.contains_key(&pid) => return Look::Hidden,
                Ok(Some(pid)) => match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) | Err(_) => return Look::Clean,
                    Ok(_) => {
                        tracing::debug!(
                            pid = pid.as_raw(),
                            "reaped what a command had left behind"
                        );
                    }
                },
                Ok(None) | Err(_) => return Look::Clean,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Commands> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
