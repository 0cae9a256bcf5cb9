//! The least and the most replicas at one instant.

use jiff::Timestamp;

use crate::{Limit, Policy, Reason};

/// The least and the most replicas at one instant, and where they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: Bound,
    pub(crate) max: Bound,
}

/// One bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) replicas: u32,
    /// What it limits the number to, in the words of the decision.
    pub(crate) limit: Limit,
    pub(crate) reason: Reason,
    /// Its name among the clamps.
    pub(crate) name: &'static str,
}

impl Bounds {
    /// The bounds of the policy, raised and capped by the windows that are open. Where windows
    /// contradict each other the cap counts: it guards something, and work can wait.
    pub(crate) fn at(policy: &Policy, at: Timestamp) -> Self {
        let mut bounds = Self {
            min: Bound {
                replicas: policy.min.min(policy.max),
                limit: Limit::Minimum,
                reason: Reason::AtMinimum,
                name: "minReplicas",
            },
            max: Bound {
                replicas: policy.max,
                limit: Limit::Maximum,
                reason: Reason::AtMaximum,
                name: "maxReplicas",
            },
        };
        for window in policy.windows.iter().filter(|window| window.contains(at)) {
            if let Some(min) = window.min
                && min > bounds.min.replicas
            {
                bounds.min = Bound {
                    replicas: min,
                    limit: Limit::WindowMinimum,
                    reason: Reason::Window,
                    name: "windows[].minReplicas",
                };
            }
            if let Some(max) = window.max
                && max < bounds.max.replicas
            {
                bounds.max = Bound {
                    replicas: max,
                    limit: Limit::WindowMaximum,
                    reason: Reason::Window,
                    name: "windows[].maxReplicas",
                };
            }
        }
        bounds.min.replicas = bounds.min.replicas.min(bounds.max.replicas);
        bounds
    }

    /// Whether this number is allowed.
    pub(crate) fn contain(&self, replicas: u32) -> bool {
        (self.min.replicas..=self.max.replicas).contains(&replicas)
    }
}
