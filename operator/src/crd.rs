//! The CustomResourceDefinition as YAML.

/// The definition of the TaskQueue resource, generated from its types.
pub fn yaml() -> Result<String, yaml_serde::Error> {
    yaml_serde::to_string(&taskqueue_api::definition())
}
