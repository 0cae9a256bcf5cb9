//! What a task has of its own in place of its queue's policy. Pure.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use crate::lease::millis;
use crate::pack::{Malformed, More, Reader, Writer};
use crate::{BackoffKind, Policy};

/// What a task has of its own in place of its queue's policy; what is absent is as the policy says, which
/// may change while the task waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overrides {
    /// Attempts in all, the first one included, in place of `retry.max_attempts`. At least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Longest run of one attempt, in place of `timeout`. 1 ms to 10 years, whole milliseconds.
    #[serde(
        rename = "timeoutMs",
        serialize_with = "in_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeout: Option<Duration>,
    /// The wait before the next attempt, in place of `retry.backoff`, whose jitter stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<OwnBackoff>,
}

/// A task's own wait between its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnBackoff {
    /// How the wait grows.
    pub kind: BackoffKind,
    /// The wait after the first failure: 0 to 10 years, whole milliseconds.
    #[serde(rename = "initialMs", serialize_with = "as_millis")]
    pub initial: Duration,
    /// The longest wait: `initial` to 10 years.
    #[serde(rename = "maxMs", serialize_with = "as_millis")]
    pub max: Duration,
}

impl Overrides {
    /// Whether the policy holds as it is.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The policy for this task.
    pub(crate) fn of<'a>(&self, policy: &'a Policy) -> Cow<'a, Policy> {
        if self.is_empty() {
            return Cow::Borrowed(policy);
        }
        let mut own = policy.for_tasks();
        if let Some(max_attempts) = self.max_attempts {
            own.retry.max_attempts = max_attempts;
        }
        if let Some(timeout) = self.timeout {
            own.timeout = timeout;
        }
        if let Some(backoff) = self.backoff {
            own.retry.backoff.kind = backoff.kind;
            own.retry.backoff.initial = backoff.initial;
            own.retry.backoff.max = backoff.max;
        }
        Cow::Owned(own)
    }

    /// An array of most attempts, timeout, kind of the backoff, its initial and its longest wait, times in
    /// ms; numbers are 0 where something is absent. Behind them what a later version wrote there.
    pub(crate) fn pack(&self, more: &More, writer: &mut Writer) {
        writer.array(5 + more.count());
        writer.uint(self.max_attempts.unwrap_or(0).into());
        writer.uint(self.timeout.map_or(0, millis));
        let kind = self.backoff.map_or(0, |backoff| match backoff.kind {
            BackoffKind::Exponential => 1,
            BackoffKind::Linear => 2,
            BackoffKind::Fixed => 3,
        });
        writer.uint(kind);
        writer.uint(self.backoff.map_or(0, |backoff| millis(backoff.initial)));
        writer.uint(self.backoff.map_or(0, |backoff| millis(backoff.max)));
        writer.more(more);
    }

    pub(super) fn unpack(reader: &mut Reader<'_>) -> Result<(Self, More), Malformed> {
        let more = reader.array_of(5)?;
        let max_attempts: u32 = reader.uint()?;
        let timeout: u64 = reader.uint()?;
        let kind = match reader.uint::<u64>()? {
            1 => Some(BackoffKind::Exponential),
            2 => Some(BackoffKind::Linear),
            3 => Some(BackoffKind::Fixed),
            _ => None,
        };
        let (initial, max) = (reader.uint()?, reader.uint()?);
        let more = reader.more(more)?;
        let overrides = Self {
            max_attempts: Some(max_attempts).filter(|most| *most > 0),
            timeout: Some(timeout)
                .filter(|ms| *ms > 0)
                .map(Duration::from_millis),
            backoff: kind.map(|kind| OwnBackoff {
                kind,
                initial: Duration::from_millis(initial),
                max: Duration::from_millis(max),
            }),
        };
        Ok((overrides, more))
    }
}

fn as_millis<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(millis(*span))
}

#[expect(clippy::ref_option, reason = "the shape that serde calls")]
fn in_millis<S: serde::Serializer>(
    span: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    span.map(millis).serialize(serializer)
}
