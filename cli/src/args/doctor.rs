//! What was typed of `tq doctor`.

use clap::Args;

use super::Form;

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Doctor {
    /// Queues to look at in Redis besides those of the cluster's TaskQueues: NAME or NAMESPACE/NAME.
    #[arg(value_name = "QUEUE")]
    pub(crate) queues: Vec<String>,
    /// The context of the kubeconfig, if it is not to be the current one.
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Look at no cluster.
    #[arg(long, conflicts_with = "context")]
    pub(crate) no_cluster: bool,
    /// Exit with 1 on warnings as well.
    #[arg(long)]
    pub(crate) strict: bool,
    /// The form to print it in.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Form,
}

const EXIT_CODES: &str = "\
Without --redis and TASKQUEUE_REDIS_URL only the cluster is looked at, without a kubeconfig only Redis; with
-n only the TaskQueues of that namespace.

Exit codes:
  0  no problem; there may be warnings, and what could not be looked at
  1  a problem, or with --strict a warning
  2  wrong use: an argument has a bad value, or neither Redis nor a cluster was named";
