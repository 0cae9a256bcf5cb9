//! From zero to N: how long after 50 tasks enter a queue at zero replicas are 10 replicas asked
//! for, in one write, and how long until 10 pods are ready.
#![allow(clippy::print_stdout, clippy::panic, clippy::expect_used)]

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use taskqueue_e2e::{Patience, Story};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

const TRIALS: usize = 20;
const TASKS: usize = 50;
const REPLICAS: i32 = 10;
/// Longer than ten pods take to start on a busy machine, so that none is stopped before all are ready.
const TASK_PAYLOAD: &str = r#"{"ms": 6000}"#;
/// How long a trial may take.
const PATIENCE: Duration = Duration::from_mins(1);

const MANIFEST: &str = "
apiVersion: taskqueue.dev/v1alpha1
kind: TaskQueue
metadata: {name: wake}
spec:
  worker: {concurrency: 5, handler: {native: {}}}
  scaling: {maxReplicas: 20, target: {backlogPerReplica: 5}, idle: 1s}
";

/// What a trial measured.
struct Trial {
    first: (i32, Duration),
    asked: Duration,
    ready: Duration,
}

#[tokio::main]
async fn main() {
    let story = Story::begin("wake").await;
    story.apply(MANIFEST);
    story
        .status_until("wake", "ready at zero", Patience::NORMAL, |status| {
            status.desired_replicas == Some(0)
        })
        .await;
    let mut changes = watch(&story);
    let mut trials = Vec::new();
    for number in 1..=TRIALS {
        let trial = trial(&story, &mut changes, number).await;
        println!(
            "{number:>2}  first write: {} replicas after {:>6.1} ms   {REPLICAS} asked: {:>6.1} ms   {REPLICAS} ready: {:>7.1} ms",
            trial.first.0,
            millis(trial.first.1),
            millis(trial.asked),
            millis(trial.ready),
        );
        trials.push(trial);
    }
    let single = trials
        .iter()
        .filter(|trial| trial.first.0 == REPLICAS)
        .count();
    println!("in one write: {single} of {TRIALS}");
    report(
        "enqueue → replicas asked",
        trials.iter().map(|trial| trial.asked).collect(),
    );
    report(
        "enqueue → pods ready",
        trials.iter().map(|trial| trial.ready).collect(),
    );
}

/// Observed `(spec.replicas, readyReplicas)` of the Deployment with the time of observation.
type Change = (Instant, i32, i32);

fn watch(story: &Story) -> mpsc::UnboundedReceiver<Change> {
    let api: Api<Deployment> = Api::namespaced(story.client.clone(), &story.namespace);
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut stream = watcher(api, watcher::Config::default())
            .applied_objects()
            .boxed();
        while let Ok(Some(deployment)) = stream.try_next().await {
            let ready = deployment.status.and_then(|status| status.ready_replicas);
            let change = (
                Instant::now(),
                deployment.spec.replicas.unwrap_or(0),
                ready.unwrap_or(0),
            );
            if sender.send(change).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn trial(
    story: &Story,
    changes: &mut mpsc::UnboundedReceiver<Change>,
    number: usize,
) -> Trial {
    while changes.try_recv().is_ok() {}
    let start = Instant::now();
    story.enqueue("wake", TASKS, "sleep", TASK_PAYLOAD).await;
    let (mut first, mut asked) = (None, None);
    let ready = loop {
        let change = timeout_at(start + PATIENCE, changes.recv()).await;
        let change = change.unwrap_or_else(|_| panic!("{REPLICAS} pods were never ready"));
        let (at, replicas, ready) = change.expect("the watch goes on");
        if replicas > 0 && first.is_none() {
            first = Some((replicas, at - start));
        }
        if replicas == REPLICAS && asked.is_none() {
            asked = Some(at - start);
        }
        if ready == REPLICAS {
            break at - start;
        }
    };
    let done = u64::try_from(TASKS * number).unwrap_or(u64::MAX);
    story.drained("wake", done, Patience::NORMAL).await;
    story
        .status_until("wake", "no pods", Patience::NORMAL, |status| {
            status.replicas == Some(0)
        })
        .await;
    Trial {
        first: first.expect("a write was seen"),
        asked: asked.expect("the write of all replicas was seen"),
        ready,
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| {
        // The nearest rank; 20 samples are far below any limit of the types.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let rank = (share * times.len() as f64).ceil() as usize;
        times[rank.clamp(1, times.len()) - 1]
    };
    println!(
        "{what}: p50 {:.1} ms, p99 {:.1} ms, least {:.1} ms, most {:.1} ms",
        millis(at(0.5)),
        millis(at(0.99)),
        millis(times[0]),
        millis(times[times.len() - 1]),
    );
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
