//! How many processes of the worker's container the kernel has killed because memory ran out, as the container's control
//! group counts them. A command that was killed by SIGKILL does not know why; this does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where control groups are mounted in containers.
const ROOT: &str = "/sys/fs/cgroup";

/// The kernel's count, where there is one. Clones share what was explained by it.
#[derive(Clone, Debug, Default)]
pub(super) struct Kills {
    file: Option<Arc<Path>>,
    /// Up to here the count was told as the reason of someone's end.
    explained: Arc<AtomicU64>,
}

impl Kills {
    /// The count of the control group that this process is in.
    pub(super) fn find() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut files = places(&own).into_iter();
        Self {
            file: files.find(|file| count(file).is_some()).map(Arc::from),
            explained: Arc::default(),
        }
    }

    /// The count; `None` if the system keeps none.
    pub(super) fn count(&self) -> Option<u64> {
        count(self.file.as_deref()?)
    }

    /// Whether there were any since it was `before`.
    pub(super) fn any_since(&self, before: Option<u64>) -> bool {
        matches!((before, self.count()), (Some(before), Some(now)) if now > before)
    }

    /// Whether there was one since it was `before` that explains no other end yet; it explains this one then.
    pub(super) fn explain(&self, before: Option<u64>) -> bool {
        let (Some(before), Some(now)) = (before, self.count()) else {
            return false;
        };
        let next = |explained: u64| {
            let told = explained.max(before);
            (told < now).then_some(told + 1)
        };
        let explained = &self.explained;
        explained
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }
}

fn count(file: &Path) -> Option<u64> {
    parse(&fs::read_to_string(file).ok()?)
}

/// The count in `memory.events` (version 2) or `memory.oom_control` (version 1), which have a line in common. Pure.
fn parse(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

/// Where the count may be, the surest place first, for a process whose `/proc/self/cgroup` says this. A container sees its
/// own group at the root, with a path that may be that of the host. Pure.
fn places(own: &str) -> Vec<PathBuf> {
    let groups = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            Some((Path::new(ROOT).to_owned(), path, "memory.events"))
        } else if controllers.split(',').any(|name| name == "memory") {
            Some((Path::new(ROOT).join("memory"), path, "memory.oom_control"))
        } else {
            None
        }
    });
    let mut found: Vec<PathBuf> = groups
        .flat_map(|(root, path, file)| [root.join(path).join(file), root.join(file)])
        .collect();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_either_version() {
        let events = "low 0\nhigh 0\nmax 31\noom 4\noom_kill 3\noom_group_kill 0\n";
        assert_eq!(parse(events), Some(3));
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 12\n";
        assert_eq!(parse(control), Some(12));
        // Linux before 4.13 counts none.
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(parse("oom_kill many\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn the_count_is_looked_for_where_either_version_has_it() {
        let paths = |own: &str| -> Vec<String> {
            let places = places(own).into_iter();
            places.map(|place| place.display().to_string()).collect()
        };
        assert_eq!(paths("0::/\n"), ["/sys/fs/cgroup/memory.events"]);
        assert_eq!(
            paths("0::/kubepods/pod1/c1\n"),
            [
                "/sys/fs/cgroup/kubepods/pod1/c1/memory.events",
                "/sys/fs/cgroup/memory.events"
            ]
        );
        assert_eq!(
            paths("9:cpu,cpuacct:/a\n8:memory:/kubepods/c1\n1:name=systemd:/a\n"),
            [
                "/sys/fs/cgroup/memory/kubepods/c1/memory.oom_control",
                "/sys/fs/cgroup/memory/memory.oom_control"
            ]
        );
        assert!(paths("").is_empty());
    }

    #[test]
    fn each_kill_explains_one_end_and_none_that_began_after_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("memory.events");
        let tell =
            |kills: u64| fs::write(&file, format!("oom 9\noom_kill {kills}\n")).expect("a file");
        tell(5);
        let kills = Kills {
            file: Some(file.as_path().into()),
            explained: Arc::default(),
        };
        let before = kills.count();
        assert_eq!(before, Some(5));
        assert!(!kills.explain(before) && !kills.any_since(before));
        tell(7);
        assert!(kills.any_since(before));
        assert!(!kills.explain(Some(7)), "it began after both");
        assert!(kills.explain(before));
        assert!(kills.explain(before));
        assert!(!kills.explain(before), "both are explained");
        assert!(!Kills::default().explain(None), "nobody counts");
    }
}
