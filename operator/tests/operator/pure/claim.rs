//! Who keeps a queue that several claim.

use serde_json::{Value, json};
use taskqueue_api::{TaskQueue, spec::TargetKind};
use taskqueue_operator::reconcile::claim::{held_by_another, target_held_by_another};

use crate::fixtures::{Edit, resource, sourced};

const OLDER: &str = "2026-01-01T00:00:00Z";
const NEWER: &str = "2026-01-02T00:00:00Z";

fn claimant(name: &str, created: &str, edits: &[Edit]) -> TaskQueue {
    let mut all = vec![
        ("/metadata/name", json!(name)),
        ("/metadata/uid", json!(format!("uid of {name}"))),
        ("/metadata/creationTimestamp", json!(created)),
        ("/spec/queueName", json!("images")),
    ];
    all.extend_from_slice(edits);
    resource(&all)
}

fn holder(this: &TaskQueue, others: &[&TaskQueue]) -> Option<String> {
    let others = others.iter().copied().chain([this]);
    held_by_another(this, others).and_then(|holder| holder.metadata.name.clone())
}

#[test]
fn the_older_keeps_the_queue() {
    let (older, newer) = (claimant("z", OLDER, &[]), claimant("a", NEWER, &[]));
    assert_eq!(holder(&older, &[&newer]), None);
    assert_eq!(holder(&newer, &[&older]).as_deref(), Some("z"));
}

#[test]
fn of_two_of_one_age_the_first_by_name_keeps_it() {
    let (a, b) = (claimant("a", OLDER, &[]), claimant("b", OLDER, &[]));
    assert_eq!(holder(&a, &[&b]), None);
    assert_eq!(holder(&b, &[&a]).as_deref(), Some("a"));
}

#[test]
fn of_several_the_oldest_is_named() {
    let oldest = claimant("b", "2025-01-01T00:00:00Z", &[]);
    let (older, newer) = (claimant("a", OLDER, &[]), claimant("c", NEWER, &[]));
    assert_eq!(holder(&newer, &[&older, &oldest]).as_deref(), Some("b"));
}

#[test]
fn one_that_is_being_deleted_holds_nothing() {
    let going = claimant("z", OLDER, &[("/metadata/deletionTimestamp", json!(NEWER))]);
    assert_eq!(holder(&claimant("a", NEWER, &[]), &[&going]), None);
}

#[test]
fn another_namespace_another_name_or_another_redis_is_another_queue() {
    let this = claimant("a", NEWER, &[]);
    for edit in [
        ("/metadata/namespace", json!("another")),
        ("/spec/queueName", json!("another")),
        ("/spec/redis", json!({ "url": "redis://another" })),
        ("/spec/redis", Value::Null),
    ] {
        let other = claimant("z", OLDER, std::slice::from_ref(&edit));
        assert_eq!(holder(&this, &[&other]), None, "{edit:?}");
    }
}

#[test]
fn a_name_that_is_given_clashes_with_one_that_is_taken_from_the_resource() {
    let unnamed = claimant("images", OLDER, &[("/spec/queueName", Value::Null)]);
    let named = claimant("a", NEWER, &[]);
    assert_eq!(holder(&named, &[&unnamed]).as_deref(), Some("images"));
}

fn scaler(name: &str, created: &str, target: &str) -> TaskQueue {
    resource(&sourced(&[
        ("/metadata/name", json!(name)),
        ("/metadata/uid", json!(format!("uid of {name}"))),
        ("/metadata/creationTimestamp", json!(created)),
        ("/spec/targetRef/name", json!(target)),
    ]))
}

fn scales(this: &TaskQueue, other: &TaskQueue) -> Option<String> {
    let holder = target_held_by_another(this, [this, other]);
    holder.and_then(|holder| holder.metadata.name.clone())
}

#[test]
fn of_two_that_scale_one_object_the_older_does() {
    let (older, newer) = (scaler("z", OLDER, "mailer"), scaler("a", NEWER, "mailer"));
    assert_eq!(scales(&older, &newer), None);
    assert_eq!(scales(&newer, &older).as_deref(), Some("z"));
    assert_eq!(scales(&newer, &scaler("z", OLDER, "other")), None);
    let mut set = scaler("z", OLDER, "mailer");
    set.spec.target_ref.as_mut().unwrap().kind = TargetKind::StatefulSet;
    assert_eq!(scales(&newer, &set), None, "another kind");
    set.metadata.namespace = Some("other".to_owned());
    assert_eq!(scales(&set, &older), None, "another namespace");
}

#[test]
fn the_workers_of_a_queue_of_ours_are_nobody_elses_target() {
    let ours = claimant("mailer", NEWER, &[]);
    assert_eq!(
        scales(&scaler("a", OLDER, "mailer"), &ours).as_deref(),
        Some("mailer")
    );
    assert_eq!(scales(&ours, &scaler("a", OLDER, "mailer")), None);
}

#[test]
fn a_source_claims_no_queue_of_ours() {
    let source = scaler("images", OLDER, "mailer");
    let ours = claimant("a", NEWER, &[]);
    assert_eq!(holder(&ours, &[&source]), None);
}
