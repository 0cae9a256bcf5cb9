//! The status as a function of what is known.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use serde_json::json;
use taskqueue_api::TaskQueueStatus;
use taskqueue_operator::{
    index::{Entry, Problem, Sight},
    status::build::build,
    workload::Workload,
};
use taskqueue_queue::Snapshot;
use taskqueue_scaling::{Limit, Reason};

use crate::fixtures::{Edit, key, orders, sight, snapshot, standing};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(super) fn entry(edits: &[Edit], sight: Option<Sight>) -> Entry {
    let orders = Arc::new(orders(edits));
    Entry {
        orders: Some(Ok(Arc::clone(&orders))),
        standing: Some(orders),
        sight: sight.map(Arc::new),
        ..Entry::default()
    }
}

pub(super) fn failed(conflict: bool) -> Entry {
    let problem = Problem {
        generation: Some(3),
        reason: if conflict {
            "QueueNameConflict"
        } else {
            "InvalidSpec"
        },
        message: "set spec.redis.url".to_owned(),
        conflict,
    };
    Entry {
        orders: Some(Err(problem)),
        ..Entry::default()
    }
}

fn away() -> Sight {
    sight(Err("Redis at redis:6379 is unreachable: refused".to_owned()))
}

pub(super) fn workers(replicas: i32, ready: i32) -> Deployment {
    Deployment {
        status: Some(DeploymentStatus {
            replicas: Some(replicas),
            ready_replicas: Some(ready),
            ..DeploymentStatus::default()
        }),
        ..standing(1, replicas)
    }
}

pub(super) fn first(entry: &Entry, deployment: Option<&Deployment>) -> TaskQueueStatus {
    let workload = deployment.cloned().map(Workload::from);
    build(
        &key(),
        entry,
        workload.as_ref(),
        &TaskQueueStatus::default(),
        at(0),
    )
}

pub(super) fn condition<'a>(status: &'a TaskQueueStatus, kind: &str) -> &'a Condition {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind);
    found.unwrap_or_else(|| panic!("no condition {kind}"))
}

/// Type, status and reason of each condition.
fn told(status: &TaskQueueStatus) -> Vec<(&str, &str, &str)> {
    let all = status.conditions.iter();
    all.map(|one| (&*one.type_, &*one.status, &*one.reason))
        .collect()
}

#[test]
fn before_the_first_reconcile_the_status_stays_as_it_is() {
    let previous = first(&entry(&[], Some(sight(Ok(snapshot())))), None);
    let status = build(&key(), &Entry::default(), None, &previous, at(9));
    assert_eq!(status, previous);
}

#[test]
fn before_the_first_look_nothing_is_claimed() {
    let status = first(&entry(&[], None), None);
    assert_eq!(
        told(&status),
        [
            ("Ready", "Unknown", "Starting"),
            ("RedisReachable", "Unknown", "Starting"),
            ("ScalingActive", "Unknown", "Starting"),
            ("AbleToScale", "Unknown", "Starting"),
            ("ScalingLimited", "False", "WithinBounds"),
            ("Paused", "False", "NotPaused"),
            ("QueueNameConflict", "False", "NoConflict"),
        ]
    );
    assert_eq!((status.depth, status.oldest_waiting_seconds), (None, None));
}

#[test]
fn what_was_seen_is_told_in_figures() {
    let status = first(
        &entry(&[], Some(sight(Ok(snapshot())))),
        Some(&workers(4, 2)),
    );
    assert_eq!(
        serde_json::to_value(&status)
            .unwrap()
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| *name != "conditions")
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect::<serde_json::Value>(),
        json!({
            "observedGeneration": 3,
            "queue": "shop/thumbnails",
            "selector": "taskqueue.dev/name=thumbnails",
            "replicas": 4,
            "readyReplicas": 2,
            "desiredReplicas": 5,
            "depth": {
                // Two wait, and one is due already.
                "waiting": 3, "blocked": 8, "scheduled": 4, "active": 6, "dead": 7,
                "byPriority": { "high": 0, "low": 0, "normal": 2 }
            },
            "oldestWaitingSeconds": 12,
            "rates": { "enqueued": "0.0", "completed": "0.0", "failed": "0.0" },
            "lastDecision": {
                "time": "2023-11-14T22:13:20Z", "replicas": 5, "wanted": 5,
                "reason": "Backlog", "equation": "5 = 5"
            }
        })
    );
    assert_eq!(
        told(&status),
        [
            ("Ready", "True", "InPlace"),
            ("RedisReachable", "True", "Answering"),
            ("ScalingActive", "True", "Following"),
            ("AbleToScale", "True", "Writable"),
            ("ScalingLimited", "False", "WithinBounds"),
            ("Paused", "False", "NotPaused"),
            ("QueueNameConflict", "False", "NoConflict"),
        ]
    );
}

#[test]
fn while_redis_is_away_the_last_figures_stay_and_the_cause_is_told() {
    let before = first(
        &entry(&[], Some(sight(Ok(snapshot())))),
        Some(&workers(4, 4)),
    );
    let status = build(
        &key(),
        &entry(&[], Some(away())),
        Some(&workers(4, 4).into()),
        &before,
        at(5),
    );
    assert_eq!(status.depth, before.depth);
    assert_eq!(status.rates, before.rates);
    assert_eq!(status.oldest_waiting_seconds, before.oldest_waiting_seconds);
    for kind in ["Ready", "RedisReachable", "ScalingActive"] {
        assert_eq!(condition(&status, kind).status, "False", "{kind}");
        assert_eq!(
            condition(&status, kind).last_transition_time.0,
            at(5),
            "{kind}"
        );
    }
    assert!(
        condition(&status, "RedisReachable")
            .message
            .contains("redis:6379 is unreachable")
    );
    assert!(
        condition(&status, "ScalingActive")
            .message
            .contains("replicas are held")
    );
    let decision = status.last_decision.unwrap();
    assert_eq!(decision.reason, "RedisUnreachable");
}

#[test]
fn a_decision_keeps_its_time_while_number_and_reason_stay() {
    let before = first(&entry(&[], Some(sight(Ok(snapshot())))), None);
    let mut later = sight(Ok(snapshot()));
    later.decided_at = at(50);
    later.decision.equation = "another way to 5".to_owned();
    let status = build(
        &key(),
        &entry(&[], Some(later.clone())),
        None,
        &before,
        at(60),
    );
    let decision = status.last_decision.clone().unwrap();
    assert_eq!(decision.time.0, at(0));
    assert_eq!(decision.equation, "another way to 5");
    later.decision.reason = Reason::AtMaximum;
    let status = build(&key(), &entry(&[], Some(later)), None, &status, at(60));
    assert_eq!(status.last_decision.unwrap().time.0, at(50));
}

#[test]
fn the_oldest_age_gets_coarser_as_it_grows() {
    for (age, told) in [
        (0, 0),
        (59, 59),
        (60, 60),
        (69, 60),
        (599, 590),
        (600, 600),
        (659, 600),
        (3599, 3540),
        (3600, 3600),
        (3899, 3600),
        (3900, 3900),
    ] {
        let snapshot = Snapshot {
            oldest_waiting: Some(Duration::from_secs(age)),
            ..snapshot()
        };
        let status = first(&entry(&[], Some(sight(Ok(snapshot)))), None);
        assert_eq!(status.oldest_waiting_seconds, Some(told), "{age}");
    }
}

#[test]
fn nothing_waiting_is_an_age_of_zero() {
    let snapshot = Snapshot {
        oldest_waiting: None,
        ..snapshot()
    };
    let status = first(&entry(&[], Some(sight(Ok(snapshot)))), None);
    assert_eq!(status.oldest_waiting_seconds, Some(0));
}

#[test]
fn building_from_its_own_output_changes_nothing() {
    let mut limited = sight(Ok(snapshot()));
    limited.decision.limit = Some(Limit::Minimum);
    let paused = [("/spec/paused", json!(true))];
    let entries = [
        entry(&[], None),
        entry(&[], Some(sight(Ok(snapshot())))),
        entry(&paused, Some(limited)),
        entry(&[], Some(away())),
        failed(false),
        failed(true),
    ];
    for entry in &entries {
        for deployment in [None, Some(workers(3, 1))] {
            let one = first(entry, deployment.as_ref());
            let workload = deployment.map(Workload::from);
            let two = build(&key(), entry, workload.as_ref(), &one, at(77));
            assert_eq!(two, one);
            // As it comes back from the API server, too.
            let stored = serde_json::from_value(serde_json::to_value(&one).unwrap()).unwrap();
            assert_eq!(
                build(&key(), entry, workload.as_ref(), &stored, at(77)),
                stored
            );
        }
    }
}

#[test]
fn while_a_reconcile_fails_the_last_good_orders_still_scale() {
    let good = entry(&[], Some(sight(Ok(snapshot()))));
    let failing = Entry {
        orders: failed(false).orders,
        ..good
    };
    let status = first(&failing, None);
    assert_eq!(condition(&status, "Ready").reason, "InvalidSpec");
    assert_eq!(condition(&status, "ScalingActive").status, "True");
    assert_eq!(condition(&status, "RedisReachable").status, "True");
    assert_eq!(status.desired_replicas, Some(5));
}
