use serde_json::Value;
use taskqueue_e2e::{Patience, Story};

use crate::workload::Workload;

#[tokio::test]
async fn a_queue_scales_from_zero_to_n_and_back_to_zero() {
    let story = Story::begin("scale").await;
    story.apply(&Workload::default().native());
    story
        .status_until("work", "ready at zero", Patience::NORMAL, |status| {
            status.desired_replicas == Some(0)
                && status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == "Ready" && c.status == "True")
        })
        .await;
    assert_eq!(story.replicas("work").await, Some(0));

    story.enqueue("work", 15, "sleep", r#"{"ms": 2000}"#).await;
    let up = story
        .status_until("work", "three workers", Patience::NORMAL, |status| {
            status.ready_replicas == Some(3)
        })
        .await;
    let events = story.kubectl(&["get", "events", "-o", "jsonpath={.items[*].message}"]);
    assert!(
        events.contains("0 → 3: ceil((15 waiting + 0 active) / 5) = 3"),
        "the first step goes straight to what is needed: {events}"
    );
    assert_eq!(up.desired_replicas, Some(3));

    story.drained("work", 15, Patience::NORMAL).await;
    let down = story
        .status_until("work", "no workers again", Patience::NORMAL, |status| {
            status.replicas == Some(0) && status.desired_replicas == Some(0)
        })
        .await;
    let decision = down.last_decision.unwrap();
    assert_eq!(decision.reason, "Empty");
    assert_eq!(decision.equation, "ceil((0 waiting + 0 active) / 5) = 0");
    let snapshot = story.snapshot("work").await.unwrap();
    assert_eq!((snapshot.counters.failed, snapshot.counters.lost), (0, 0));
}

#[tokio::test]
async fn a_task_due_later_wakes_a_worker_although_none_runs() {
    let story = Story::begin("delay").await;
    story.apply(&Workload::default().native());
    let id = story.tq(
        &["enqueue", "work", "echo", "--payload", "7", "--delay", "4s"],
        "",
    );
    let id = id.trim().parse().unwrap();
    story
        .status_until("work", "one scheduled task", Patience::NORMAL, |status| {
            status
                .depth
                .as_ref()
                .is_some_and(|depth| depth.scheduled == 1)
        })
        .await;
    story.drained("work", 1, Patience::NORMAL).await;
    let task = story.task("work", &id).await;
    let waited = task.started.unwrap().duration_since(task.created);
    assert!(waited.as_secs() >= 4, "it ran {waited:?} after it was made");
    assert!(waited.as_secs() < 8, "it ran {waited:?} after it was made");
}

#[tokio::test]
async fn kubectl_scale_sets_the_replicas_while_scaling_is_paused() {
    let story = Story::begin("byhand").await;
    story.apply(&Workload::default().native());
    // Also while nobody has set a number, the subresource answers.
    let path = format!(
        "/apis/taskqueue.dev/v1alpha1/namespaces/{}/taskqueues/work/scale",
        story.namespace
    );
    let scale: Value = serde_json::from_str(&story.kubectl(&["get", "--raw", &path])).unwrap();
    assert_eq!(scale["spec"]["replicas"], 1001, "nobody has set one");
    let paused = r#"{"spec":{"scaling":{"mode":"Paused","replicas":0}}}"#;
    story.kubectl(&["patch", "tq", "work", "--type=merge", "-p", paused]);
    let condition = "--current-replicas=0";
    story.kubectl(&["scale", "tq", "work", condition, "--replicas=2"]);
    let status = story
        .status_until("work", "two workers by hand", Patience::NORMAL, |status| {
            status.ready_replicas == Some(2)
        })
        .await;
    assert_eq!(status.last_decision.unwrap().reason, "ScalingPaused");
}
