//! What is known of each TaskQueue, and who is woken by a change.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use taskqueue_operator::index::{Index, Problem};
use taskqueue_queue::Snapshot;
use tokio::sync::Notify;

use crate::fixtures::{key, orders, sight, snapshot};

fn woken(notify: &Notify) -> bool {
    notify.notified().now_or_never().is_some()
}

fn problem(reason: &'static str) -> Problem {
    Problem {
        generation: Some(3),
        reason,
        message: String::new(),
        conflict: false,
    }
}

/// An index with orders whose wakes have been heard.
fn ordered() -> Index {
    let index = Index::default();
    index.order(&key(), Ok(orders(&[])));
    assert!(woken(&index.orders_changed) && woken(&index.status_wanted));
    assert!(index.take_dirty().contains(&key()));
    index
}

#[test]
fn equal_orders_do_not_wake_the_autoscaler_and_stay_the_same_value() {
    let index = ordered();
    let before = index.orders().remove(0).1;
    index.order(&key(), Ok(orders(&[])));
    assert!(!woken(&index.orders_changed));
    assert!(Arc::ptr_eq(&before, &index.orders().remove(0).1));
    // But the Deployment may have changed, which the status tells.
    assert!(woken(&index.status_wanted));
    assert!(index.take_dirty().contains(&key()));
}

#[test]
fn other_orders_wake_the_autoscaler() {
    let index = ordered();
    index.order(&key(), Ok(orders(&[("/spec/timeout", "7s".into())])));
    assert!(woken(&index.orders_changed));
    assert_eq!(index.orders()[0].1.policy.timeout.as_secs(), 7);
}

#[test]
fn the_last_good_orders_stand_while_a_reconcile_fails() {
    let index = ordered();
    let before = index.orders();
    index.order(&key(), Err(problem("ApplyFailed")));
    assert!(!woken(&index.orders_changed));
    assert!(Arc::ptr_eq(&index.orders()[0].1, &before[0].1));
    index.order(&key(), Ok(orders(&[])));
    assert!(!woken(&index.orders_changed));
    assert!(Arc::ptr_eq(&index.orders()[0].1, &before[0].1));
}

#[test]
fn a_conflict_takes_the_orders_away_and_wakes_once() {
    let index = ordered();
    let conflict = || Problem {
        conflict: true,
        ..problem("QueueNameConflict")
    };
    index.order(&key(), Err(conflict()));
    assert!(woken(&index.orders_changed));
    assert!(index.orders().is_empty());
    index.order(&key(), Err(conflict()));
    assert!(!woken(&index.orders_changed));
}

#[test]
fn a_sight_is_for_the_status_and_outlives_a_problem() {
    let index = ordered();
    let seen = Arc::new(sight(Ok(snapshot())));
    assert!(index.see(&key(), Arc::clone(&seen)));
    assert!(woken(&index.status_wanted) && !woken(&index.orders_changed));
    index.order(&key(), Err(problem("InvalidSpec")));
    let entry = index.get(&key()).unwrap();
    assert!(Arc::ptr_eq(&entry.sight.unwrap(), &seen));
}

#[test]
fn a_sight_that_tells_nothing_new_wakes_nobody() {
    let index = ordered();
    index.see(&key(), Arc::new(sight(Ok(snapshot()))));
    assert!(woken(&index.status_wanted) && index.take_dirty().contains(&key()));
    let later = Snapshot {
        now: snapshot().now + Duration::from_secs(1),
        ..snapshot()
    };
    let again = Arc::new(sight(Ok(later.clone())));
    assert!(index.see(&key(), Arc::clone(&again)));
    assert!(!woken(&index.status_wanted) && index.take_dirty().is_empty());
    // It is kept all the same.
    assert!(Arc::ptr_eq(
        &index.get(&key()).unwrap().sight.unwrap(),
        &again
    ));
    let news = [
        Ok(Snapshot { active: 7, ..later }),
        Err("no answer".to_owned()),
        Err("no route".to_owned()),
    ];
    for reading in news {
        index.see(&key(), Arc::new(sight(reading)));
        assert!(woken(&index.status_wanted) && index.take_dirty().contains(&key()));
    }
}

#[test]
fn the_autoscaler_takes_what_was_ordered_otherwise_and_nothing_else() {
    let index = ordered();
    assert_eq!(index.take_reordered().len(), 1);
    index.order(&key(), Ok(orders(&[])));
    index.order(&key(), Err(problem("ApplyFailed")));
    assert!(index.take_reordered().is_empty());
    index.order(&key(), Ok(orders(&[("/spec/timeout", "7s".into())])));
    index.forget(&key());
    let taken = index.take_reordered();
    assert!(taken.len() == 1 && taken[0].1.is_none());
}

#[test]
fn orders_stand_before_they_are_in_place_unless_there_are_some() {
    let index = Index::default();
    index.stand(&key(), &orders(&[]));
    assert!(woken(&index.orders_changed) && index.has_orders());
    // Nothing is told of it yet.
    assert!(!woken(&index.status_wanted) && index.get(&key()).unwrap().orders.is_none());
    index.stand(&key(), &orders(&[("/spec/timeout", "7s".into())]));
    assert!(!woken(&index.orders_changed));
    assert_ne!(index.orders()[0].1.policy.timeout.as_secs(), 7);
}

#[test]
fn what_is_forgotten_stays_forgotten() {
    let index = ordered();
    index.forget(&key());
    assert!(woken(&index.orders_changed));
    assert!(!index.see(&key(), Arc::new(sight(Ok(snapshot())))));
    assert!(index.get(&key()).is_none());
    assert!(index.keys().is_empty() && index.take_dirty().is_empty());
    index.forget(&key());
    assert!(!woken(&index.orders_changed));
}
