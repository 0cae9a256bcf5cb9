//! The retry part of a policy. What it decides is in [`retry`](crate::retry).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{at_least, maybe_millis, millis};
use crate::{Cause, Error};

/// Most rules of a policy.
const MAX_RULES: usize = 32;
/// Longest pattern of a rule, in bytes.
const MAX_PATTERN_BYTES: usize = 256;

/// When and how often a failed attempt is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included. At least 1.
    pub max_attempts: u32,
    /// The wait before the next attempt.
    pub backoff: Backoff,
    /// No attempt begins later than this after the end of the first failed one.
    #[serde(
        rename = "maxElapsedMs",
        with = "maybe_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_elapsed: Option<Duration>,
    /// Exceptions by cause and message; the first one that fits decides. At most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RetryRule>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            backoff: Backoff::default(),
            max_elapsed: None,
            rules: Vec::new(),
        }
    }
}

impl RetryPolicy {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.max_attempts == 0 {
            return Err(Error::invalid("retry.maxAttempts", "0", "at least 1"));
        }
        at_least(
            "retry.backoff.initial",
            self.backoff.initial,
            Duration::ZERO,
        )?;
        at_least("retry.backoff.max", self.backoff.max, self.backoff.initial)?;
        let jitter = self.backoff.jitter;
        if !(0.0..=1.0).contains(&jitter) {
            return Err(Error::invalid(
                "retry.backoff.jitter",
                &jitter.to_string(),
                "0 to 1",
            ));
        }
        if let Some(span) = self.max_elapsed {
            at_least("retry.maxElapsed", span, Duration::from_millis(1))?;
        }
        if self.rules.len() > MAX_RULES {
            let count = self.rules.len().to_string();
            return Err(Error::invalid("retry.rules", &count, "at most 32 rules"));
        }
        self.rules.iter().try_for_each(RetryRule::check)
    }
}

/// An exception to the retry policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryRule {
    /// Only failures of this cause; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Only failures whose message this regular expression finds something in; any when absent.
    /// At most 256 bytes. Not for the loss of a worker, which has no message.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What becomes of the task.
    pub action: RetryAction,
    /// Whether the failure counts against `max_attempts`. When absent, errors and timeouts do, and
    /// the loss of a worker does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_as_attempt: Option<bool>,
    /// With [`RetryAction::Retry`]: the wait, instead of the backoff.
    #[serde(
        default,
        rename = "afterMs",
        with = "maybe_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub after: Option<Duration>,
}

/// What a retry rule does with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetryAction {
    /// It is tried again.
    Retry,
    /// It goes to the dead letters at once.
    DeadLetter,
    /// It ends, without a dead letter. Not for the loss of a worker.
    Drop,
}

impl RetryRule {
    fn check(&self) -> Result<(), Error> {
        if let Some(pattern) = &self.pattern {
            let wrong = |rule: String| Error::invalid("retry.rules.match", pattern, rule);
            if pattern.len() > MAX_PATTERN_BYTES {
                return Err(wrong("at most 256 bytes".to_owned()));
            }
            regex_lite::Regex::new(pattern).map_err(|fault| wrong(fault.to_string()))?;
        }
        let of_loss = self.cause.is_some_and(Cause::is_loss);
        if of_loss && self.pattern.is_some() {
            return Err(Error::invalid(
                "retry.rules.match",
                self.pattern.as_deref().unwrap_or_default(),
                "left out where the cause is the loss of a worker: it has no message",
            ));
        }
        if of_loss && self.action == RetryAction::Drop {
            return Err(Error::invalid(
                "retry.rules.action",
                "Drop",
                "Retry or DeadLetter where the cause is the loss of a worker",
            ));
        }
        if let Some(after) = self.after {
            at_least("retry.rules.after", after, Duration::ZERO)?;
        }
        Ok(())
    }
}

/// How long to wait after a failed attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Backoff {
    /// How the wait grows.
    pub kind: BackoffKind,
    /// The wait after the first failure.
    #[serde(rename = "initialMs", with = "millis")]
    pub initial: Duration,
    /// The longest wait, before jitter.
    #[serde(rename = "maxMs", with = "millis")]
    pub max: Duration,
    /// How far chance may move the wait up or down: 0.2 for a fifth each way. 0 to 1.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            kind: BackoffKind::Exponential,
            initial: Duration::from_secs(1),
            max: Duration::from_mins(10),
            jitter: 0.2,
        }
    }
}

/// How the wait grows from one failure to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackoffKind {
    /// It doubles.
    Exponential,
    /// It grows by `initial`.
    Linear,
    /// It stays at `initial`.
    Fixed,
}
