//! What holds for the tasks of one type, in place of what holds for all of a queue. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Backoff, Policy, RetryRule, at_least, maybe_millis};
use crate::Error;
use crate::task::check_kind;

/// Most types of a policy.
const MAX_TYPES: usize = 100;

/// What holds for the tasks of one type; what is absent is as the policy says for all. What a task has of its own goes
/// before both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypePolicy {
    /// The type: 1 to 128 bytes without control characters.
    pub name: String,
    /// How many tasks of the type may be active at once, over all workers. At least 1. It holds for tasks that are
    /// enqueued while it is in force, and these can have no concurrency key of their own. The others wait apart, as
    /// those of a concurrency key do. A higher number lets in at once who waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Longest run of one attempt. At least 1 ms.
    #[serde(
        default,
        rename = "timeoutMs",
        with = "maybe_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeout: Option<Duration>,
    /// When a failed attempt is tried again.
    #[serde(default, skip_serializing_if = "TypeRetry::is_empty")]
    pub retry: TypeRetry,
}

/// What holds for the retries of one type; what is absent is as the policy says for all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TypeRetry {
    /// Attempts in all, the first one included. At least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The wait before the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// No attempt begins later than this after the end of the first failed one. At least 1 ms.
    #[serde(
        rename = "maxElapsedMs",
        with = "maybe_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_elapsed: Option<Duration>,
    /// Exceptions by cause and message, in place of all of the policy's. At most 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<RetryRule>>,
}

impl TypeRetry {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl TypePolicy {
    /// The policy for tasks of this type.
    pub(crate) fn of(&self, policy: &Policy) -> Policy {
        let mut own = policy.for_tasks();
        if let Some(timeout) = self.timeout {
            own.timeout = timeout;
        }
        let TypeRetry {
            max_attempts,
            backoff,
            max_elapsed,
            rules,
        } = &self.retry;
        if let Some(max_attempts) = max_attempts {
            own.retry.max_attempts = *max_attempts;
        }
        if let Some(backoff) = backoff {
            own.retry.backoff.clone_from(backoff);
        }
        if max_elapsed.is_some() {
            own.retry.max_elapsed = *max_elapsed;
        }
        if let Some(rules) = rules {
            own.retry.rules.clone_from(rules);
        }
        own
    }

    /// The key of which its tasks take places, as tasks with a concurrency key do of theirs: no task can have it of its
    /// own. `None` if they are not limited.
    pub(crate) fn key(&self) -> Option<String> {
        self.concurrency.map(|_| format!("\0{}", self.name))
    }

    fn check(&self, policy: &Policy) -> Result<(), Error> {
        check_kind("types.name", &self.name)?;
        if self.concurrency == Some(0) {
            let rule = "at least 1, or left out";
            return Err(Error::invalid("types.concurrency", "0", rule));
        }
        if let Some(timeout) = self.timeout {
            at_least("types.timeout", timeout, Duration::from_millis(1))?;
        }
        let checked = self.of(policy).retry.check();
        checked.map_err(|error| self.at_fault(error))
    }

    /// What is said of the retries of the type.
    fn at_fault(&self, error: Error) -> Error {
        let Error::Invalid { field, value, rule } = error else {
            return error;
        };
        let field = match field {
            "retry.maxAttempts" => "types.retry.maxAttempts",
            "retry.backoff.initial" => "types.retry.backoff.initial",
            "retry.backoff.max" => "types.retry.backoff.max",
            "retry.backoff.jitter" => "types.retry.backoff.jitter",
            "retry.maxElapsed" => "types.retry.maxElapsed",
            "retry.rules" => "types.retry.rules",
            "retry.rules.match" => "types.retry.rules.match",
            "retry.rules.action" => "types.retry.rules.action",
            "retry.rules.after" => "types.retry.rules.after",
            _ => "types.retry",
        };
        let rule = format!("{rule} (type {})", self.name);
        Error::Invalid { field, value, rule }
    }
}

impl Policy {
    /// What holds for a type, if something does.
    pub(crate) fn of_type(&self, kind: &str) -> Option<&TypePolicy> {
        self.types.iter().find(|of| of.name == kind)
    }

    pub(super) fn check_types(&self) -> Result<(), Error> {
        if self.types.len() > MAX_TYPES {
            let count = self.types.len().to_string();
            return Err(Error::invalid("types", &count, "at most 100"));
        }
        for (place, of) in self.types.iter().enumerate() {
            of.check(self)?;
            if self.types[..place].iter().any(|it| it.name == of.name) {
                return Err(Error::invalid("types.name", &of.name, "each name once"));
            }
        }
        Ok(())
    }

    /// Without what is no part of what holds for a task, and may be much.
    pub(crate) fn for_tasks(&self) -> Self {
        Self {
            levels: Vec::new(),
            retired: Vec::new(),
            order: self.order.clone(),
            limits: self.limits.clone(),
            retry: self.retry.clone(),
            events: self.events.clone(),
            types: Vec::new(),
            schedules: Vec::new(),
            unknown: std::collections::BTreeMap::new(),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackoffKind;

    fn policy(of: TypePolicy) -> Policy {
        Policy {
            types: vec![of],
            ..Policy::default()
        }
    }

    #[test]
    fn what_a_type_says_goes_before_what_the_queue_says_and_the_rest_stays() {
        let slow = TypePolicy {
            name: "slow".to_owned(),
            timeout: Some(Duration::from_hours(1)),
            retry: TypeRetry {
                max_attempts: Some(2),
                ..TypeRetry::default()
            },
            ..TypePolicy::default()
        };
        let mut all = policy(slow);
        all.retry.backoff.kind = BackoffKind::Fixed;
        let own = all.of_type("slow").unwrap().of(&all);
        assert_eq!(own.timeout, Duration::from_hours(1));
        assert_eq!(own.retry.max_attempts, 2);
        assert_eq!(own.retry.backoff, all.retry.backoff);
        assert_eq!(own.max_losses, all.max_losses);
        assert_eq!(all.of_type("other"), None);
    }

    #[test]
    fn it_is_stored_with_units_and_without_what_is_absent() {
        let of = TypePolicy {
            name: "a".to_owned(),
            timeout: Some(Duration::from_secs(1)),
            ..TypePolicy::default()
        };
        let stored = serde_json::to_value(&of).unwrap();
        assert_eq!(stored, serde_json::json!({"name": "a", "timeoutMs": 1000}));
        let read: TypePolicy = serde_json::from_value(stored).unwrap();
        assert_eq!(read, of);
        let none = serde_json::to_value(Policy::default()).unwrap();
        assert_eq!(none.get("types"), None);
    }

    #[test]
    fn each_field_out_of_range_is_named() {
        type Edit = fn(&mut TypePolicy);
        let edits: [(Edit, &str); 6] = [
            (|of| of.name.clear(), "types.name"),
            (|of| of.name = "a\n".to_owned(), "types.name"),
            (|of| of.concurrency = Some(0), "types.concurrency"),
            (|of| of.timeout = Some(Duration::ZERO), "types.timeout"),
            (
                |of| of.retry.max_attempts = Some(0),
                "types.retry.maxAttempts",
            ),
            (
                |of| of.retry.max_elapsed = Some(Duration::ZERO),
                "types.retry.maxElapsed",
            ),
        ];
        for (edit, at) in edits {
            let mut of = TypePolicy {
                name: "a".to_owned(),
                ..TypePolicy::default()
            };
            edit(&mut of);
            match policy(of).check() {
                Err(Error::Invalid { field, .. }) => assert_eq!(field, at),
                other => panic!("{at}: {other:?}"),
            }
        }
        let of = || TypePolicy {
            name: "a".to_owned(),
            ..TypePolicy::default()
        };
        let mut twice = policy(of());
        twice.types.push(of());
        let refused = twice.check().unwrap_err().to_string();
        assert!(refused.contains("each name once"), "{refused}");
        let many = (0..101).map(|number| TypePolicy {
            name: number.to_string(),
            ..TypePolicy::default()
        });
        twice.types = many.collect();
        let refused = twice.check().unwrap_err().to_string();
        assert!(refused.contains("at most 100"), "{refused}");
    }
}
