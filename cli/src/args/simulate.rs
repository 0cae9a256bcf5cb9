//! `tq simulate`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::Args;
use jiff::Timestamp;

use super::{
    Listing,
    parse::{time, within_a_day},
};

const TRACE: &str = "\
A trace tells what a queue was given. Each line holds from its instant to that of the next line, and the last line ends
the trace. Lines are JSON objects or comma-separated values:
  {\"at\": 0, \"arrivals\": 2.5, \"runMs\": 400}
  0,2.5,400
at: seconds since the beginning, increasing; arrivals: tasks per second; runMs: how long each of them runs, in
milliseconds. Empty lines, lines that begin with # and a heading line are passed over.

The model: pods take --start-time to start, run as many tasks at once as worker.concurrency says, in the order in which
these came, and are drained before they go. The same trace always gives the same figures.";

#[derive(Debug, Args)]
#[command(after_help = TRACE)]
pub(crate) struct Simulate {
    /// The TaskQueue, as a manifest in YAML or JSON; the first one in the file counts.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// The trace; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: PathBuf,
    /// How long a pod takes to start, 24h at most.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = within_a_day)]
    pub(crate) start_time: Duration,
    /// When the trace begins, for scaling.windows.
    #[arg(long, value_name = "TIME", default_value = "2026-01-05T00:00:00Z", value_parser = time)]
    pub(crate) from: Timestamp,
    /// How many tasks at once what they call serves at full speed. With more, each takes longer in proportion.
    #[arg(long, value_name = "TASKS")]
    pub(crate) downstream: Option<NonZeroU32>,
    /// The form to print it in: the changes and a summary as a table, or one JSON object with each second besides.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Listing,
}
