//! What was typed of `tq dead`.

use std::time::Duration;

use clap::{Args, Subcommand};
use taskqueue_queue::{Filter, Fingerprint, Moment, PayloadIs, Rate, Stage, TaskId};

use super::Listing;
use super::parse::{duration, rate, task_id};

#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List dead letters, the latest first.
    List {
        /// The queue.
        queue: String,
        #[command(flatten)]
        fitting: Fitting,
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
        /// No more of them than this in that time, evenly: 10/s, 300/m or 1/10s, for example.
        #[arg(long, value_name = "RATE", value_parser = rate)]
        rate: Option<Rate>,
        /// Put them into this queue instead, with their ids.
        ///
        /// One whose level that queue lacks gets its default level. Each is written there before it is removed here; to
        /// repeat the command after a failure loses none and doubles none.
        #[arg(long, value_name = "QUEUE")]
        into: Option<String>,
        /// Only say how many it would be. Ids are not looked up.
        #[arg(long)]
        dry_run: bool,
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
        required_unless_present_any = ["all", "kind", "key", "error", "group", "payload", "older_than"],
        conflicts_with_all = ["all", "kind", "key", "error", "group", "payload", "older_than"]
    )]
    pub(crate) ids: Vec<TaskId>,
    /// All of the queue's.
    #[arg(long, conflicts_with_all = ["kind", "key", "error", "group", "payload", "older_than"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) fitting: Fitting,
}

/// What dead letters must be.
#[derive(Debug, Args)]
pub(crate) struct Fitting {
    /// Those of this type. With several filters, those that fit all of them.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Those with this unique key or concurrency key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Those in whose last error this text is found.
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Those whose last error is of this group: 16 digits of 0-9 and a-f.
    #[arg(long, value_name = "FINGERPRINT")]
    group: Option<Fingerprint>,
    /// Those with this in their payload, for example customer.id=17 or items[0].sku=A-1; may be given several times.
    #[arg(long, value_name = "PATH=VALUE")]
    payload: Vec<PayloadIs>,
    /// Those that died longer ago than this, for example 36h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
}

impl Fitting {
    /// Dead letters; without anything asked for, all of them.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            kind: self.kind.clone(),
            key: self.key.clone(),
            error: self.error.clone(),
            group: self.group,
            payload: self.payload.clone(),
            ended_before: self.older_than.map(Moment::Ago),
            ..Filter::of([Stage::Dead])
        }
    }
}
