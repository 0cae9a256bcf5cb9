use serde_json::{Value, json};
use taskqueue_api::WORKER_CONTAINER_ANNOTATION;
use taskqueue_operator::fleet::{Stage, WorkerPod};

use super::{at, condition, container, manifest, pod, terminated, told, waiting, worker};
use crate::fixtures::key;

#[test]
fn a_ready_pod_is_read() {
    let annotations =
        json!({ "annotations": { "controller.kubernetes.io/pod-deletion-cost": "-1000" } });
    let pod = pod(&annotations, &json!({}));
    assert_eq!(pod.key(), Some(key()));
    let state = pod.state();
    assert_eq!(state.name, "thumbnails-5d9-a");
    assert_eq!(state.uid, "0001");
    assert_eq!(state.created, at("03:04:05"));
    assert_eq!(state.started, Some(at("03:04:07")));
    assert!(state.ready);
    assert_eq!(state.ready_since, Some(at("03:04:08")));
    assert_eq!(state.deletion_cost, Some(-1000));
    assert_eq!((state.deleting, state.stage), (false, Stage::Placed));
    assert_eq!(state.obstacle, None);
    assert_eq!(state.disruption, None);
    assert_eq!(state.termination, None);
}

#[test]
fn a_pod_that_was_just_made_says_little() {
    let new = json!({ "phase": "Pending", "conditions": null, "containerStatuses": null });
    let state = pod(&json!({}), &new).state();
    assert_eq!(
        (state.started, state.ready, state.stage),
        (None, false, Stage::Placed)
    );
    assert_eq!(state.obstacle, None);
    let bare = json!({ "metadata": { "name": "a" } });
    let bare: WorkerPod = serde_json::from_value(bare).unwrap();
    assert_eq!(bare.key(), None);
    let bare = bare.state();
    assert_eq!((bare.name.as_str(), bare.stage), ("a", Stage::Unplaced));
}

#[test]
fn only_pods_of_a_deployment_are_workers() {
    let table = [
        json!({ "ownerReferences": null }),
        json!({ "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": "b", "controller": true }] }),
        json!({ "labels": null }),
        json!({ "labels": { "app": "thumbnails" } }),
    ];
    for metadata in table {
        assert_eq!(pod(&metadata, &json!({})).key(), None, "{metadata}");
    }
}

#[test]
fn a_deletion_cost_that_is_no_number_is_none() {
    let annotations =
        json!({ "annotations": { "controller.kubernetes.io/pod-deletion-cost": "low" } });
    assert_eq!(pod(&annotations, &json!({})).state().deletion_cost, None);
}

#[test]
#[allow(clippy::too_many_lines)] // A table is as long as it has rows.
fn what_keeps_a_pod_is_told_in_its_own_words() {
    let pull = "failed to pull and unpack image \"registry.example/app:2\": not found";
    let gated = "Scheduling is blocked due to non-empty scheduling gates";
    let full = "0/3 nodes are available: 3 Insufficient memory.";
    let scheduled = |reason, message| {
        json!({ "phase": "Pending", "containerStatuses": null,
            "conditions": [told("PodScheduled", "False", reason, message)] })
    };
    let installer = |state| json!({ "phase": "Pending", "initContainerStatuses": [container("taskqueue-install", &state)] });
    let fallen = |state| {
        let mut fallen = json!({ "ready": false, "restartCount": 3, "lastState": terminated("1", 127, "Error", 1) });
        super::merge(&mut fallen, &state);
        worker(&fallen)
    };
    let oom = json!({ "restartCount": 2, "lastState": terminated("1", 137, "OOMKilled", 1),
        "ready": false, "state": { "waiting": { "reason": "CrashLoopBackOff",
            "message": "back-off 20s restarting failed container=worker pod=thumbnails-5d9-a_shop(0001)" } } });
    let table = [
        (
            scheduled("Unschedulable", full),
            Some(("Unschedulable", full)),
        ),
        (
            scheduled("SchedulingGated", gated),
            Some(("SchedulingGated", gated)),
        ),
        (scheduled("SchedulerError", "binding rejected"), None),
        (worker(&waiting("ContainerCreating", "")), None),
        (worker(&waiting("PodInitializing", "")), None),
        (
            worker(&waiting("ErrImagePull", pull)),
            Some(("ImagePullBackOff", pull)),
        ),
        (
            worker(&waiting("ImagePullBackOff", "Back-off pulling image")),
            Some((
                "ImagePullBackOff",
                "container worker: Back-off pulling image",
            )),
        ),
        (
            installer(waiting("ErrImagePull", pull)),
            Some((
                "ImagePullBackOff",
                "container taskqueue-install: failed to pull",
            )),
        ),
        (
            worker(&waiting("InvalidImageName", "couldn't parse image name")),
            Some(("InvalidImageName", "couldn't parse image name")),
        ),
        (
            worker(&waiting(
                "CreateContainerConfigError",
                "secret \"redis\" not found",
            )),
            Some((
                "CreateContainerConfigError",
                "container worker: secret \"redis\" not found",
            )),
        ),
        (
            worker(&waiting("CreateContainerError", "no command specified")),
            Some(("CreateContainerError", "no command specified")),
        ),
        (
            fallen(waiting(
                "CrashLoopBackOff",
                "back-off 40s restarting failed container=worker",
            )),
            Some((
                "CrashLoopBackOff",
                "container worker ends again and again, last with exit code 127 (Error)",
            )),
        ),
        // Between two falls it runs.
        (
            fallen(json!({ "state": { "running": { "startedAt": "2026-01-02T03:05:07Z" } } })),
            Some(("CrashLoopBackOff", "exit code 127 (Error)")),
        ),
        (
            worker(&oom),
            Some(("CrashLoopBackOff", "exit code 137 (OOMKilled)")),
        ),
        // Fallen once, and started again at once.
        (
            worker(
                &json!({ "ready": false, "restartCount": 1, "lastState": terminated("1", 1, "Error", 1) }),
            ),
            None,
        ),
        (
            json!({ "initContainerStatuses": [container("taskqueue-install", &json!({ "state": terminated("0", 0, "Completed", 1) }))] }),
            None,
        ),
    ];
    for (status, expected) in table {
        let obstacle = pod(&json!({}), &status).state().obstacle;
        let found = obstacle.map(|obstacle| (obstacle.reason, obstacle.message));
        match (&found, expected) {
            (None, None) => {}
            (Some((reason, message)), Some((expected_reason, part))) => {
                assert_eq!(*reason, expected_reason, "{status}");
                assert!(message.contains(part), "{message}");
            }
            _ => panic!("{found:?} of {status}"),
        }
    }
}

#[test]
fn a_long_message_is_cut() {
    let status = worker(&waiting("ErrImagePull", &"é".repeat(600)));
    let obstacle = pod(&json!({}), &status).state().obstacle.unwrap();
    assert!(obstacle.message.ends_with('…') && obstacle.message.len() < 520);
}

#[test]
fn what_the_worker_said_at_its_end_is_part_of_the_message() {
    let mut end = terminated("1", 2, "Error", 1);
    end["terminated"]["message"] = json!("no such file: /app\n");
    let state = json!({ "restartCount": 2, "ready": false, "lastState": end,
        "state": { "waiting": { "reason": "CrashLoopBackOff" } } });
    let obstacle = pod(&json!({}), &worker(&state)).state().obstacle.unwrap();
    assert!(
        obstacle
            .message
            .ends_with("exit code 2 (Error): no such file: /app"),
        "{}",
        obstacle.message
    );
}

#[test]
fn a_worker_runs_since_its_own_container_does_and_not_one_that_was_put_in_front_of_it() {
    let annotations = json!({ "annotations": { WORKER_CONTAINER_ANNOTATION: "worker" } });
    let since = json!({ "state": { "running": { "startedAt": "2026-01-02T03:04:01Z" } } });
    let waits = waiting("PodInitializing", "");
    let mut status = worker(&waits);
    let proxy = container("mesh-proxy", &since);
    status["containerStatuses"]
        .as_array_mut()
        .unwrap()
        .push(proxy);
    let read = |status: &Value| {
        let mut pod = manifest(&annotations, status);
        let containers = pod["spec"]["containers"].as_array_mut().unwrap();
        containers.insert(0, json!({ "name": "mesh-proxy" }));
        serde_json::from_value::<WorkerPod>(pod).unwrap().state()
    };
    assert_eq!(
        read(&status).started,
        None,
        "the proxy runs, the worker not"
    );
    status["containerStatuses"][1] = container("worker", &super::running());
    assert_eq!(read(&status).started, Some(at("03:04:07")));
}

#[test]
fn what_keeps_the_worker_itself_is_told_before_what_keeps_another_container() {
    let annotations = json!({ "annotations": { WORKER_CONTAINER_ANNOTATION: "worker" } });
    let mut status = worker(&waiting("ErrImagePull", "no such image: app"));
    status["containerStatuses"][0] = container("agent", &waiting("ErrImagePull", "no such agent"));
    status["initContainerStatuses"] = json!([container(
        "proxy",
        &waiting("ErrImagePull", "no such proxy")
    )]);
    let obstacle = pod(&annotations, &status).state().obstacle.unwrap();
    assert_eq!(obstacle.message, "container worker: no such image: app");
    status["containerStatuses"][1] = container("worker", &waiting("PodInitializing", ""));
    let obstacle = pod(&annotations, &status).state().obstacle.unwrap();
    assert_eq!(obstacle.message, "container proxy: no such proxy");
}

#[test]
fn a_pod_that_ended_says_so() {
    for phase in ["Failed", "Succeeded"] {
        let status = json!({ "phase": phase, "conditions": [condition("Ready", "False")] });
        let state = pod(&json!({}), &status).state();
        assert!(state.stage == Stage::Ended && !state.ready, "{phase}");
    }
}
