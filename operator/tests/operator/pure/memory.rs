//! What was applied before, and how often it failed.

use taskqueue_operator::reconcile::{apply::Applied, memory::Memory};

use crate::fixtures::{build, key, observed, standing};

const URL: &str = "redis://redis:6379";

fn applied() -> Memory {
    let memory = Memory::default();
    let after = Applied {
        generation: Some(4),
        budget: None,
    };
    memory.applied(&key(), build(&[], URL), after);
    memory
}

#[test]
fn what_was_never_applied_differs() {
    let memory = Memory::default();
    assert!(memory.differs(
        &key(),
        &build(&[], URL),
        &observed(Some(standing(4, 0)), None)
    ));
}

#[test]
fn what_stands_as_it_was_applied_does_not_differ() {
    assert!(!applied().differs(
        &key(),
        &build(&[], URL),
        &observed(Some(standing(4, 0)), None)
    ));
}

#[test]
fn an_edit_of_either_side_differs() {
    let memory = applied();
    let edited = build(&[("/spec/worker/concurrency", 2.into())], URL);
    assert!(memory.differs(&key(), &edited, &observed(Some(standing(4, 0)), None)));
    assert!(memory.differs(
        &key(),
        &build(&[], URL),
        &observed(Some(standing(5, 0)), None)
    ));
    assert!(memory.differs(&key(), &build(&[], URL), &observed(None, None)));
    let budget = observed(Some(standing(4, 0)), Some(1));
    assert!(
        memory.differs(&key(), &build(&[], URL), &budget),
        "one that nobody asked for"
    );
}

#[test]
fn after_a_failure_or_a_deletion_everything_is_applied_anew() {
    let ends: [fn(&Memory); 2] = [
        |memory| _ = memory.failed(&key()),
        |memory| memory.forget(&key()),
    ];
    for forget in ends {
        let memory = applied();
        forget(&memory);
        assert!(memory.differs(
            &key(),
            &build(&[], URL),
            &observed(Some(standing(4, 0)), None)
        ));
    }
}

#[test]
fn failures_are_counted_in_a_row() {
    let memory = Memory::default();
    assert_eq!((memory.failed(&key()), memory.failed(&key())), (1, 2));
    memory.succeeded(&key());
    assert_eq!(memory.failed(&key()), 1);
    memory.forget(&key());
    assert_eq!(memory.failed(&key()), 1);
}
