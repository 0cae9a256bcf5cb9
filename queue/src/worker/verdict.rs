//! What the end of an attempt means for its task. Pure: time and chance are arguments.

use std::time::Duration;

use super::{Ended, Outcome};
use crate::clock::timestamp;
use crate::lease::millis;
use crate::loss::{AfterLoss, Loss};
use crate::record::{Ending, Record};
use crate::retry::{self, Failed, Next, Patterns};
use crate::{Cause, Payload, Policy};

/// How an attempt came to its end.
#[derive(Debug)]
pub(super) enum Over {
    /// The handler returned.
    Outcome(Outcome),
    /// The handler panicked, saying this.
    Panicked(String),
    /// It ran longer than this.
    TimedOut(Duration),
    /// It was to be cancelled; what the handler returned in the grace it had.
    Cancelled(Option<Outcome>),
    /// It never began: the task had expired.
    Late,
}

/// What becomes of the task.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    End {
        ending: Ending,
        result: Option<Payload>,
    },
    Again {
        after: Duration,
        ended: Ended,
    },
    Dead,
    /// Dead, and counted as a loss.
    Quarantined,
    Release,
    /// Handed back, and counted as a loss.
    Lost {
        after: Option<Duration>,
    },
}

/// Decides, and notes in the record what is to be kept. `losses` is how often the task lost its worker before.
pub(super) fn verdict(
    over: Over,
    record: &mut Record,
    losses: u32,
    (policy, patterns): (&Policy, &Patterns),
    now_ms: u64,
    chance: f64,
) -> Verdict {
    let end = |ending| Verdict::End {
        ending,
        result: None,
    };
    let mut fail = |cause, message: &str, requested| {
        let failing_since = if policy.retry.max_elapsed.is_some() {
            record.failing_since_ms(now_ms)
        } else {
            now_ms
        };
        let failed = Failed {
            cause,
            message,
            attempts_before: record.attempts,
            failing_for: Duration::from_millis(now_ms.saturating_sub(failing_since)),
            requested,
        };
        let decision = retry::decide(&policy.retry, patterns, &failed, chance);
        record.fail(timestamp(now_ms), cause, message, decision.counts);
        match decision.next {
            Next::Dead => Verdict::Dead,
            Next::Drop => end(Ending::Dropped),
            Next::Retry { after } => {
                record.due_ms = now_ms.saturating_add(millis(after));
                if record.expires_ms().is_some_and(|at| at <= record.due_ms) {
                    return end(Ending::Expired);
                }
                let ended = if cause == Cause::Timeout {
                    Ended::TimedOut
                } else {
                    Ended::Retried
                };
                Verdict::Again { after, ended }
            }
        }
    };
    match over {
        Over::Outcome(Outcome::Completed(result))
        | Over::Cancelled(Some(Outcome::Completed(result))) => Verdict::End {
            ending: Ending::Completed,
            result,
        },
        Over::Cancelled(_) => end(Ending::Cancelled),
        Over::Late => end(Ending::Expired),
        Over::Outcome(Outcome::Retry { error, after }) => fail(Cause::Error, &error, after),
        Over::Panicked(text) => fail(Cause::Error, &format!("panicked: {text}"), None),
        Over::TimedOut(limit) | Over::Outcome(Outcome::TimedOut { limit }) => {
            let message = format!("ran longer than {} ms", limit.as_millis());
            fail(Cause::Timeout, &message, None)
        }
        Over::Outcome(Outcome::Dead { error }) => {
            record.fail(timestamp(now_ms), Cause::Error, &error, true);
            Verdict::Dead
        }
        Over::Outcome(Outcome::Snoozed { after }) => {
            let after = after.min(retry::MAX_WAIT);
            record.due_ms = now_ms.saturating_add(millis(after));
            Verdict::Again {
                after,
                ended: Ended::Snoozed,
            }
        }
        Over::Outcome(Outcome::Released) => Verdict::Release,
        Over::Outcome(Outcome::Lost { error }) => {
            let loss = Loss {
                cause: Cause::WorkerLost,
                detail: &error,
                losses: losses.saturating_add(1),
                now_ms,
            };
            match loss.befalls(record, policy) {
                AfterLoss::Dead => Verdict::Quarantined,
                AfterLoss::Again { after } => Verdict::Lost { after },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Extras;

    fn record(expires_ms: u64) -> Record {
        Record {
            level: "a".into(),
            created_ms: 0,
            due_ms: 0,
            kind: "k".into(),
            attempts: 0,
            errors: vec![],
            more: crate::pack::More::default(),
            extras: Some(Box::new(Extras {
                expires_ms,
                ..Extras::default()
            })),
            payload: vec![],
        }
    }

    fn of(over: Over, record: &mut Record) -> Verdict {
        after_losses(0, over, record)
    }

    fn after_losses(losses: u32, over: Over, record: &mut Record) -> Verdict {
        let mut policy = Policy::default();
        policy.retry.max_attempts = 2;
        let patterns = Patterns::of(&policy.retry);
        verdict(over, record, losses, (&policy, &patterns), 1_000, 0.5)
    }

    fn retry(error: &str) -> Outcome {
        Outcome::Retry {
            error: error.into(),
            after: None,
        }
    }

    #[test]
    fn a_cancelled_attempt_that_completes_in_its_grace_has_completed() {
        let done = Over::Cancelled(Some(Outcome::Completed(None)));
        let verdict = of(done, &mut record(0));
        assert!(matches!(
            verdict,
            Verdict::End {
                ending: Ending::Completed,
                ..
            }
        ));
        for other in [None, Some(retry("stopped")), Some(Outcome::Released)] {
            let verdict = of(Over::Cancelled(other), &mut record(0));
            assert!(matches!(
                verdict,
                Verdict::End {
                    ending: Ending::Cancelled,
                    ..
                }
            ));
        }
    }

    #[test]
    fn a_retry_that_would_begin_after_the_expiry_ends_the_task() {
        let mut record = record(1_500);
        let verdict = of(Over::Outcome(retry("no")), &mut record);
        assert!(matches!(
            verdict,
            Verdict::End {
                ending: Ending::Expired,
                ..
            }
        ));
        assert_eq!(record.errors[0].failure.message, "no");
    }

    #[test]
    fn a_snooze_costs_no_attempt_and_leaves_no_error() {
        let mut record = record(0);
        let after = Duration::from_secs(5);
        let verdict = of(Over::Outcome(Outcome::Snoozed { after }), &mut record);
        let ended = Ended::Snoozed;
        assert_eq!(verdict, Verdict::Again { after, ended });
        assert_eq!((record.attempts, record.errors.len()), (0, 0));
        assert_eq!(record.due_ms, 6_000);
    }

    #[test]
    fn a_loss_costs_no_attempt_and_one_too_many_is_the_last() {
        let lost = || {
            let error = "it crashed".to_owned();
            Over::Outcome(Outcome::Lost { error })
        };
        let mut record = record(0);
        assert_eq!(of(lost(), &mut record), Verdict::Lost { after: None });
        assert_eq!(record.attempts, 0);
        assert_eq!(
            record.errors[0].failure.message,
            "lost its worker: it crashed"
        );
        assert_eq!(record.errors[0].failure.cause, Cause::WorkerLost);
        let most = Policy::default().max_losses;
        assert_eq!(
            after_losses(most, lost(), &mut record),
            Verdict::Quarantined
        );
        let told = format!("lost its worker {} times: it crashed", most + 1);
        assert_eq!(record.errors[1].failure.message, told);
    }

    #[test]
    fn the_last_attempt_is_dead_whatever_ended_it() {
        for over in [
            Over::Outcome(retry("x")),
            Over::Panicked("x".into()),
            Over::TimedOut(Duration::from_secs(1)),
        ] {
            let mut record = record(0);
            record.attempts = 1;
            assert_eq!(of(over, &mut record), Verdict::Dead);
            assert_eq!(record.attempts, 2);
        }
    }
}
