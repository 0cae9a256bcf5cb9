//! What is known of a queue after a look at it, and why nothing is.

use std::{fmt, time::Duration};

/// The figures of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Tasks that could run now, those in `deferred_due` not included.
    pub runnable: u64,
    /// Tasks that a worker holds, or held when it died.
    pub in_flight: u64,
    /// Tasks with a time before which they do not run, those whose time has come included.
    pub deferred: u64,
    /// Those of them whose time has come. In most systems only a live worker moves them on.
    pub deferred_due: u64,
    /// How long until the next of the others is due.
    pub next_due: Option<Duration>,
    /// How long the oldest runnable task has waited, where the system keeps that.
    pub oldest: Option<Duration>,
    /// Workers take no tasks.
    pub paused: bool,
    /// How many tasks may be in flight at once on all workers together.
    pub cap: Option<u64>,
    /// For how long no further task begins, since a rate limit is used up.
    pub limited: Option<Duration>,
}

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
    /// A string.
    Text,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted set",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Text => "string",
        })
    }
}

/// Why the depth of a queue is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nothing in Redis tells that this queue was ever there.
    #[error("{key} was never seen in Redis: {fix}")]
    KeyMissing {
        /// What is missing: a key, or a member of one, by its exact name.
        key: String,
        /// What to check.
        fix: &'static str,
    },
    /// A key is of another type than the system's.
    #[error("key {key} should be a {wants}, and is a {}", found.as_deref().unwrap_or("key of another type"))]
    WrongType {
        /// The key.
        key: String,
        /// The type that is needed.
        wants: Kind,
        /// The type found, as Redis names it; `None` from [`crate::read`], which cannot ask.
        found: Option<String>,
    },
    /// Redis answered with something that makes no sense there.
    #[error("{key} cannot be read: {reason}")]
    Unreadable {
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
    /// Redis did not answer, or refused.
    #[error(transparent)]
    Redis(#[from] taskqueue_queue::Error),
}
