//! What the operator runs in: a control group with the memory limit of the chart, and a resolver of
//! names of its own. Both need root; what could not be had is told.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

/// The memory limit, as in the chart.
pub(crate) const LIMIT: u64 = 256 * 1024 * 1024;
/// Where the attackers' name server is, on its usual port: `resolv.conf` can name no other.
pub(crate) const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 66, 53);

/// As many files as a process may have in a container.
pub(crate) const FILES: &str = r#"ulimit -n 1048576 2>/dev/null || ulimit -n "$(ulimit -Hn)""#;
/// Enters the control group (if any), puts another `resolv.conf` in place (if any) where nobody else
/// sees it, and becomes the command that follows.
const ENTER: &str = r#"
procs=$1 resolv=$2
shift 2
[ -z "$procs" ] || echo $$ >"$procs"
[ -n "$resolv" ] || exec "$@"
exec unshare --mount sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$resolv" "$@"
"#;

/// A place to run in; the control group is removed when this is dropped.
pub(crate) struct Cage {
    group: Option<Group>,
    resolver: Option<PathBuf>,
    kubeconfig: PathBuf,
}

struct Group {
    folder: PathBuf,
    /// The file that counts the processes killed for want of memory.
    kills: &'static str,
}

impl Cage {
    /// A new one; `folder` is for its files, and `number` tells it from others.
    pub(crate) fn new(folder: &Path, kubeconfig: &Path, number: usize) -> Self {
        let name = format!("taskqueue-siege-{}-{number}", std::process::id());
        let group = Group::make(&name)
            .inspect_err(|why| eprintln!("siege: the memory limit is not in force: {why}"))
            .ok();
        let resolver = can_mount().then(|| {
            let file = folder.join("resolv.conf");
            let text = format!("nameserver {NAME_SERVER}\noptions timeout:5 attempts:2\n");
            fs::write(&file, text).expect("it can be written");
            file
        });
        // By name, so that the API server is looked up beside the names of the tenants.
        let named = folder.join("kubeconfig-by-name");
        let config = fs::read_to_string(kubeconfig).expect("the kubeconfig can be read");
        let config = config.replace("https://127.0.0.1:", "https://localhost:");
        fs::write(&named, config).expect("it can be written");
        Self {
            group,
            resolver,
            kubeconfig: named,
        }
    }

    /// The command that enters it and becomes what is named behind it.
    pub(crate) fn launcher(&self) -> Vec<String> {
        let path =
            |path: Option<PathBuf>| path.map_or(String::new(), |it| it.display().to_string());
        let procs = self.group.as_ref().map(|it| it.folder.join("cgroup.procs"));
        vec![
            "sh".to_owned(),
            "-ec".to_owned(),
            format!("{FILES}\n{ENTER}"),
            "enter".to_owned(),
            path(procs),
            path(self.resolver.clone()),
            "env".to_owned(),
            format!("KUBECONFIG={}", self.kubeconfig.display()),
            // All that attack are there, and whom they lead to is not.
            "TASKQUEUE_REDIS_ALLOWED=127.0.0.1/32".to_owned(),
        ]
    }

    /// Whether the memory limit is in force.
    pub(crate) fn limits(&self) -> bool {
        self.group.is_some()
    }

    /// Whether names are asked of [`NAME_SERVER`].
    pub(crate) fn resolves(&self) -> bool {
        self.resolver.is_some()
    }

    /// How many processes were killed for want of memory.
    pub(crate) fn kills(&self) -> u64 {
        let Some(group) = &self.group else { return 0 };
        let text = fs::read_to_string(group.folder.join(group.kills)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|it| it.parse().ok()).unwrap_or(0)
    }
}

impl Group {
    /// Cgroup v2 where it holds the memory controller, else v1.
    fn make(name: &str) -> Result<Self, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|why| why.to_string())?;
        let of = |controller: &str| {
            own.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                let named = controllers.split(',').any(|one| one == controller);
                named.then(|| path.trim_start_matches('/').to_owned())
            })
        };
        if let Some(path) = of("memory") {
            // Below our own, so that a limit of ours counts for it as well.
            let folder = Path::new("/sys/fs/cgroup/memory").join(path).join(name);
            return Self::limited(folder, "memory.limit_in_bytes", "memory.oom_control");
        }
        let path = of("").ok_or("there are no control groups")?;
        // Beside our own: one that holds processes hands no controller down.
        let own = Path::new("/sys/fs/cgroup").join(path);
        let parent = own.parent().filter(|it| it.starts_with("/sys/fs/cgroup"));
        let folder = parent.unwrap_or(&own).join(name);
        Self::limited(folder, "memory.max", "memory.events")
    }

    fn limited(folder: PathBuf, limit: &str, kills: &'static str) -> Result<Self, String> {
        fs::create_dir(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let group = Self { folder, kills };
        let bound = group.folder.join(limit);
        fs::write(&bound, LIMIT.to_string())
            .map_err(|why| format!("{}: {why}", bound.display()))?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever was in it has ended, and takes a moment to be gone.
        for _ in 0..50 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("siege: {} is left behind", self.folder.display());
    }
}

/// Whether a mount that nobody else sees can be made.
fn can_mount() -> bool {
    let tried = std::process::Command::new("unshare")
        .args(["--mount", "true"])
        .status();
    tried.is_ok_and(|status| status.success())
}
