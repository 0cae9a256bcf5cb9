//! Whether scaling in ever interrupts a task: many TaskQueues under load that rises and falls, on
//! the real API server with the real controllers and scheduler, their pods on a simulated node
//! whose "kubelet" is this program. Each pod runs a real worker; a pod that is deleted while its
//! worker holds a task is an interruption.
//!
//! `make bench-scale-in`; runs until so many times the replicas of a Deployment were lowered.
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::expect_used,
    reason = "it is a program that fails by panicking"
)]

mod load;
mod node;
mod report;
mod watch;

use std::{fmt::Write as _, path::PathBuf, sync::Arc, time::Duration};

use clap::Parser;
use taskqueue_e2e::{Patience, Story};
use tokio_util::sync::CancellationToken;

use load::{Load, Tally};
use node::Node;

/// Measures whether scaling in interrupts tasks.
#[derive(Debug, Parser)]
struct Arguments {
    /// Scale-in events to see at least: writes that lower the replicas of a Deployment.
    #[arg(long, default_value_t = 1_000)]
    events: u64,
    /// TaskQueues under load at once.
    #[arg(long, default_value_t = 20)]
    queues: usize,
    /// Longest time to go on, in seconds.
    #[arg(long, default_value_t = 1_800)]
    seconds: u64,
    /// Where the document is written.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let story = Arc::new(Story::begin("scale-in").await);
    let tally = Arc::new(Tally::default());
    let node = Node::join(&story, Arc::clone(&tally)).await;
    let names: Vec<String> = (0..arguments.queues)
        .map(|number| format!("tide-{number:02}"))
        .collect();
    story.apply(&manifests(&names, node.name()));
    for name in &names {
        let at_zero = |status: &taskqueue_api::TaskQueueStatus| status.desired_replicas == Some(0);
        let status = story.status_until(name, "at zero", Patience::LONG, at_zero);
        status.await;
    }
    let begun = std::time::Instant::now();
    let scaled = watch::scaled(&story);

    let stop = CancellationToken::new();
    let mut loads = tokio::task::JoinSet::new();
    for name in &names {
        let load = Load::new(Arc::clone(&story), name);
        loads.spawn(load.run(stop.clone()));
    }
    let patience = Duration::from_secs(arguments.seconds);
    let mut told = std::time::Instant::now();
    while scaled.lowered() < arguments.events && begun.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if told.elapsed() > Duration::from_secs(10) {
            told = std::time::Instant::now();
            let seconds = begun.elapsed().as_secs();
            eprintln!("{seconds:>5} s  {scaled}  {tally}");
        }
    }
    stop.cancel();
    let enqueued: Vec<(String, u64)> = loads.join_all().await;
    let run = report::settle(&story, &enqueued, &scaled, &tally, begun.elapsed()).await;
    println!("{run}");
    node.leave().await;
    if let Some(output) = &arguments.output {
        std::fs::write(output, run.document()).expect("the document can be written");
        eprintln!("scale-in: written to {}", output.display());
    }
    assert!(run.is_clean(), "tasks were interrupted or lost");
    assert!(
        run.lowered >= arguments.events,
        "only {} scale-in events in time",
        run.lowered
    );
}

fn manifests(names: &[String], node: &str) -> String {
    let mut all = String::new();
    for name in names {
        let _ = write!(
            all,
            "---
apiVersion: taskqueue.dev/v1alpha1
kind: TaskQueue
metadata: {{name: {name}}}
spec:
  worker:
    concurrency: {concurrency}
    handler: {{native: {{}}}}
    drainTimeout: 30s
    template:
      spec:
        nodeSelector: {{{label}: {node}}}
        tolerations: [{{key: {label}, operator: Exists}}]
        containers: [{{name: worker, image: simulated}}]
  scaling:
    maxReplicas: 12
    idle: 1s
    target: {{backlogPerReplica: {concurrency}}}
    scaleDown: {{stabilization: 0s}}
",
            concurrency = node::CONCURRENCY,
            label = node::LABEL,
        );
    }
    all
}
