//! What a queue logs of its tasks, and how much of it.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Least and most ends that a log may hold.
const ENDS: std::ops::RangeInclusive<u64> = 1_000..=100_000_000;
/// Least and most bytes.
const BYTES: std::ops::RangeInclusive<u64> = 1024 * 1024..=64 * 1024 * 1024 * 1024;

/// The log of a queue: a bounded stream, of which readers are told by [`Queue::ends`](crate::Queue::ends).
/// At its bounds the oldest go, read or not, and are counted; it never holds up a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventLog {
    /// What is logged.
    pub log: Logged,
    /// How many ends and failed attempts it holds: 1,000 to 100,000,000.
    pub max_entries: u64,
    /// How many bytes those take: 1 MiB to 64 GiB. Redis takes about a tenth more. The newest are kept
    /// even where they alone are more.
    pub max_bytes: u64,
}

/// What a queue logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Logged {
    /// Ends of tasks: completed, cancelled, expired, dropped, dead.
    #[default]
    Ends,
    /// These, and attempts that failed or were lost.
    Attempts,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            log: Logged::default(),
            max_entries: 100_000,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

impl EventLog {
    pub(super) fn check(&self) -> Result<(), Error> {
        let within = |field: &'static str, value: u64, range: std::ops::RangeInclusive<u64>| {
            if range.contains(&value) {
                return Ok(());
            }
            let rule = format!("{} to {}", range.start(), range.end());
            Err(Error::invalid(field, &value.to_string(), rule))
        };
        within("events.maxEntries", self.max_entries, ENDS)?;
        within("events.maxBytes", self.max_bytes, BYTES)
    }

    /// As `log.lua` reads it.
    pub(crate) fn bounds(&self) -> String {
        format!("{} {}", self.max_entries, self.max_bytes)
    }
}
