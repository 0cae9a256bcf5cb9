//! What was typed for `tq enqueue`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use taskqueue_queue::OwnBackoff;

use super::parse::{backoff, duration, interval, time};

#[derive(Debug, Args)]
pub(crate) struct Enqueue {
    /// The queue.
    pub(crate) queue: String,
    /// The type of the tasks, which a worker chooses the handler by.
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// The payload of the one task.
    #[arg(
        long,
        value_name = "JSON",
        default_value = "null",
        conflicts_with = "lines"
    )]
    pub(crate) payload: String,
    /// Make one task of every line of this file; `-` is standard input.
    ///
    /// A line ends with LF or CR LF, and the file may begin with a byte order mark. An empty line is an empty text,
    /// but for those at the end of the file, which make no tasks; with --json empty lines make no tasks anywhere.
    #[arg(long, value_name = "FILE")]
    pub(crate) lines: Option<PathBuf>,
    /// Take each line as a JSON value as it stands; without this each line becomes a JSON string.
    #[arg(long, requires = "lines")]
    pub(crate) json: bool,
    /// The priority level, one of the queue's; else the queue's default level.
    #[arg(short, long, value_name = "LEVEL")]
    pub(crate) priority: Option<String>,
    /// Run the tasks no sooner than after this time, for example 30s, 5m or 1h30m.
    #[arg(short, long, value_name = "DURATION", value_parser = duration)]
    pub(crate) delay: Option<Duration>,
    /// Run the tasks no sooner than at this time, for example 2026-12-24T18:00:00+01:00.
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "delay")]
    pub(crate) run_at: Option<Timestamp>,
    /// End the tasks without running them if they have not started after this time.
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) expires_in: Option<Duration>,
    /// Make this many attempts at most, the first one included, in place of the queue's `retry.maxAttempts`.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempts: Option<u32>,
    /// Let an attempt run for this long at most, in place of the queue's `timeout`.
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) timeout: Option<Duration>,
    /// How long to wait before the next attempt, in place of the queue's `retry.backoff`: `fixed:5s`, or the first and the
    /// longest wait, `exponential:1s:10m` (it doubles) or `linear:10s:5m` (it grows by the first).
    #[arg(long, value_name = "KIND:WAIT", value_parser = backoff)]
    pub(crate) backoff: Option<OwnBackoff>,
    /// Enqueue nothing while another task with this key has not ended; the id of that one is printed then.
    #[arg(
        long,
        value_name = "KEY",
        requires = "unique_for",
        conflicts_with = "lines"
    )]
    pub(crate) unique: Option<String>,
    /// How long `--unique` holds at most.
    #[arg(long, value_name = "DURATION", requires = "unique", value_parser = interval)]
    pub(crate) unique_for: Option<Duration>,
    /// Your own name for the task: with the same key again, nothing is enqueued and the id of the task that stands for it is
    /// printed, until `--keep` after that one has ended. With the key and something else to be done it is refused.
    #[arg(long, value_name = "KEY", requires = "keep", conflicts_with = "lines")]
    pub(crate) idempotency_key: Option<String>,
    /// How long `--idempotency-key` stands for the task after its end, for example 24h.
    #[arg(long, value_name = "DURATION", requires = "idempotency_key", value_parser = interval)]
    pub(crate) keep: Option<Duration>,
    /// The concurrency key: of the tasks that share it, only so many run at once as the queue's
    /// `limits.perKey.concurrency` says.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "ids")]
    pub(crate) output: Printed,
}

/// What `tq enqueue` prints for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Printed {
    /// The id, one a line.
    Ids,
    /// A JSON object with id, queue, type and existing (whether the task stood already), one a line.
    Json,
    /// Nothing.
    None,
}
