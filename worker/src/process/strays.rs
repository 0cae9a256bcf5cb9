//! What a command has started and left behind outside of its process group: a session of its own (`setsid`), a daemon, a
//! browser. As the worker is the subreaper, each becomes a child of the worker once its own parent has ended, and a mark in
//! its environment tells whose it was. Which are killed is decided by a pure function over what was found.

use std::collections::HashSet;
use std::fs;

use nix::unistd::Pid;

/// The variable that marks what a command has started.
pub(super) const MARK: &str = "TASK_PROCESS";

/// A child of the worker that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Orphan {
    pub(super) pid: Pid,
    /// Its environment, as far as it can be read.
    pub(super) environment: Vec<u8>,
}

/// The children of the worker that the command with this mark has left behind. `leaders` are the commands that run, the
/// command itself among them if it does. Pure.
///
/// What has lost its environment (`env -i`, a process title) is taken for the command's if no other runs, whose it could
/// be. What has the worker's own variables was started by somebody else, in the container: `kubectl exec`.
pub(super) fn left_by(
    mark: &str,
    leader: Pid,
    leaders: &HashSet<Pid>,
    orphans: &[Orphan],
) -> Vec<Pid> {
    let alone = leaders.iter().all(|other| *other == leader);
    let left = orphans.iter().filter(|orphan| {
        if leaders.contains(&orphan.pid) {
            return false;
        }
        match mark_in(&orphan.environment) {
            Some(found) => found == mark.as_bytes(),
            None => alone && !has_own_variables(&orphan.environment),
        }
    });
    left.map(|orphan| orphan.pid).collect()
}

fn mark_in(environment: &[u8]) -> Option<&[u8]> {
    let mut variables = environment.split(|&byte| byte == 0);
    variables.find_map(|variable| variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))
}

fn has_own_variables(environment: &[u8]) -> bool {
    let mut variables = environment.split(|&byte| byte == 0);
    variables.any(|variable| variable.starts_with(super::OWN_VARIABLES.as_bytes()))
}

/// The children of this process that run and are none of `leaders`.
pub(super) fn orphans(leaders: &HashSet<Pid>) -> Vec<Orphan> {
    let own = Pid::this();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some(Pid::from_raw(pid))
    });
    processes
        .filter(|pid| !leaders.contains(pid) && runs_below(*pid, own))
        .map(|pid| Orphan {
            pid,
            environment: fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(),
        })
        .collect()
}

fn runs_below(pid: Pid, parent: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| parent_of_running(&stat) == Some(parent))
}

/// The parent, by `/proc/<pid>/stat`, of a process that has not ended. Pure.
fn parent_of_running(stat: &str) -> Option<Pid> {
    // The name stands in brackets and may have any character in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then(|| Pid::from_raw(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pids(pids: &[i32]) -> Vec<Pid> {
        pids.iter().map(|pid| Pid::from_raw(*pid)).collect()
    }

    fn orphan(pid: i32, environment: &str) -> Orphan {
        Orphan {
            pid: Pid::from_raw(pid),
            environment: environment.replace(' ', "\0").into_bytes(),
        }
    }

    /// Which orphans the command `mine`, led by process 10, has left when these commands run.
    fn left(leaders: &[i32], orphans: &[Orphan]) -> Vec<Pid> {
        let leaders = pids(leaders).into_iter().collect();
        left_by("mine", Pid::from_raw(10), &leaders, orphans)
    }

    #[test]
    fn what_has_the_command_s_mark_is_left_by_it_and_nothing_that_has_another_s() {
        let orphans = [
            orphan(20, "PATH=/bin TASK_PROCESS=mine HOME=/"),
            orphan(21, "TASK_PROCESS=other"),
            orphan(22, "TASK_PROCESS=mine2"),
            orphan(23, "XTASK_PROCESS=mine"),
            orphan(24, "TASK_PROCESS=mine"),
        ];
        assert_eq!(left(&[10, 11], &orphans), pids(&[20, 24]));
    }

    #[test]
    fn what_has_no_mark_is_left_by_the_command_that_runs_alone() {
        let orphans = [
            orphan(20, ""),
            orphan(21, "PATH=/bin"),
            orphan(22, "PATH=/bin TASKQUEUE_QUEUE=shop/mail"),
            orphan(23, "TASK_PROCESS=other"),
        ];
        assert_eq!(left(&[10], &orphans), pids(&[20, 21]));
        assert_eq!(left(&[], &orphans), pids(&[20, 21]));
        assert_eq!(left(&[10, 11], &orphans), []);
        assert_eq!(left(&[11], &orphans), []);
    }

    #[test]
    fn a_command_that_runs_is_never_left_behind() {
        let orphans = [
            orphan(10, "TASK_PROCESS=mine"),
            orphan(11, "TASK_PROCESS=mine"),
        ];
        assert_eq!(left(&[10, 11], &orphans), []);
    }

    #[test]
    fn the_parent_is_found_whatever_the_name() {
        let parent = |stat| parent_of_running(stat).map(Pid::as_raw);
        assert_eq!(parent("42 (sleep) S 7 42 42 0 -1"), Some(7));
        assert_eq!(parent("42 (a) Z 1 (b)) R 7 42 42 0 -1"), Some(7));
        assert_eq!(parent("42 (sleep) Z 7 42 42 0 -1"), None);
        assert_eq!(parent("42 (sleep"), None);
        assert_eq!(parent(""), None);
    }
}
