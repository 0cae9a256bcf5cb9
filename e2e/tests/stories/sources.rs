//! Bring your own worker: real libraries add tasks from this machine and run them in real pods, which
//! go from zero to N and back to zero with no task lost.

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use taskqueue_api::TaskQueueStatus;
use taskqueue_e2e::{Patience, Story, eventually, redis_cli, try_redis_cli};
use taskqueue_sources::testing::Peer;

const TASKS: u64 = 24;

/// A Deployment of workers that nobody scales yet, and the TaskQueue that does.
fn manifest(redis: &str, source: &str, command: &str, packages: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: workers}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: workers}}}}
  template:
    metadata: {{labels: {{app: workers}}}}
    spec:
      terminationGracePeriodSeconds: 20
      containers:
        - name: worker
          image: localhost/taskqueue/peers:dev
          imagePullPolicy: IfNotPresent
          command: {command}
          env:
            - {{name: REDIS_URL, value: '{redis}'}}
            - {{name: PYTHONPATH, value: '{packages}'}}
---
apiVersion: taskqueue.dev/v1alpha1
kind: TaskQueue
metadata: {{name: jobs}}
spec:
  redis: {{url: '{redis}'}}
  source: {source}
  targetRef: {{kind: Deployment, name: workers, concurrency: 2}}
  scaling:
    maxReplicas: 2
    target: {{backlogPerReplica: 8}}
    idle: 2s
    scaleDown: {{stabilization: 0s}}
"
    )
}

fn holds(status: &TaskQueueStatus, kind: &str, truth: &str) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|condition| condition.type_ == kind && condition.status == truth)
}

async fn replicas(story: &Story) -> (i32, i32) {
    let api: Api<Deployment> = Api::namespaced(story.client.clone(), &story.namespace);
    let workers = api.get("workers").await.expect("the Deployment is there");
    let running = workers.status.and_then(|status| status.replicas);
    (workers.spec.replicas.unwrap_or(1), running.unwrap_or(0))
}

fn done(story: &Story) -> Result<u64, String> {
    let done = try_redis_cli(&story.redis, &["SCARD", "done"])?;
    done.trim().parse().map_err(|_| done)
}

/// The whole way of a system's tasks.
async fn goes_from_zero_to_n_and_back(name: &str, source: &str, program: &str) {
    let story = Story::begin_with_own_redis(&format!("own-{name}")).await;
    let command = format!("[{program}, worker, '2']");
    let packages = format!("/peers/{name}/packages");
    story.apply(&manifest(
        &story.own_redis_url(),
        source,
        &command,
        &packages,
    ));
    let patience = Patience::LONG;
    story
        .status_until("jobs", "nothing known of the queue", patience, |status| {
            holds(status, "SourceKeyMissing", "True")
        })
        .await;
    assert_eq!(replicas(&story).await, (0, 0));

    let folder = std::env::temp_dir();
    let mut producer = Peer::start(name, &story.redis, &folder).await;
    redis_cli(&story.redis, &["SET", "gate", "open"]);
    producer.tell(&format!("add {TASKS} 300")).await;
    story
        .status_until("jobs", "as many as needed", patience, |status| {
            status.desired_replicas == Some(2) && holds(status, "SourceKeyMissing", "False")
        })
        .await;
    eventually("all tasks done", patience, async || match done(&story)? {
        TASKS => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    let idle = story
        .status_until("jobs", "no workers again", patience, |status| {
            status.replicas == Some(0) && status.desired_replicas == Some(0)
        })
        .await;
    assert_eq!(replicas(&story).await, (0, 0));
    assert_eq!(
        idle.last_decision
            .map(|decision| decision.reason)
            .as_deref(),
        Some("Empty")
    );
    let counts = producer.counts().await;
    assert_eq!((counts.waiting, counts.active), (0, 0));
    assert_eq!(done(&story), Ok(TASKS));
}

#[tokio::test]
async fn bullmq_6_workers_go_from_zero_to_n_and_back() {
    let program = "node, /peers/bullmq/main.mjs";
    goes_from_zero_to_n_and_back("bullmq", "{bullmq: {queue: jobs}}", program).await;
}

#[tokio::test]
async fn bullmq_5_workers_go_from_zero_to_n_and_back() {
    let program = "node, /peers/bullmq5/main.mjs";
    goes_from_zero_to_n_and_back("bullmq5", "{bullmq: {queue: jobs}}", program).await;
}

#[tokio::test]
async fn celery_workers_go_from_zero_to_n_and_back() {
    let program = "python3, /peers/celery/main.py";
    goes_from_zero_to_n_and_back("celery", "{celery: {queue: jobs, acksLate: true}}", program)
        .await;
}

#[tokio::test]
async fn rq_workers_go_from_zero_to_n_and_back() {
    let program = "python3, /peers/rq/main.py";
    goes_from_zero_to_n_and_back("rq", "{rq: {queue: jobs}}", program).await;
}

#[tokio::test]
async fn asynq_workers_go_from_zero_to_n_and_back() {
    goes_from_zero_to_n_and_back("asynq", "{asynq: {queue: jobs}}", "/peers/asynq/peer").await;
}

#[tokio::test]
async fn a_target_that_does_not_exist_is_named_and_scaled_once_it_does() {
    let story = Story::begin_with_own_redis("own-target").await;
    let url = story.own_redis_url();
    let both = manifest(
        &url,
        "{list: {key: jobs}}",
        "[node, -e, 'setInterval(() => {}, 1000)']",
        "",
    );
    let (workers, taskqueue) = both.split_once("---\n").expect("two documents");
    redis_cli(&story.redis, &["RPUSH", "jobs", "a", "b"]);
    story.apply(taskqueue);
    let status = story
        .status_until(
            "jobs",
            "the target is missing",
            Patience::NORMAL,
            |status| {
                holds(status, "Ready", "False")
                    && holds(status, "AbleToScale", "False")
                    && status
                        .conditions
                        .iter()
                        .any(|one| one.reason == "TargetMissing")
            },
        )
        .await;
    let ready = status.conditions.iter().find(|one| one.type_ == "Ready");
    let message = &ready.expect("there is a condition Ready").message;
    assert!(message.contains("Deployment workers"), "{message}");
    story.apply(workers);
    eventually("it is scaled", Patience::NORMAL, async || {
        match replicas(&story).await {
            (1, _) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    redis_cli(&story.redis, &["DEL", "jobs"]);
    redis_cli(&story.redis, &["ZADD", "jobs", "1", "a"]);
    let status = story
        .status_until("jobs", "the type found", Patience::NORMAL, |status| {
            status
                .conditions
                .iter()
                .any(|one| one.reason == "SourceWrongType")
        })
        .await;
    let ready = status.conditions.iter().find(|one| one.type_ == "Ready");
    let message = &ready.expect("there is a condition Ready").message;
    assert_eq!(message, "key jobs should be a list, and is a sorted set");
    assert_eq!(replicas(&story).await.0, 1, "nothing is scaled");
}
