//! Every way in which a call of this crate fails. Wording lives here; which Redis reply means which
//! variant is decided in `fault`.

use std::time::Duration;

use crate::TaskId;

/// Why a call failed. No message ever holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name, id, level or policy field is outside its range.
    #[error("{field} {value:?} is not allowed: {rule}")]
    Invalid {
        /// The field at fault, for example `namespace` or `retry.backoff.jitter`.
        field: &'static str,
        /// What was given, cut to 128 characters.
        value: String,
        /// What is allowed.
        rule: String,
    },
    /// A payload or result that is no JSON text.
    #[error("{field} is not JSON: {reason}")]
    NotJson {
        /// `payload` or `result`.
        field: &'static str,
        /// What the parser met, with line and column.
        reason: String,
    },
    /// A value above its size limit.
    #[error("{field} has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// The field at fault.
        field: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The largest size allowed, in bytes.
        limit: usize,
    },
    /// A task names a priority level that the queue's policy does not have.
    #[error("priority {level:?} is not a level of queue {queue}; it has: {}", known.join(", "))]
    UnknownLevel {
        /// The queue.
        queue: String,
        /// The level asked for.
        level: String,
        /// The levels of the policy, highest first.
        known: Vec<String>,
    },
    /// A batch of more tasks than one call takes.
    #[error("a batch of {count} tasks is too many, the limit is {limit}: enqueue it in parts")]
    TooMany {
        /// How many tasks it has.
        count: usize,
        /// The most that are taken.
        limit: usize,
    },
    /// The queue holds as many tasks as its policy allows to wait.
    #[error(
        "queue {queue} is full: {waiting} tasks wait and the limit is {limit}; try again in {} s",
        retry_after.as_secs()
    )]
    Backlog {
        /// The queue.
        queue: String,
        /// How many tasks wait, scheduled ones included.
        waiting: u64,
        /// The policy's `limits.max_backlog`.
        limit: u64,
        /// When there should be room, by how fast the queue drains now.
        retry_after: Duration,
    },
    /// An idempotency key was given before with a task that asks for something else. The key goes on standing for
    /// that one.
    #[error(
        "idempotency key {key:?} of queue {queue} stands for task {id}, which asks for something else: use another key \
         for another task, or repeat the call with the same type, payload and options"
    )]
    KeyConflict {
        /// The queue.
        queue: String,
        /// The key, cut to 128 characters.
        key: String,
        /// The task that stands for it.
        id: TaskId,
    },
    /// No connection to Redis could be made, or it broke.
    #[error("Redis at {endpoint} is unreachable: {reason}")]
    Unreachable {
        /// The address, without credentials.
        endpoint: String,
        /// What the system reported.
        reason: String,
    },
    /// Redis refused the credentials (`WRONGPASS`), wants some (`NOAUTH`), or the user lacks a
    /// right (`NOPERM`).
    #[error("Redis at {endpoint} refused access: {reason}")]
    AuthFailed {
        /// The address, without credentials.
        endpoint: String,
        /// Which of the three, and what to change.
        reason: String,
    },
    /// TLS could not be established, or one side speaks TLS and the other plain text.
    #[error("TLS to Redis at {endpoint} failed: {reason}")]
    TlsFailed {
        /// The address, without credentials.
        endpoint: String,
        /// The cause, with the scheme to try when the sides disagree.
        reason: String,
    },
    /// The server answers and is not what the URL says: no sentinel, no node of a cluster, a
    /// sentinel that knows no such primary, or one without commands that queues need.
    #[error("Redis at {endpoint} is not what its URL says: {reason}")]
    WrongServer {
        /// The address, without credentials.
        endpoint: String,
        /// What it is, and what to write instead.
        reason: String,
    },
    /// The server is older than the oldest that can hold queues.
    #[error(
        "Redis at {endpoint} is too old: it is {found}; the oldest that works is Redis {oldest}"
    )]
    TooOld {
        /// The address, without credentials.
        endpoint: String,
        /// What it is, such as `Redis 6.2.14`.
        found: String,
        /// The oldest version that works, such as `7.0`.
        oldest: String,
    },
    /// The server sent more than the client takes: see
    /// [`Bounds::largest_answer`](crate::Bounds::largest_answer).
    #[error(
        "Redis at {endpoint} gave an answer that takes more than {} MiB of memory, the most that is \
         allowed here: it is no honest Redis, or a key in it has grown so large (redis-cli --memkeys \
         names it)",
        limit.div_ceil(1024 * 1024)
    )]
    AnswerTooLarge {
        /// The address, without credentials.
        endpoint: String,
        /// The most that its answers may take, in bytes.
        limit: usize,
    },
    /// The client's [`Bounds`](crate::Bounds) do not let it connect there.
    #[error("no connection to Redis at {endpoint} is made: {reason}")]
    NotAllowed {
        /// The address, without credentials.
        endpoint: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The server is a replica; writes need the primary.
    #[error("Redis at {endpoint} is a read-only replica: {reason}")]
    ReadOnly {
        /// The address, without credentials.
        endpoint: String,
        /// What the server said.
        reason: String,
    },
    /// The server has reached `maxmemory`.
    #[error("Redis at {endpoint} is out of memory: {reason}")]
    OutOfMemory {
        /// The address, without credentials.
        endpoint: String,
        /// What the server said.
        reason: String,
    },
    /// The server is reading its data set from disk.
    #[error("Redis at {endpoint} is still loading its data")]
    Loading {
        /// The address, without credentials.
        endpoint: String,
    },
    /// The server cannot persist (`MISCONF`) and refuses writes.
    #[error("Redis at {endpoint} refuses writes because it cannot persist: {reason}")]
    Misconfigured {
        /// The address, without credentials.
        endpoint: String,
        /// What the server said.
        reason: String,
    },
    /// Fewer replicas follow the server than its `min-replicas-to-write` asks for (`NOREPLICAS`), and
    /// it refuses writes.
    #[error(
        "Redis at {endpoint} refuses writes because too few replicas follow it: {reason}; bring the \
         replicas back, or lower min-replicas-to-write"
    )]
    TooFewReplicas {
        /// The address, without credentials.
        endpoint: String,
        /// What the server said.
        reason: String,
    },
    /// A script or command of someone occupies the server (`BUSY`).
    #[error("Redis at {endpoint} is busy: {reason}")]
    Busy {
        /// The address, without credentials.
        endpoint: String,
        /// What the server said.
        reason: String,
    },
    /// No answer in time.
    #[error("Redis at {endpoint} did not answer within {} ms", after.as_millis())]
    Timeout {
        /// The address, without credentials.
        endpoint: String,
        /// How long was waited.
        after: Duration,
    },
    /// The server answered with an error that has no variant of its own, or with something that no
    /// script of this crate returns.
    #[error("{script} failed on Redis at {endpoint}: {reason}")]
    Script {
        /// The address, without credentials.
        endpoint: String,
        /// The script or command.
        script: &'static str,
        /// What the server said.
        reason: String,
    },
    /// The queue is laid out in Redis as a later version does, which this one cannot read: it touches
    /// nothing of it.
    #[error(
        "queue {queue} is written in layout {found}, and this program knows layouts up to {known}: use a \
         newer release of it"
    )]
    Layout {
        /// The queue.
        queue: String,
        /// Its layout.
        found: u64,
        /// The latest layout that is known here.
        known: u64,
    },
    /// A listing cannot go on from a cursor any more.
    #[error(
        "the listing of queue {queue} cannot go on from this cursor: {reason}; begin it anew, without a cursor"
    )]
    CursorLost {
        /// The queue.
        queue: String,
        /// What has happened meanwhile.
        reason: String,
    },
    /// A value in Redis that this version cannot read.
    #[error("{what} in Redis cannot be read: {reason}")]
    Corrupt {
        /// Which value.
        what: String,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anyone changing the call, the credentials or
    /// the data.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Backlog { .. }
            | Self::Unreachable { .. }
            | Self::ReadOnly { .. }
            | Self::OutOfMemory { .. }
            | Self::Loading { .. }
            | Self::Misconfigured { .. }
            | Self::TooFewReplicas { .. }
            | Self::Busy { .. }
            | Self::Timeout { .. } => true,
            Self::Invalid { .. }
            | Self::NotJson { .. }
            | Self::TooLarge { .. }
            | Self::UnknownLevel { .. }
            | Self::TooMany { .. }
            | Self::KeyConflict { .. }
            | Self::AuthFailed { .. }
            | Self::TlsFailed { .. }
            | Self::WrongServer { .. }
            | Self::TooOld { .. }
            | Self::AnswerTooLarge { .. }
            | Self::NotAllowed { .. }
            | Self::Script { .. }
            | Self::Layout { .. }
            | Self::CursorLost { .. }
            | Self::Corrupt { .. } => false,
        }
    }

    /// Whether no waiting heals it: what the call was given is not allowed, or somebody has to change
    /// the credentials, the URL, the server behind it or the data. An answer that is not known
    /// ([`Error::Script`]) is neither that nor transient: whoever runs for long waits for a better one,
    /// and tells.
    pub fn is_final(&self) -> bool {
        !self.is_transient() && !matches!(self, Self::Script { .. })
    }

    /// Whether it is about the task that was handed over, before anything was asked of Redis.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Invalid { .. } | Self::TooLarge { .. } | Self::UnknownLevel { .. }
        )
    }

    /// An [`Error::Invalid`], with the value cut to a length that is safe to print.
    pub(crate) fn invalid(field: &'static str, value: &str, rule: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            value: value.chars().take(128).collect(),
            rule: rule.into(),
        }
    }
}
