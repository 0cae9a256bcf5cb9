//! What can go wrong in a reconcile, and what follows from it.

use std::time::Duration;

use kube::runtime::controller::Action;

use super::{apply::ApplyError, observe::ObserveError, validate::Invalid};
use crate::{index::Problem, rights};

/// Longest wait between two tries.
const MAX_BACKOFF: Duration = Duration::from_mins(5);

/// How long after a queue name conflict is looked at again. That the holder has gone is heard; that
/// it asks for another Redis now is not.
const CONFLICT_RECHECK: Duration = Duration::from_mins(1);

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object does not parse as a TaskQueue.
    #[error("the resource does not parse: {0}")]
    Malformed(String),
    /// The spec is larger than what the operator keeps of any.
    #[error("{0}")]
    TooLarge(String),
    /// The spec cannot work.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Another TaskQueue holds the queue.
    #[error(
        "queue {queue} is held by TaskQueue {holder}, which is older: give this one another spec.queueName"
    )]
    Conflict {
        /// The queue's name in Redis.
        queue: String,
        /// Name of the TaskQueue that holds it.
        holder: String,
    },
    /// Another TaskQueue scales the target.
    #[error(
        "{target} is scaled by TaskQueue {holder}: remove one of the two, since each would undo what the other does"
    )]
    TargetConflict {
        /// Kind and name of the target.
        target: String,
        /// Name of the TaskQueue that scales it.
        holder: String,
    },
    /// Something that the spec names could not be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The children could not be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Only an edit of the resource helps, and an edit triggers a reconcile by itself.
    WaitForEdit,
    /// Look again after a fixed time: the state is legitimate and may end by itself.
    Recheck(Duration),
    /// Try again, each time later.
    BackOff,
}

impl Error {
    /// The reason in a word, for conditions, Events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "Malformed",
            Self::TooLarge(_) | Self::Invalid(_) => "InvalidSpec",
            Self::Conflict { .. } => "QueueNameConflict",
            Self::TargetConflict { .. } => "TargetConflict",
            Self::Observe(ObserveError::NoDefaultRedis) => "NoRedis",
            Self::Observe(
                ObserveError::SecretMissing { .. } | ObserveError::SecretKeyMissing { .. },
            ) => "SecretMissing",
            Self::Observe(ObserveError::RedisUrl(_) | ObserveError::SecretTooLong { .. }) => {
                "InvalidRedisUrl"
            }
            Self::Observe(ObserveError::Api { source, .. })
            | Self::Apply(ApplyError::Api { source, .. })
                if rights::missing(source).is_some() =>
            {
                rights::MISSING
            }
            Self::Observe(ObserveError::Api { .. }) => "ReadFailed",
            Self::Apply(ApplyError::NotOurs { .. }) => "NameTaken",
            Self::Apply(error @ ApplyError::Api { .. }) if is_terminating(error) => {
                "NamespaceTerminating"
            }
            Self::Apply(error @ ApplyError::Api { .. }) if is_refusal(error) => "Refused",
            Self::Apply(ApplyError::Api { .. }) => "ApplyFailed",
        }
    }

    /// Whether somebody should be told. What ends with its namespace is no news, nor is what came in between and is looked at
    /// anew.
    pub fn is_news(&self) -> bool {
        !matches!(self, Self::Apply(error) if is_terminating(error) || is_outdated(error))
    }

    /// What follows.
    pub fn follow(&self) -> Follow {
        match self {
            Self::Malformed(_)
            | Self::TooLarge(_)
            | Self::Invalid(_)
            | Self::Observe(ObserveError::NoDefaultRedis) => Follow::WaitForEdit,
            Self::Conflict { .. } | Self::TargetConflict { .. } => {
                Follow::Recheck(CONFLICT_RECHECK)
            }
            Self::Apply(error @ ApplyError::Api { .. })
                if is_refusal(error) || is_terminating(error) =>
            {
                Follow::WaitForEdit
            }
            Self::Observe(
                ObserveError::SecretMissing { .. }
                | ObserveError::SecretKeyMissing { .. }
                | ObserveError::SecretTooLong { .. }
                | ObserveError::RedisUrl(_)
                | ObserveError::Api { .. },
            )
            | Self::Apply(ApplyError::NotOurs { .. } | ApplyError::Api { .. }) => Follow::BackOff,
        }
    }

    /// The error as the status tells it, of a spec of this generation.
    pub fn problem(&self, generation: Option<i64>) -> Problem {
        Problem {
            generation,
            reason: self.reason(),
            message: self.chain(),
            conflict: matches!(self, Self::Conflict { .. } | Self::TargetConflict { .. }),
        }
    }

    /// The error with its causes in one line, as long as a status condition bears.
    pub fn chain(&self) -> String {
        const MAX: usize = 1000;
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let api = cause.downcast_ref().and_then(refusal);
            let cause_text = api.map_or_else(|| cause.to_string(), ToOwned::to_owned);
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            // What is below an answer of the API server repeats it.
            source = cause.source().filter(|_| api.is_none());
        }
        if self.reason() == rights::MISSING {
            text.push_str(rights::FIX);
        }
        if text.len() > MAX {
            text.truncate(text.floor_char_boundary(MAX));
            text.push('…');
        }
        text
    }
}

/// What the API server said, in its own words; the client's error repeats it as a debug dump.
pub fn refusal(error: &kube::Error) -> Option<&str> {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => Some(&status.message),
        _ => None,
    }
}

/// What the controller does after an error that came `failures` times in a row.
pub fn action(error: &Error, failures: u32) -> Action {
    match error.follow() {
        Follow::WaitForEdit => Action::await_change(),
        Follow::Recheck(after) => Action::requeue(after),
        Follow::BackOff => {
            let doublings = failures.saturating_sub(1).min(16);
            Action::requeue(Duration::from_secs(1 << doublings).min(MAX_BACKOFF))
        }
    }
}

/// The namespace is being deleted, and the TaskQueue in it will be in a moment.
fn is_terminating(error: &ApplyError) -> bool {
    match error {
        ApplyError::Api {
            source: kube::Error::Api(status),
            ..
        } => status
            .details
            .iter()
            .flat_map(|details| &details.causes)
            .any(|cause| cause.reason == "NamespaceTerminating"),
        ApplyError::Api { .. } | ApplyError::NotOurs { .. } => false,
    }
}

/// What was looked at is not what is there now.
fn is_outdated(error: &ApplyError) -> bool {
    match error {
        ApplyError::Api {
            source: kube::Error::Api(status),
            ..
        } => status.code == 409,
        ApplyError::Api { .. } | ApplyError::NotOurs { .. } => false,
    }
}

/// The API server looked at the object and said no: the same object will not pass later.
fn is_refusal(error: &ApplyError) -> bool {
    match error {
        ApplyError::Api {
            source: kube::Error::Api(status),
            ..
        } => matches!(status.code, 400 | 422),
        ApplyError::Api { .. } | ApplyError::NotOurs { .. } => false,
    }
}
