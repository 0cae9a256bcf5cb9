use jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use taskqueue_api::{WORKER_CONTAINER, WORKER_CONTAINER_ANNOTATION};
use taskqueue_operator::fleet::{Ending, WorkerPod};
use taskqueue_queue::Cause;

use super::{Seen, at, condition, container, manifest, pod, running, terminated, told, worker};

const POD: &str = "thumbnails-5d9-a";

fn deleting() -> Value {
    json!({ "deletionTimestamp": "2026-01-02T03:05:00Z" })
}

/// What is told of a pod that ran, and then had this metadata and status.
fn ends_as(metadata: &Value, status: &Value) -> Vec<Ending> {
    let mut seen = Seen::none();
    seen.events([Event::Apply(pod(&json!({}), &json!({})))]);
    assert_eq!(seen.endings(), []);
    seen.events([Event::Apply(pod(metadata, status))]);
    let endings = seen.endings();
    seen.events([Event::Apply(pod(metadata, status))]);
    assert_eq!(seen.endings(), [], "told once");
    endings
}

/// The one ending of these.
fn only(endings: &[Ending]) -> &Ending {
    match endings {
        [ending] => ending,
        other => panic!("{other:?}"),
    }
}

/// The status of a pod whose worker's run ended like this, and is to begin again.
fn restarting(exit_code: i32, reason: &str) -> Value {
    worker(&json!({ "ready": false, "state": terminated("1", exit_code, reason, 9) }))
}

#[test]
fn the_end_of_a_run_is_told_with_its_cause_and_its_time() {
    let table = [
        (137, "OOMKilled", Cause::OomKilled),
        // The runtime keeps the reason from a child that was out of memory earlier.
        (134, "OOMKilled", Cause::WorkerLost),
        (143, "OOMKilled", Cause::WorkerLost),
        (3, "OOMKilled", Cause::WorkerLost),
        (0, "OOMKilled", Cause::WorkerLost),
        (137, "Error", Cause::WorkerLost),
        (139, "Error", Cause::WorkerLost),
        (1, "Error", Cause::WorkerLost),
        (0, "Completed", Cause::WorkerLost),
    ];
    for (exit_code, reason, cause) in table {
        let endings = ends_as(&json!({}), &restarting(exit_code, reason));
        let ending = only(&endings);
        assert_eq!(ending.pod, POD);
        assert_eq!(ending.cause, cause, "{exit_code} {reason}");
        assert_eq!(ending.before, at("03:05:10"));
        assert!(ending.detail.contains(&format!("{exit_code} ({reason})")));
    }
}

#[test]
fn a_run_that_ended_and_one_that_began_meanwhile_are_told_apart() {
    let again = json!({ "restartCount": 1, "lastState": terminated("1", 137, "OOMKilled", 9),
        "state": { "running": { "startedAt": "2026-01-02T03:05:10Z" } } });
    let endings = ends_as(&json!({}), &worker(&again));
    assert_eq!(only(&endings).before, at("03:05:10"));
    assert_eq!(only(&endings).cause, Cause::OomKilled);
}

#[test]
fn a_run_that_began_in_the_second_in_which_the_last_one_ended_keeps_its_workers() {
    let again = json!({ "restartCount": 1, "lastState": terminated("1", 137, "OOMKilled", 9),
        "state": { "running": { "startedAt": "2026-01-02T03:05:09Z" } } });
    let endings = ends_as(&json!({}), &worker(&again));
    assert_eq!(only(&endings).before, at("03:05:09"));
}

#[test]
fn a_second_end_of_a_run_is_told_too() {
    let mut seen = Seen::none();
    seen.events([Event::Apply(pod(&json!({}), &restarting(1, "Error")))]);
    let again = json!({ "restartCount": 1, "lastState": terminated("2", 1, "Error", 12) });
    seen.events([Event::Apply(pod(&json!({}), &worker(&again)))]);
    let befores: Vec<_> = seen.endings().iter().map(|ending| ending.before).collect();
    assert_eq!(befores, [at("03:05:10"), at("03:05:13")]);
}

#[test]
fn the_end_of_another_container_is_none() {
    let mut status = worker(&running());
    status["containerStatuses"][0]["state"] = terminated("7", 1, "Error", 1);
    assert_eq!(ends_as(&json!({}), &status), []);
}

#[test]
fn a_pod_that_is_ended_by_another_says_by_whom() {
    let by = |reason: &str, message: &str| json!({ "phase": "Failed", "conditions": [told("DisruptionTarget", "True", reason, message)] });
    let evicted = json!({ "phase": "Failed", "reason": "Evicted",
        "message": "The node was low on resource: memory.", "conditions": null });
    let table = [
        (
            by("EvictionByEvictionAPI", "Eviction API: evicting"),
            Cause::Evicted,
        ),
        (by("PreemptionByScheduler", "preempting"), Cause::Evicted),
        (by("TerminationByKubelet", "low on memory"), Cause::Evicted),
        (
            by("DeletionByTaintManager", "Taint manager"),
            Cause::Evicted,
        ),
        (
            by("DeletionByPodGC", "PodGC: node not found"),
            Cause::WorkerLost,
        ),
        (evicted, Cause::Evicted),
        (
            json!({ "phase": "Failed", "reason": "NodeLost" }),
            Cause::WorkerLost,
        ),
    ];
    for (mut status, cause) in table {
        let killed = json!({ "ready": false, "state": terminated("1", 137, "Error", 9) });
        super::merge(&mut status, &worker(&killed));
        let endings = ends_as(&json!({}), &status);
        let ending = only(&endings);
        assert_eq!(ending.cause, cause, "{status}");
        assert_eq!(ending.before, Timestamp::MAX, "it never runs again");
        assert!(!ending.detail.is_empty());
    }
}

#[test]
fn a_pod_that_is_ended_by_another_is_not_out_of_memory_whatever_the_reason_says() {
    let by = |reason| json!([told("DisruptionTarget", "True", reason, "so it is")]);
    let table = [
        ("EvictionByEvictionAPI", Cause::Evicted),
        ("TerminationByKubelet", Cause::Evicted),
        ("DeletionByPodGC", Cause::WorkerLost),
    ];
    for (reason, cause) in table {
        // Killed when its grace period was over, as what is out of memory is.
        let mut status = restarting(137, "OOMKilled");
        status["conditions"] = by(reason);
        let endings = ends_as(&deleting(), &status);
        assert_eq!(only(&endings).cause, cause, "{reason}");
    }
    let mut status = restarting(137, "OOMKilled");
    status["conditions"] = json!([told(
        "DisruptionTarget",
        "False",
        "EvictionByEvictionAPI",
        ""
    )]);
    assert_eq!(
        only(&ends_as(&json!({}), &status)).cause,
        Cause::OomKilled,
        "nobody ends it any more"
    );
}

#[test]
fn a_pod_that_is_only_being_deleted_may_still_finish_its_tasks() {
    let mut seen = Seen::none();
    seen.events([Event::Apply(pod(&json!({}), &json!({})))]);
    let mut evicted = json!({ "conditions": [told("DisruptionTarget", "True", "EvictionByEvictionAPI", "evicting")] });
    seen.events([Event::Apply(pod(&deleting(), &evicted))]);
    assert_eq!(seen.endings(), [], "its worker drains");
    super::merge(&mut evicted, &restarting(137, "Error"));
    seen.events([Event::Apply(pod(&deleting(), &evicted))]);
    assert_eq!(only(&seen.endings()).cause, Cause::Evicted);
    seen.events([Event::Delete(pod(&deleting(), &evicted))]);
    assert_eq!(seen.endings(), [], "told already");
}

#[test]
fn a_pod_that_is_gone_at_once_takes_its_workers_with_it() {
    let evicted = json!({ "conditions": [told("DisruptionTarget", "True", "EvictionByEvictionAPI", "evicting")] });
    let table = [
        (json!({}), Cause::WorkerLost, "was deleted"),
        (evicted, Cause::Evicted, "EvictionByEvictionAPI: evicting"),
    ];
    for (status, cause, detail) in table {
        let mut seen = Seen::none();
        seen.events([
            Event::Apply(pod(&json!({}), &json!({}))),
            Event::Delete(pod(&json!({}), &status)),
        ]);
        let endings = seen.endings();
        assert_eq!(only(&endings).cause, cause);
        assert_eq!(only(&endings).before, Timestamp::MAX);
        assert!(only(&endings).detail.contains(detail), "{endings:?}");
    }
}

#[test]
fn a_pod_that_goes_after_a_restart_ends_its_second_run_too() {
    let again = json!({ "restartCount": 1, "lastState": terminated("1", 137, "OOMKilled", 9) });
    let again = worker(
        &json!({ "state": running()["state"], "restartCount": 1, "lastState": again["lastState"] }),
    );
    let mut seen = Seen::none();
    seen.events([
        Event::Apply(pod(&json!({}), &json!({}))),
        Event::Apply(pod(&json!({}), &again)),
        Event::Delete(pod(&json!({}), &again)),
    ]);
    let causes: Vec<_> = seen
        .endings()
        .iter()
        .map(|it| (it.cause, it.before))
        .collect();
    assert_eq!(
        causes,
        [
            (Cause::OomKilled, at("03:05:09")),
            (Cause::WorkerLost, Timestamp::MAX)
        ]
    );
}

#[test]
fn a_pod_that_no_node_ever_had_has_no_ending() {
    let new = pending_on(&Value::Null);
    let mut seen = Seen::none();
    seen.events([Event::Apply(new.clone()), Event::Delete(new)]);
    assert_eq!(seen.endings(), []);
}

#[test]
fn a_pod_that_goes_before_its_node_told_of_its_containers_takes_its_workers_with_it() {
    let new = pending_on(&json!("node-1"));
    let mut seen = Seen::none();
    seen.events([Event::Apply(new.clone()), Event::Delete(new)]);
    assert_eq!(only(&seen.endings()).before, Timestamp::MAX);
}

/// A pod of whose containers nothing is known.
fn pending_on(node: &Value) -> WorkerPod {
    let status = json!({ "phase": "Pending", "containerStatuses": null, "conditions": [condition("Ready", "False")] });
    let mut pod = manifest(&json!({}), &status);
    pod["spec"]["nodeName"] = node.clone();
    serde_json::from_value(pod).unwrap()
}

#[test]
fn beside_a_server_it_is_the_end_of_the_workers_own_container_that_counts() {
    let beside = |fallen: &str| {
        let states = ["server", WORKER_CONTAINER].map(|name| {
            let fell = json!({ "ready": false, "state": terminated("1", 137, "OOMKilled", 9) });
            let state = if name == fallen { fell } else { running() };
            container(name, &state)
        });
        let mut pod = manifest(&json!({}), &json!({ "containerStatuses": states }));
        pod["spec"]["containers"] = json!([{ "name": "server" }, { "name": WORKER_CONTAINER }]);
        serde_json::from_value::<WorkerPod>(pod).unwrap()
    };
    let mut seen = Seen::none();
    seen.events([Event::Apply(beside("")), Event::Apply(beside("server"))]);
    assert_eq!(
        seen.endings(),
        [],
        "the worker lost a server and nothing else"
    );
    seen.events([Event::Apply(beside(WORKER_CONTAINER))]);
    assert_eq!(only(&seen.endings()).cause, Cause::OomKilled);
}

/// A pod with these containers, in the order of its spec, of which one has fallen. `worker` is where
/// the annotation says that the worker runs.
fn with_containers(names: &[&str], fallen: &str, worker: Option<&str>) -> WorkerPod {
    let states = names.iter().map(|name| {
        let fell = json!({ "ready": false, "state": terminated("1", 137, "OOMKilled", 9) });
        container(name, &if *name == fallen { fell } else { running() })
    });
    let mut states: Vec<_> = states.collect();
    // As Kubernetes lists them, whatever their order in the spec.
    states.sort_by_key(|state| state["name"].as_str().unwrap().to_owned());
    let annotations = worker.map(|name| json!({ WORKER_CONTAINER_ANNOTATION: name }));
    let metadata = json!({ "annotations": annotations });
    let mut pod = manifest(&metadata, &json!({ "containerStatuses": states }));
    let spec = names.iter().map(|name| json!({ "name": name }));
    pod["spec"]["containers"] = spec.collect();
    serde_json::from_value(pod).unwrap()
}

/// What is told of the ends of each of these containers, by its name.
fn ends_of(names: &[&str], worker: Option<&str>) -> Vec<(String, usize)> {
    let ends = names.iter().map(|name| {
        let mut seen = Seen::none();
        seen.events([
            Event::Apply(with_containers(names, "", worker)),
            Event::Apply(with_containers(names, name, worker)),
        ]);
        ((*name).to_owned(), seen.endings().len())
    });
    ends.collect()
}

#[test]
fn what_admission_puts_in_front_of_the_worker_is_not_taken_for_it() {
    let told = |name: &str, count| (name.to_owned(), count);
    // One container, as with exec, stdio and native; and a server with the worker beside it.
    for worker in ["app", "worker", WORKER_CONTAINER] {
        assert_eq!(
            ends_of(&["mesh-proxy", worker], Some(worker)),
            [told("mesh-proxy", 0), told(worker, 1)]
        );
    }
    assert_eq!(
        ends_of(
            &["mesh-proxy", "server", WORKER_CONTAINER],
            Some(WORKER_CONTAINER)
        ),
        [
            told("mesh-proxy", 0),
            told("server", 0),
            told(WORKER_CONTAINER, 1)
        ],
        "the worker lost a server and nothing else"
    );
}

#[test]
fn a_container_of_another_that_has_the_name_of_the_workers_own_is_not_taken_for_it() {
    // Nobody forbids an injector to use it, where the worker runs in the first one of the template.
    assert_eq!(
        ends_of(&[WORKER_CONTAINER, "app"], Some("app")),
        [(WORKER_CONTAINER.to_owned(), 0), ("app".to_owned(), 1)]
    );
}

#[test]
fn in_a_pod_that_is_older_than_the_annotation_the_workers_own_or_the_first_container_counts() {
    for told in [None, Some("no-such-container")] {
        assert_eq!(
            ends_of(&["server", WORKER_CONTAINER], told),
            [("server".to_owned(), 0), (WORKER_CONTAINER.to_owned(), 1)]
        );
        assert_eq!(
            ends_of(&["worker", "agent"], told),
            [("worker".to_owned(), 1), ("agent".to_owned(), 0)]
        );
    }
}

#[test]
fn the_end_of_a_proxy_that_is_a_sidecar_of_the_node_is_none() {
    // An init container that is started anew whenever it ends.
    let mut status = worker(&running());
    status["initContainerStatuses"] = json!([container(
        "mesh-proxy",
        &json!({ "ready": false, "restartCount": 1, "state": terminated("9", 1, "Error", 1) })
    )]);
    assert_eq!(ends_as(&json!({}), &status), []);
}

#[test]
fn beside_a_proxy_the_cause_and_the_time_are_those_of_the_worker() {
    let names = ["mesh-proxy", "app"];
    let mut seen = Seen::none();
    seen.events([
        Event::Apply(with_containers(&names, "", Some("app"))),
        Event::Apply(with_containers(&names, "app", Some("app"))),
    ]);
    let endings = seen.endings();
    assert_eq!(only(&endings).cause, Cause::OomKilled);
    assert_eq!(only(&endings).before, at("03:05:10"));
}

#[test]
fn a_pod_that_vanished_between_two_watches_is_an_ending_too() {
    let mut seen = Seen::none();
    let other = json!({ "name": "thumbnails-5d9-b", "uid": "0002" });
    seen.events([
        Event::Apply(pod(&json!({}), &json!({}))),
        Event::Apply(pod(&other, &json!({}))),
        Event::Init,
        Event::InitApply(pod(&other, &json!({}))),
    ]);
    assert_eq!(seen.endings(), [], "the listing may not be over");
    seen.events([Event::InitDone]);
    let endings = seen.endings();
    assert_eq!(only(&endings).pod, POD);
    assert_eq!(only(&endings).before, Timestamp::MAX);
}

#[test]
fn a_name_that_is_used_again_ends_what_had_it_before() {
    let mut seen = Seen::none();
    let new = json!({ "uid": "0002", "creationTimestamp": "2026-01-02T03:05:11Z" });
    seen.events([
        Event::Apply(pod(&json!({}), &json!({}))),
        Event::Apply(pod(&new, &json!({}))),
    ]);
    assert_eq!(only(&seen.endings()).before, at("03:05:11"));
}

#[test]
fn what_ended_long_before_the_operator_began_is_no_news() {
    // Seen at 03:05:10 and later.
    let table = [("04:06:00", 0), ("03:05:20", 1)];
    for (now, count) in table {
        let mut seen = Seen::none();
        seen.at = at(now);
        seen.events([
            Event::Init,
            Event::InitApply(pod(&json!({}), &restarting(1, "Error"))),
            Event::InitDone,
        ]);
        assert_eq!(seen.endings().len(), count, "{now}");
    }
}
