//! What is kept of the Deployments of workers.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use kube::Resource;
use serde_json::json;
use taskqueue_operator::workload::{Workload, shape};

use crate::fixtures::standing;

#[test]
fn replicas_figures_owner_and_shape_are_kept() {
    let mut whole = standing(7, 5);
    whole.status = Some(DeploymentStatus {
        replicas: Some(4),
        updated_replicas: Some(2),
        ready_replicas: Some(3),
        observed_generation: Some(6),
        ..DeploymentStatus::default()
    });
    let kept = Workload::from(whole.clone());
    assert_eq!(kept.replicas, Some(5));
    assert_eq!((kept.existing, kept.updated, kept.ready), (4, 2, 3));
    assert!(kept.is_rolling() && kept.is_unobserved());
    assert!(kept.scaler_owns_replicas);
    assert_eq!(kept.shape, shape(&whole));
    let (metadata, all) = (kept.meta(), &whole.metadata);
    assert_eq!(metadata.owner_references, all.owner_references);
    assert_eq!(metadata.generation, Some(7));
    assert_eq!((&metadata.labels, &metadata.managed_fields), (&None, &None));
}

#[test]
fn it_is_read_as_the_deployment_that_it_is() {
    let whole = standing(7, 5);
    let read: Workload = serde_json::from_value(serde_json::to_value(&whole).unwrap()).unwrap();
    assert_eq!(read, Workload::from(whole));
    assert_eq!(
        Workload::url_path(&(), Some("shop")),
        Deployment::url_path(&(), Some("shop"))
    );
}

#[test]
fn only_a_bad_condition_is_kept_with_its_message() {
    let stuck = |conditions| {
        let mut deployment = standing(7, 5);
        let status = json!({ "conditions": conditions });
        deployment.status = Some(serde_json::from_value(status).unwrap());
        Workload::from(deployment).stuck
    };
    let good = json!([
        { "type": "Available", "status": "False", "message": "of availability" },
        { "type": "Progressing", "status": "True", "message": "of progress" }
    ]);
    assert_eq!(stuck(good), None);
    for (kind, status) in [("Progressing", "False"), ("ReplicaFailure", "True")] {
        let bad = json!([{ "type": kind, "status": status, "message": "of a quota" }]);
        assert_eq!(stuck(bad).as_deref(), Some("of a quota"));
    }
}

#[test]
fn the_shape_is_all_that_is_applied_and_neither_replicas_nor_status() {
    let before = shape(&standing(7, 5));
    assert_eq!(before, shape(&standing(8, 6)));
    let edits: [fn(&mut Deployment); 4] = [
        |deployment| deployment.spec.template.spec = None,
        |deployment| deployment.metadata.labels = None,
        |deployment| deployment.metadata.owner_references = None,
        |deployment| deployment.metadata.uid = Some("another".to_owned()),
    ];
    for edit in edits {
        let mut edited = standing(7, 5);
        edit(&mut edited);
        assert_ne!(before, shape(&edited));
    }
}
