//! The Deployment around the worker pods.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::core::ObjectMeta;
use taskqueue_api::NAME_LABEL;

use super::super::validate::ValidQueue;

/// Label and value on every object that this operator makes.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "taskqueue-operator");

/// Rollouts to keep for `kubectl rollout undo`; the manifest is the better history.
const REVISION_HISTORY: i32 = 2;

/// Builds the Deployment. `replicas` is left out: only the autoscaler writes it.
pub fn build(valid: &ValidQueue, template: PodTemplateSpec) -> Deployment {
    Deployment {
        metadata: ObjectMeta {
            name: Some(valid.key.name.clone()),
            namespace: Some(valid.key.namespace.clone()),
            labels: Some(labels(valid)),
            owner_references: Some(vec![valid.owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: DeploymentSpec {
            revision_history_limit: Some(REVISION_HISTORY),
            selector: LabelSelector {
                match_labels: Some(selector(&valid.key.name)),
                ..LabelSelector::default()
            },
            template,
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

/// The labels that select the worker pods. They can never change for a given name.
pub fn selector(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(NAME_LABEL.to_owned(), name.to_owned())])
}

/// All labels of a child.
pub fn labels(valid: &ValidQueue) -> BTreeMap<String, String> {
    let mut labels = selector(&valid.key.name);
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    labels.insert(
        "app.kubernetes.io/name".to_owned(),
        "taskqueue-worker".to_owned(),
    );
    labels.insert(
        "app.kubernetes.io/instance".to_owned(),
        valid.key.name.clone(),
    );
    labels
}
