//! Whether and when a failed attempt is tried again: one decision, for workers and for whoever
//! explains it. Pure: chance is an argument.

use std::time::Duration;

use crate::policy::{BackoffKind, RetryPolicy};

/// Longest wait before a retry, whoever asks for it: one year.
pub const MAX_WAIT: Duration = Duration::from_hours(365 * 24);

/// What becomes of a task whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It runs again after this wait.
    Retry {
        /// The wait, at most [`MAX_WAIT`].
        after: Duration,
    },
    /// It has had its attempts and goes to the dead letters.
    Dead,
}

/// Decides after `failed_attempts` failures, the last one included.
///
/// A wait that the handler `requested` is taken as it is, without backoff or jitter. `chance` is a
/// random number from 0 to 1 that places the wait inside the span which the policy's jitter opens.
pub fn decide(
    policy: &RetryPolicy,
    failed_attempts: u32,
    requested: Option<Duration>,
    chance: f64,
) -> Next {
    if failed_attempts >= policy.max_attempts {
        return Next::Dead;
    }
    let after = requested.unwrap_or_else(|| {
        let spread = 1.0 + policy.backoff.jitter * (2.0 * chance - 1.0);
        let millis = wait(policy, failed_attempts).as_secs_f64() * 1_000.0 * spread;
        Duration::try_from_secs_f64(millis.round() / 1_000.0).unwrap_or(MAX_WAIT)
    });
    Next::Retry {
        after: after.min(MAX_WAIT),
    }
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

    fn policy(kind: BackoffKind, jitter: f64) -> RetryPolicy {
        RetryPolicy {
            max_attempts: u32::MAX,
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
            Next::Dead => panic!("dead after {failed}"),
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
