//! Whether and when a failed attempt is tried again: one decision, for workers and for whoever
//! explains it. Pure: time and chance are arguments.

use std::time::Duration;

use regex_lite::Regex;

use crate::Cause;
use crate::policy::{BackoffKind, RetryAction, RetryPolicy, RetryRule};

/// Longest wait before a retry, whoever asks for it: one year.
pub const MAX_WAIT: Duration = Duration::from_hours(365 * 24);

/// The patterns of a policy's rules, read once.
#[derive(Debug, Clone, Default)]
pub struct Patterns(Vec<Option<Regex>>);

impl Patterns {
    /// Those of this policy. A pattern that is none, which [`Policy::check`](crate::Policy::check)
    /// would have refused, fits nothing.
    pub fn of(policy: &RetryPolicy) -> Self {
        let never = || Regex::new("$^.").ok();
        let read = |rule: &RetryRule| {
            let pattern = rule.pattern.as_ref()?;
            Regex::new(pattern).ok().or_else(never)
        };
        Self(policy.rules.iter().map(read).collect())
    }

    fn fits(&self, place: usize, message: &str) -> bool {
        match self.0.get(place) {
            Some(Some(pattern)) => pattern.is_match(message),
            _ => true,
        }
    }
}

/// A failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed<'a> {
    /// What kind of failure it was.
    pub cause: Cause,
    /// What the handler said.
    pub message: &'a str,
    /// Attempts that failed before this one and counted.
    pub attempts_before: u32,
    /// How long ago the first attempt failed.
    pub failing_for: Duration,
    /// The wait that the handler asked for: taken as it is, without backoff or jitter.
    pub requested: Option<Duration>,
}

/// What becomes of a task whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What comes next.
    pub next: Next,
    /// Whether the failure counts as an attempt.
    pub counts: bool,
}

/// What comes after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It runs again after this wait.
    Retry {
        /// The wait, at most [`MAX_WAIT`].
        after: Duration,
    },
    /// It has had its attempts or its time, or a rule says so: it goes to the dead letters.
    Dead,
    /// A rule says that it ends without a dead letter.
    Drop,
}

/// Decides after a failed attempt. `chance` is a random number from 0 to 1 that places the wait
/// inside the span which the policy's jitter opens.
pub fn decide(
    policy: &RetryPolicy,
    patterns: &Patterns,
    failed: &Failed<'_>,
    chance: f64,
) -> Decision {
    let fits = |(place, rule): &(usize, &RetryRule)| {
        rule.cause.is_none_or(|cause| cause == failed.cause)
            && patterns.fits(*place, failed.message)
    };
    let rule = policy.rules.iter().enumerate().find(fits);
    let rule = rule.map(|(_, rule)| rule);
    let counts = rule
        .and_then(|rule| rule.counts_as_attempt)
        .unwrap_or(!failed.cause.is_loss());
    let attempts = failed.attempts_before.saturating_add(u32::from(counts));
    let next = match rule.map(|rule| rule.action) {
        Some(RetryAction::DeadLetter) => Next::Dead,
        Some(RetryAction::Drop) => Next::Drop,
        _ if counts && attempts >= policy.max_attempts => Next::Dead,
        _ => {
            let asked = failed.requested.or(rule.and_then(|rule| rule.after));
            let after = asked.unwrap_or_else(|| jittered(policy, attempts.max(1), chance));
            let after = after.min(MAX_WAIT);
            let late = |most: Duration| failed.failing_for.saturating_add(after) > most;
            if policy.max_elapsed.is_some_and(late) {
                Next::Dead
            } else {
                Next::Retry { after }
            }
        }
    };
    Decision { next, counts }
}

/// What the loss of a worker does to its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnLoss {
    pub(crate) dead: bool,
    pub(crate) counts: bool,
    /// The wait; none to run again at once, before all others.
    pub(crate) after: Option<Duration>,
}

/// Decides on a loss, which has no message: rules with a pattern are passed over.
pub(crate) fn on_loss(policy: &RetryPolicy, cause: Cause) -> OnLoss {
    let fits =
        |rule: &&RetryRule| rule.pattern.is_none() && rule.cause.is_none_or(|named| named == cause);
    // A rule for any cause speaks of failures; only one that names it speaks of a loss.
    let named = |rule: &&RetryRule| rule.cause.is_some();
    let rule = policy.rules.iter().filter(named).find(fits);
    OnLoss {
        dead: rule.is_some_and(|rule| rule.action == RetryAction::DeadLetter),
        counts: rule
            .and_then(|rule| rule.counts_as_attempt)
            .unwrap_or(false),
        after: rule
            .and_then(|rule| rule.after)
            .map(|after| after.min(MAX_WAIT)),
    }
}

/// The backoff, moved up or down by chance.
fn jittered(policy: &RetryPolicy, failed_attempts: u32, chance: f64) -> Duration {
    let spread = 1.0 + policy.backoff.jitter * (2.0 * chance - 1.0);
    let millis = wait(policy, failed_attempts).as_secs_f64() * 1_000.0 * spread;
    Duration::try_from_secs_f64(millis.round() / 1_000.0).unwrap_or(MAX_WAIT)
}

/// The wait before jitter.
fn wait(policy: &RetryPolicy, failed_attempts: u32) -> Duration {
    let backoff = &policy.backoff;
    let times = match backoff.kind {
        BackoffKind::Fixed => 1,
        BackoffKind::Linear => failed_attempts.max(1),
        BackoffKind::Exponential => {
            let doublings = failed_attempts.saturating_sub(1);
            1_u32.checked_shl(doublings).unwrap_or(u32::MAX)
        }
    };
    backoff.initial.saturating_mul(times).min(backoff.max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Backoff;

    fn decide(policy: &RetryPolicy, failed: u32, requested: Option<Duration>, chance: f64) -> Next {
        let failed = Failed {
            cause: Cause::Error,
            message: "no route to host",
            attempts_before: failed - 1,
            failing_for: Duration::ZERO,
            requested,
        };
        super::decide(policy, &Patterns::of(policy), &failed, chance).next
    }

    fn rule(cause: Option<Cause>, pattern: Option<&str>, action: RetryAction) -> RetryRule {
        RetryRule {
            cause,
            pattern: pattern.map(str::to_owned),
            action,
            counts_as_attempt: None,
            after: None,
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let mut policy = policy(BackoffKind::Fixed, 0.0);
        policy.rules = vec![
            rule(Some(Cause::Timeout), None, RetryAction::DeadLetter),
            rule(None, Some("no (route|such)"), RetryAction::Drop),
            rule(None, Some("route"), RetryAction::DeadLetter),
        ];
        assert_eq!(decide(&policy, 1, None, 0.5), Next::Drop);
        policy.rules.remove(1);
        assert_eq!(decide(&policy, 1, None, 0.5), Next::Dead);
        policy.rules.remove(1);
        assert!(matches!(decide(&policy, 1, None, 0.5), Next::Retry { .. }));
    }

    #[test]
    fn a_rule_may_wait_its_own_time_and_cost_no_attempt() {
        let mut policy = policy(BackoffKind::Fixed, 0.0);
        policy.max_attempts = 1;
        let after = Duration::from_secs(30);
        policy.rules = vec![RetryRule {
            counts_as_attempt: Some(false),
            after: Some(after),
            ..rule(Some(Cause::Error), None, RetryAction::Retry)
        }];
        assert_eq!(decide(&policy, 1, None, 0.5), Next::Retry { after });
        let asked = Duration::from_secs(7);
        assert_eq!(
            decide(&policy, 1, Some(asked), 0.5),
            Next::Retry { after: asked }
        );
    }

    #[test]
    fn no_retry_begins_after_the_longest_time_of_failing() {
        let mut policy = policy(BackoffKind::Fixed, 0.0);
        policy.max_elapsed = Some(Duration::from_secs(10));
        let next = |failing_for| {
            let failed = Failed {
                cause: Cause::Error,
                message: "",
                attempts_before: 3,
                failing_for,
                requested: None,
            };
            super::decide(&policy, &Patterns::of(&policy), &failed, 0.5).next
        };
        assert!(matches!(next(Duration::from_secs(9)), Next::Retry { .. }));
        assert_eq!(next(Duration::from_millis(9_001)), Next::Dead);
    }

    #[test]
    fn a_loss_obeys_only_rules_that_name_it() {
        let mut policy = policy(BackoffKind::Fixed, 0.0);
        policy.rules = vec![
            rule(None, None, RetryAction::DeadLetter),
            RetryRule {
                counts_as_attempt: Some(true),
                ..rule(Some(Cause::OomKilled), None, RetryAction::DeadLetter)
            },
        ];
        let plain = OnLoss {
            dead: false,
            counts: false,
            after: None,
        };
        assert_eq!(on_loss(&policy, Cause::WorkerLost), plain);
        let oom = OnLoss {
            dead: true,
            counts: true,
            after: None,
        };
        assert_eq!(on_loss(&policy, Cause::OomKilled), oom);
    }

    fn policy(kind: BackoffKind, jitter: f64) -> RetryPolicy {
        RetryPolicy {
            max_attempts: u32::MAX,
            max_elapsed: None,
            rules: Vec::new(),
            backoff: Backoff {
                kind,
                initial: Duration::from_secs(1),
                max: Duration::from_mins(10),
                jitter,
            },
        }
    }

    fn seconds(policy: &RetryPolicy, failed: u32) -> u64 {
        match decide(policy, failed, None, 0.5) {
            Next::Retry { after } => after.as_secs(),
            other => panic!("{other:?} after {failed}"),
        }
    }

    #[test]
    fn each_kind_grows_as_it_says_up_to_the_maximum() {
        let table = [
            (BackoffKind::Fixed, [1, 1, 1, 1, 1]),
            (BackoffKind::Linear, [1, 2, 3, 40, 600]),
            (BackoffKind::Exponential, [1, 2, 4, 600, 600]),
        ];
        for (kind, waits) in table {
            let policy = policy(kind, 0.0);
            assert_eq!([1, 2, 3, 40, 10_000].map(|n| seconds(&policy, n)), waits);
        }
    }

    #[test]
    fn the_last_attempt_is_dead_and_the_one_before_is_not() {
        let policy = RetryPolicy {
            max_attempts: 3,
            ..RetryPolicy::default()
        };
        assert!(matches!(decide(&policy, 2, None, 0.5), Next::Retry { .. }));
        assert_eq!(decide(&policy, 3, None, 0.5), Next::Dead);
        assert_eq!(decide(&policy, u32::MAX, None, 0.5), Next::Dead);
    }

    #[test]
    fn doubling_does_not_overflow_at_the_width_of_its_counter() {
        let policy = policy(BackoffKind::Exponential, 0.0);
        for failed in [31, 32, 33, 34, 64, 65, u32::MAX - 1] {
            assert_eq!(seconds(&policy, failed), 600);
        }
    }

    #[test]
    fn a_requested_wait_is_taken_exactly_and_bounded() {
        let policy = policy(BackoffKind::Fixed, 1.0);
        let asked = Duration::from_millis(1_234);
        assert_eq!(
            decide(&policy, 1, Some(asked), 0.9),
            Next::Retry { after: asked }
        );
        assert_eq!(
            decide(&policy, 1, Some(Duration::MAX), 0.9),
            Next::Retry { after: MAX_WAIT }
        );
    }

    proptest! {
        #[test]
        fn the_wait_never_shrinks_and_stays_in_the_span_of_the_jitter(
            kind in prop_oneof![Just(BackoffKind::Fixed), Just(BackoffKind::Linear), Just(BackoffKind::Exponential)],
            initial in 0..10_000_000_u64, more in 0..10_000_000_u64,
            failed in 1..u32::MAX - 1, jitter in 0.0..=1.0, chance in 0.0..=1.0,
        ) {
            let mut policy = policy(kind, 0.0);
            policy.backoff.initial = Duration::from_millis(initial);
            policy.backoff.max = Duration::from_millis(initial + more);
            prop_assert!(wait(&policy, failed) <= wait(&policy, failed + 1));
            prop_assert!(wait(&policy, failed) <= policy.backoff.max);
            let bare = wait(&policy, failed).as_secs_f64();
            policy.backoff.jitter = jitter;
            let Next::Retry { after } = decide(&policy, failed, None, chance) else {
                return Err(TestCaseError::fail("dead"));
            };
            let (least, most) = (bare * (1.0 - jitter), bare * (1.0 + jitter));
            prop_assert!((least - 0.001..=most + 0.001).contains(&after.as_secs_f64()));
        }
    }
}
