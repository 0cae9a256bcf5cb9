//! The CustomResourceDefinition, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use crate::TaskQueue;

/// The definition of the TaskQueue resource, as it is installed.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = TaskQueue::crd();
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut();
        if let Some(root) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            unwrap_lines(root);
        }
    }
    definition
}

/// Joins the lines of each paragraph of the descriptions: they are broken where the source is,
/// and `kubectl explain` breaks them again at the width of the terminal.
fn unwrap_lines(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        let paragraphs = description.split("\n\n");
        let joined: Vec<_> = paragraphs
            .map(|paragraph| paragraph.replace('\n', " "))
            .collect();
        *description = joined.join("\n\n");
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|all| all.values_mut())
    {
        unwrap_lines(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        unwrap_lines(items);
    }
}
