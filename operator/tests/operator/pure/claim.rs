//! Who keeps a queue that several claim.

use kube::{core::DeserializeGuard, runtime::watcher::Event};
use serde_json::{Value, json};
use taskqueue_api::TaskQueue;
use taskqueue_operator::reconcile::{
    Guarded,
    claim::{Claims, held_by_another},
};

use crate::fixtures::{Edit, resource};

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
