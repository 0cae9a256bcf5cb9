//! What was typed of `tq dead`.

use std::time::Duration;

use clap::{Args, Subcommand};
use taskqueue_queue::TaskId;

use super::Listing;
use super::parse::{duration, task_id};

#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List dead letters, the latest first.
    List {
        /// The queue.
        queue: String,
        /// How many at most.
        #[arg(short, long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// The form to print them in.
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Listing,
    },
    /// Put dead letters back into the queue, with all their attempts.
    ///
    /// One with a unique key has it again until it ends. Where another task has that key, the letter
    /// stays, both are named, and the exit code is 1.
    Retry {
        #[command(flatten)]
        letters: Letters,
    },
    /// Remove dead letters for good.
    Purge {
        #[command(flatten)]
        letters: Letters,
        /// Really remove all of them, or all that fit.
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(crate) struct Letters {
    /// The queue.
    pub(crate) queue: String,
    /// The ids of tasks.
    #[arg(
        value_name = "ID",
        value_parser = task_id,
        required_unless_present_any = ["all", "kind", "error", "older_than"],
        conflicts_with_all = ["all", "kind", "error", "older_than"]
    )]
    pub(crate) ids: Vec<TaskId>,
    /// All of the queue's.
    #[arg(long, conflicts_with_all = ["kind", "error", "older_than"])]
    pub(crate) all: bool,
    /// Those of this type. With several filters, those that fit all of them.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Those in whose last error this text is found.
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,
    /// Those that died longer ago than this, for example 36h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) older_than: Option<Duration>,
}
