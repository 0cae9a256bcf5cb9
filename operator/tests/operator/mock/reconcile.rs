//! Passes over one TaskQueue.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{core::DeserializeGuard, runtime::controller::Action};
use serde_json::json;
use taskqueue_operator::{
    reconcile::{Context, Guarded, error_policy, reconcile},
    watch,
};

use super::{
    server::{Call, playing},
    world::{DEFAULT_REDIS, Scenario, World, users_secret, without_replicas},
};
use crate::fixtures::{Edit, build, exec, resource, standing, standing_budget, template};

#[tokio::test]
async fn the_first_pass_makes_the_deployment_and_hands_its_replicas_to_the_autoscaler() {
    let world = World::new(Scenario::ANewDeploymentGetsReplicasThatAreHandedOver { replicas: 0 });
    let action = world.pass(&[]).await;
    assert!(world.has_orders());
    world.end().await;
    assert_eq!(action.unwrap(), Action::await_change());
}

#[tokio::test]
async fn the_first_replicas_are_the_least_that_the_spec_wants() {
    let world = World::new(Scenario::ANewDeploymentGetsReplicasThatAreHandedOver { replicas: 2 });
    let outcome = world
        .pass(&[("/spec/scaling", json!({ "minReplicas": 2 }))])
        .await;
    world.end().await;
    outcome.unwrap();
}

#[tokio::test]
async fn a_second_pass_writes_nothing() {
    let mut world =
        World::new(Scenario::ANewDeploymentGetsReplicasThatAreHandedOver { replicas: 0 });
    let first = world.pass(&[]).await;
    world.stands(standing(1, 0));
    let second = world.pass(&[]).await;
    world.end().await;
    assert!(first.is_ok() && second.is_ok(), "{first:?}, {second:?}");
}

#[tokio::test]
async fn a_changed_template_is_applied_without_the_replicas() {
    let mut world = World::new(Scenario::ADeploymentWithAnOwnerOfItsReplicasIsAppliedWithoutThem);
    world.stands(standing(7, 5));
    let outcome = world.pass(&exec(template())).await;
    world.end().await;
    outcome.unwrap();
}

#[tokio::test]
async fn replicas_that_somebody_set_by_hand_are_kept_and_handed_over() {
    let mut world =
        World::new(Scenario::ADeploymentWithoutAnOwnerOfItsReplicasKeepsThem { replicas: 5 });
    let mut deployment = standing(7, 5);
    deployment.metadata.managed_fields = None;
    world.stands(deployment);
    let outcome = world.pass(&[]).await;
    world.end().await;
    outcome.unwrap();
}

#[tokio::test]
async fn a_deployment_of_somebody_else_is_not_touched() {
    let world = World::new(Scenario::ADeploymentOfSomebodyElseIsOnlyRead);
    let (problem, action) = world.failing_pass(&[]).await;
    world.end().await;
    assert_eq!(problem.reason, "NameTaken");
    assert!(
        problem.message.contains("Deployment thumbnails"),
        "{}",
        problem.message
    );
    assert_eq!(action, Action::requeue(Duration::from_secs(1)));
}

#[tokio::test]
async fn one_that_somebody_else_makes_between_look_and_apply_is_not_taken_over() {
    let world = World::new(Scenario::ADeploymentOfSomebodyElseComesInBetween);
    let (first, again) = world.failing_pass(&[]).await;
    let (second, _) = world.failing_pass(&[]).await;
    world.end().await;
    assert_eq!(first.reason, "ApplyFailed");
    assert_eq!(again, Action::requeue(Duration::from_secs(1)));
    assert_eq!(second.reason, "NameTaken");
}

#[tokio::test]
async fn the_deployment_that_was_seen_is_applied_and_none_that_came_in_its_place() {
    let mut world = World::new(Scenario::AnotherDeploymentComesInItsPlace);
    world.stands(standing(7, 5));
    let (problem, action) = world.failing_pass(&exec(template())).await;
    world.end().await;
    assert_eq!(problem.reason, "ApplyFailed");
    assert_eq!(action, Action::requeue(Duration::from_secs(1)));
}

#[tokio::test]
async fn so_is_its_secret() {
    let mut world = World::with_default_redis(
        Scenario::TheSecretThatWasSeenIsApplied,
        "redis://:hunter2@redis",
    );
    world.stands(standing(7, 5));
    let outcome = world.pass(&[DEFAULT_REDIS]).await;
    world.end().await;
    outcome.unwrap();
}

#[tokio::test]
async fn neither_is_its_secret_written_when_the_deployments_name_is_taken() {
    let world = World::with_default_redis(
        Scenario::ADeploymentOfSomebodyElseIsOnlyRead,
        "redis://:hunter2@redis",
    );
    let (problem, _) = world.failing_pass(&[DEFAULT_REDIS]).await;
    world.end().await;
    assert_eq!(problem.reason, "NameTaken");
}

#[tokio::test]
async fn a_default_redis_with_a_password_makes_the_secret_first() {
    let world = World::with_default_redis(
        Scenario::TheSecretComesBeforeTheDeployment,
        "redis://:hunter2@redis",
    );
    let outcome = world.pass(&[DEFAULT_REDIS]).await;
    world.end().await;
    outcome.unwrap();
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_not_overwritten() {
    let world = World::with_default_redis(
        Scenario::ASecretOfSomebodyElseIsOnlyRead,
        "redis://:hunter2@redis",
    );
    let (problem, _) = world.failing_pass(&[DEFAULT_REDIS]).await;
    world.end().await;
    assert_eq!(problem.reason, "NameTaken");
    assert!(
        problem.message.contains("Secret thumbnails"),
        "{}",
        problem.message
    );
}

#[tokio::test]
async fn a_missing_secret_is_named_with_its_namespace_and_waited_for() {
    let world = World::new(Scenario::TheUsersSecretIsMissing);
    let (problem, action) = world.failing_pass(&[users_secret()]).await;
    world.end().await;
    assert_eq!(problem.reason, "SecretMissing");
    for part in ["Secret cache", "namespace shop", "create it"] {
        assert!(problem.message.contains(part), "{}", problem.message);
    }
    assert_eq!(action, Action::requeue(Duration::from_secs(1)));
}

#[tokio::test]
async fn a_secret_without_the_key_or_without_text_is_named_with_the_key() {
    // Nothing, another key, blanks, and bytes that are no text.
    for data in [
        json!({}),
        json!({ "uri": "YQ==" }),
        json!({ "url": "ICA=" }),
        json!({ "url": "/w==" }),
    ] {
        let world = World::new(Scenario::TheUsersSecretHas { data });
        let (problem, _) = world.failing_pass(&[users_secret()]).await;
        world.end().await;
        assert_eq!(problem.reason, "SecretMissing");
        assert!(
            problem.message.contains("no text under key url"),
            "{}",
            problem.message
        );
    }
}

#[tokio::test]
async fn an_unusable_url_in_a_secret_is_told_without_showing_it() {
    // http://:hunter2@a
    let data = json!({ "url": "aHR0cDovLzpodW50ZXIyQGE=" });
    let world = World::new(Scenario::TheUsersSecretHas { data });
    let (problem, _) = world.failing_pass(&[users_secret()]).await;
    world.end().await;
    assert_eq!(problem.reason, "InvalidRedisUrl");
    assert!(!problem.message.contains("hunter2"), "{}", problem.message);
}

#[tokio::test]
async fn a_url_from_a_secret_goes_to_the_autoscaler_and_never_into_the_deployment() {
    // redis://:hunter2@redis, with the line end that an editor leaves.
    let data = json!({ "url": "cmVkaXM6Ly86aHVudGVyMkByZWRpcwo=" });
    let mut calls = Scenario::TheUsersSecretHas { data }.calls();
    calls.push(without_replicas());
    let mut world = World::new(Scenario::NobodyCalls);
    let context = Arc::into_inner(world.context).unwrap();
    let (client, played) = playing(calls);
    world.context = Arc::new(Context { client, ..context });
    world.played = played;
    world.stands(standing(7, 5));
    let action = world.pass(&[users_secret()]).await;
    let orders = world.context.index.orders();
    world.end().await;
    assert_eq!(action.unwrap(), Action::await_change());
    assert_eq!(orders[0].1.endpoint.expose(), "redis://:hunter2@redis");
}

#[tokio::test]
async fn a_field_that_the_api_server_drops_is_not_sent_again_and_again() {
    // As one does whose feature gate for it is off.
    let mut kept = build(&exec(template()), "redis://redis:6379").deployment;
    kept.metadata.generation = Some(8);
    kept.metadata.managed_fields = standing(8, 5).metadata.managed_fields;
    kept.spec.replicas = Some(5);
    let container = &mut kept.spec.template.spec.as_mut().unwrap().containers[0];
    assert!(container.lifecycle.take().unwrap().stop_signal.is_some());
    let call = without_replicas().checked(|sent| {
        let container = &sent["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["lifecycle"]["stopSignal"], "SIGTERM");
    });
    let mut world = World::new(Scenario::NobodyCalls);
    let context = Arc::into_inner(world.context).unwrap();
    let (client, played) = playing(vec![call.answer(serde_json::to_value(&kept).unwrap())]);
    world.context = Arc::new(Context { client, ..context });
    world.played = played;
    world.stands(standing(7, 5));
    let first = world.pass(&exec(template())).await;
    world.stands(kept);
    let second = world.pass(&exec(template())).await;
    let third = world.pass(&exec(template())).await;
    world.end().await;
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
}

/// The Secret of a user with this URL, as base64.
fn holding(url: &str) -> Call {
    Call::get("/api/v1/namespaces/shop/secrets/cache").answer(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "cache", "uid": "only who may read it knows", "resourceVersion": "7" },
        "data": { "url": url }
    }))
}

#[tokio::test]
async fn a_secret_that_changed_rolls_the_workers_out_and_one_that_did_not_does_nothing() {
    let marks = Arc::new(Mutex::new(BTreeSet::new()));
    let marked = || {
        let marks = Arc::clone(&marks);
        Call::apply(
            "/apis/apps/v1/namespaces/shop/deployments/thumbnails",
            "taskqueue-operator",
        )
        .checked(move |deployment| {
            let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
            let mark = &annotations["taskqueue.dev/redis-credentials"];
            marks
                .lock()
                .unwrap()
                .insert(mark.as_str().unwrap().to_owned());
        })
    };
    // redis://:one@redis, twice, and redis://:two@redis.
    let (one, two) = ("cmVkaXM6Ly86b25lQHJlZGlz", "cmVkaXM6Ly86dHdvQHJlZGlz");
    let calls = vec![holding(one), marked(), holding(one), holding(two), marked()];
    let mut world = World::new(Scenario::NobodyCalls);
    let context = Arc::into_inner(world.context).unwrap();
    let (client, played) = playing(calls);
    world.context = Arc::new(Context { client, ..context });
    world.played = played;
    let mut deployment = standing(7, 5);
    world.stands(deployment.clone());
    let first = world.pass(&[users_secret()]).await;
    let mark = marks.lock().unwrap().first().unwrap().clone();
    let metadata = deployment.spec.template.metadata.as_mut().unwrap();
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert("taskqueue.dev/redis-credentials".to_owned(), mark);
    // As the mock answers it: what was applied, and no more.
    let variable = &mut deployment.spec.template.spec.as_mut().unwrap().containers[0];
    for env in variable.env.iter_mut().flatten() {
        if env.name == "TASKQUEUE_REDIS_URL" {
            env.value = None;
            env.value_from = serde_json::from_value(
                json!({ "secretKeyRef": { "name": "cache", "key": "url" } }),
            )
            .unwrap();
        }
    }
    world.stands(deployment);
    let second = world.pass(&[users_secret()]).await;
    let third = world.pass(&[users_secret()]).await;
    world.end().await;
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert_eq!(marks.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_the_api_server_refuses_waits_for_an_edit_with_its_own_words() {
    let message = "Deployment.apps \"thumbnails\" is invalid: spec.template.spec.containers[0].image: Required value";
    let world = World::new(Scenario::TheDeploymentIsRefused { code: 422, message });
    let (problem, action) = world.failing_pass(&[]).await;
    world.end().await;
    assert_eq!(problem.reason, "Refused");
    let told = format!("cannot apply Deployment thumbnails: {message}");
    assert_eq!(problem.message, told);
    assert_eq!(action, Action::await_change());
}

#[tokio::test]
async fn an_api_server_in_trouble_is_asked_again_later_each_time() {
    let world = World::new(Scenario::TheDeploymentIsRefusedTwice);
    let (first, wait) = world.failing_pass(&[]).await;
    let (_, longer) = world.failing_pass(&[]).await;
    world.end().await;
    assert_eq!(first.reason, "ApplyFailed");
    assert_eq!(wait, Action::requeue(Duration::from_secs(1)));
    assert_eq!(longer, Action::requeue(Duration::from_secs(2)));
}

#[tokio::test]
async fn one_that_is_being_deleted_is_forgotten_without_a_call() {
    let mut world = World::new(Scenario::ADeploymentWithAnOwnerOfItsReplicasIsAppliedWithoutThem);
    world.stands(standing(7, 5));
    let before = world.pass(&[]).await;
    assert!(world.has_orders());
    let deleted = ("/metadata/deletionTimestamp", json!("2026-01-03T00:00:00Z"));
    let action = world.pass(&[deleted]).await;
    assert!(!world.has_orders());
    assert!(world.context.index.keys().is_empty());
    world.end().await;
    assert!(before.is_ok());
    assert_eq!(action.unwrap(), Action::await_change());
}

#[tokio::test]
async fn a_spec_that_cannot_work_makes_no_call_and_waits_for_an_edit() {
    let world = World::new(Scenario::NobodyCalls);
    let (problem, action) = world
        .failing_pass(&[("/spec/worker/handler", json!({}))])
        .await;
    world.end().await;
    assert_eq!(problem.reason, "InvalidSpec");
    assert_eq!(problem.generation, Some(3));
    assert_eq!(action, Action::await_change());
}

#[tokio::test]
async fn the_younger_of_two_that_claim_a_queue_touches_nothing_and_looks_again() {
    let mut world = World::new(Scenario::NobodyCalls);
    world.exists(resource(&[
        ("/metadata/name", json!("older")),
        ("/metadata/uid", json!("another")),
        ("/metadata/creationTimestamp", json!("2025-01-01T00:00:00Z")),
        ("/spec/queueName", json!("thumbnails")),
    ]));
    let (problem, action) = world.failing_pass(&[]).await;
    world.end().await;
    assert!(problem.conflict);
    assert!(
        problem.message.contains("held by TaskQueue older"),
        "{}",
        problem.message
    );
    assert_eq!(action, Action::requeue(Duration::from_mins(1)));
}

#[tokio::test]
async fn an_object_that_does_not_parse_stops_nothing_and_waits_for_an_edit() {
    let world = World::new(Scenario::NobodyCalls);
    let malformed: Guarded = serde_json::from_value(json!({
        "apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue",
        "metadata": { "name": "thumbnails", "namespace": "shop", "generation": 4 },
        "spec": { "worker": 7 }
    }))
    .unwrap();
    let malformed = Arc::new(malformed);
    let error = reconcile(Arc::clone(&malformed), Arc::clone(&world.context))
        .await
        .unwrap_err();
    let action = error_policy(malformed, &error, Arc::clone(&world.context));
    world.end().await;
    assert_eq!(error.reason(), "Malformed");
    assert_eq!(action, Action::await_change());
}

#[tokio::test]
async fn a_spec_that_is_too_large_is_an_invalid_one_and_waits_for_an_edit() {
    let world = World::new(Scenario::NobodyCalls);
    let script = "x".repeat(watch::MOST_SPEC);
    let container = json!({ "name": "a", "image": "a", "command": ["sh", "-c", script] });
    let large = resource(&exec(json!({ "spec": { "containers": [container] } })));
    let mut large: Guarded = DeserializeGuard(Ok(large));
    watch::strip_resource(&mut large);
    let large = Arc::new(large);
    let error = reconcile(Arc::clone(&large), Arc::clone(&world.context))
        .await
        .unwrap_err();
    let action = error_policy(large, &error, Arc::clone(&world.context));
    world.end().await;
    assert_eq!(error.reason(), "InvalidSpec");
    assert!(error.chain().contains("131072"), "{}", error.chain());
    assert_eq!(action, Action::await_change());
}

fn asking_for_a_budget() -> [Edit; 1] {
    let budget = json!({ "maxUnavailable": "25%" });
    [("/spec/worker/disruptionBudget", budget)]
}

#[tokio::test]
async fn a_budget_is_made_where_it_is_asked_for_and_written_once() {
    let mut world = World::new(Scenario::ABudgetIsAppliedAfterTheDeployment);
    let first = world.pass(&asking_for_a_budget()).await;
    world.stands(standing(1, 0));
    world.has_budget(standing_budget(1));
    let second = world.pass(&asking_for_a_budget()).await;
    world.end().await;
    assert!(first.is_ok() && second.is_ok(), "{first:?}, {second:?}");
}

#[tokio::test]
async fn a_budget_of_somebody_else_is_not_touched() {
    let world = World::new(Scenario::ABudgetOfSomebodyElseIsOnlyRead);
    let (problem, _) = world.failing_pass(&asking_for_a_budget()).await;
    world.end().await;
    assert_eq!(problem.reason, "NameTaken");
    let named = "PodDisruptionBudget thumbnails";
    assert!(problem.message.contains(named), "{}", problem.message);
}

#[tokio::test]
async fn a_budget_that_is_asked_for_no_more_is_deleted() {
    let mut world = World::new(Scenario::ABudgetThatNobodyAsksForIsDeleted { uid: "budget" });
    world.stands(standing(7, 5));
    world.has_budget(standing_budget(1));
    let outcome = world.pass(&[]).await;
    world.end().await;
    outcome.unwrap();
}

#[tokio::test]
async fn a_budget_of_somebody_else_is_left_where_none_is_asked_for() {
    let mut world = World::new(Scenario::ADeploymentWithAnOwnerOfItsReplicasIsAppliedWithoutThem);
    world.stands(standing(7, 5));
    let mut budget = standing_budget(1);
    budget.metadata.owner_references = None;
    world.has_budget(budget);
    let outcome = world.pass(&[]).await;
    world.end().await;
    outcome.unwrap();
}

#[tokio::test]
async fn a_pass_beyond_the_share_of_its_namespace_is_put_off_and_those_of_others_are_not() {
    let world = World::new(Scenario::NobodyCalls);
    let turns = Arc::clone(&world.context.turns);
    let under_way = turns.try_take("shop").expect("there is a place");
    let put_off = world.pass(&[]).await.unwrap();
    assert!(turns.try_take("other").is_some());
    let times = (100..1000).map(|millis| Action::requeue(Duration::from_millis(millis)));
    assert!(times.into_iter().any(|time| time == put_off), "{put_off:?}");
    assert!(!world.has_orders());
    drop(under_way);
    world.end().await;
}
