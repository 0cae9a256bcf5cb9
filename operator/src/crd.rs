//! The CustomResourceDefinition as YAML.

/// The definition of the TaskQueue resource, generated from its types.
pub fn yaml() -> Result<String, yaml_serde::Error> {
    yaml_serde::to_string(&taskqueue_api::definition())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn the_committed_definition_is_the_generated_one() {
        let committed = include_str!("../../crds/taskqueues.taskqueue.dev.yaml");
        let generated = super::yaml().unwrap();
        let differs = committed
            .lines()
            .zip(generated.lines())
            .enumerate()
            .find(|(_, (committed, generated))| committed != generated);
        assert_eq!(differs, None, "the types have changed: run make generate");
        assert_eq!(
            committed.len(),
            generated.len(),
            "the types have changed: run make generate"
        );
    }
}
