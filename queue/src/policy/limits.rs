//! The limits of a policy: what the whole queue may do, however many workers it has.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{at_least, millis};
use crate::Error;

/// Shortest and longest span of a rate limit.
const RATE_SPANS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_hours(31 * 24);

/// Bounds on all workers together. Absent means unbounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// How many attempts may begin in any span of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many tasks may be active at once. At least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// How many tasks of one concurrency key may be active at once. At least 1. With 1, tasks of a
    /// key run one after the other in the order in which they were enqueued.
    /// A higher limit lets in at once who waits for it; a lower one holds for tasks that become
    /// runnable from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_key_concurrency: Option<u32>,
    /// How many tasks may wait, scheduled ones included; an enqueue that would exceed it is
    /// refused. At least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_backlog: Option<u64>,
}

/// A rate limit: at most `count` attempts begin in any span of length `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// How many. At least 1.
    pub count: u32,
    /// In how long: 100 ms to 31 days. What was used comes back in twentieths of it.
    #[serde(rename = "perMs", with = "millis")]
    pub per: Duration,
}

impl Rate {
    /// How many may have begun when so much time has passed since the first could, evenly.
    pub fn within(self, passed: Duration) -> u64 {
        let begun = u128::from(self.count) * passed.as_nanos() / self.per.as_nanos().max(1);
        u64::try_from(begun).unwrap_or(u64::MAX)
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), Error> {
        let least = |field: &'static str, value: Option<u64>| match value {
            Some(0) => Err(Error::invalid(field, "0", "at least 1, or left out")),
            _ => Ok(()),
        };
        least("limits.concurrency", self.concurrency.map(u64::from))?;
        least(
            "limits.perKey.concurrency",
            self.per_key_concurrency.map(u64::from),
        )?;
        least("limits.maxBacklog", self.max_backlog)?;
        let Some(rate) = self.rate else { return Ok(()) };
        least("limits.rate.count", Some(rate.count.into()))?;
        at_least("limits.rate.per", rate.per, *RATE_SPANS.start())?;
        if rate.per > *RATE_SPANS.end() {
            let value = format!("{} ms", rate.per.as_millis());
            return Err(Error::invalid("limits.rate.per", &value, "at most 31 days"));
        }
        Ok(())
    }
}

/// In which order levels are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Order {
    /// The highest level that has tasks goes first.
    #[serde(rename = "Strict")]
    Strict {
        /// How much longer than a task of the next higher level a task has to wait to go before
        /// it. Absent: a lower level is served only while the higher ones are empty.
        #[serde(
            default,
            rename = "agingMs",
            with = "super::maybe_millis",
            skip_serializing_if = "Option::is_none"
        )]
        aging: Option<Duration>,
    },
    /// Levels that have tasks share the workers by their weights.
    #[serde(rename = "Weighted")]
    Weighted {
        /// A weight for each level, in the order of the levels: 1 to 1000.
        weights: Vec<u32>,
    },
}

impl Default for Order {
    fn default() -> Self {
        Self::Strict { aging: None }
    }
}

impl Order {
    pub(super) fn check(&self, levels: usize) -> Result<(), Error> {
        match self {
            Self::Strict { aging: None } => Ok(()),
            Self::Strict { aging: Some(aging) } => {
                at_least("priorities.aging", *aging, Duration::from_millis(1))
            }
            Self::Weighted { weights } if weights.len() != levels => {
                let count = weights.len().to_string();
                let rule = "a weight for each level";
                Err(Error::invalid("priorities.weights", &count, rule))
            }
            Self::Weighted { weights } => {
                match weights.iter().find(|weight| !(1..=1_000).contains(*weight)) {
                    Some(weight) => {
                        let value = weight.to_string();
                        Err(Error::invalid("priorities.weights", &value, "1 to 1000"))
                    }
                    None => Ok(()),
                }
            }
        }
    }
}
