//! What a shrink waits for, in the words of the status.

use std::fmt;

use super::COST;

/// What a shrink waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The end of a rollout.
    Rollout,
    /// The Deployment's controller.
    Unobserved,
    /// Pods that the Deployment has or is about to have, and the watch has not shown.
    Unseen {
        /// How many it has or is about to have.
        counted: u32,
        /// Pods that were seen.
        seen: usize,
    },
    /// Pods for which the number was lowered, to be deleted.
    Leaving(usize),
    /// A pod that is about to bring a worker up, and would be taken first.
    Starting(String),
    /// A worker that still runs tasks.
    Busy {
        /// Its pod.
        pod: String,
        /// How many.
        held: u64,
    },
    /// A pod that would be taken before those that can be spared, since somebody else gave it a
    /// lower deletion cost.
    OtherCost(String),
    /// The deletion costs, to be written and seen.
    Costs,
}

impl fmt::Display for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rollout => formatter.write_str("the rollout to end"),
            Self::Unobserved => formatter.write_str("the Deployment's controller"),
            Self::Unseen { counted, seen } => {
                write!(formatter, "all pods to be there: {seen} of {counted} seen")
            }
            Self::Leaving(pods) => {
                let pods_are = if *pods == 1 { "pod is" } else { "pods are" };
                write!(
                    formatter,
                    "the ReplicaSet's controller: {pods} {pods_are} still to go"
                )
            }
            Self::Starting(pod) => write!(formatter, "pod {pod} to start"),
            Self::Busy { pod, held } => {
                let tasks = if *held == 1 { "task" } else { "tasks" };
                write!(formatter, "pod {pod} to finish {held} {tasks}")
            }
            Self::OtherCost(pod) => write!(
                formatter,
                "pod {pod}, whose pod-deletion-cost somebody set below {COST}"
            ),
            Self::Costs => formatter.write_str("the deletion costs to be seen"),
        }
    }
}
