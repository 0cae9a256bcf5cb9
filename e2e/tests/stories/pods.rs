//! Pods and tasks joined: what happens to the tasks of a pod that ends, and to the number of pods
//! when they cannot start.

use std::time::Duration;

use serde_json::json;
use taskqueue_api::TaskQueueStatus;
use taskqueue_e2e::{Patience, Story, eventually, kubectl};
use taskqueue_queue::{Cause, State, Task, TaskId, WorkerState};
use tokio::time::{Instant, sleep};

use crate::workload::Workload;

/// What the operator takes back when it sees a pod end comes back long before a lease lapses.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_task_that_eats_the_memory_of_its_pod_is_told_so_and_its_rule_applies() {
    let story = Story::begin("oom").await;
    let hog = a_worker_out_of_memory_is_told(&story).await;
    let listed = story.tq(&["dead", "list", "work"], "");
    assert!(listed.contains(&hog.to_string()), "{listed}");

    let other = story.enqueue("work", 1, "resize", r#""cat""#).await[0];
    ended(&story, &other, State::Completed).await;
}

/// A task eats the memory of its pod; its rule for that sends it to the dead letters at once.
pub(crate) async fn a_worker_out_of_memory_is_told(story: &Story) -> TaskId {
    let workload = Workload {
        max: 1,
        concurrency: 2,
        spec: "retry: {rules: [{cause: OOMKilled, action: DeadLetter}]}",
        container: &[
            "resources: {limits: {memory: 40Mi}}",
            "securityContext: {runAsUser: 0}",
        ],
        ..Workload::default()
    };
    // Memory of the container and of none of its processes, so that it is the worker, the largest of
    // them, that is killed, where the kernel does not kill all of them anyway.
    let script = "read payload; case $payload in *hog*) head -c 60000000 /dev/zero > /dev/hog; sleep 60;; esac; echo 1";
    story.apply(&workload.shell(script));
    let hog = story.enqueue("work", 1, "resize", r#""hog""#).await[0];
    let dead = ended(story, &hog, State::Dead).await;
    let causes: Vec<_> = dead.errors.iter().map(|failure| failure.cause).collect();
    assert_eq!(causes, [Cause::OomKilled], "{dead:?}");
    // What Kubernetes says of the pod stands with the task.
    let message = &dead.errors[0].message;
    let told =
        message.starts_with("lost its worker 1 time: pod ") && message.contains("(OOMKilled)");
    assert!(told, "{message}");
    hog
}

#[tokio::test]
async fn a_task_whose_pod_is_evicted_runs_again_at_once_and_is_told_so() {
    let story = Story::begin("evict").await;
    story.apply(&two_workers().shell("sleep 300; echo 1"));
    ready(&story, 2).await;
    let id = story.enqueue("work", 1, "slow", "1").await[0];
    let (first, pod) = holder(&story, &id, None).await;
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod },
        "deleteOptions": { "gracePeriodSeconds": 0 }
    });
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", story.namespace);
    let evicted = Instant::now();
    kubectl(
        &["create", "--raw", &path, "-f", "-"],
        &eviction.to_string(),
    );
    holder(&story, &id, Some(&first)).await;
    let took = evicted.elapsed();
    eprintln!("the task of an evicted pod ran again after {took:?}");
    assert!(took < LEASE, "it waited for the lease to lapse: {took:?}");
    let task = story.task("work", &id).await;
    let causes: Vec<_> = task.errors.iter().map(|failure| failure.cause).collect();
    assert_eq!(causes, [Cause::Evicted], "{task:?}");
    let message = &task.errors[0].message;
    let told = message.starts_with(&format!("lost its worker: pod {pod}: "));
    assert!(told, "{message}");
    let lost = &task.history[0];
    let place = (lost.pod.as_deref(), lost.node.is_some());
    assert_eq!(place, (Some(pod.as_str()), true), "{task:?}");
    assert_eq!((task.attempts, task.losses), (0, 1));
}

#[tokio::test]
async fn tasks_of_killed_workers_run_again_before_their_leases_lapse() {
    const ROUNDS: usize = 20;
    let story = Story::begin("sigkill").await;
    story.apply(&two_workers().shell("sleep 300; echo 1"));
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        ready(&story, 2).await;
        let id = story.enqueue("work", 1, "slow", "1").await[0];
        let (first, pod) = holder(&story, &id, None).await;
        // Before the call, which takes its time as well.
        let killed = Instant::now();
        kill(&story, &pod);
        holder(&story, &id, Some(&first)).await;
        let took = killed.elapsed();
        assert!(took < LEASE, "it waited for the lease to lapse: {took:?}");
        times.push(took);
        story.tq(&["cancel", "work", &id.to_string()], "");
        ended(&story, &id, State::Cancelled).await;
        // Another pod in its place: one that falls again and again is started ever later.
        story.kubectl(&["delete", "pod", &pod, "--grace-period=1", "--wait=true"]);
    }
    times.sort();
    eprintln!(
        "tasks of {ROUNDS} killed workers ran again after: p50 {:?}, p95 {:?}, longest {:?}",
        times[ROUNDS / 2],
        times[ROUNDS * 95 / 100 - 1],
        times[ROUNDS - 1]
    );
}

#[tokio::test]
async fn an_image_that_does_not_exist_stops_the_growth_and_says_so_until_it_is_mended() {
    let story = Story::begin("image").await;
    let workload = Workload {
        max: 3,
        ..Workload::default()
    };
    let manifest = workload.shell("cat");
    let broken = manifest.replace("taskqueue/busybox:dev", "taskqueue/no-such-image:1");
    assert_ne!(manifest, broken);
    story.apply(&broken);
    story.enqueue("work", 1, "echo", "1").await;
    let stuck = story
        .status_until(
            "work",
            "the pod's own message",
            Patience::NORMAL,
            |status| failing(status).is_some(),
        )
        .await;
    let message = failing(&stuck).unwrap();
    assert!(message.contains("no-such-image:1"), "{message}");
    assert_eq!(story.replicas("work").await, Some(1));

    // Enough for three, which would fare no better.
    story.enqueue("work", 49, "echo", "1").await;
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(10) {
        assert_eq!(story.replicas("work").await, Some(1), "no further ones");
        sleep(Duration::from_millis(500)).await;
    }
    let told = story.kubectl(&[
        "get",
        "events.events.k8s.io",
        "--field-selector=reason=WorkersFailing",
        "-o",
        "jsonpath={range .items[*]}{.note}{'\\n'}{end}",
    ]);
    assert!(told.contains("no-such-image:1"), "{told}");
    assert_eq!(told.lines().count(), 1, "told once: {told}");

    story.apply(&manifest);
    story.drained("work", 50, Patience::LONG).await;
    story
        .status_until("work", "all is well again", Patience::NORMAL, |status| {
            failing(status).is_none()
        })
        .await;
}

#[tokio::test]
async fn a_pod_with_a_long_task_is_shielded_until_the_task_is_done() {
    let story = Story::begin("shield").await;
    let workload = Workload {
        max: 1,
        worker: "shield: {after: 5s}",
        ..Workload::default()
    };
    story.apply(&workload.shell("read seconds; sleep $seconds; echo 1"));
    story.enqueue("work", 1, "slow", "40").await;
    let shielded = async |wanted: bool| {
        let what = format!("shielded: {wanted}");
        eventually(&what, Patience::NORMAL, async || {
            let pods = story.pods("work").await;
            let annotations = pods
                .first()
                .and_then(|pod| pod.metadata.annotations.clone());
            let annotations = annotations.unwrap_or_default();
            let value = |name: &str| annotations.get(name).map(String::as_str);
            let marks = (
                value("karpenter.sh/do-not-disrupt"),
                value("cluster-autoscaler.kubernetes.io/safe-to-evict"),
            );
            let expected = if wanted {
                (Some("true"), Some("false"))
            } else {
                (None, None)
            };
            if !pods.is_empty() && marks == expected {
                Ok(())
            } else {
                Err(annotations)
            }
        })
        .await;
    };
    shielded(true).await;
    // So that there is a pod to look at after the task.
    story.kubectl(&[
        "patch",
        "taskqueue",
        "work",
        "--type=merge",
        "--patch",
        r#"{"spec": {"scaling": {"minReplicas": 1}}}"#,
    ]);
    story.drained("work", 1, Patience::NORMAL).await;
    shielded(false).await;
}

#[tokio::test]
async fn a_disruption_budget_follows_the_manifest() {
    let story = Story::begin("budget").await;
    let budget = |field: &'static str| Workload {
        worker: field,
        ..Workload::default()
    };
    let budgets = || {
        story.try_kubectl(&[
            "get",
            "poddisruptionbudgets",
            "-o",
            "jsonpath={.items[*].spec}",
        ])
    };
    let until = async |what: &str, holds: &dyn Fn(&str) -> bool| {
        eventually(what, Patience::NORMAL, async || {
            let found = budgets()?;
            if holds(&found) { Ok(()) } else { Err(found) }
        })
        .await;
    };
    story.apply(&budget("disruptionBudget: {maxUnavailable: 1}").native());
    until("a budget", &|found| found.contains(r#""maxUnavailable":1"#)).await;
    story.apply(&budget("disruptionBudget: {minAvailable: 50%}").native());
    until("another one", &|found| {
        found.contains(r#""minAvailable":"50%""#)
    })
    .await;
    story.kubectl(&["delete", "poddisruptionbudget", "work"]);
    until("made again", &|found| found.contains("50%")).await;
    story.apply(&Workload::default().native());
    until("none", &|found| found.is_empty()).await;
}

/// Two workers that take one task at a time and stay.
fn two_workers() -> Workload {
    Workload {
        min: 2,
        max: 2,
        concurrency: 1,
        ..Workload::default()
    }
}

/// Awaits so many pods with a worker at work in each.
pub(crate) async fn ready(story: &Story, count: usize) {
    eventually("workers in all pods", Patience::NORMAL, async || {
        let pods = story.pods("work").await;
        let names: Vec<_> = pods
            .iter()
            .filter_map(|pod| pod.metadata.name.clone())
            .collect();
        let workers = story.queue("work").workers().await;
        let workers = workers.map_err(|error| error.to_string())?;
        let at_work = |name: &&String| workers.iter().any(|worker| worker.pod == **name);
        if names.len() == count && names.iter().filter(at_work).count() == count {
            Ok(())
        } else {
            Err(format!("pods {names:?}, workers {workers:?}"))
        }
    })
    .await;
}

/// Awaits that a worker in another pod than `former` holds the task; the worker's pod.
pub(crate) async fn holder(story: &Story, id: &TaskId, former: Option<&str>) -> (String, String) {
    let queue = story.queue("work");
    let deadline = Instant::now() + Patience::NORMAL.0;
    loop {
        let leases = queue.leases().await.unwrap_or_default();
        let lease = leases.iter().find(|(task, _)| task == id);
        if let Some((_, worker)) = lease
            && former != Some(worker.as_str())
        {
            let workers = queue.workers().await.unwrap();
            // What takes over the tasks of a lost worker, for a moment, is in no pod.
            let runs = |state: &&WorkerState| state.id == *worker && !state.pod.is_empty();
            if let Some(state) = workers.iter().find(runs) {
                return (worker.to_string(), state.pod.clone());
            }
        }
        assert!(Instant::now() < deadline, "{id} is held by {lease:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Awaits the end of a task.
pub(crate) async fn ended(story: &Story, id: &TaskId, state: State) -> Task {
    eventually("the task's end", Patience::NORMAL, async || {
        let task = story.task("work", id).await;
        if task.state == state {
            Ok(task)
        } else {
            Err(task)
        }
    })
    .await
}

fn kill(story: &Story, pod: &str) {
    let script = "kill -9 $(pidof taskqueue-worker)";
    story.kubectl(&["exec", pod, "--", "sh", "-c", script]);
}

pub(crate) fn failing(status: &TaskQueueStatus) -> Option<String> {
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.reason == "WorkersFailing")?;
    Some(ready.message.clone())
}
