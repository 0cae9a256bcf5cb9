//! What was typed: the commands, their arguments and their help. What a command needs is made of it elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::SignedDuration;
use taskqueue_queue::TaskId;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: Redis cannot be reached, input cannot be read, a payload is refused
  2  wrong use: an argument is missing, unknown or has a bad value
  3  not found: no such task, no such dead letter

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
    /// The namespace of queues that are named without one.
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAMESPACE",
        default_value = "default"
    )]
    pub(crate) namespace: String,
    /// Where Redis is, for example `redis://127.0.0.1:6379` or `rediss://user:password@host:6380/0`.
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
    /// Show tasks by their ids.
    ///
    /// One task is printed for people; of several, each JSON object is one line.
    Get(Get),
    /// Show what queues hold.
    Stats(Stats),
    /// Look at tasks that will not be tried again, retry them or remove them.
    #[command(subcommand)]
    Dead(Dead),
    /// Print the completion script of a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Print the version.
    Version,
}

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
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "ids")]
    pub(crate) output: Printed,
}

/// What `tq enqueue` prints for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Printed {
    /// The id, one a line.
    Ids,
    /// A JSON object with id, queue and type, one a line.
    Json,
    /// Nothing.
    None,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The queue.
    pub(crate) queue: String,
    /// The tasks' ids, as `tq enqueue` printed them.
    #[arg(value_name = "ID", value_parser = task_id, required_unless_present = "list", conflicts_with = "list")]
    pub(crate) ids: Vec<TaskId>,
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

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listing {
    /// A table for people.
    Table,
    /// A JSON object a line.
    Json,
}

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
    Retry {
        #[command(flatten)]
        letters: Letters,
    },
    /// Remove dead letters for good.
    Purge {
        #[command(flatten)]
        letters: Letters,
        /// Really remove all of them.
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
    #[arg(value_name = "ID", value_parser = task_id, required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ids: Vec<TaskId>,
    /// All of the queue's.
    #[arg(long)]
    pub(crate) all: bool,
}

fn task_id(text: &str) -> Result<TaskId, String> {
    text.parse()
        .map_err(|error: taskqueue_queue::Error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let signed: SignedDuration = text
        .parse()
        .map_err(|error| format!("{error}; write it like 30s, 5m or 1h30m"))?;
    Duration::try_from(signed).map_err(|_| "a duration cannot be negative".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|every| {
        if every.is_zero() {
            Err("it must be above zero".to_owned())
        } else {
            Ok(every)
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "30", "5 parsecs", "-5s", "1mo"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(interval("0s").is_err());
    }
}
