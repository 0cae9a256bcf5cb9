//! What was applied before, and how it failed last.

use k8s_openapi::api::apps::v1::Deployment;
use taskqueue_operator::{
    reconcile::{
        apply::Applied,
        error::Error,
        memory::{Failed, Memory},
    },
    watch, workload,
};

use crate::fixtures::{build, key, observed, standing};

const URL: &str = "redis://redis:6379";

fn applied() -> Memory {
    let memory = Memory::default();
    let after = Applied {
        shape: workload::shape(&standing(4, 0)),
        budget: None,
    };
    memory.applied(&key(), &build(&[], URL), after);
    memory
}

fn malformed(cause: &str) -> Error {
    Error::Malformed(cause.to_owned())
}

fn differs(memory: &Memory, existing: &Deployment) -> bool {
    let existing = observed(Some(existing.clone()), None);
    memory.differs(&key(), &build(&[], URL), &existing)
}

#[test]
fn what_was_never_applied_differs() {
    assert!(differs(&Memory::default(), &standing(4, 0)));
    assert!(Memory::default().differs(&key(), &build(&[], URL), &observed(None, None)));
}

#[test]
fn what_stands_as_it_was_applied_does_not_differ() {
    assert!(!differs(&applied(), &standing(4, 0)));
}

#[test]
fn neither_does_it_when_the_autoscaler_wrote_the_replicas() {
    assert!(!differs(&applied(), &standing(5, 7)));
}

#[test]
fn an_edit_of_either_side_differs() {
    let memory = applied();
    let edited = build(&[("/spec/worker/concurrency", 2.into())], URL);
    assert!(memory.differs(&key(), &edited, &observed(Some(standing(4, 0)), None)));
    assert!(memory.differs(&key(), &build(&[], URL), &observed(None, None)));
    let mut by_hand = standing(5, 0);
    by_hand.spec.min_ready_seconds = Some(7);
    assert!(differs(&memory, &by_hand));
    let budget = observed(Some(standing(4, 0)), Some(1));
    assert!(
        memory.differs(&key(), &build(&[], URL), &budget),
        "one that nobody asked for"
    );
}

#[test]
fn after_a_failure_or_a_deletion_everything_is_applied_anew() {
    let ends: [fn(&Memory); 2] = [
        |memory| _ = memory.failed(&key(), &malformed("7")),
        |memory| memory.forget(&key()),
    ];
    for forget in ends {
        let memory = applied();
        forget(&memory);
        assert!(differs(&memory, &standing(4, 0)));
    }
}

/// The Deployment as an operator that starts finds it in its cache.
fn found(edit: impl Fn(&mut Deployment)) -> Deployment {
    let mut deployment = standing(4, 0);
    let mark = watch::mark(watch::fingerprint(&build(&[], URL)));
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.insert(workload::APPLIED.to_owned(), mark);
    edit(&mut deployment);
    deployment
}

fn also_written_by(deployment: &mut Deployment, manager: &str) {
    let entries = deployment.metadata.managed_fields.as_mut().unwrap();
    let mut entry = entries[0].clone();
    entry.manager = Some(manager.to_owned());
    entry.subresource = None;
    entries.push(entry);
}

#[test]
fn after_a_start_what_bears_the_mark_of_the_same_children_is_left_alone() {
    assert!(!differs(&Memory::default(), &found(|_| {})));
    let noted = found(|deployment| also_written_by(deployment, "kube-controller-manager"));
    assert!(!differs(&Memory::default(), &noted));
    // From then on an edit by hand is noticed.
    let memory = Memory::default();
    assert!(!differs(&memory, &found(|_| {})));
    let by_hand = found(|deployment| deployment.spec.paused = Some(true));
    assert!(differs(&memory, &by_hand));
}

#[test]
fn after_a_start_what_may_be_otherwise_is_applied() {
    let edited = build(&[("/spec/worker/concurrency", 2.into())], URL);
    let found_as_it_was = observed(Some(found(|_| {})), None);
    assert!(Memory::default().differs(&key(), &edited, &found_as_it_was));
    let budget = observed(Some(found(|_| {})), Some(1));
    assert!(Memory::default().differs(&key(), &build(&[], URL), &budget));
    let by_hand = found(|deployment| also_written_by(deployment, "kubectl-edit"));
    assert!(differs(&Memory::default(), &by_hand));
    let not_handed_over = found(|deployment| deployment.metadata.managed_fields = None);
    assert!(differs(&Memory::default(), &not_handed_over));
    // The Secret beside it is not watched.
    let with_secret = build(&[], "redis://:hunter2@redis");
    assert!(Memory::default().differs(&key(), &with_secret, &found_as_it_was));
}

#[test]
fn failures_are_counted_in_a_row_and_told_when_they_change() {
    let memory = Memory::default();
    let failed = |cause| memory.failed(&key(), &malformed(cause));
    let expect = |times, anew| Failed { times, anew };
    assert_eq!(failed("7"), expect(1, true));
    assert_eq!(failed("7"), expect(2, false));
    assert_eq!(failed("8"), expect(3, true));
    memory.succeeded(&key());
    assert_eq!(failed("8"), expect(1, true));
    memory.forget(&key());
    assert_eq!(failed("8"), expect(1, true));
}
