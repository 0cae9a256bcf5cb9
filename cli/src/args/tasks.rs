//! What was typed of `tq tasks`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use taskqueue_queue::{Cursor, Filter, Fingerprint, Moment, PayloadIs, Stage, WorkerId};

use super::Listing;
use super::parse::duration;

#[derive(Debug, Args)]
pub(crate) struct Tasks {
    /// The queue.
    pub(crate) queue: String,
    /// Only those in this state; may be given several times.
    #[arg(short, long, value_name = "STATE")]
    pub(crate) state: Vec<TaskState>,
    /// Only those of this priority level.
    #[arg(short = 'L', long, value_name = "LEVEL")]
    pub(crate) level: Option<String>,
    /// Only those of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Only those with this unique key or concurrency key.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Only those that this worker runs, or ran last.
    #[arg(long, value_name = "ID")]
    pub(crate) worker: Option<WorkerId>,
    /// Only those enqueued longer ago than this, for example 36h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) older_than: Option<Duration>,
    /// Only those enqueued since then, for example 5m.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) newer_than: Option<Duration>,
    /// Only those in whose last error this text is found.
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,
    /// Only those whose last error is of this group: 16 digits of 0-9 and a-f.
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) group: Option<Fingerprint>,
    /// Only those with this in their payload, for example customer.id=17 or items[0].sku=A-1; may be given several
    /// times.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) payload: Vec<PayloadIs>,
    /// Go on where another call with the same filter ended.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<Cursor>,
    /// How many at most.
    #[arg(short, long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// The form to print them in.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Listing,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskState {
    /// It could run now; the next one first.
    Waiting,
    /// It waits for another one with its concurrency key.
    Blocked,
    /// It was delayed, or is to be retried; the next one first.
    Scheduled,
    /// It runs.
    Active,
    /// It is a dead letter; the latest first.
    Dead,
    /// It was completed, cancelled or dropped, or it expired; the one enqueued last first.
    Ended,
    /// It was completed.
    Completed,
    /// It was cancelled.
    Cancelled,
    /// It did not start in time.
    Expired,
    /// A retry rule dropped it.
    Dropped,
}

impl TaskState {
    fn stages(self) -> &'static [Stage] {
        match self {
            Self::Waiting => &[Stage::Waiting],
            Self::Blocked => &[Stage::Blocked],
            Self::Scheduled => &[Stage::Scheduled],
            Self::Active => &[Stage::Active],
            Self::Dead => &[Stage::Dead],
            Self::Ended => &Stage::ENDED,
            Self::Completed => &[Stage::Completed],
            Self::Cancelled => &[Stage::Cancelled],
            Self::Expired => &[Stage::Expired],
            Self::Dropped => &[Stage::Dropped],
        }
    }
}

impl Tasks {
    pub(crate) fn filter(&self) -> Filter {
        let stages = self.state.iter().flat_map(|state| state.stages());
        Filter {
            stages: stages.copied().collect(),
            kind: self.kind.clone(),
            key: self.key.clone(),
            level: self.level.clone(),
            worker: self.worker,
            created_before: self.older_than.map(Moment::Ago),
            created_after: self.newer_than.map(Moment::Ago),
            ended_before: None,
            error: self.error.clone(),
            group: self.group,
            payload: self.payload.clone(),
        }
    }
}
