//! Which settings of a server break a promise of this crate, what that breaks, and what to set
//! instead. Pure.

use std::fmt;

use super::{Mode, OLDEST_REDIS, Role, ServerReport, Version};

/// From this share of `maxmemory` on, in percent, a server counts as nearly full.
const NEARLY_FULL: u64 = 90;
/// Steps in which that share is told, so that it does not change all the time.
const STEP: u64 = 5;

/// What is looked at. The order is that of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// Primary or replica.
    Role,
    /// The version of the server.
    Version,
    /// `min-replicas-to-write` and how many replicas follow.
    Replicas,
    /// `maxmemory-policy`.
    Eviction,
    /// `maxmemory` and how much of it is taken.
    Memory,
    /// `appendonly` and `save`.
    Persistence,
}

impl Setting {
    /// All of them, the gravest first.
    pub const ALL: [Self; 6] = [
        Self::Role,
        Self::Version,
        Self::Replicas,
        Self::Eviction,
        Self::Memory,
        Self::Persistence,
    ];

    /// Its name in the server's own words: `role`, `version`, `min-replicas-to-write`,
    /// `maxmemory-policy`, `maxmemory` or `appendonly`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Version => "version",
            Self::Replicas => "min-replicas-to-write",
            Self::Eviction => "maxmemory-policy",
            Self::Memory => "maxmemory",
            Self::Persistence => "appendonly",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is to be said of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It was seen and breaks nothing.
    Safe,
    /// It breaks a promise.
    Unsafe(Risk),
    /// It could not be seen.
    Unknown,
}

impl Judgement {
    /// What it breaks, if it does.
    pub fn risk(self) -> Option<Risk> {
        match self {
            Self::Unsafe(risk) => Some(risk),
            Self::Safe | Self::Unknown => None,
        }
    }
}

/// A setting of a server that breaks a promise of this crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// The server is a replica: it takes no writes.
    Replica,
    /// The server is older than [`OLDEST_REDIS`].
    TooOld {
        /// What it is.
        version: Version,
    },
    /// Fewer replicas follow than `min-replicas-to-write` asks for: the server takes no writes.
    TooFewReplicas {
        /// How many follow without delay.
        good: u64,
        /// `min-replicas-to-write`.
        wanted: u64,
    },
    /// A policy that evicts any key: tasks are lost.
    EvictsTasks {
        /// `maxmemory-policy`.
        policy: String,
        /// Whether there is a bound at which that begins.
        bounded: Option<bool>,
    },
    /// A policy that evicts keys that expire: done records, and with them the guard against an
    /// acknowledgement or an enqueue that counts twice, and task logs.
    EvictsRecords {
        /// `maxmemory-policy`.
        policy: String,
        /// Whether there is a bound at which that begins.
        bounded: Option<bool>,
    },
    /// Used memory is near `maxmemory`.
    NearlyFull {
        /// The share that is taken, in percent, rounded down to a multiple of five.
        percent: u64,
        /// `maxmemory` in bytes.
        limit: u64,
        /// Whether the server evicts keys then instead of refusing writes.
        evicts: Option<bool>,
    },
    /// Nothing is written to disk.
    NotPersisted,
}

impl Risk {
    /// The setting that it is about.
    pub fn setting(&self) -> Setting {
        match self {
            Self::Replica => Setting::Role,
            Self::TooOld { .. } => Setting::Version,
            Self::TooFewReplicas { .. } => Setting::Replicas,
            Self::EvictsTasks { .. } | Self::EvictsRecords { .. } => Setting::Eviction,
            Self::NearlyFull { .. } => Setting::Memory,
            Self::NotPersisted => Setting::Persistence,
        }
    }

    /// It in a word of Kubernetes' kind: `Replica`, `TooOld`, `TooFewReplicas`, `EvictsTasks`,
    /// `EvictsRecords`, `NearlyFull` or `NotPersisted`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Replica => "Replica",
            Self::TooOld { .. } => "TooOld",
            Self::TooFewReplicas { .. } => "TooFewReplicas",
            Self::EvictsTasks { .. } => "EvictsTasks",
            Self::EvictsRecords { .. } => "EvictsRecords",
            Self::NearlyFull { .. } => "NearlyFull",
            Self::NotPersisted => "NotPersisted",
        }
    }

    /// The setting as it is, such as `maxmemory-policy is allkeys-lru`.
    pub fn is(&self) -> String {
        match self {
            Self::Replica => "role is replica".to_owned(),
            Self::TooOld { version } => format!("version is {version}"),
            Self::TooFewReplicas { good, wanted } => {
                format!("min-replicas-to-write is {wanted} and {good} follow")
            }
            Self::EvictsTasks { policy, .. } | Self::EvictsRecords { policy, .. } => {
                format!("maxmemory-policy is {policy}")
            }
            Self::NearlyFull { percent, limit, .. } => {
                format!("{percent} % of maxmemory ({}) are used", bytes(*limit))
            }
            Self::NotPersisted => "appendonly is no and save is empty".to_owned(),
        }
    }

    /// What that breaks.
    pub fn breaks(&self) -> String {
        match self {
            Self::Replica => "a replica refuses every write".to_owned(),
            Self::TooOld { .. } => {
                "the scripts of queues need commands and rules of newer servers".to_owned()
            }
            Self::TooFewReplicas { .. } => {
                "the server refuses every write until more replicas follow it".to_owned()
            }
            Self::EvictsTasks { bounded, .. } => format!(
                "a full server deletes tasks and whole queues without a word{}",
                unbounded(*bounded)
            ),
            Self::EvictsRecords { bounded, .. } => format!(
                "a full server deletes what expires: records of ended tasks, and with them the guard \
                 against an acknowledgement or an enqueue that counts twice, and the logs of tasks{}",
                unbounded(*bounded)
            ),
            Self::NearlyFull {
                evicts: Some(true), ..
            } => "keys are deleted when it is full".to_owned(),
            Self::NearlyFull { .. } => {
                "when it is full, enqueues are refused and workers slow down".to_owned()
            }
            Self::NotPersisted => "a restart of the server loses every task".to_owned(),
        }
    }

    /// What to do, as a command where one does it.
    pub fn fix(&self) -> String {
        match self {
            Self::Replica => "give the address of the primary, or redis+sentinel://".to_owned(),
            Self::TooOld { .. } => {
                format!("upgrade to Redis {OLDEST_REDIS} or newer, or to Valkey")
            }
            Self::TooFewReplicas { good, .. } => {
                format!("bring the replicas back, or CONFIG SET min-replicas-to-write {good}")
            }
            Self::EvictsTasks { .. } | Self::EvictsRecords { .. } => {
                set_for_good("maxmemory-policy noeviction")
            }
            Self::NearlyFull { .. } => "raise maxmemory, or lower retention.completed.maxAge \
                                        and what producers may have waiting (limits.maxBacklog)"
                .to_owned(),
            Self::NotPersisted => set_for_good("appendonly yes"),
        }
    }
}

/// A setting that is to outlive a restart.
fn set_for_good(setting: &str) -> String {
    format!(
        "CONFIG SET {setting}, and the same in redis.conf or the settings of the managed service"
    )
}

fn unbounded(bounded: Option<bool>) -> &'static str {
    match bounded {
        Some(false) => " (once it has a maxmemory; now it has none)",
        Some(true) | None => "",
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}; to mend it: {}",
            self.is(),
            self.breaks(),
            self.fix()
        )
    }
}

/// Whether a setting of a server breaks a promise.
pub(super) fn judge(report: &ServerReport, setting: Setting) -> Judgement {
    match setting {
        Setting::Role => seen(report.role, |role| {
            let replica = role == Role::Replica && report.mode != Some(Mode::Sentinel);
            replica.then_some(Risk::Replica)
        }),
        Setting::Version => seen(report.version, |version| {
            let too_old = is_too_old(report.make.as_deref(), version);
            too_old.then_some(Risk::TooOld { version })
        }),
        Setting::Replicas => replicas(report),
        Setting::Eviction => seen(report.eviction_policy.as_deref(), |policy| {
            eviction(policy, report)
        }),
        Setting::Memory => memory(report),
        Setting::Persistence => match (report.append_only, report.snapshots.as_deref()) {
            (Some(true), _) => Judgement::Safe,
            (_, Some(save)) if !save.is_empty() => Judgement::Safe,
            (Some(false), Some(_)) => Judgement::Unsafe(Risk::NotPersisted),
            (None, _) | (Some(false), None) => Judgement::Unknown,
        },
    }
}

/// What is to be said of a value, if it was seen.
fn seen<T>(value: Option<T>, risk: impl FnOnce(T) -> Option<Risk>) -> Judgement {
    match value.map(risk) {
        None => Judgement::Unknown,
        Some(None) => Judgement::Safe,
        Some(Some(risk)) => Judgement::Unsafe(risk),
    }
}

/// Whether a server of that make and version cannot hold queues. Of other makes nothing is known.
pub(crate) fn is_too_old(make: Option<&str>, version: Version) -> bool {
    make.is_none_or(|make| make == "Redis") && version < OLDEST_REDIS
}

fn eviction(policy: &str, report: &ServerReport) -> Option<Risk> {
    let bounded = report.max_memory.map(|limit| limit > 0);
    let policy = policy.to_owned();
    if policy == "noeviction" {
        None
    } else if policy.starts_with("volatile-") {
        Some(Risk::EvictsRecords { policy, bounded })
    } else {
        Some(Risk::EvictsTasks { policy, bounded })
    }
}

fn replicas(report: &ServerReport) -> Judgement {
    match (report.min_replicas, report.good_replicas) {
        (Some(0), _) => Judgement::Safe,
        (Some(wanted), Some(good)) if good < wanted => {
            Judgement::Unsafe(Risk::TooFewReplicas { good, wanted })
        }
        (Some(_), Some(_)) => Judgement::Safe,
        (Some(_), None) | (None, _) => Judgement::Unknown,
    }
}

fn memory(report: &ServerReport) -> Judgement {
    if report.max_memory == Some(0) {
        return Judgement::Safe;
    }
    seen(
        report.max_memory.zip(report.used_memory),
        |(limit, used)| {
            let percent = u128::from(used) * 100 / u128::from(limit);
            let percent = u64::try_from(percent).unwrap_or(u64::MAX);
            let evicts = report.eviction_policy.as_deref();
            (percent >= NEARLY_FULL).then(|| Risk::NearlyFull {
                percent: percent / STEP * STEP,
                limit,
                evicts: evicts.map(|policy| policy != "noeviction"),
            })
        },
    )
}

/// A size as people say it.
fn bytes(count: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let (unit, name) = match count {
        GIB.. => (GIB, "GiB"),
        MIB.. => (MIB, "MiB"),
        KIB.. => (KIB, "KiB"),
        _ => return format!("{count} bytes"),
    };
    let tenths = u128::from(count) * 10 / u128::from(unit);
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {name}"),
        (whole, tenth) => format!("{whole}.{tenth} {name}"),
    }
}
