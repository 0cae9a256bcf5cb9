//! What a source means, and what its status tells.

use std::sync::Arc;

use kube::{
    core::Status,
    runtime::watcher::{self, Event},
};
use serde_json::{Value, json};
use taskqueue_api::{TaskQueueStatus, spec::TargetKind};
use taskqueue_operator::{
    index::{Entry, Sight, SourceSight, Trouble},
    reconcile::validate::{Valid, validate},
    status::build::build,
    targets::{Found, Scalable, Target, TargetView, Targets},
};
use taskqueue_scaling::Reason;
use taskqueue_sources::{
    Asynq, BullMq, Celery, Command, Expression, List, Role, Rq, Scores, Sidekiq, SortedSet, Source,
    Stream, Unit,
};

use super::status::{at, condition};
use crate::fixtures::{
    Edit, allowed, key, resource, sight, snapshot, source_orders, sourced, valid_source,
};

/// Queues of Node and Python as a spec names them, and what is read of them.
fn libraries() -> Vec<(Value, Source)> {
    let text = ToOwned::to_owned;
    vec![
        (
            json!({ "bullmq": { "queue": "emails" } }),
            Source::BullMq(BullMq {
                queue: text("emails"),
                prefix: text("bull"),
                limiter_max: None,
            }),
        ),
        (
            json!({ "bullmq": { "queue": "emails", "limiterMax": 5 } }),
            Source::BullMq(BullMq {
                queue: text("emails"),
                prefix: text("bull"),
                limiter_max: Some(5),
            }),
        ),
        (
            json!({ "celery": {} }),
            Source::Celery(Celery {
                queue: text("celery"),
                exchange: text("celery"),
                key_prefix: String::new(),
                priority_steps: vec![0, 3, 6, 9],
                separator: text("\u{6}\u{16}"),
                acks_late: false,
            }),
        ),
        (
            json!({ "celery": {
                "queue": "a", "exchange": "b", "keyPrefix": "c:",
                "prioritySteps": [0, 5], "separator": ":", "acksLate": true
            } }),
            Source::Celery(Celery {
                queue: text("a"),
                exchange: text("b"),
                key_prefix: text("c:"),
                priority_steps: vec![0, 5],
                separator: text(":"),
                acks_late: true,
            }),
        ),
        (
            json!({ "rq": {} }),
            Source::Rq(Rq {
                queue: text("default"),
                key_prefix: text("rq"),
                scheduler: true,
            }),
        ),
        (
            json!({ "rq": { "scheduler": false } }),
            Source::Rq(Rq {
                queue: text("default"),
                key_prefix: text("rq"),
                scheduler: false,
            }),
        ),
    ]
}

/// Queues of Ruby and Go, and plain keys.
fn plain_keys() -> Vec<(Value, Source)> {
    let text = ToOwned::to_owned;
    vec![
        (
            json!({ "sidekiq": { "queue": "mail" } }),
            Source::Sidekiq(Sidekiq {
                queue: text("mail"),
            }),
        ),
        (
            json!({ "asynq": {} }),
            Source::Asynq(Asynq {
                queue: text("default"),
                aggregates: true,
            }),
        ),
        (
            json!({ "asynq": { "aggregates": false } }),
            Source::Asynq(Asynq {
                queue: text("default"),
                aggregates: false,
            }),
        ),
        (
            json!({ "list": { "key": "a", "inFlightKey": "b" } }),
            Source::List(List {
                key: text("a"),
                in_flight_key: Some(text("b")),
            }),
        ),
        (
            json!({ "sortedSet": { "key": "a", "scores": "Milliseconds" } }),
            Source::SortedSet(SortedSet {
                key: text("a"),
                scores: Scores::Due(Unit::Milliseconds),
                in_flight_key: None,
            }),
        ),
        (
            json!({ "stream": { "key": "a", "group": "b" } }),
            Source::Stream(Stream {
                key: text("a"),
                group: text("b"),
            }),
        ),
        (
            json!({ "expressions": [{ "command": "ZCOUNT", "key": "a", "role": "Deferred" }] }),
            Source::Expressions(vec![Expression {
                command: Command::Zcount(Unit::Seconds),
                key: text("a"),
                role: Role::Deferred,
            }]),
        ),
    ]
}

#[test]
fn each_system_is_read_by_the_keys_that_the_spec_names_or_its_own_defaults() {
    for (given, source) in libraries().into_iter().chain(plain_keys()) {
        let valid = valid_source(&[("/spec/source", given.clone())]);
        assert_eq!(valid.source, source, "{given}");
    }
}

#[test]
fn the_target_is_in_the_namespace_of_its_taskqueue_and_says_how_much_a_pod_takes() {
    let valid = valid_source(&[(
        "/spec/targetRef",
        json!({ "kind": "StatefulSet", "name": "mailer", "concurrency": 7 }),
    )]);
    assert_eq!(valid.target, target(TargetKind::StatefulSet));
    assert_eq!(valid.scaling.concurrency, 7);
    assert_eq!(valid_source(&[]).scaling.concurrency, 1);
}

#[test]
fn the_status_remembers_for_this_spec_alone_that_the_source_was_read() {
    let said = |status: &str, generation: i64| {
        json!({ "conditions": [{
            "type": "SourceKeyMissing", "status": status, "reason": "Seen", "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": generation
        }] })
    };
    for (status, generation, seen) in [("False", 3, true), ("True", 3, false), ("False", 2, false)]
    {
        let mut resource = resource(&sourced(&[]));
        resource.status = serde_json::from_value(said(status, generation)).unwrap();
        match validate(&resource, &allowed()).unwrap() {
            Valid::Source(valid) => assert_eq!(valid.seen, seen, "{status} {generation}"),
            Valid::Queue(valid) => panic!("{valid:?}"),
        }
    }
}

fn target(kind: TargetKind) -> Target {
    Target {
        namespace: "shop".to_owned(),
        kind,
        name: "mailer".to_owned(),
    }
}

fn object(replicas: i32, updated: i32) -> Scalable {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Any",
        "metadata": { "name": "mailer", "namespace": "shop" },
        "spec": { "replicas": replicas, "template": {} },
        "status": { "replicas": 3, "readyReplicas": 2, "updatedReplicas": updated }
    }))
    .unwrap()
}

#[test]
fn a_target_is_missing_only_once_all_are_known() {
    let targets = Targets::default();
    let mailer = target(TargetKind::Deployment);
    assert_eq!(targets.of(&mailer), Found::Unknown);
    targets.take(TargetKind::Deployment, Event::Init);
    assert_eq!(targets.of(&mailer), Found::Unknown);
    targets.take(TargetKind::Deployment, Event::InitDone);
    assert_eq!(targets.of(&mailer), Found::Missing);
    targets.take(TargetKind::Deployment, Event::Apply(object(5, 1)));
    let view = TargetView {
        replicas: 5,
        existing: 3,
        ready: 2,
        rolling: true,
        ..TargetView::default()
    };
    assert_eq!(targets.of(&mailer), Found::There(view.clone()));
    // While they are listed again, nothing is forgotten.
    targets.take(TargetKind::Deployment, Event::Init);
    assert_eq!(targets.of(&mailer), Found::There(view));
    targets.take(TargetKind::Deployment, Event::InitDone);
    assert_eq!(targets.of(&mailer), Found::Missing);
    assert_eq!(targets.of(&target(TargetKind::StatefulSet)), Found::Unknown);
}

#[test]
fn targets_that_no_role_lets_the_operator_read_are_told_until_they_can_be_read() {
    let targets = Targets::default();
    let mailer = target(TargetKind::StatefulSet);
    let words = "statefulsets.apps is forbidden: User \"operator\" cannot list resource \"statefulsets\" in API group \"apps\" at the cluster scope";
    let answer = |code: u16, words: &str| {
        let status = Status::failure(words, "Forbidden").with_code(code);
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    };
    targets.failed(TargetKind::StatefulSet, &answer(500, "etcd has no leader"));
    assert_eq!(targets.of(&mailer), Found::Unknown);
    targets.failed(TargetKind::StatefulSet, &answer(403, words));
    targets.take(TargetKind::StatefulSet, Event::Init);
    assert_eq!(targets.of(&mailer), Found::Refused(words.to_owned()));
    assert_eq!(targets.of(&target(TargetKind::Deployment)), Found::Unknown);
    targets.take(TargetKind::StatefulSet, Event::InitDone);
    assert_eq!(targets.of(&mailer), Found::Missing);
}

#[test]
fn a_stateful_set_with_a_partition_is_not_rolling_for_ever() {
    let targets = Targets::default();
    targets.take(TargetKind::StatefulSet, Event::Apply(object(3, 1)));
    match targets.of(&target(TargetKind::StatefulSet)) {
        Found::There(view) => assert!(!view.rolling),
        other => panic!("{other:?}"),
    }
}

/// A StatefulSet of three pods that is to have two; of those that stand, so many are ready.
fn set(edit: &Value) -> TargetView {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": "mailer", "namespace": "shop", "generation": 4 },
        "spec": { "replicas": 2 },
        "status": {
            "replicas": 3, "readyReplicas": 2, "currentReplicas": 3, "updatedReplicas": 3,
            "currentRevision": "a", "updateRevision": "a", "observedGeneration": 4
        }
    });
    for (name, value) in edit.as_object().unwrap() {
        object["status"][name] = value.clone();
    }
    let targets = Targets::default();
    let object = serde_json::from_value(object).unwrap();
    targets.take(TargetKind::StatefulSet, Event::Apply(object));
    match targets.of(&target(TargetKind::StatefulSet)) {
        Found::There(view) => view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stateful_set_that_waits_for_a_lower_pod_is_told_apart_from_one_that_stops_its_highest() {
    for (status, held_back) in [
        (json!({}), 1),
        // The highest is being stopped; whether it is ready until then is of no matter.
        (json!({ "currentReplicas": 2, "updatedReplicas": 2 }), 0),
        // All are ready: it will be stopped in a moment.
        (json!({ "readyReplicas": 3 }), 0),
        // What it says is of before the number fell.
        (json!({ "observedGeneration": 3 }), 0),
        // In a rollout the pods are of two revisions.
        (
            json!({ "currentReplicas": 2, "updatedReplicas": 1, "updateRevision": "b" }),
            1,
        ),
    ] {
        assert_eq!(set(&status).held_back, held_back, "{status}");
    }
}

#[test]
fn a_stateful_set_that_waits_for_a_lower_pod_is_told() {
    let status = status(Sight {
        waits_for: Some("a lower pod".to_owned()),
        source: Some(SourceSight {
            trouble: None,
            target: Some(set(&json!({}))),
            due_not_moved: false,
        }),
        ..sight(Ok(snapshot()))
    });
    let told = condition(&status, "AbleToScale");
    assert_eq!((&*told.status, &*told.reason), ("False", "PodNotReady"));
    assert_eq!(told.message, "a lower pod");
}

fn status(sight: Sight) -> TaskQueueStatus {
    status_of(&[], sight)
}

fn status_of(edits: &[Edit], sight: Sight) -> TaskQueueStatus {
    let orders = Arc::new(source_orders(edits));
    let entry = Entry {
        orders: Some(Ok(Arc::clone(&orders))),
        standing: Some(orders),
        sight: Some(Arc::new(sight)),
        ..Entry::default()
    };
    build(&key(), &entry, None, &TaskQueueStatus::default(), at(0))
}

fn troubled(reason: &'static str) -> Sight {
    let mut told = sight(Err("the exact name".to_owned()));
    told.decision.reason = Reason::SourceUnknown;
    Sight {
        source: Some(SourceSight {
            trouble: Some(Trouble {
                reason,
                message: "the exact name".to_owned(),
            }),
            target: None,
            due_not_moved: false,
        }),
        ..told
    }
}

#[test]
fn a_source_is_told_with_its_own_name_and_the_pods_of_its_target() {
    let status = status(Sight {
        source: Some(SourceSight {
            trouble: None,
            target: Some(TargetView {
                existing: 4,
                ready: 3,
                ..TargetView::default()
            }),
            due_not_moved: false,
        }),
        ..sight(Ok(snapshot()))
    });
    assert_eq!(status.queue.as_deref(), Some("bullmq bull:emails"));
    assert_eq!((status.replicas, status.ready_replicas), (Some(4), Some(3)));
    assert_eq!(
        (status.selector.clone(), status.rates.clone()),
        (None, None)
    );
    let depth = status.depth.as_ref().unwrap();
    assert_eq!((depth.waiting, depth.active, depth.scheduled), (3, 6, 4));
    assert_eq!(condition(&status, "Ready").status, "True");
    assert_eq!(condition(&status, "SourceKeyMissing").status, "False");
}

#[test]
fn each_trouble_is_told_by_its_name_and_is_none_of_redis() {
    for (reason, missing) in [
        ("SourceKeyMissing", "True"),
        ("SourceWrongType", "Unknown"),
        ("SourceUnreadable", "Unknown"),
    ] {
        let status = status(troubled(reason));
        for kind in ["Ready", "ScalingActive"] {
            let told = condition(&status, kind);
            assert_eq!((&*told.status, &*told.reason), ("False", reason));
            assert_eq!(told.message, "the exact name");
        }
        assert_eq!(condition(&status, "SourceKeyMissing").status, missing);
        assert_eq!(condition(&status, "RedisReachable").status, "True");
        assert_eq!(status.depth, None, "unknown is not zero");
    }
}

#[test]
fn a_target_that_is_not_there_is_told_beside_the_depth() {
    let status = status(Sight {
        queue: sight(Ok(snapshot())).queue,
        ..troubled("TargetMissing")
    });
    assert_eq!(condition(&status, "Ready").reason, "TargetMissing");
    assert_eq!(condition(&status, "SourceKeyMissing").status, "False");
    assert!(status.depth.is_some());
}

#[test]
fn a_source_whose_running_tasks_are_not_in_redis_says_so_and_how_long_it_waits() {
    for (source, status, reason) in [
        (json!({ "bullmq": { "queue": "emails" } }), "False", "Shown"),
        (json!({ "sidekiq": {} }), "False", "ShownLate"),
        (json!({ "celery": {} }), "True", "NotInRedis"),
        (json!({ "celery": { "acksLate": true } }), "False", "Shown"),
        (json!({ "list": { "key": "a" } }), "True", "NotInRedis"),
    ] {
        let edit = ("/spec/source", source.clone());
        let told = status_of(&[edit], sight(Ok(snapshot())));
        let hidden = condition(&told, "RunningHidden");
        assert_eq!((&*hidden.status, &*hidden.reason), (status, reason));
        // It says what is not seen, for how long nothing is stopped, and what to do.
        for word in ["scaling.idle (30s)", "longer than the longest task"] {
            assert_eq!(hidden.message.contains(word), status == "True", "{source}");
        }
    }
    let celery = ("/spec/source", json!({ "celery": {} }));
    let told = status_of(&[celery], sight(Ok(snapshot())));
    let message = &condition(&told, "RunningHidden").message;
    assert!(message.contains("task_acks_late"), "{message}");
}

#[test]
fn tasks_that_are_due_and_that_no_worker_moves_on_are_told_with_the_setting_of_their_system() {
    let lies = |source: Value, due_not_moved| {
        let source_sight = SourceSight {
            trouble: None,
            target: None,
            due_not_moved,
        };
        let seen = Sight {
            source: Some(source_sight),
            ..sight(Ok(snapshot()))
        };
        let status = status_of(&[("/spec/source", source)], seen);
        let told = condition(&status, "DueNotMoved");
        (told.status.clone(), told.message.clone())
    };
    let (status, message) = lies(json!({ "rq": {} }), false);
    assert_eq!((&*status, &*message), ("False", ""));
    for (source, setting) in [
        (json!({ "rq": {} }), "source.rq.scheduler: false"),
        (json!({ "asynq": {} }), "source.asynq.aggregates: false"),
        (json!({ "sidekiq": {} }), "pods of the targetRef"),
    ] {
        let (status, message) = lies(source, true);
        assert_eq!(status, "True");
        assert!(message.contains(setting), "{message}");
    }
}
