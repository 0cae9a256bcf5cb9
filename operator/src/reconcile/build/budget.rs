//! The PodDisruptionBudget of the worker pods, where the TaskQueue asks for one.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::core::ObjectMeta;

use super::super::validate::{Budget, ValidQueue};
use super::deployment;

/// Builds the budget.
pub fn build(valid: &ValidQueue, budget: &Budget) -> PodDisruptionBudget {
    let (max_unavailable, min_available) = match budget {
        Budget::MaxUnavailable(count) => (Some(count.clone()), None),
        Budget::MinAvailable(count) => (None, Some(count.clone())),
    };
    PodDisruptionBudget {
        metadata: ObjectMeta {
            name: Some(valid.key.name.clone()),
            namespace: Some(valid.key.namespace.clone()),
            labels: Some(deployment::labels(valid)),
            owner_references: Some(vec![valid.owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable,
            min_available,
            selector: Some(LabelSelector {
                match_labels: Some(deployment::selector(&valid.key.name)),
                ..LabelSelector::default()
            }),
            // A worker that is not ready takes no tasks, and must not hold up a drain for ever.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        }),
        status: None,
    }
}
