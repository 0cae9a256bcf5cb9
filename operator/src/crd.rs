//! The CustomResourceDefinition as YAML.

use kube::CustomResourceExt;
use taskqueue_api::TaskQueue;

/// The definition of the TaskQueue resource, generated from its types.
pub fn yaml() -> Result<String, yaml_serde::Error> {
    yaml_serde::to_string(&TaskQueue::crd())
}
