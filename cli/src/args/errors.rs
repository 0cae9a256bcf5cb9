//! What was typed of `tq errors`.

use clap::Args;
use taskqueue_queue::Fingerprint;

use super::Listing;
use super::parse::fingerprint;

/// Show what kinds of failures there are, the one that was seen last first.
///
/// Failures are of one kind if type, cause and message are the same but for numbers, ids and what stands in quotes. Counted are
/// failed attempts and losses of workers, whatever became of their tasks. HOUR is how many there were in about the last hour.
/// The latest 1000 kinds are known.
#[derive(Debug, Args)]
pub(crate) struct Errors {
    /// The queue.
    pub(crate) queue: String,
    /// How many at most.
    #[arg(short, long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Forget this kind instead of listing; may be given several times.
    #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint)]
    pub(crate) forget: Vec<Fingerprint>,
    /// Forget all kinds instead of listing.
    #[arg(long, conflicts_with = "forget")]
    pub(crate) forget_all: bool,
    /// The form to print them in.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Listing,
}
