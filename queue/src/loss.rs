//! What the loss of its worker does to a task, however it is noticed: by a lapsed lease, by the end of
//! a pod, or by a handler that broke down under it. Pure: time is an argument.

use std::time::Duration;

use crate::clock::timestamp;
use crate::lease::millis;
use crate::record::Record;
use crate::retry::on_loss;
use crate::{Cause, Policy};

/// The loss of a task's worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss<'a> {
    pub(crate) cause: Cause,
    /// What is known of it; empty for nothing.
    pub(crate) detail: &'a str,
    /// How often the task has lost its worker, this time included.
    pub(crate) losses: u32,
    pub(crate) now_ms: u64,
}

/// What comes after a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterLoss {
    /// It runs again: at once and before all others, or after a wait.
    Again { after: Option<Duration> },
    /// It has lost too many workers, had its attempts, or a rule says so: it goes to the dead letters.
    Dead,
}

/// The decision about a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) after: AfterLoss,
    /// Whether it counts as an attempt.
    pub(crate) counts: bool,
}

impl Loss<'_> {
    /// Decides, for a task with so many attempts before that counted.
    pub(crate) fn decide(&self, attempts: u32, policy: &Policy) -> Decided {
        let rule = on_loss(&policy.retry, self.cause);
        let spent = rule.counts && attempts.saturating_add(1) >= policy.retry.max_attempts;
        let after = if rule.dead || spent || self.losses > policy.max_losses {
            AfterLoss::Dead
        } else {
            AfterLoss::Again { after: rule.after }
        };
        Decided {
            after,
            counts: rule.counts,
        }
    }

    /// Decides, and notes it in the record, among its errors.
    pub(crate) fn befalls(&self, record: &mut Record, policy: &Policy) -> AfterLoss {
        let Decided { after, counts } = self.decide(record.attempts, policy);
        let times = match (after, self.losses) {
            (AfterLoss::Dead, 1) => " 1 time".to_owned(),
            (AfterLoss::Dead, losses) => format!(" {losses} times"),
            _ => String::new(),
        };
        let detail = match self.detail {
            "" => String::new(),
            detail => format!(": {detail}"),
        };
        let message = format!("lost its worker{times}{detail}");
        record.fail(timestamp(self.now_ms), self.cause, &message, counts);
        if let AfterLoss::Again { after: Some(after) } = after {
            record.due_ms = self.now_ms.saturating_add(millis(after));
        }
        after
    }
}
