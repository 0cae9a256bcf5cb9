//! The conditions of a status.

use k8s_openapi::api::apps::v1::DeploymentCondition;
use serde_json::json;
use taskqueue_operator::status::build::build;
use taskqueue_scaling::Limit;

use super::status::{at, condition, entry, failed, first, workers};
use crate::fixtures::{key, sight, snapshot};

#[test]
fn a_failure_is_told_with_its_reason_and_keeps_the_figures() {
    let before = first(&entry(&[], Some(sight(Ok(snapshot())))), None);
    let status = build(&key(), &failed(false), None, &before, at(5));
    let ready = condition(&status, "Ready");
    assert_eq!((&*ready.status, &*ready.reason), ("False", "InvalidSpec"));
    assert_eq!(ready.message, "set spec.redis.url");
    assert_eq!(condition(&status, "ScalingActive").status, "False");
    assert_eq!(condition(&status, "QueueNameConflict").status, "False");
    assert_eq!(status.depth, before.depth);
    assert_eq!(status.queue, before.queue);
}

#[test]
fn a_failure_says_that_what_it_did_not_look_at_is_unknown() {
    let before = first(&entry(&[], Some(sight(Ok(snapshot())))), None);
    let status = build(&key(), &failed(false), None, &before, at(5));
    let reachable = condition(&status, "RedisReachable");
    assert_eq!(
        (&*reachable.status, &*reachable.reason),
        ("Unknown", "InvalidSpec")
    );
}

#[test]
fn a_conflict_is_told_as_one() {
    let status = first(&failed(true), None);
    let conflict = condition(&status, "QueueNameConflict");
    assert_eq!(
        (&*conflict.status, &*conflict.reason),
        ("True", "HeldByAnother")
    );
    assert_eq!(condition(&status, "Ready").reason, "QueueNameConflict");
}

#[test]
fn the_generation_is_the_one_that_was_reconciled() {
    let newer = entry(&[("/metadata/generation", json!(8))], None);
    for (entry, generation) in [(entry(&[], None), 3), (newer, 8), (failed(false), 3)] {
        let status = first(&entry, None);
        assert_eq!(status.observed_generation, Some(generation));
        for condition in &status.conditions {
            assert_eq!(condition.observed_generation, Some(generation));
        }
    }
}

#[test]
fn a_transition_time_moves_only_with_the_status_of_its_condition() {
    let reading = entry(&[], Some(sight(Ok(snapshot()))));
    let one = first(&reading, None);
    // A second later with another reason for one condition, and another status for none.
    let mut limited = sight(Ok(snapshot()));
    limited.decision.limit = Some(Limit::Maximum);
    let two = build(&key(), &entry(&[], Some(limited)), None, &one, at(1));
    for condition in &two.conditions {
        let expected = if condition.type_ == "ScalingLimited" {
            at(1)
        } else {
            at(0)
        };
        assert_eq!(
            condition.last_transition_time.0, expected,
            "{}",
            condition.type_
        );
    }
    let three = build(&key(), &reading, None, &two, at(2));
    assert_eq!(
        condition(&three, "ScalingLimited").last_transition_time.0,
        at(2)
    );
    assert_eq!(condition(&three, "Ready").last_transition_time.0, at(0));
}

#[test]
fn a_bound_is_named_with_its_number() {
    let bounded = |limit| {
        let mut sight = sight(Ok(snapshot()));
        sight.decision.limit = Some(limit);
        first(&entry(&[], Some(sight)), None)
    };
    let most = bounded(Limit::Maximum);
    assert_eq!(condition(&most, "ScalingLimited").reason, "AtMaximum");
    assert!(
        condition(&most, "ScalingLimited")
            .message
            .ends_with("maxReplicas = 10")
    );
    let least = bounded(Limit::Minimum);
    assert!(
        condition(&least, "ScalingLimited")
            .message
            .ends_with("minReplicas = 0")
    );
}

#[test]
fn a_paused_queue_and_paused_scaling_are_told_apart() {
    let seen = || Some(sight(Ok(snapshot())));
    let queue = first(&entry(&[("/spec/paused", json!(true))], seen()), None);
    assert_eq!(condition(&queue, "Paused").status, "True");
    assert_eq!(condition(&queue, "ScalingActive").status, "True");
    let scaling = ("/spec/scaling", json!({ "mode": "Paused" }));
    let scaling = first(&entry(&[scaling], seen()), None);
    assert_eq!(condition(&scaling, "Paused").status, "False");
    assert_eq!(condition(&scaling, "ScalingActive").reason, "ScalingPaused");
}

#[test]
fn a_deployment_that_makes_no_progress_is_not_ready_in_its_own_words() {
    for (kind, status) in [("Progressing", "False"), ("ReplicaFailure", "True")] {
        let mut deployment = workers(2, 0);
        deployment.status.as_mut().unwrap().conditions = Some(vec![DeploymentCondition {
            type_: Some(kind.to_owned()),
            status: Some(status.to_owned()),
            message: Some("exceeded quota: pods=0".to_owned()),
            ..DeploymentCondition::default()
        }]);
        let told = first(&entry(&[], Some(sight(Ok(snapshot())))), Some(&deployment));
        let ready = condition(&told, "Ready");
        assert_eq!(
            (&*ready.status, &*ready.reason),
            ("False", "WorkersFailing")
        );
        assert!(
            ready.message.contains("exceeded quota: pods=0"),
            "{}",
            ready.message
        );
    }
}

#[test]
fn pods_that_cannot_work_are_told_in_the_words_of_one_of_them() {
    let mut stuck = sight(Ok(snapshot()));
    stuck.obstacle = Some(("ImagePullBackOff".to_owned(), "pod a: not found".to_owned()));
    let mut deployment = workers(2, 0);
    deployment.status.as_mut().unwrap().conditions = Some(vec![DeploymentCondition {
        type_: Some("Progressing".to_owned()),
        status: Some("False".to_owned()),
        message: Some("deadline exceeded".to_owned()),
        ..DeploymentCondition::default()
    }]);
    let told = first(&entry(&[], Some(stuck)), Some(&deployment));
    let ready = condition(&told, "Ready");
    assert_eq!(
        (&*ready.status, &*ready.reason),
        ("False", "WorkersFailing")
    );
    assert_eq!(ready.message, "pod a: not found");
}

#[test]
fn another_writer_of_the_replicas_is_told_and_a_write_that_fails_before_it() {
    let mut contested = sight(Ok(snapshot()));
    contested.another_writer = Some("HorizontalPodAutoscaler web sets the replicas too".to_owned());
    let told = first(&entry(&[], Some(contested.clone())), None);
    let able = condition(&told, "AbleToScale");
    assert_eq!((&*able.status, &*able.reason), ("False", "AnotherWriter"));
    assert!(able.message.contains("HorizontalPodAutoscaler web"));
    contested.refused = Some("no leader".to_owned());
    let told = first(&entry(&[], Some(contested)), None);
    assert_eq!(condition(&told, "AbleToScale").reason, "WriteFailed");
}

#[test]
fn what_others_say_is_cut_and_moves_no_cursor() {
    let said = format!("\u{1b}[2J{}", "é".repeat(20_000));
    let mut stuck = sight(Ok(snapshot()));
    stuck.obstacle = Some(("HandlerFailing".to_owned(), said.clone()));
    let unread = sight(Err(said));
    for (sight, kind) in [(stuck, "Ready"), (unread, "RedisReachable")] {
        let status = first(&entry(&[], Some(sight)), None);
        let message = &condition(&status, kind).message;
        assert!(message.len() <= 1_024, "{kind}: {} bytes", message.len());
        assert!(
            message.starts_with("\\u001b[2Jé") && message.ends_with('…'),
            "{message}"
        );
    }
}
