//! The peers: how each is started, what it is given, and where its counts are.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

/// One column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// Taskqueue.
    Ours,
    /// `LPUSH` and `BLPOP` alone.
    Bare,
    /// `BullMQ`.
    Bullmq,
    /// asynq.
    Asynq,
    /// Celery.
    Celery,
    /// apalis.
    Apalis,
    /// An earlier build of Taskqueue.
    Before,
}

impl Peer {
    /// Every column that is measured without being asked for, in the table's order.
    pub(crate) const ALL: [Self; 6] = [
        Self::Ours,
        Self::Bare,
        Self::Bullmq,
        Self::Asynq,
        Self::Celery,
        Self::Apalis,
    ];

    /// Its name as its makers write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "Taskqueue",
            Self::Bare => "bare Redis",
            Self::Bullmq => "BullMQ",
            Self::Asynq => "asynq",
            Self::Celery => "Celery",
            Self::Apalis => "apalis",
            Self::Before => "before",
        }
    }

    /// Whether it is a task queue by somebody else.
    pub(crate) fn is_rival(self) -> bool {
        !self.is_ours() && self != Self::Bare
    }

    /// Whether it is ours, of whatever build.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::Before)
    }

    /// The words that start it, before those of the contract. `bin` has our programs, `before` those of an
    /// earlier build.
    pub(crate) fn program(self, cache: &Path, bin: &Path, before: &Path) -> Vec<PathBuf> {
        match self {
            Self::Ours => vec![bin.join("peer-ours")],
            Self::Before => vec![before.join("peer-ours")],
            Self::Bare => vec![bin.join("peer-bare")],
            Self::Bullmq => vec!["node".into(), cache.join("bullmq/main.mjs")],
            Self::Asynq => vec![cache.join("asynq/peer")],
            Self::Celery => vec![
                cache.join("celery/venv/bin/python"),
                cache.join("celery/main.py"),
            ],
            Self::Apalis => vec![cache.join("apalis/release/taskqueue-bench-apalis")],
        }
    }

    /// The slots of its worker: what was fastest among those that were tried.
    pub(crate) fn slots(self) -> usize {
        match self {
            Self::Ours | Self::Before | Self::Bullmq => 100,
            Self::Bare => 1,
            Self::Asynq => 200,
            Self::Celery => 4,
            Self::Apalis => 500,
        }
    }

    /// How many of the wanted tasks it is given: Celery is slower by two powers of ten.
    pub(crate) fn share(self, tasks: usize) -> usize {
        match self {
            Self::Celery => tasks.min(10_000),
            _ => tasks,
        }
    }

    /// The setting that its figures were taken with.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Ours | Self::Before => {
                "one worker with 100 slots on one thread; bulk by `enqueue_all`; answers of a server on the same machine are looked for instead of slept for (busy polling), in the library and in the worker program alike"
            }
            Self::Bare => {
                "redis-rs on tokio; callers share a connection; nothing is acknowledged or kept; bulk is `LPUSH` of 1,000 values"
            }
            Self::Bullmq => {
                "concurrency 100 (the fastest in short single trials of 50 to 500); bulk by `addBulk` of 1,000; completed jobs kept, as is its default"
            }
            Self::Asynq => {
                "concurrency 200, an empty queue is looked at every millisecond (`TaskCheckInterval`, 1 s by default), tasks retained for an hour; it has no bulk call, so 64 goroutines enqueue"
            }
            Self::Celery => {
                "prefork with 4 processes (the fastest in short single trials of 2 to 16 processes, threads, gevent and solo), prefetch multiplier 64, late acknowledgement, results kept in Redis; it has no bulk call, so its bulk is one producer in a loop; samples of 10,000 tasks"
            }
            Self::Apalis => {
                "batches of 500, no events, no locks (which its documentation allows for short tasks), polling every millisecond by a stream of our own (`poll_with_interval` can stop until the next heartbeat), concurrency 500; bulk by `push_bulk` of 500. A worker of 1.0.0 stops with an error on a backlog of more than some 8,000 tasks, so the harness moves them to its active list beforehand, outside the measured time"
            }
        }
    }

    /// The command whose answer is the number of tasks that wait, where Redis can tell it.
    pub(crate) fn waiting(self) -> &'static [&'static str] {
        match self {
            Self::Ours | Self::Before => &[],
            Self::Bare | Self::Celery => &["LLEN", "bench"],
            Self::Bullmq => &["LLEN", "bull:bench:wait"],
            Self::Asynq => &["LLEN", "asynq:{default}:pending"],
            Self::Apalis => &["ZCARD", "bench:scheduled"],
        }
    }

    /// The command whose answer is the number of tasks that are completed, or, for bare Redis,
    /// of those that are not.
    pub(crate) fn completed(self) -> &'static [&'static str] {
        match self {
            Self::Ours | Self::Before => &[],
            Self::Bare => &["LLEN", "bench"],
            Self::Bullmq => &["ZCARD", "bull:bench:completed"],
            Self::Asynq => &["ZCARD", "asynq:{default}:completed"],
            // A result is a key, and next to nothing else is.
            Self::Celery => &["DBSIZE"],
            Self::Apalis => &["SCARD", "bench:done"],
        }
    }
}
