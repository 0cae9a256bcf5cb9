//! The number of workers falls, and nobody is interrupted; it is held where somebody says so, told
//! as an equation, and nothing that Argo CD or Flux would undo.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::Value;
use taskqueue_e2e::{Patience, Story, eventually, kubectl};
use taskqueue_queue::TaskId;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::workload::Workload;

/// Follows the replicas of the Deployment `work` and counts how often they rise and fall.
struct Counted {
    ups: Arc<AtomicUsize>,
    downs: Arc<AtomicUsize>,
    following: JoinHandle<()>,
}

impl Counted {
    fn of(story: &Story) -> Self {
        let api: Api<Deployment> = Api::namespaced(story.client.clone(), &story.namespace);
        let (ups, downs) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (rises, falls) = (Arc::clone(&ups), Arc::clone(&downs));
        let following = tokio::spawn(async move {
            let mut last = None;
            loop {
                let seen = api.get_opt("work").await.ok().flatten();
                let replicas = seen.and_then(|it| it.spec.replicas);
                match (last, replicas) {
                    (Some(before), Some(now)) if now > before => {
                        rises.fetch_add(1, Ordering::SeqCst)
                    }
                    (Some(before), Some(now)) if now < before => {
                        falls.fetch_add(1, Ordering::SeqCst)
                    }
                    _ => 0,
                };
                last = replicas.or(last);
                sleep(Duration::from_millis(100)).await;
            }
        });
        Self {
            ups,
            downs,
            following,
        }
    }

    fn so_far(&self) -> (usize, usize) {
        (
            self.ups.load(Ordering::SeqCst),
            self.downs.load(Ordering::SeqCst),
        )
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// Up and down at once, one pod for two tasks.
fn brisk() -> String {
    let workload = Workload {
        concurrency: 2,
        backlog_per_replica: 2,
        max: 6,
        idle: "1s",
        ..Workload::default()
    };
    workload
        .native()
        .replace("stabilization: 5s", "stabilization: 0s")
}

#[tokio::test]
async fn fifty_changes_of_the_replicas_under_load_interrupt_no_task() {
    const CHANGES: usize = 50;
    let story = Story::begin("scalein").await;
    story.apply(&brisk());
    let counted = Counted::of(&story);
    let mut ids: Vec<TaskId> = Vec::new();
    let begun = Instant::now();
    while counted.so_far().0 + counted.so_far().1 < CHANGES {
        assert!(
            begun.elapsed() < Duration::from_mins(15),
            "{:?}",
            counted.so_far()
        );
        // A few long ones, so that whoever is let go has busy neighbours, and many short ones.
        ids.extend(story.enqueue("work", 3, "sleep", r#"{"ms": 5000}"#).await);
        ids.extend(story.enqueue("work", 10, "sleep", r#"{"ms": 300}"#).await);
        eventually("the wave is over", Patience::NORMAL, async || {
            let snapshot = story.snapshot("work").await?;
            let replicas = story.replicas("work").await.unwrap_or(0);
            if snapshot.backlog() == 0 && replicas <= 2 {
                Ok(())
            } else {
                Err(format!("{replicas} replicas, {snapshot:?}"))
            }
        })
        .await;
    }
    let count = u64::try_from(ids.len()).unwrap();
    let snapshot = story.drained("work", count, Patience::LONG).await;
    let (ups, downs) = counted.so_far();
    let took = begun.elapsed();
    eprintln!("{ups} times up and {downs} times down with {count} tasks in {took:?}");
    let counters = snapshot.counters;
    assert_eq!(
        (counters.lost, counters.released, counters.failed),
        (0, 0, 0),
        "{counters:?}"
    );
    for id in &ids {
        let task = story.task("work", id).await;
        // Attempts that failed.
        assert_eq!((task.attempts, task.losses), (0, 0), "{task:?}");
        assert!(task.errors.is_empty(), "{task:?}");
    }
}

#[tokio::test]
async fn what_is_recommended_is_told_and_not_done() {
    let story = Story::begin("recommend").await;
    let manifest = Workload::default().native();
    story.apply(&manifest.replace("minReplicas", "mode: Recommend\n    minReplicas"));
    story
        .status_until("work", "ready at zero", Patience::NORMAL, |status| {
            status.desired_replicas == Some(0)
        })
        .await;
    story.enqueue("work", 15, "sleep", r#"{"ms": 100}"#).await;
    story
        .status_until("work", "three recommended", Patience::NORMAL, |status| {
            status.desired_replicas == Some(3)
        })
        .await;
    assert_eq!(story.replicas("work").await, Some(0));
    let told = story.tq(&["explain", "work"], "");
    assert!(told.contains("3 recommended (mode Recommend)"), "{told}");
    assert!(told.contains("0 → 3"), "{told}");
    let json: Value =
        serde_json::from_str(&story.tq(&["explain", "work", "-o", "json"], "")).unwrap();
    assert_eq!(json["decision"]["replicas"], 3, "{json}");
    // Whoever takes the advice sets the number.
    story.kubectl(&[
        "patch",
        "tq",
        "work",
        "--type=merge",
        "-p",
        r#"{"spec":{"scaling":{"mode":"Auto"}}}"#,
    ]);
    story.drained("work", 15, Patience::NORMAL).await;
}

#[tokio::test]
async fn annotations_pause_scaling_in_and_scaling_out_alone() {
    let story = Story::begin("pause").await;
    story.apply(&brisk().replace(
        "{name: work}",
        "{name: work, annotations: {taskqueue.dev/pause-scale-out: \"true\"}}",
    ));
    story
        .status_until("work", "ready at zero", Patience::NORMAL, |status| {
            status.desired_replicas == Some(0)
        })
        .await;
    let annotate = |annotation: &str| story.kubectl(&["annotate", "tq", "work", annotation]);
    let held = async |replicas| {
        story
            .status_until(
                "work",
                "held by the annotation",
                Patience::NORMAL,
                |status| {
                    let decision = status.last_decision.as_ref();
                    decision.is_some_and(|it| {
                        it.reason == "HeldByAnnotation" && it.replicas == replicas
                    })
                },
            )
            .await
    };
    story.enqueue("work", 4, "sleep", r#"{"ms": 500}"#).await;
    held(0).await;
    assert_eq!(story.replicas("work").await, Some(0));
    annotate("taskqueue.dev/pause-scale-out-");
    story.kubectl(&[
        "annotate",
        "tq",
        "work",
        "taskqueue.dev/pause-scale-in=true",
    ]);
    story.drained("work", 4, Patience::NORMAL).await;
    held(2).await;
    assert_eq!(story.replicas("work").await, Some(2));
    annotate("taskqueue.dev/pause-scale-in-");
    let down = story
        .status_until("work", "no workers", Patience::NORMAL, |status| {
            status.replicas == Some(0) && status.desired_replicas == Some(0)
        })
        .await;
    assert!(!down.decisions.is_empty() && down.decisions.len() <= 20);
    assert_eq!(
        (down.decisions[0].to, down.decisions.last().unwrap().from),
        (0, 0)
    );
}

#[tokio::test]
async fn kubectl_scale_in_mode_paused_waits_for_the_busy() {
    let story = Story::begin("byhandin").await;
    let manifest = brisk().replace(
        "minReplicas",
        "mode: Paused\n    replicas: 2\n    minReplicas",
    );
    story.apply(&manifest);
    story
        .status_until("work", "two workers", Patience::NORMAL, |status| {
            status.ready_replicas == Some(2)
        })
        .await;
    // Both are busy, and stay so for a while.
    story.enqueue("work", 4, "sleep", r#"{"ms": 6000}"#).await;
    story
        .status_until("work", "both busy", Patience::NORMAL, |status| {
            status.depth.as_ref().is_some_and(|depth| depth.active == 4)
        })
        .await;
    story.kubectl(&["scale", "tq", "work", "--replicas=1"]);
    let waits = story
        .status_until("work", "the wait", Patience::NORMAL, |status| {
            let decision = status.last_decision.as_ref();
            decision.is_some_and(|decision| decision.waits_for.is_some())
        })
        .await;
    let told = waits.last_decision.unwrap().waits_for.unwrap();
    assert!(told.contains("to finish 2 tasks"), "{told}");
    assert_eq!(story.replicas("work").await, Some(2));
    eventually("one worker", Patience::NORMAL, async || {
        let replicas = story.replicas("work").await;
        if replicas == Some(1) {
            Ok(())
        } else {
            Err(replicas)
        }
    })
    .await;
    let counters = story.drained("work", 4, Patience::NORMAL).await.counters;
    assert_eq!((counters.lost, counters.released), (0, 0), "{counters:?}");
}

#[tokio::test]
async fn a_gitops_tool_sees_no_drift_after_scaling() {
    let story = Story::begin("gitops").await;
    let manifest = brisk();
    let argocd = [
        "--server-side",
        "--field-manager=argocd",
        "-n",
        &story.namespace,
        "-f",
        "-",
    ];
    let all = |verb| [&[verb][..], &argocd[..]].concat();
    kubectl(&all("apply"), &manifest);
    story.enqueue("work", 6, "sleep", r#"{"ms": 2000}"#).await;
    story
        .status_until("work", "three workers", Patience::NORMAL, |status| {
            status.ready_replicas == Some(3)
        })
        .await;
    // It fails, and prints what differs, where anything does.
    assert_eq!(kubectl(&all("diff"), &manifest), "");
    story.drained("work", 6, Patience::NORMAL).await;
    story
        .status_until("work", "no workers", Patience::NORMAL, |status| {
            status.replicas == Some(0)
        })
        .await;
    assert_eq!(kubectl(&all("diff"), &manifest), "");
}

#[tokio::test]
async fn a_redis_that_is_away_for_a_minute_under_load_changes_no_replicas() {
    const AWAY: Duration = Duration::from_mins(1);
    let story = Story::begin_with_own_redis("away").await;
    let workload = Workload {
        redis: Some(story.own_redis_url()),
        concurrency: 1,
        ..Workload::default()
    };
    story.apply(&workload.native());
    story.enqueue("work", 300, "sleep", r#"{"ms": 500}"#).await;
    story
        .status_until("work", "three busy workers", Patience::NORMAL, |status| {
            let active = status.depth.as_ref().is_some_and(|depth| depth.active == 3);
            status.ready_replicas == Some(3) && active
        })
        .await;
    let counted = Counted::of(&story);
    story.kubectl(&["scale", "deployment", "redis", "--replicas=0"]);
    sleep(AWAY).await;
    assert_eq!(story.replicas("work").await, Some(3));
    story.kubectl(&["scale", "deployment", "redis", "--replicas=1"]);
    let (back, before) = eventually("Redis answers", Patience::NORMAL, async || {
        let snapshot = story.snapshot("work").await?;
        Ok::<_, String>((Instant::now(), snapshot.counters.completed))
    })
    .await;
    // More than the three whose ends were waiting to be told.
    eventually("tasks are consumed again", Patience::NORMAL, async || {
        let completed = story.snapshot("work").await?.counters.completed;
        if completed > before + 3 {
            Ok(())
        } else {
            Err(completed.to_string())
        }
    })
    .await;
    eprintln!(
        "tasks are consumed {:?} after Redis is back",
        back.elapsed()
    );
    // All that time the tasks need three.
    while story
        .snapshot("work")
        .await
        .is_ok_and(|seen| seen.backlog() > 20)
    {
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(counted.so_far(), (0, 0), "the replicas changed");
    drop(counted);
    let snapshot = story.drained("work", 300, Patience::LONG).await;
    assert_eq!(snapshot.counters.failed, 0, "{snapshot:?}");
}
