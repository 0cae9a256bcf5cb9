//! Recurring tasks of a policy. When each is due is decided in [`cron`](crate::cron).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::millis;
use crate::payload::fits;
use crate::{Error, Payload, Policy};

/// Longest name of a schedule; it is what its last run is remembered by.
const MAX_NAME: usize = 63;
/// Longest jitter.
const MAX_JITTER: Duration = Duration::from_hours(24);

/// A task that is enqueued again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Unique in the queue: 1 to 63 characters of `a-z`, `0-9` and `-`.
    pub name: String,
    /// Minute, hour, day of month, month and day of week, as `crontab` writes them; or `@hourly`,
    /// `@daily`, `@weekly`, `@monthly` or `@yearly`. When both days are restricted, either will do.
    /// `L` is the last day of a month. A time of day that a change of the clock leaves out runs at
    /// that change; one that happens twice runs once.
    pub cron: String,
    /// A name of the time zone database, for example `Europe/Paris`.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// The type of the task.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its payload.
    #[serde(default = "null")]
    pub payload: Payload,
    /// Its priority level; absent for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// While true it does not run, and what it would have run is not made up for: when resumed it
    /// begins anew, as when it is first seen and when `cron` or `time_zone` is edited.
    #[serde(default)]
    pub suspend: bool,
    /// What becomes of runs whose time passed while nobody looked.
    #[serde(default)]
    pub missed: Missed,
    /// Up to how much later than at its time a run is due, at most 24 h, and always before the next one. How
    /// much is the same whoever looks, and another for each queue, name and time: so schedules of many queues
    /// for one time do not all run at once.
    #[serde(
        rename = "jitterMs",
        with = "millis",
        default,
        skip_serializing_if = "Duration::is_zero"
    )]
    pub jitter: Duration,
}

/// What becomes of runs of a schedule whose time passed while nobody looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missed {
    /// One run makes up for all of them.
    #[default]
    RunOnce,
    /// They are left out; a run is missed when it is more than a minute late.
    Skip,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn null() -> Payload {
    Payload::null()
}

impl Schedule {
    pub(super) fn check(&self, policy: &Policy) -> Result<(), Error> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=MAX_NAME).contains(&self.name.len()) || !self.name.bytes().all(allowed) {
            let rule = "1 to 63 characters of a-z, 0-9 and '-'";
            return Err(Error::invalid("schedules.name", &self.name, rule));
        }
        if let Some(level) = &self.priority
            && !policy.levels.contains(level)
        {
            return Err(Error::invalid(
                "schedules.priority",
                level,
                format!("one of {}", policy.levels.join(", ")),
            ));
        }
        if self.jitter > MAX_JITTER {
            let value = format!("{} ms", self.jitter.as_millis());
            return Err(Error::invalid(
                "schedules.jitter",
                &value,
                "at most 24 hours",
            ));
        }
        crate::task::check_kind("schedules.type", &self.kind)?;
        let limit = policy.max_payload_bytes as usize;
        fits("schedules.payload", self.payload.as_bytes().len(), limit)?;
        crate::cron::check(&self.cron, &self.time_zone)
    }
}
