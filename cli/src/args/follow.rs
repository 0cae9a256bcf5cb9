//! What was typed behind `tq ends` and `tq watch`.

use clap::Args;
use taskqueue_queue::LiveId;

use super::Listing;
use super::parse::event_id;

#[derive(Debug, Args)]
pub(crate) struct Ends {
    /// The queue.
    pub(crate) queue: String,
    /// The group of readers, which share what is logged.
    #[arg(long, value_name = "NAME", default_value = "tq")]
    pub(crate) group: String,
    /// Which reader of the group this is.
    #[arg(long, value_name = "NAME", default_value = "tq")]
    pub(crate) reader: String,
    /// Go on with what is logged from now on.
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The queue.
    pub(crate) queue: String,
    /// Go on behind this event, by its `id` in the form `json`.
    #[arg(long, value_name = "ID", value_parser = event_id)]
    pub(crate) from: Option<LiveId>,
    /// The form to print them in.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Listing,
}
