use taskqueue_e2e::{Patience, Story, eventually, kubectl};

use crate::workload::Workload;

/// Applies a TaskQueue that keeps a worker, and awaits the worker.
async fn with_one_worker(story: &Story) {
    story.apply(
        &Workload {
            min: 1,
            ..Workload::default()
        }
        .native(),
    );
    story
        .status_until("work", "one worker", Patience::NORMAL, |status| {
            status.ready_replicas == Some(1)
        })
        .await;
}

#[tokio::test]
async fn deleting_a_taskqueue_removes_its_workers_and_keeps_its_tasks() {
    let story = Story::begin("delete").await;
    with_one_worker(&story).await;
    story.kubectl(&["delete", "tq", "work", "--timeout=20s"]);
    eventually("no Deployment and no pods", Patience::NORMAL, async || {
        let (replicas, pods) = (
            story.replicas("work").await,
            story.all_pods("work").await.len(),
        );
        if replicas.is_none() && pods == 0 {
            Ok(())
        } else {
            Err((replicas, pods))
        }
    })
    .await;
    story.enqueue("work", 2, "echo", "1").await;
    assert_eq!(story.snapshot("work").await.unwrap().backlog(), 2);
    story.apply(&Workload::default().native());
    story.drained("work", 2, Patience::NORMAL).await;
}

#[tokio::test]
async fn deleting_a_namespace_is_never_blocked() {
    let story = Story::begin("namespace").await;
    with_one_worker(&story).await;
    kubectl(
        &["delete", "namespace", &story.namespace, "--timeout=60s"],
        "",
    );
    // For the story's own end.
    kubectl(&["create", "namespace", &story.namespace], "");
}
