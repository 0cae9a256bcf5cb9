//! What the servers say of themselves, and which of their settings break a promise of this crate.
//! Asking them is in `ask`, reading the answers in `read`, judging them in `risk`.

mod ask;
mod hello;
mod read;
mod risk;
mod safety;

use std::fmt;

pub(crate) use ask::Refusals;
pub(crate) use hello::Hello;
pub use hello::{Mode, Role, Version};
pub(crate) use read::version_in_info;
pub(crate) use risk::is_too_old;
pub use risk::{Judgement, Risk, Setting};
pub use safety::{Finding, Safety};

/// The oldest version of Redis whose servers can hold queues. Every Valkey can.
pub const OLDEST_REDIS: Version = Version::new(7, 0, 0);

/// What one server says of itself. `None` is what it did not tell: unknown, which is neither good nor
/// bad. See [`Client::server_reports`](crate::Client::server_reports).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerReport {
    /// `host:port`.
    pub address: String,
    /// Its make: `Redis`, `Valkey`, or what else it calls itself.
    pub make: Option<String>,
    /// Its version, of that make.
    pub version: Option<Version>,
    /// Whether it stands alone.
    pub mode: Option<Mode>,
    /// Whether it takes writes.
    pub role: Option<Role>,
    /// `min-replicas-to-write`; 0 is none.
    pub min_replicas: Option<u64>,
    /// How many replicas follow without delay; told only where some are wanted.
    pub good_replicas: Option<u64>,
    /// `maxmemory-policy`, such as `noeviction`.
    pub eviction_policy: Option<String>,
    /// Bytes of memory that its data takes.
    pub used_memory: Option<u64>,
    /// `maxmemory` in bytes; 0 is no bound.
    pub max_memory: Option<u64>,
    /// `appendonly`: whether what is written goes to a log on disk.
    pub append_only: Option<bool>,
    /// `appendfsync`: when that log is forced to disk: `always`, `everysec` or `no`.
    pub fsync: Option<String>,
    /// `save`: when snapshots are written to disk; never, if it is empty.
    pub snapshots: Option<String>,
    /// What it was asked and did not answer.
    pub unseen: Vec<Unseen>,
}

/// A question that a server did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// The command, such as `INFO` or `CONFIG GET`.
    pub command: &'static str,
    /// The right that the user lacks, such as `+info`; `None` when that is not what is missing: managed
    /// services do without some commands, or rename them.
    pub right: Option<&'static str>,
    /// What the server said.
    pub said: String,
}

impl ServerReport {
    /// A server that is known by its address alone.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            ..Self::default()
        }
    }

    /// Make and version, as far as they are known: `Valkey 9.1.2`.
    pub fn name(&self) -> String {
        let make = self.make.as_deref().unwrap_or("Redis");
        match &self.version {
            Some(version) => format!("{make} {version}"),
            None => format!("{make} of unknown version"),
        }
    }

    /// Whether this setting breaks a promise.
    pub fn judge(&self, setting: Setting) -> Judgement {
        risk::judge(self, setting)
    }

    /// All that breaks a promise, the gravest first.
    pub fn risks(&self) -> Vec<Risk> {
        let judged = Setting::ALL.iter().map(|setting| self.judge(*setting));
        judged.filter_map(Judgement::risk).collect()
    }

    /// Rights that would tell more, such as `+info`, each once.
    pub fn missing_rights(&self) -> Vec<&'static str> {
        let mut rights: Vec<_> = self
            .unseen
            .iter()
            .filter_map(|unseen| unseen.right)
            .collect();
        rights.sort_unstable();
        rights.dedup();
        rights
    }
}

impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name(), self.address)?;
        if let Some(role) = self.role {
            write!(f, ", {role}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
