//! Where the tasks are: one type a system, each with what its keys are made of.

use std::fmt;

/// A queue of another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// BullMQ 5 or 6.
    BullMq(BullMq),
    /// Celery with Redis as its broker.
    Celery(Celery),
    /// RQ.
    Rq(Rq),
    /// Sidekiq.
    Sidekiq(Sidekiq),
    /// asynq.
    Asynq(Asynq),
    /// A list.
    List(List),
    /// A sorted set.
    SortedSet(SortedSet),
    /// A stream with a consumer group.
    Stream(Stream),
    /// A sum of whatever can be counted in one command each.
    Expressions(Vec<Expression>),
}

/// A BullMQ queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BullMq {
    /// Name of the queue.
    pub queue: String,
    /// The option `prefix` of the queue, `bull` by default there.
    pub prefix: String,
    /// The `max` of the limiter that its workers bring themselves, which is nowhere in Redis.
    pub limiter_max: Option<u64>,
}

/// A Celery queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Celery {
    /// Name of the queue.
    pub queue: String,
    /// The exchange that it is bound to. Celery names it after the queue.
    pub exchange: String,
    /// The transport option `global_keyprefix`, empty by default there.
    pub key_prefix: String,
    /// The transport option `priority_steps`: 0 is the list of the queue's own name.
    pub priority_steps: Vec<u8>,
    /// The transport option `sep`, between the queue's name and a step.
    pub separator: String,
    /// Whether tasks are acknowledged when they end (`task_acks_late`), and not when they start.
    pub acks_late: bool,
}

impl Celery {
    /// kombu's default `priority_steps`.
    pub const PRIORITY_STEPS: [u8; 4] = [0, 3, 6, 9];
    /// kombu's default `sep`.
    pub const SEPARATOR: &str = "\u{6}\u{16}";
}

/// An RQ queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rq {
    /// Name of the queue.
    pub queue: String,
    /// What all keys begin with: `rq`, or what `RQ_KEY_PREFIX` says (RQ 3).
    pub key_prefix: String,
    /// Whether its workers move jobs on whose time has come: a plain `rq worker` never does.
    pub scheduler: bool,
}

/// A Sidekiq queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidekiq {
    /// Name of the queue.
    pub queue: String,
}

/// An asynq queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asynq {
    /// Name of the queue.
    pub queue: String,
    /// Whether its servers make tasks of what is gathered in groups: only those that are started with
    /// a `GroupAggregator` do.
    pub aggregates: bool,
}

/// A list of which each item is a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Key of the list.
    pub key: String,
    /// Key of the list to which workers move what they run.
    pub in_flight_key: Option<String>,
}

/// A sorted set of which each member is a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortedSet {
    /// Key of the sorted set.
    pub key: String,
    /// What a score means.
    pub scores: Scores,
    /// Key of the sorted set to which workers move what they run.
    pub in_flight_key: Option<String>,
}

/// What the score of a member means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// An order: every member can run.
    Order,
    /// The time at which it is due.
    Due(Unit),
}

/// The unit of a time since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// A stream read by a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Key of the stream.
    pub key: String,
    /// Name of the consumer group.
    pub group: String,
}

/// A command whose answer is a number of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// The command.
    pub command: Command,
    /// Its key.
    pub key: String,
    /// What the number counts.
    pub role: Role,
}

/// A command that counts in constant or logarithmic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Items of a list.
    Llen,
    /// Members of a set.
    Scard,
    /// Members of a sorted set.
    Zcard,
    /// Members of a sorted set whose score, a time, has come.
    Zcount(Unit),
    /// Fields of a hash.
    Hlen,
    /// Entries of a stream.
    Xlen,
    /// A whole number kept as text.
    Get,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tasks that can run now.
    Runnable,
    /// Tasks that a worker holds.
    InFlight,
    /// Tasks that can run from their time on; only with [`Command::Zcount`].
    Deferred,
}

/// The queue as a person would name it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BullMq(of) => write!(f, "bullmq {}:{}", of.prefix, of.queue),
            Self::Celery(of) => write!(f, "celery {}{}", of.key_prefix, of.queue),
            Self::Rq(of) => write!(f, "rq {}", of.queue),
            Self::Sidekiq(of) => write!(f, "sidekiq {}", of.queue),
            Self::Asynq(of) => write!(f, "asynq {}", of.queue),
            Self::List(of) => write!(f, "list {}", of.key),
            Self::SortedSet(of) => write!(f, "sorted set {}", of.key),
            Self::Stream(of) => write!(f, "stream {} group {}", of.key, of.group),
            Self::Expressions(of) => write!(f, "{} expressions", of.len()),
        }
    }
}
