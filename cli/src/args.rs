//! What was typed: the commands, their arguments and their help. What a command needs is made of it elsewhere.

mod amend;
mod dead;
mod doctor;
mod enqueue;
mod errors;
mod follow;
mod parse;
mod simulate;
mod tasks;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use taskqueue_queue::TaskId;

pub(crate) use self::amend::{
    Clean, Clear, Delete, Edit, OfSchedule, Priority, Promote, Schedules,
};
pub(crate) use self::dead::{Dead, Fitting, Letters};
pub(crate) use self::doctor::Doctor;
pub(crate) use self::enqueue::{Enqueue, Printed};
pub(crate) use self::errors::Errors;
pub(crate) use self::follow::{Ends, Watch};
use self::parse::{interval, task_id};
pub(crate) use self::simulate::Simulate;
pub(crate) use self::tasks::Tasks;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: Redis cannot be reached, input cannot be read, a payload is refused, a dead letter's unique key is taken, an
     idempotency key stands for a task that asks for something else, a task runs that is to be changed, a queue has workers
     that is to be deleted, `tq doctor` found a problem
  2  wrong use: an argument is missing, unknown or has a bad value
  3  not found: no such task, no such dead letter, no task that can still be cancelled or changed

QUEUE is a name, looked up in the namespace given by -n, or NAMESPACE/NAME.";

/// Enqueue tasks and look at queues.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, propagate_version = false, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the queues are.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The namespace of queues that are named without one [default: default; for `explain` that of the kubeconfig].
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Where Redis is, for example `redis://127.0.0.1:6379` or `rediss://user:password@host:6380/0`;
    /// `valkey://` and `valkeys://` mean the same.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TASKQUEUE_REDIS_URL",
        hide_env_values = true
    )]
    pub(crate) redis: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put one task, or one for every line of a file, into a queue.
    ///
    /// The ids go to standard output, progress and the summary to standard error. Lines are read and enqueued in
    /// batches, in order. The first line that cannot be a payload ends the command, which says how many tasks were
    /// enqueued before it.
    Enqueue(Enqueue),
    /// Show tasks by their ids, or one by its idempotency key.
    ///
    /// One task is printed for people; of several, each JSON object is one line.
    Get(Get),
    /// Show what queues hold.
    Stats(Stats),
    /// List the tasks of a queue.
    ///
    /// Without --state those are listed that have not ended: first those that run, then those that wait, are blocked by
    /// others with their concurrency key, and are scheduled. What stays in its state is listed once, whatever becomes of others
    /// meanwhile. If there may be more, standard error says with which --cursor the listing goes on: as it does after a million
    /// tasks of which few fit. With JSON that is an object as well: cursor, and looked for how many were looked at.
    Tasks(Tasks),
    /// Show the log lines of a task, the last hundred that its attempts wrote.
    Logs {
        /// The queue.
        queue: String,
        /// The task's id.
        #[arg(value_name = "ID", value_parser = task_id)]
        id: TaskId,
    },
    /// Read the log of what has ended, where the queue keeps one.
    ///
    /// A line of JSON for each end: the task with what became of it (`what`), and the number of that end; and for each change
    /// of the number of workers (`Scaled`). What was read is
    /// acknowledged for the group, and not read by it again; a new group begins with the oldest that there is.
    Ends(Ends),
    /// Show what happens in a queue, in the moment in which it happens, until interrupted.
    ///
    /// A line for each event: tasks that are enqueued, due, started, retried, completed and so on, progress and log lines of
    /// attempts, and changes of the number of workers. Begins with what happens from now on, or goes on behind an event that
    /// is still kept: about 4 MiB are, until nobody has listened for a minute. Costs the queue nothing when nobody listens.
    Watch(Watch),
    /// List the workers of a queue.
    Workers {
        /// The queue.
        queue: String,
        /// The form to print them in.
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Listing,
    },
    /// Cancel tasks.
    ///
    /// One that does not run will not; the worker of one that runs is told, and lets it go within seconds.
    Cancel {
        /// The queue.
        queue: String,
        /// The tasks' ids.
        #[arg(value_name = "ID", value_parser = task_id, required = true)]
        ids: Vec<TaskId>,
    },
    /// Give a task that does not run another payload.
    ///
    /// One that waits, is blocked, is scheduled or is a dead letter; all else of it stays. A worker that takes it
    /// meanwhile runs it as it was, and the task is left alone.
    Edit(Edit),
    /// Make scheduled tasks runnable now, those that are to be retried as well.
    Promote(Promote),
    /// Move tasks that do not run to another priority level, to its tail.
    Priority(Priority),
    /// Cancel all tasks of a queue that do not run, or remove its dead letters.
    ///
    /// What runs goes on. Without --yes it says how many tasks that would be. It goes on where it was when it is
    /// called again after an interrupt.
    Clear(Clear),
    /// Forget the tasks that have ended: completed, cancelled, expired and dropped ones.
    ///
    /// By itself the queue forgets them by its `completedMaxAge` and `completedMaxCount`. They go in groups, each when the
    /// last of it is old enough, and none in its first 10 s.
    Clean(Clean),
    /// List the schedules of a queue with their next five runs, or run one now.
    Schedules(Schedules),
    /// Delete all that Redis holds of a queue.
    ///
    /// Its tasks in whatever state, its policy, its counters and its log. In a cluster, delete the TaskQueue first: as long
    /// as it is there the operator makes the queue anew. Without --yes it says what would go.
    Delete(Delete),
    /// Stop the workers from taking further tasks.
    ///
    /// What runs goes on, and tasks can still be enqueued. In a cluster, the operator puts what the TaskQueue says back
    /// in force within a second: set `spec.paused` there instead, for example with
    /// kubectl patch tq NAME --type merge -p '{"spec": {"paused": true}}'
    #[command(verbatim_doc_comment)]
    Pause {
        /// The queue.
        queue: String,
    },
    /// Let the workers take tasks again.
    ///
    /// In a cluster, the operator puts what the TaskQueue says back in force within a second: set `spec.paused` there
    /// instead.
    #[command(verbatim_doc_comment)]
    Resume {
        /// The queue.
        queue: String,
    },
    /// Look at tasks that will not be tried again, retry them or remove them.
    #[command(subcommand)]
    Dead(Dead),
    Errors(Errors),
    /// Say why a TaskQueue has as many worker pods as it has.
    ///
    /// The decision that counts now as an equation, what it was made on, what held the number back, and the last
    /// changes. Read from the status of the TaskQueue, so it needs the cluster of the kubeconfig and no Redis.
    Explain(Explain),
    /// Look for what is wrong with Redis, the cluster, the operator and the queues.
    ///
    /// One line for each thing that was looked at: ok, warning, problem, or unknown with the reason why it could
    /// not be looked at; each with what to do. Changes nothing, and each look takes at most five seconds.
    Doctor(Doctor),
    /// Play a recorded demand against the scaling of a TaskQueue.
    ///
    /// Shows how many workers there would be and what they would cost, beside how long tasks would wait: by the very
    /// decision that the operator makes, without Redis or a cluster.
    Simulate(Simulate),
    /// Print the completion script of a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The queue.
    pub(crate) queue: String,
    /// The tasks' ids, as `tq enqueue` printed them.
    #[arg(
        value_name = "ID",
        value_parser = task_id,
        required_unless_present_any = ["list", "key"],
        conflicts_with_all = ["list", "key"]
    )]
    pub(crate) ids: Vec<TaskId>,
    /// The task that stands for this key, with which `tq enqueue --idempotency-key` enqueued it.
    #[arg(long, value_name = "KEY", conflicts_with = "list")]
    pub(crate) key: Option<String>,
    /// Read the ids from this file, one a line; `-` is standard input.
    #[arg(long = "ids", value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// The form to print it in.
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    pub(crate) output: Document,
}

/// The form of a single task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Document {
    /// One JSON object.
    Json,
    /// One YAML document.
    Yaml,
    /// A table of its attempts.
    Attempts,
}

#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// The queues.
    #[arg(value_name = "QUEUE", required = true)]
    pub(crate) queues: Vec<String>,
    /// The form to print them in.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Listing,
    /// Print again and again, until interrupted.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How often `--watch` prints.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub(crate) every: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The TaskQueue.
    pub(crate) name: String,
    /// The context of the kubeconfig, if it is not to be the current one.
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// The form to print it in.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Form,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A short text for people.
    Text,
    /// One JSON object.
    Json,
}

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listing {
    /// A table for people.
    Table,
    /// A JSON object a line.
    Json,
}

/// The command line as it is parsed. An option takes the next word for its value whatever that
/// begins with, as with getopt: `--payload -5`.
pub(crate) fn command() -> clap::Command {
    take_hyphens(Cli::command())
}

fn take_hyphens(command: clap::Command) -> clap::Command {
    let option = |arg: Arg| {
        let takes = arg.get_action().takes_values() && !arg.is_positional();
        if takes {
            arg.allow_hyphen_values(true)
        } else {
            arg
        }
    };
    command.mut_args(option).mut_subcommands(take_hyphens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn each_option_takes_a_value_that_begins_with_a_hyphen() {
        fn options(command: &clap::Command, found: &mut Vec<(String, bool)>) {
            for option in command.get_arguments().filter(|arg| !arg.is_positional()) {
                if option.get_action().takes_values() {
                    let name = format!("{} --{}", command.get_name(), option.get_id());
                    found.push((name, option.is_allow_hyphen_values_set()));
                }
            }
            command.get_subcommands().for_each(|it| options(it, found));
        }
        let mut found = Vec::new();
        options(&command(), &mut found);
        assert!(found.len() > 30, "{found:?}");
        found.retain(|(_, takes)| !takes);
        assert_eq!(found, []);
    }
}
