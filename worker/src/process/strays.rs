//! What a command has started and left behind outside of its process group: a session of its own (`setsid`), a daemon, a
//! browser. As the worker is the subreaper, each becomes a child of the worker once its own parent has ended, and a mark in
//! its environment tells whose it was. Which are killed is decided by a pure function over what was found.

use std::collections::HashMap;
use std::fs;

use nix::unistd::Pid;

/// The variable that marks what a command has started.
pub(super) const MARK: &str = "TASK_PROCESS";

/// A child of the worker that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Orphan {
    pub(super) pid: Pid,
    /// Its environment; `None` if that cannot be read: a process that keeps secrets, such as an agent of keys, bars others of
    /// the same user from it.
    pub(super) environment: Option<Vec<u8>>,
}

/// The commands that run: their leaders and their marks.
pub(super) type Commands = HashMap<Pid, String>;

/// Which children of the worker were left behind, now that the command which this process led has ended. `commands` are
/// those that run, with that one still among them. Pure.
///
/// What has the mark of a command that runs is left alone. What has lost its environment (`env -i`, a process title) is
/// taken for the command's if no other runs, whose it could be. What has the worker's own variables was started by
/// somebody else, in the container: `kubectl exec`; and what has the mark empty was started to stay. What bars others from
/// its environment may have been, and is left alone.
pub(super) fn left_by(leader: Pid, commands: &Commands, orphans: &[Orphan]) -> Vec<Pid> {
    let others = || commands.iter().filter(|(other, _)| **other != leader);
    let left = orphans.iter().filter(|orphan| {
        if commands.contains_key(&orphan.pid) {
            return false;
        }
        let Some(environment) = &orphan.environment else {
            return false;
        };
        match mark_in(environment) {
            Some(b"") => false,
            Some(found) => others().all(|(_, mark)| mark.as_bytes() != found),
            None => others().next().is_none() && !has_own_variables(environment),
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
    variables.any(|variable| variable.starts_with(super::environment::OWN.as_bytes()))
}

/// The children of this process that run and lead none of these commands.
pub(super) fn orphans(commands: &Commands) -> Vec<Orphan> {
    let own = Pid::this();
    let children = listed_children().unwrap_or_else(all_processes);
    children
        .into_iter()
        .filter(|pid| !commands.contains_key(pid) && runs_below(*pid, own))
        .map(|pid| Orphan {
            pid,
            environment: fs::read(format!("/proc/{pid}/environ")).ok(),
        })
        .collect()
}

/// The children of this process, where the kernel lists them. One that another's end hides from this look is found by the
/// next. A look at all processes would cost as much as an attempt.
fn listed_children() -> Option<Vec<Pid>> {
    let threads = fs::read_dir("/proc/self/task").ok()?.flatten();
    let lists: Vec<String> = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .collect();
    let pids = lists.iter().flat_map(|list| list.split_whitespace());
    (!lists.is_empty()).then(|| pids.filter_map(pid).collect())
}

fn all_processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| pid(entry.file_name().to_str()?))
        .collect()
}

fn pid(text: &str) -> Option<Pid> {
    text.parse().ok().map(Pid::from_raw)
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
            environment: Some(environment.replace(' ', "\0").into_bytes()),
        }
    }

    /// Which orphans are left when the command `mine`, led by process 10, has ended, and these run.
    fn left(commands: &[(i32, &str)], orphans: &[Orphan]) -> Vec<Pid> {
        let commands = commands.iter();
        let commands = commands.map(|(pid, mark)| (Pid::from_raw(*pid), (*mark).to_owned()));
        left_by(Pid::from_raw(10), &commands.collect(), orphans)
    }

    #[test]
    fn what_has_the_command_s_mark_is_left_by_it_and_nothing_that_has_another_s() {
        let orphans = [
            orphan(20, "PATH=/bin TASK_PROCESS=mine HOME=/"),
            orphan(21, "TASK_PROCESS=other"),
            orphan(22, "XTASK_PROCESS=mine"),
            orphan(23, "TASK_PROCESS=mine"),
            // Of a command that is over; it was missed then.
            orphan(24, "TASK_PROCESS=mine2"),
        ];
        let commands = [(10, "mine"), (11, "other")];
        assert_eq!(left(&commands, &orphans), pids(&[20, 23, 24]));
        assert_eq!(left(&commands[1..], &orphans), pids(&[20, 23, 24]));
    }

    #[test]
    fn what_has_no_mark_is_left_by_the_command_that_runs_alone() {
        let orphans = [
            orphan(20, ""),
            orphan(21, "PATH=/bin"),
            orphan(22, "PATH=/bin TASKQUEUE_QUEUE=shop/mail"),
            // One that is to stay.
            orphan(23, "PATH=/bin TASK_PROCESS= HOME=/"),
        ];
        assert_eq!(left(&[(10, "mine")], &orphans), pids(&[20, 21]));
        assert_eq!(left(&[], &orphans), pids(&[20, 21]));
        assert_eq!(left(&[(10, "mine"), (11, "other")], &orphans), []);
        assert_eq!(left(&[(11, "other")], &orphans), []);
    }

    #[test]
    fn what_bars_others_from_its_environment_may_be_one_that_is_to_stay() {
        let barred = Orphan {
            pid: Pid::from_raw(20),
            environment: None,
        };
        assert_eq!(
            left(&[(10, "mine")], &[barred, orphan(21, "")]),
            pids(&[21])
        );
    }

    #[test]
    fn a_command_that_runs_is_never_left_behind() {
        let orphans = [orphan(10, "TASK_PROCESS=mine"), orphan(11, "")];
        assert_eq!(left(&[(10, "mine"), (11, "other")], &orphans), []);
    }

    #[test]
    fn the_kernel_s_list_of_children_agrees_with_a_look_at_all_processes() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("it starts");
        let own = Pid::this();
        let id = pid(&child.id().to_string()).expect("a number");
        let all = all_processes();
        assert!(all.contains(&id) && runs_below(id, own));
        if let Some(listed) = listed_children() {
            assert!(listed.contains(&id), "{listed:?}");
        }
        child.kill().expect("it ends");
        child.wait().expect("it is reaped");
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
