//! What was typed of the commands that change tasks and empty queues.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use taskqueue_queue::TaskId;

use super::Listing;
use super::parse::{duration, task_id};

#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// The queue.
    pub(crate) queue: String,
    /// The task's id.
    #[arg(value_name = "ID", value_parser = task_id)]
    pub(crate) id: TaskId,
    /// The new payload.
    #[arg(long, value_name = "JSON")]
    pub(crate) payload: String,
    /// Put a dead letter back into the queue with it, with all its attempts.
    #[arg(long)]
    pub(crate) retry: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The queue.
    pub(crate) queue: String,
    /// The tasks' ids.
    #[arg(value_name = "ID", value_parser = task_id, required = true)]
    pub(crate) ids: Vec<TaskId>,
}

#[derive(Debug, Args)]
pub(crate) struct Priority {
    /// The queue.
    pub(crate) queue: String,
    /// The level, one of the queue's.
    pub(crate) level: String,
    /// The tasks' ids.
    #[arg(value_name = "ID", value_parser = task_id, required = true)]
    pub(crate) ids: Vec<TaskId>,
}

#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag that is typed for itself"
)]
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").multiple(true).required(true))]
pub(crate) struct Clear {
    /// The queue.
    pub(crate) queue: String,
    /// Those that could run now, and those that are blocked by others with their concurrency key.
    #[arg(long, group = "which")]
    pub(crate) waiting: bool,
    /// Those that were delayed or are to be retried.
    #[arg(long, group = "which")]
    pub(crate) scheduled: bool,
    /// The dead letters, which are removed for good.
    #[arg(long, group = "which")]
    pub(crate) dead: bool,
    /// All of these.
    #[arg(long, group = "which", conflicts_with_all = ["waiting", "scheduled", "dead"])]
    pub(crate) all: bool,
    /// Really do it.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Clean {
    /// The queue.
    pub(crate) queue: String,
    /// Only those that ended longer ago than this, for example 36h.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) older_than: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The queue.
    pub(crate) queue: String,
    /// Really do it.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Do it although workers are registered. They lose what they run.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Schedules {
    /// The queue.
    #[arg(required = true)]
    pub(crate) queue: Option<String>,
    /// The form to print them in.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Listing,
    #[command(subcommand)]
    pub(crate) command: Option<OfSchedule>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OfSchedule {
    /// Enqueue the task of a schedule now; when it runs by itself stays as it is.
    Run {
        /// The queue.
        queue: String,
        /// The schedule.
        #[arg(value_name = "NAME")]
        name: String,
    },
}
