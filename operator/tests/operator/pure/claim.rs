//! Who keeps a queue that several claim.

use kube::{core::DeserializeGuard, runtime::watcher::Event};
use serde_json::{Value, json};
use taskqueue_api::{TaskQueue, spec::TargetKind};
use taskqueue_operator::reconcile::{
    Guarded,
    claim::{Claims, held_by_another, target_held_by_another},
};

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

fn guarded(name: &str, queue: &str) -> Guarded {
    DeserializeGuard(Ok(resource(&[
        ("/metadata/name", name.into()),
        ("/spec/queueName", queue.into()),
    ])))
}

fn rivals(claims: &Claims, name: &str, queue: &str) -> Vec<String> {
    let rivals = claims.rivals(&guarded(name, queue).0.unwrap());
    rivals.into_iter().map(|rival| rival.name).collect()
}

#[test]
fn only_those_are_looked_at_that_ask_for_the_same_queue() {
    let claims = Claims::default();
    for (name, queue) in [("a", "x"), ("b", "x"), ("c", "y"), ("a", "x")] {
        claims.follow(&Event::Apply(guarded(name, queue)));
    }
    assert_eq!(rivals(&claims, "a", "x"), ["b"]);
    assert_eq!(rivals(&claims, "d", "x"), ["a", "b"]);
    assert!(rivals(&claims, "c", "y").is_empty());
    claims.follow(&Event::Delete(guarded("b", "x")));
    assert!(rivals(&claims, "a", "x").is_empty());
}

#[test]
fn a_list_that_begins_anew_drops_who_went_unseen() {
    let claims = Claims::default();
    claims.follow(&Event::Apply(guarded("a", "x")));
    claims.follow(&Event::Init);
    claims.follow(&Event::InitApply(guarded("b", "x")));
    // Until the list is whole, nobody is forgotten.
    assert_eq!(rivals(&claims, "b", "x"), ["a"]);
    claims.follow(&Event::InitDone);
    assert!(rivals(&claims, "b", "x").is_empty());
}

#[test]
fn whoever_scales_one_object_is_looked_at_together() {
    let claims = Claims::default();
    let follow = |resource| claims.follow(&Event::Apply(DeserializeGuard(Ok(resource))));
    follow(scaler("a", OLDER, "mailer"));
    follow(scaler("b", OLDER, "other"));
    follow(claimant("mailer", NEWER, &[]));
    let rivals = claims.rivals(&scaler("z", NEWER, "mailer"));
    let names: Vec<_> = rivals.iter().map(|rival| rival.name.as_str()).collect();
    assert_eq!(names, ["a", "mailer"]);
}
