//! What is kept of the Deployments of workers.

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use kube::Resource;
use serde_json::{Value, json};
use taskqueue_operator::{
    reconcile::apply::scale_patch,
    workload::{Workload, replicas_by, shape},
};

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

#[test]
fn who_has_set_the_replicas_is_known_where_it_was_not_us() {
    let entry = |manager: &str, fields: Value| {
        json!({
            "manager": manager, "operation": "Update", "subresource": "scale",
            "fieldsType": "FieldsV1", "fieldsV1": fields
        })
    };
    let replicas = || json!({ "f:spec": { "f:replicas": {} } });
    let other = || entry("kube-controller-manager", replicas());
    let ours = || entry("taskqueue-autoscaler", replicas());
    let operator = || entry("taskqueue-operator", replicas());
    let template = entry("kubectl", json!({ "f:spec": { "f:template": {} } }));
    for (managed, by) in [
        (json!([]), None),
        (json!([template]), None),
        (json!([ours(), template]), None),
        (json!([template, other()]), Some("kube-controller-manager")),
        // Who sets the same number as we do writes over nothing.
        (json!([other(), ours()]), None),
        (json!([other(), operator()]), None),
    ] {
        let managed: Vec<ManagedFieldsEntry> = serde_json::from_value(managed).unwrap();
        assert_eq!(replicas_by(&managed), by);
        let mut whole = standing(7, 5);
        whole.metadata.managed_fields = Some(managed);
        assert_eq!(Workload::from(whole).replicas_by.as_deref(), by);
    }
}

/// Through the subresource scale no number means zero, and all pods would go.
#[test]
fn no_scale_is_ever_sent_without_its_number() {
    for replicas in [0, 1, 1000, u32::MAX] {
        let sent = serde_json::to_string(&scale_patch(replicas)).unwrap();
        let read: Value = serde_json::from_str(&sent).unwrap();
        assert_eq!(read["spec"], json!({ "replicas": replicas }));
    }
}
