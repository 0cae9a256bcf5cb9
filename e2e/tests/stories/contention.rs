//! Somebody else sets the replicas of the same Deployment: that is told by name, and not fought out
//! over pods that run tasks.

use serde_json::json;
use taskqueue_api::TaskQueueStatus;
use taskqueue_e2e::{Patience, Story, kubectl};

use crate::workload::Workload;

/// The message of `AbleToScale` while there is another writer.
fn another_writer(status: &TaskQueueStatus) -> Option<&str> {
    let mut conditions = status.conditions.iter();
    let told = conditions.find(|condition| condition.type_ == "AbleToScale")?;
    (told.status == "False" && told.reason == "AnotherWriter").then_some(&*told.message)
}

#[tokio::test]
async fn an_autoscaler_on_the_same_deployment_is_named_and_given_way() {
    let story = Story::begin("contention").await;
    let workload = Workload {
        concurrency: 1,
        backlog_per_replica: 1,
        max: 10,
        ..Workload::default()
    };
    story.apply(&workload.native());
    // Two tasks that last: two workers for us, and three for the other.
    story.enqueue("work", 2, "sleep", r#"{"ms": 90000}"#).await;
    story
        .status_until("work", "two workers", Patience::NORMAL, |status| {
            status.ready_replicas == Some(2)
        })
        .await;
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "web", "namespace": story.namespace },
        "spec": {
            "minReplicas": 3, "maxReplicas": 9,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "work" }
        }
    });
    kubectl(&["apply", "-f", "-"], &autoscaler.to_string());
    // It writes over ours every 15 s: the second time it is told.
    let told = story
        .status_until("work", "the other writer", Patience::LONG, |status| {
            let who = "HorizontalPodAutoscaler web (field manager kube-controller-manager)";
            another_writer(status).is_some_and(|told| told.starts_with(who))
        })
        .await;
    assert_eq!(told.desired_replicas, Some(2), "what is decided is told");
    let events = ["get", "events", "-o", "jsonpath={.items[*].reason}"];
    assert!(story.kubectl(&events).contains("AnotherWriter"));
    assert_eq!(story.replicas("work").await, Some(3), "it is given way");
    story.kubectl(&["delete", "hpa", "web"]);
    let over = story
        .status_until("work", "two workers again", Patience::LONG, |status| {
            another_writer(status).is_none() && status.replicas == Some(2)
        })
        .await;
    assert_eq!(over.desired_replicas, Some(2));
    let counters = story.drained("work", 2, Patience::LONG).await.counters;
    assert_eq!((counters.lost, counters.released), (0, 0), "{counters:?}");
}
