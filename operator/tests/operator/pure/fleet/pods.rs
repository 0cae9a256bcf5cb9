use std::time::Duration;

use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use taskqueue_operator::{fleet::FleetView, key::Key};

use super::{Seen, condition, pod, running, terminated, told, waiting, worker};
use crate::fixtures::key;

const NOT_READY: &str = "False";

fn named(letter: &str) -> Value {
    json!({ "name": format!("thumbnails-5d9-{letter}"), "uid": letter })
}

fn starting() -> Value {
    let mut status = worker(&waiting("ContainerCreating", ""));
    status["conditions"] = json!([condition("Ready", NOT_READY)]);
    status
}

fn stuck(reason: &str, message: &str) -> Value {
    let mut status = worker(&waiting(reason, message));
    status["conditions"] = json!([condition("Ready", NOT_READY)]);
    status
}

fn falling() -> Value {
    let mut status = worker(&json!({ "ready": false, "restartCount": 4,
        "lastState": terminated("1", 1, "Error", 9),
        "state": { "waiting": { "reason": "CrashLoopBackOff" } } }));
    status["conditions"] = json!([condition("Ready", NOT_READY)]);
    status
}

/// A fleet of such pods, `a` the first.
fn fleet(statuses: &[Value]) -> FleetView {
    let mut seen = Seen::none();
    for (letter, status) in ["a", "b", "c", "d", "e"].iter().zip(statuses) {
        seen.events([Event::Apply(pod(&named(letter), status))]);
    }
    seen.pods.view(&key())
}

#[test]
fn pods_are_counted_by_their_readiness_and_those_that_go_not_at_all() {
    let mut seen = Seen::none();
    let mut deleting = named("c");
    deleting["deletionTimestamp"] = json!("2026-01-02T03:05:00Z");
    seen.events([
        Event::Apply(pod(&named("a"), &json!({}))),
        Event::Apply(pod(&named("b"), &starting())),
        Event::Apply(pod(&deleting, &json!({}))),
        Event::Apply(pod(&named("d"), &json!({ "phase": "Failed" }))),
    ]);
    let view = seen.pods.view(&key());
    assert_eq!((view.ready, view.starting), (1, 1));
    let names = |pods: Vec<taskqueue_operator::fleet::PodState>| -> Vec<_> {
        pods.into_iter().map(|pod| pod.name).collect()
    };
    let present = ["thumbnails-5d9-a", "thumbnails-5d9-b", "thumbnails-5d9-c"];
    assert_eq!(names(seen.pods.of(&key())), present);
    let other = Key {
        name: "other".to_owned(),
        ..key()
    };
    assert!(seen.pods.of(&other).is_empty());
    assert_eq!(seen.pods.view(&other).ready, 0);
}

#[test]
fn nothing_is_known_before_the_first_listing_is_complete() {
    let pods = taskqueue_operator::fleet::Pods::default();
    assert!(!pods.synced());
    let (now, at) = (tokio::time::Instant::now(), jiff::Timestamp::UNIX_EPOCH);
    pods.see(Event::Init, now, at);
    pods.see(Event::InitApply(pod(&json!({}), &json!({}))), now, at);
    assert!(!pods.synced());
    pods.see(Event::InitDone, now, at);
    assert!(pods.synced());
    assert_eq!(pods.of(&key()).len(), 1);
}

#[test]
fn one_pod_that_cannot_begin_is_an_obstacle_and_one_of_many_that_falls_is_none() {
    let ready = json!({});
    let pull = stuck("ErrImagePull", "not found");
    let reason = |view: FleetView| view.obstacle.map(|(reason, _)| reason);
    let some = |reason: &str| Some(reason.to_owned());
    assert_eq!(reason(fleet(&[ready.clone(), starting()])), None);
    assert_eq!(
        reason(fleet(&[ready.clone(), ready.clone(), pull.clone()])),
        some("ImagePullBackOff")
    );
    assert_eq!(
        reason(fleet(&[ready.clone(), ready.clone(), falling()])),
        None
    );
    assert_eq!(
        reason(fleet(&[ready.clone(), falling()])),
        some("CrashLoopBackOff")
    );
    assert_eq!(reason(fleet(&[falling()])), some("CrashLoopBackOff"));
    assert_eq!(
        reason(fleet(&[ready.clone(), ready, falling(), pull])),
        some("ImagePullBackOff")
    );
}

#[test]
fn the_message_names_the_pod_and_stays_the_same_while_it_tries_again() {
    let mut seen = Seen::none();
    seen.events([Event::Apply(pod(
        &named("a"),
        &stuck("ErrImagePull", "app:2: not found"),
    ))]);
    let first = seen.pods.view(&key()).obstacle.unwrap();
    assert_eq!(
        first.1,
        "pod thumbnails-5d9-a: container worker: app:2: not found"
    );
    for state in [
        stuck("ImagePullBackOff", "Back-off pulling image \"app:2\""),
        stuck("ErrImagePull", "app:2: not found"),
        stuck("ImagePullBackOff", "Back-off pulling image \"app:2\""),
    ] {
        seen.events([Event::Apply(pod(&named("a"), &state))]);
        assert_eq!(seen.pods.view(&key()).obstacle.as_ref(), Some(&first));
    }
    // Another pod with the same trouble changes nothing, and neither does one with none.
    seen.events([
        Event::Apply(pod(&named("b"), &stuck("ErrImagePull", "app:2: not found"))),
        Event::Apply(pod(&named("c"), &json!({}))),
    ]);
    assert_eq!(seen.pods.view(&key()).obstacle, Some(first));
}

#[test]
fn an_obstacle_ends_with_the_pod_that_had_it() {
    let mut seen = Seen::none();
    let unscheduled = json!({ "phase": "Pending", "containerStatuses": null,
        "conditions": [told("PodScheduled", "False", "Unschedulable", "0/1 nodes are available")] });
    seen.events([Event::Apply(pod(&named("a"), &unscheduled))]);
    assert!(seen.pods.view(&key()).obstacle.is_some());
    let mut deleting = named("a");
    deleting["deletionTimestamp"] = json!("2026-01-02T03:05:00Z");
    seen.events([Event::Apply(pod(&deleting, &unscheduled))]);
    assert_eq!(seen.pods.view(&key()).obstacle, None);
}

#[test]
fn the_time_to_start_is_measured_from_the_making_of_a_pod_to_its_readiness() {
    let mut seen = Seen::none();
    let start_time = |seen: &Seen| seen.pods.view(&key()).start_time;
    assert_eq!(start_time(&seen), Duration::from_secs(2));
    seen.events([Event::Apply(pod(&named("a"), &starting()))]);
    seen.passes(Duration::from_secs(4));
    seen.events([
        Event::Apply(pod(&named("a"), &json!({}))),
        Event::Apply(pod(&named("a"), &starting())),
        Event::Apply(pod(&named("a"), &json!({}))),
    ]);
    assert_eq!(start_time(&seen), Duration::from_secs(5), "once a pod");
    // What waited for its image says nothing of a start.
    seen.events([
        Event::Apply(pod(&named("b"), &starting())),
        Event::Apply(pod(&named("b"), &stuck("ErrImagePull", "not found"))),
    ]);
    seen.passes(Duration::from_mins(3));
    seen.events([Event::Apply(pod(&named("b"), &json!({})))]);
    assert_eq!(start_time(&seen), Duration::from_secs(5));
    seen.pods.forget(&key());
    assert_eq!(start_time(&seen), Duration::from_secs(2));
}

#[test]
fn a_pod_that_is_found_ready_tells_roughly_how_long_it_took() {
    let mut seen = Seen::none();
    let slow = worker(&json!({ "state": { "running": { "startedAt": "2026-01-02T03:04:25Z" } } }));
    seen.events([
        Event::Init,
        Event::InitApply(pod(&json!({}), &slow)),
        Event::InitDone,
    ]);
    assert_eq!(seen.pods.view(&key()).start_time, Duration::from_secs(21));
}

#[test]
fn endings_wait_until_they_are_taken_and_tell_that_they_are_there() {
    let mut seen = Seen::none();
    let mut changes = seen.pods.changes();
    let other = Key {
        name: "other".to_owned(),
        ..key()
    };
    seen.events([Event::Apply(pod(&named("a"), &json!({})))]);
    assert!(!changes.has_changed().unwrap());
    seen.events([Event::Delete(pod(&named("a"), &json!({})))]);
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), 1);
    let keys = [other, key()];
    assert_eq!(seen.pods.endings_of(keys.iter()), [key()]);
    assert_eq!(seen.endings().len(), 1);
    assert!(seen.endings().is_empty());
    assert!(seen.pods.endings_of(keys.iter()).is_empty());
}

#[test]
fn endings_that_nobody_takes_are_dropped_after_their_leases_have_lapsed() {
    let mut seen = Seen::none();
    let ends = |seen: &mut Seen, letter| {
        seen.events([
            Event::Apply(pod(&named(letter), &json!({}))),
            Event::Delete(pod(&named(letter), &json!({}))),
        ]);
    };
    ends(&mut seen, "a");
    seen.passes(Duration::from_secs(61));
    ends(&mut seen, "b");
    let pods: Vec<_> = seen.endings().into_iter().map(|it| it.pod).collect();
    assert_eq!(pods, ["thumbnails-5d9-b"]);
}

#[test]
fn no_more_endings_are_kept_than_a_bound() {
    let seen = Seen::none();
    for number in 0..2_010 {
        let metadata = json!({ "name": format!("{number}"), "uid": format!("{number}") });
        let status = json!({ "phase": "Failed", "containerStatuses": [super::container("worker", &running())] });
        seen.pods
            .see(Event::Apply(pod(&metadata, &status)), seen.now, seen.at);
    }
    let endings = seen.endings();
    assert_eq!(endings.len(), 2_000);
    assert_eq!(endings[0].pod, "10", "the newest are kept");
}
