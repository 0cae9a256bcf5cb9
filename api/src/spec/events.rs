//! `spec.events`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A log of the tasks that have ended, kept in Redis for programs that read it: a history, a search, a
/// webhook. The oldest entries go when it is full, whether or not they were read; it never holds up the
/// queue.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// What is logged. Ends (the default): tasks that were completed, cancelled or dropped, that expired,
    /// or became dead letters. Attempts: these, and attempts that failed or lost their worker.
    #[serde(default)]
    pub log: EventLogging,

    /// The most entries of the log, from 1000 to 100000000. By default 100000.
    #[serde(default = "default_entries")]
    #[schemars(range(min = 1_000, max = 100_000_000))]
    pub max_entries: i32,

    /// The most bytes of the log's entries, from 1048576 (1 MiB) to 68719476736 (64 GiB). By default
    /// 67108864 (64 MiB). Redis takes about a tenth more.
    #[serde(default = "default_bytes")]
    #[schemars(range(min = 1_048_576_i64, max = 68_719_476_736_i64))]
    pub max_bytes: i64,
}

/// What is logged. `Ends` (the default): tasks that were completed, cancelled or dropped, that expired, or
/// became dead letters. `Attempts`: these, and attempts that failed or lost their worker.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventLogging {
    #[default]
    /// Ends of tasks.
    Ends,
    /// These, and failed and lost attempts.
    Attempts,
}

fn default_entries() -> i32 {
    100_000
}

fn default_bytes() -> i64 {
    64 * 1024 * 1024
}
