//! A queue's policy: what producers and workers obey, kept beside the tasks as JSON so that an edit
//! is live. Pure: types, defaults and checks; reading and writing it in Redis is in `config`.

mod events;
mod limits;
mod retry;
mod schedule;
mod types;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::events::{EventLog, Logged};
pub use self::limits::{Limits, Order, Rate};
pub use self::retry::{Backoff, BackoffKind, RetryAction, RetryPolicy, RetryRule};
pub use self::schedule::{Missed, Schedule};
pub use self::types::{TypePolicy, TypeRetry};
use crate::payload::MAX_PAYLOAD_BYTES;
use crate::{Error, QueueName};

/// Longest level name.
const MAX_LEVEL_NAME: usize = 32;
/// Most levels a policy may have; each is a key that every fetch looks at.
const MAX_LEVELS: usize = 16;
/// Most schedules.
const MAX_SCHEDULES: usize = 100;
/// Most attempts that are kept of a task.
const MAX_ATTEMPTS_KEPT: u32 = 100;
/// Longest duration of any field: ten years, far from every overflow.
const MAX_DURATION: Duration = Duration::from_hours(10 * 365 * 24);

/// What holds for every task of a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// Priority levels, highest first: 1 to 16 names of 1 to 32 characters of `a-z`, `0-9` and `-`.
    pub levels: Vec<String>,
    /// Levels of an earlier policy that may still hold tasks; they are drained last. Set by
    /// [`Queue::configure`](crate::Queue::configure) alone, which ignores what is given here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<String>,
    /// In which order the levels are served.
    pub order: Order,
    /// What the whole queue may do, however many workers it has.
    pub limits: Limits,
    /// When a failed attempt is tried again.
    pub retry: RetryPolicy,
    /// Longest run of one attempt. At least 1 ms.
    #[serde(rename = "timeoutMs", with = "millis")]
    pub timeout: Duration,
    /// While true, workers fetch nothing; what runs goes on, and enqueueing stays possible.
    pub paused: bool,
    /// Largest payload of a task, in bytes, up to [`MAX_PAYLOAD_BYTES`].
    pub max_payload_bytes: u32,
    /// How long a completed task can be read; at least 10 s whatever is said here, because its
    /// record is what an ack that is sent twice is recognised by.
    #[serde(rename = "completedMaxAgeMs", with = "millis")]
    pub completed_max_age: Duration,
    /// How many ended tasks can be read; absent for no bound but age. They go in groups, so that
    /// some more may be kept, and none goes in its first 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_max_count: Option<u32>,
    /// Most dead letters kept; the oldest go first.
    pub dead_max_count: u32,
    /// How long a dead letter is kept.
    #[serde(rename = "deadMaxAgeMs", with = "millis")]
    pub dead_max_age: Duration,
    /// How often a task may lose its worker. One loss more and it is quarantined among the dead
    /// letters.
    pub max_losses: u32,
    /// How many failed and lost attempts are kept of each task, the last ones: 1 to 100.
    pub attempts_kept: u32,
    /// The log of what has ended; absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<EventLog>,
    /// What holds for the tasks of some types in place of what holds for all; at most 100, each name once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<TypePolicy>,
    /// Recurring tasks, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Schedule>,
    /// Fields that this version does not know, as a later one wrote them. They stay in force when the
    /// policy is replaced by one without them.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            levels: ["high", "normal", "low"].map(String::from).to_vec(),
            retired: Vec::new(),
            order: Order::default(),
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(30),
            paused: false,
            max_payload_bytes: 256 * 1024,
            completed_max_age: Duration::from_hours(1),
            completed_max_count: None,
            dead_max_count: 10_000,
            dead_max_age: Duration::from_hours(14 * 24),
            max_losses: 3,
            attempts_kept: 10,
            events: None,
            types: Vec::new(),
            schedules: Vec::new(),
            unknown: BTreeMap::new(),
        }
    }
}

impl Policy {
    /// The level of a task that names none, as its place in `levels`: the middle one, of two the
    /// lower.
    pub fn default_level(&self) -> usize {
        self.levels.len() / 2
    }

    /// The earliest run of any schedule of the queue that has this policy after a time; `None` if there is
    /// none that is not suspended, or none that can be read. Reads the schedules anew each time: the answer
    /// stands until it has passed.
    pub fn next_run(&self, queue: &QueueName, after: Timestamp) -> Option<Timestamp> {
        crate::cron::first(queue, &self.schedules, after)
    }

    /// Checks every field against its range. The error names the field.
    pub fn check(&self) -> Result<(), Error> {
        self.check_without_schedules()?;
        self.check_schedules()
    }

    /// The part that tasks depend on. A schedule that is stored and cannot run, perhaps written by a
    /// later version, must not stop the queue.
    pub(crate) fn check_without_schedules(&self) -> Result<(), Error> {
        let levels = self.levels.len();
        if !(1..=MAX_LEVELS).contains(&levels) {
            return Err(Error::invalid(
                "levels",
                &levels.to_string(),
                "1 to 16 levels",
            ));
        }
        for (place, level) in self.levels.iter().enumerate() {
            check_level(level)?;
            if self.levels[..place].contains(level) {
                return Err(Error::invalid("levels", level, "each level once"));
            }
        }
        self.order.check(levels)?;
        self.limits.check()?;
        self.retry.check()?;
        self.events.as_ref().map_or(Ok(()), EventLog::check)?;
        self.check_types()?;
        at_least("timeout", self.timeout, Duration::from_millis(1))?;
        at_least("completedMaxAge", self.completed_max_age, Duration::ZERO)?;
        at_least("deadMaxAge", self.dead_max_age, Duration::ZERO)?;
        if !(1..=MAX_ATTEMPTS_KEPT).contains(&self.attempts_kept) {
            let kept = self.attempts_kept.to_string();
            return Err(Error::invalid("retry.attemptsKept", &kept, "1 to 100"));
        }
        if self.max_payload_bytes as usize > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLarge {
                field: "maxPayloadBytes",
                size: self.max_payload_bytes as usize,
                limit: MAX_PAYLOAD_BYTES,
            });
        }
        Ok(())
    }

    fn check_schedules(&self) -> Result<(), Error> {
        if self.schedules.len() > MAX_SCHEDULES {
            let count = self.schedules.len().to_string();
            return Err(Error::invalid("schedules", &count, "at most 100"));
        }
        for (place, schedule) in self.schedules.iter().enumerate() {
            schedule.check(self)?;
            let same = |other: &Schedule| other.name == schedule.name;
            if self.schedules[..place].iter().any(same) {
                return Err(Error::invalid(
                    "schedules.name",
                    &schedule.name,
                    "each name once",
                ));
            }
        }
        Ok(())
    }
}

/// A value together with the version under which Redis holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// Counts the changes, from 1. 0 says that nothing is stored and the value is the default.
    pub version: u64,
    /// The value.
    pub value: T,
}

/// Checks the name of a priority level.
pub(crate) fn check_level(level: &str) -> Result<(), Error> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=MAX_LEVEL_NAME).contains(&level.len()) && level.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Error::invalid(
            "priority",
            level,
            "1 to 32 characters of a-z, 0-9 and '-'",
        ))
    }
}

fn at_least(field: &'static str, value: Duration, least: Duration) -> Result<(), Error> {
    if (least..=MAX_DURATION).contains(&value) {
        Ok(())
    } else {
        let rule = format!("{} ms to 10 years", least.as_millis());
        Err(Error::invalid(
            field,
            &format!("{} ms", value.as_millis()),
            rule,
        ))
    }
}

/// Durations that may be absent.
mod maybe_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the shape that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

/// Durations as whole milliseconds, the unit in the field's name.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_policy_is_allowed_and_its_default_level_is_the_middle() {
        let policy = Policy::default();
        assert_eq!(policy.check(), Ok(()));
        assert_eq!(policy.levels[policy.default_level()], "normal");
        let two = Policy {
            levels: vec!["high".into(), "low".into()],
            ..policy
        };
        assert_eq!(two.levels[two.default_level()], "low");
    }

    #[test]
    fn the_stored_form_has_units_in_its_names_and_fills_what_is_missing() {
        let stored = serde_json::to_value(Policy::default()).unwrap();
        assert_eq!(stored["timeoutMs"], 30_000);
        assert_eq!(stored["retry"]["backoff"]["initialMs"], 1_000);
        assert_eq!(stored["retry"]["backoff"]["kind"], "Exponential");
        let sparse: Policy = serde_json::from_str(r#"{"levels":["only"]}"#).unwrap();
        assert_eq!(sparse.levels, ["only"]);
        assert_eq!(sparse.timeout, Policy::default().timeout);
    }

    #[test]
    fn each_field_out_of_range_is_named() {
        type Edit = fn(&mut Policy);
        let edits: [(Edit, &str); 11] = [
            (|p| p.levels.clear(), "levels"),
            (|p| p.levels = vec!["a".into(); 2], "levels"),
            (
                |p| p.levels = (0..17).map(|n| format!("l{n}")).collect(),
                "levels",
            ),
            (|p| p.levels[0] = "High".into(), "priority"),
            (|p| p.retry.max_attempts = 0, "retry.maxAttempts"),
            (|p| p.retry.backoff.jitter = 1.01, "retry.backoff.jitter"),
            (
                |p| p.retry.backoff.jitter = f64::NAN,
                "retry.backoff.jitter",
            ),
            (
                |p| p.retry.backoff.max = Duration::ZERO,
                "retry.backoff.max",
            ),
            (|p| p.timeout = Duration::ZERO, "timeout"),
            (|p| p.attempts_kept = 0, "retry.attemptsKept"),
            (|p| p.attempts_kept = 101, "retry.attemptsKept"),
        ];
        for (edit, at) in edits {
            let mut policy = Policy::default();
            edit(&mut policy);
            match policy.check() {
                Err(Error::Invalid { field, .. }) => assert_eq!(field, at),
                other => panic!("{at}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn a_level_name_that_is_allowed_cannot_break_out_of_a_key(text in ".{0,40}") {
            if check_level(&text).is_ok() {
                let breaks_out = |c: char| matches!(c, ':' | '{' | '}' | '\0');
                prop_assert!(text.len() <= MAX_LEVEL_NAME && !text.contains(breaks_out));
            }
        }
    }
}
